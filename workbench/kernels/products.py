"""A linear layer's product, alone or with LoRA beside it, forward and back. Knows PEFT's LoRA layers.

PEFT computes an adapter in its own numbers, fp32, and adds its product to the frozen one: five passes over arrays twice as wide
as the layer's. Here the adapter is rounded to the layer's numbers, as autocast would, and its products are added as they are made.
"""

from typing import Any, NamedTuple


def computed_in(given: Any) -> Any:
    """The kind of number in which products of what is given are computed: its own, or under autocast that of autocast."""
    import torch

    device = given.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else given.dtype


class Branch(NamedTuple):
    """y = W x + s B A x of LoRA (arXiv 2106.09685), or W x alone."""

    weight: Any
    """W, (out, in)."""
    down: Any = None
    """A, (rank, in), in numbers of its own."""
    up: Any = None
    """B, (out, rank)."""
    scale: float = 1.0
    """s."""


class Product:
    """A branch in the numbers of its input."""

    def __init__(self, told: Branch) -> None:
        kind = told.weight.dtype
        self.told = told
        self.narrow = None if told.down is None else told.down.to(kind)
        self.wide = None if told.up is None else (told.up * told.scale).to(kind).t().contiguous()  # in rows: half the time in fp32

    def of(self, rows: Any, bias: Any = None) -> tuple[Any, Any]:
        """rows: (places, in). The result, (places, out), and A x, (places, rank), which the way back needs; None without an adapter."""
        from torch.nn.functional import linear

        made = linear(rows, self.told.weight, bias)
        if self.narrow is None:
            return made, None
        between = rows @ self.narrow.t()
        return made.addmm_(between, self.wide), between

    def back(self, slope: Any, rows: Any, between: Any, wanted: tuple[bool, ...], onto: Any = None) -> tuple[Any, Any, Any, Any]:
        """What a slope of the result is to the input, W, A and B, each where it is ``wanted``.

        slope: (places, out). What it is to the input is added to ``onto`` in its place, if that is given.
        """
        of_input, of_weight, of_down, of_up = wanted
        inner = None if self.wide is None else slope @ self.wide.t()
        if of_input:
            onto = slope @ self.told.weight if onto is None else onto.addmm_(slope, self.told.weight)
            onto = onto if inner is None else onto.addmm_(inner, self.narrow)
        return (
            onto,
            slope.t() @ rows if of_weight else None,
            (inner.t() @ rows).to(self.told.down.dtype) if of_down and inner is not None else None,
            # the small side first: a quarter of the time in fp32
            (between.t() @ slope).t().to(self.told.up.dtype) * self.told.scale if of_up else None,
        )
