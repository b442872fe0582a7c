"""The memory of all conversations, a row each, in the place of a cache of transformers. Knows no conversation."""

from collections.abc import Sequence
from typing import Any

LEAST = 256


class Block:
    """Keys and values of every layer: (rows, heads, places, size of a head). Grows by doubling, never shrinks.

    It has the methods of transformers' Cache that a forward pass with positions and masks of its own calls.
    """

    def __init__(self) -> None:
        self._layers: list[tuple[Any, Any]] = []
        self._into: Any = None
        self._seen: Any = None
        self._upto = self._highest = 0

    def point(self, rows: Sequence[int], places: Any, upto: int) -> None:
        """The next pass writes into these rows at these places, (rows, new), and looks at the first ``upto``."""
        import torch

        self._upto, self._highest = upto, max(rows)
        several = torch.tensor(list(rows), device=places.device)
        side_by_side = list(rows) == list(range(rows[0], rows[0] + len(rows)))
        self._seen = slice(rows[0], rows[0] + len(rows)) if side_by_side else several
        # One row's places are a stretch of memory, which is written at once.
        self._into = (self._seen, slice(upto - places.shape[1], upto)) if len(rows) == 1 else (several[:, None], places)

    def update(self, keys: Any, values: Any, layer_idx: int, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Take in what is new, (rows, heads, new, size); what the rows hold by now, (rows, heads, upto, size)."""
        while len(self._layers) <= layer_idx:
            self._layers.append((keys[:0, :, :0], values[:0, :, :0]))
        held = self._fitting(self._layers[layer_idx][0]), self._fitting(self._layers[layer_idx][1])
        self._layers[layer_idx] = held
        rows, places = self._into
        for memory, new in zip(held, (keys, values), strict=True):
            memory[rows, :, places] = new if isinstance(places, slice) else new.transpose(1, 2)
        return held[0][self._seen, :, : self._upto], held[1][self._seen, :, : self._upto]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Places that the pass looks at."""
        return self._upto

    def _fitting(self, memory: Any) -> Any:
        """The same memory, or a larger one with the same in it."""
        rows, heads, places, size = memory.shape
        if rows > self._highest and places >= self._upto:
            return memory
        wider = memory.new_zeros(
            (max(rows, _doubled(1, self._highest + 1)), heads, max(places, _doubled(LEAST, self._upto)), size)
        )
        wider[:rows, :, :places] = memory
        return wider


def _doubled(size: int, least: int) -> int:
    while size < least:
        size *= 2
    return size
