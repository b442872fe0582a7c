"""Linear layers in the order of memory that this processor multiplies fastest. Knows no conversation and no adapter.

oneDNN lays a weight out in blocks once, which torch otherwise does in every step for bf16, and not at all for fp32. Products
are the same up to the order of additions. Measured with the starter model on one core, a step's products: bf16 36 ms plain
and 24 ms packed at one answer, 37 and 24 at eight; fp32 39 and 42 at one, 92 and 52 at eight.

Layers that read the same are one product, since two processors that share a small one mostly wait for each other: a step of
one answer in bf16 takes 25.9 ms instead of 27.3 on two cores.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

CROWD = 16
"""Answers at once from which on packing every layer pays in fp32; with fewer only the last one is packed."""
SIBLINGS: Sequence[Sequence[str]] = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Names of layers that read the same, in the order in which a model asks them."""


class Joined:
    """The product of several layers with what they all read, computed for the first and kept for the others."""

    def __init__(self, plain: Sequence[Any], rows: int) -> None:
        import torch

        whole = torch.cat([one.weight.detach() for one in plain])
        self.packed = torch.ops.mkldnn._reorder_linear_weight(whole, rows)
        self.bias = None if plain[0].bias is None else torch.cat([one.bias.detach() for one in plain])
        self.sizes = [one.out_features for one in plain]
        self._read: Any = None
        self._parts: list[Any] = []

    def part(self, at: int, read: Any) -> Any:
        """What the layer at this place makes of ``read``."""
        import torch

        if self._read is not read or at == 0:
            whole = torch.ops.mkldnn._linear_pointwise(read, self.packed, self.bias, "none", [], "")
            self._read, self._parts = read, list(whole.split(self.sizes, -1))
        found = self._parts[at]
        if at == len(self.sizes) - 1:
            self._read, self._parts = None, []
        return found

    def weight(self, at: int) -> Any:
        """The weight of that layer, unpacked."""
        return self.packed.to_dense().split(self.sizes)[at]


@cache
def _packed_linear() -> type[Any]:
    import torch

    class PackedLinear(torch.nn.Linear):
        """A linear layer that holds its weight packed, alone or with others; ``weight`` is unpacked for whoever asks, such as
        DoRA."""

        def __init__(self, plain: Any, joined: Joined, at: int) -> None:
            torch.nn.Module.__init__(self)
            self.in_features, self.out_features, self.bias = plain.in_features, plain.out_features, plain.bias
            self._joined, self._at = joined, at

        @property
        def weight(self) -> Any:
            return self._joined.weight(self._at)

        def forward(self, input: Any) -> Any:
            return self._joined.part(self._at, input)

        def __deepcopy__(self, memo: Any) -> Any:
            """A plain layer: who copies one, as PEFT does for modules trained whole, lays weights of his own into it."""
            plain = torch.nn.Linear(self.in_features, self.out_features, self.bias is not None, dtype=self.weight.dtype)
            plain.load_state_dict({"weight": self.weight, **({} if self.bias is None else {"bias": self.bias})})
            return plain.requires_grad_(False)

    return PackedLinear


def pack(model: Any, rows: int) -> Any:
    """The model, its linear layers packed where that pays for products of up to so many rows; others stay as they are."""
    import torch

    bf16, fp32 = model.dtype == torch.bfloat16, model.dtype == torch.float32
    if model.device.type != "cpu" or not torch.backends.mkldnn.is_available() or not (bf16 or fp32):
        return model
    if bf16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return model
    kind, last = _packed_linear(), model.get_output_embeddings()
    for home in list(model.modules()):
        plain = {
            name: part
            for name, part in home.named_children()
            if type(part) is torch.nn.Linear and part.weight.dtype == model.dtype and (bf16 or rows >= CROWD or part is last)
        }
        for names in _together(plain):
            joined = Joined([plain[name] for name in names], rows)
            for at, name in enumerate(names):
                setattr(home, name, kind(plain[name], joined, at))
    return model


def _together(plain: Mapping[str, Any]) -> list[Sequence[str]]:
    """The names of layers in groups of one product: siblings of one width, every other alone."""
    groups = [names for names in SIBLINGS if all(name in plain for name in names) and _alike([plain[name] for name in names])]
    taken = {name for names in groups for name in names}
    return [*groups, *([name] for name in plain if name not in taken)]


def _alike(layers: Sequence[Any]) -> bool:
    return len({(one.in_features, one.bias is None) for one in layers}) == 1
