"""What an adapter does to one tensor of its base, by formula, in float32. Knows no adapter's files and no model.

A change opens what it needs and answers with a function of some of the tensor's rows, as they lie in the file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from workbench.merging.stored import Stored, number_types
from workbench.quantising import Quantisation

Rows = Callable[[Any, int, int], Any]
"""Given some rows, the first's number and the one behind the last: the rows changed, of the same shape."""


class Change(Protocol):
    """What is done to a tensor."""

    @property
    def by_rows(self) -> bool:
        """Whether it can be done to some rows without the others."""

    def opened(self) -> Rows:
        """Read what it needs."""


def wide(stored: Stored) -> Any:
    """The tensor in float32."""
    return stored.rows().float()


@dataclass(frozen=True)
class LowRank:
    """LoRA: W + s B A (arXiv 2106.09685, section 4.1), its rows brought to a length with DoRA (arXiv 2402.09353, equation 5).

    ``turned``: the tensor holds W transposed, as embeddings and the layers of GPT-2 do.
    """

    inner: Stored
    """A, of shape (rank, in)."""
    outer: Stored
    """B, of shape (out, rank)."""
    scale: float
    turned: bool = False
    magnitude: Stored | None = None
    """With DoRA: a length for each of W's rows."""

    @property
    def by_rows(self) -> bool:
        return self.magnitude is None or not self.turned

    def opened(self) -> Rows:
        import torch

        left, right = (wide(self.inner).T, wide(self.outer).T) if self.turned else (wide(self.outer), wide(self.inner))
        lengths = None if self.magnitude is None else wide(self.magnitude).flatten()
        over = 0 if self.turned else 1

        def change(part: Any, first: int, last: int) -> Any:
            added = torch.addmm(part, left[first:last], right, alpha=self.scale)
            if lengths is None:
                return added
            wanted = lengths.unsqueeze(0) if self.turned else lengths[first:last].unsqueeze(1)
            return added.mul_(wanted / torch.linalg.norm(added, dim=over, keepdim=True))

        return change


@dataclass(frozen=True)
class Added:
    """A vector on top, such as the bias of a LoRA layer's second matrix."""

    vector: Stored
    scale: float
    by_rows: bool = field(default=True, init=False)

    def opened(self) -> Rows:
        vector = wide(self.vector)
        return lambda part, first, last: part + self.scale * vector[first:last]


@dataclass(frozen=True)
class Scaled:
    """IA3: inputs or outputs times a learned scale (arXiv 2205.05638, section 3.3)."""

    scale: Stored
    """Of shape (out, 1), or (1, in) where inputs are scaled."""
    turned: bool = False
    flat: bool = False
    """The tensor is the layer's bias."""
    by_rows: bool = field(default=True, init=False)

    def opened(self) -> Rows:
        scale = wide(self.scale).flatten() if self.flat else wide(self.scale)
        scale = scale.T if self.turned and not self.flat else scale
        return lambda part, first, last: part * (scale if len(scale) == 1 else scale[first:last])


@dataclass(frozen=True)
class Turned:
    """OFT: blocks of the inputs turned by the Cayley transform of a learned skew matrix (arXiv 2306.07280, section 3)."""

    angles: Stored
    num_inputs: int
    settings: Sequence[tuple[str, Any]]
    """As peft's OFTRotationModule takes them."""
    by_rows: bool = field(default=True, init=False)

    def opened(self) -> Rows:
        import torch
        from peft.tuners.oft.layer import OFTRotationModule

        blocks, elements = self.angles.shape
        size = round((1 + (1 + 8 * elements) ** 0.5) / 2)
        rotation = OFTRotationModule(blocks, elements, size, self.num_inputs, **dict(self.settings))
        # What turns inputs by R turns rows of the weight by R transposed, which belongs to the opposite angle.
        rotation.weight.data = -wide(self.angles)

        def change(part: Any, first: int, last: int) -> Any:
            with torch.no_grad():
                return rotation(part)

        return change


@dataclass(frozen=True)
class Replaced:
    """The tensor as it was trained whole beside an adapter."""

    by: Stored
    by_rows: bool = field(default=True, init=False)

    def opened(self) -> Rows:
        return lambda part, first, last: self.by.rows(first, last).float()


@dataclass(frozen=True)
class RowsReplaced:
    """Some rows, such as those of new tokens, as they were trained."""

    by: Stored
    places: Sequence[int]
    by_rows: bool = field(default=True, init=False)

    def opened(self) -> Rows:
        rows = wide(self.by)

        def change(part: Any, first: int, last: int) -> Any:
            part = part.clone()
            for at, place in enumerate(self.places):
                if first <= place < last:
                    part[place - first] = rows[at]
            return part

        return change


@dataclass(frozen=True)
class Rounded:
    """The weights as bitsandbytes held them in few bits: quantised and brought back."""

    quantisation: Quantisation
    kind: str | None
    """The number type in which the model was loaded, as safetensors names it; None: its own."""
    turned: bool = False
    by_rows: bool = field(default=False, init=False)

    def opened(self) -> Rows:
        from bitsandbytes import functional

        asked = self.quantisation

        def change(part: Any, first: int, last: int) -> Any:
            loaded = part if self.kind is None else part.to(number_types()[self.kind])
            loaded = loaded.T.contiguous() if self.turned else loaded
            if asked.bits == 8:
                codes, scales, _ = functional.int8_vectorwise_quant(loaded.half())
                found = functional.int8_vectorwise_dequant(codes, scales).float()
            else:
                codes, state = functional.quantize_4bit(loaded, compress_statistics=asked.double, quant_type=asked.kind)
                found = functional.dequantize_4bit(codes, state).float()
            return found.T.contiguous() if self.turned else found

        return change
