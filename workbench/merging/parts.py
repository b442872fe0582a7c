"""One tensor of the result: the base's, what becomes of it, and its bytes a few rows at a time. Knows no adapter and no files' names."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.merging.changes import Change
from workbench.merging.shards import Outline
from workbench.merging.stored import Stored, number_types
from workbench.problems import UserError
from workbench.text import Text

FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Numbers that are brought to the chosen type, and their bytes; others stay as they are."""
NUMBERS_AT_ONCE = 8_000_000


class Say:
    not_finite = Text(
        "The weight {name} has numbers that {kind} can't hold, or that are none. Accepted: a whole adapter, and fp32 or bf16 for "
        "large numbers. Choose bf16, or another checkpoint."
    )


@dataclass(frozen=True)
class Part:
    """A tensor of the result."""

    name: str
    base: Stored
    kind: str
    """Its number type, as safetensors names it."""
    steps: Sequence[tuple[Change, float]] = ()
    """What is done to it in order, and how much of the way is gone each time: 1 is all of it."""

    @property
    def outline(self) -> Outline:
        """What stands in a file's head of it."""
        size = math.prod(self.base.shape) * FLOATS[self.kind] if self.kind != self.base.kind else self.base.num_bytes
        return Outline(self.name, self.kind, self.base.shape, size)

    def numbers(self) -> Iterator[Any]:
        """Its bytes; UserError where a number can't be held."""
        if not self.steps and self.kind == self.base.kind:
            yield from self.base.copied()
            return
        import torch

        for piece in self.pieces():
            held = piece.to(number_types()[self.kind])
            if held.numel() and not all(one.isfinite() for one in held.aminmax()):
                raise UserError(Say.not_finite(name=self.name, kind=self.kind.lower()), key="export_dtype")
            yield held.reshape(-1).contiguous().view(torch.uint8).numpy()

    def pieces(self) -> Iterator[Any]:
        """Its rows in float32, some at a time where all that is done to it can be."""
        import torch

        steps = [(change.opened(), share) for change, share in self.steps]
        length = self.base.shape[0] if self.base.shape else 1
        width = max(1, math.prod(self.base.shape[1:]))
        some = max(1, NUMBERS_AT_ONCE // width) if all(change.by_rows for change, _ in self.steps) else length
        for first in range(0, length, some):
            last = min(first + some, length)
            part = self.base.rows(first, last).float()
            for change, share in steps:
                changed = change(part, first, last)
                part = changed if share == 1 else torch.lerp(part, changed, share)
            yield part

    def same_as(self, other: "Part") -> bool:
        """Whether both come out the same; float32 rounds alike sums in different orders differently."""
        import torch

        both = zip(self.pieces(), other.pieces(), strict=False)
        return all(left.shape == right.shape and torch.allclose(left, right, 1e-5, 1e-7) for left, right in both)
