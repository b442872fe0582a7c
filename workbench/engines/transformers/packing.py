"""Linear layers in the order of memory that this processor multiplies fastest. Knows no conversation and no adapter.

oneDNN lays a weight out in blocks once, which torch otherwise does in every step for bf16, and not at all for fp32. Products
are the same up to the order of additions. Measured with the starter model on one core, a step's products: bf16 36 ms plain
and 24 ms packed at one answer, 37 and 24 at eight; fp32 39 and 42 at one, 92 and 52 at eight.
"""

from functools import cache
from typing import Any

CROWD = 16
"""Answers at once from which on packing every layer pays in fp32; with fewer only the last one is packed."""


@cache
def _packed_linear() -> type[Any]:
    import torch

    class PackedLinear(torch.nn.Linear):
        """A linear layer that holds its weight packed; ``weight`` is unpacked for whoever asks, such as DoRA."""

        def __init__(self, plain: Any, rows: int) -> None:
            torch.nn.Module.__init__(self)
            self.in_features, self.out_features, self.bias = plain.in_features, plain.out_features, plain.bias
            self._packed = torch.ops.mkldnn._reorder_linear_weight(plain.weight.detach(), rows)

        @property
        def weight(self) -> Any:
            return self._packed.to_dense()

        def forward(self, input: Any) -> Any:
            return torch.ops.mkldnn._linear_pointwise(input, self._packed, self.bias, "none", [], "")

        def __deepcopy__(self, memo: Any) -> Any:
            """A plain layer: who copies one, as PEFT does for modules trained whole, lays weights of his own into it."""
            plain = torch.nn.Linear(self.in_features, self.out_features, self.bias is not None, dtype=self._packed.dtype)
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
    for name, part in list(model.named_modules()):
        plain = type(part) is torch.nn.Linear and part.weight.dtype == model.dtype
        if plain and (bf16 or rows >= CROWD or part is last):
            home, _, own = name.rpartition(".")
            setattr(model.get_submodule(home), own, kind(part, rows))
    return model
