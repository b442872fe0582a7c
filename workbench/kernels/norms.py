"""Norms by their root mean square as one step of autograd. Knows the shape of transformers' norms.

Written plainly a norm of a bf16 model remembers its input in fp32 and takes some twelve passes on the way back; here it remembers
the input as it is, which the model holds anyway, and the way back is torch's own for layer norms, whose mean is left out.
"""

from collections.abc import Hashable
from functools import cache
from typing import Any

from workbench.kernels.trial import taken_up


@cache
def _step() -> type[Any]:
    """y = w x / rms(x) (arXiv 1910.07467)."""
    import torch

    class Norm(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any, eps: float) -> Any:
            """x: (..., size), weight: (size,); as x, in its numbers."""
            rows = x.reshape(-1, x.shape[-1])
            length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True, dtype=torch.float32)
            inverse = length.square_().div_(rows.shape[1]).add_(eps).rsqrt_()
            ctx.save_for_backward(rows, weight, inverse)
            return (rows * inverse).to(x.dtype).mul_(weight).view(x.shape)

        @staticmethod
        def backward(ctx: Any, slope: Any) -> Any:
            rows, weight, inverse = ctx.saved_tensors
            flat, size = slope.reshape(rows.shape), rows.shape[1]
            moved = ctx.needs_input_grad[1]
            given = flat.contiguous(), rows, [size], torch.zeros_like(inverse), inverse, weight.float(), None, [True, moved, False]
            back, of_weight, _ = torch.ops.aten.native_layer_norm_backward(*given)
            # a layer norm takes the mean of what comes back away, which is not so here
            back.add_((flat @ weight).unsqueeze(1) * (inverse / size))
            return back.view(slope.shape), of_weight.to(weight.dtype) if moved else None, None

    return Norm


@cache
def _fused(kind: Hashable, eps: str) -> type[Any]:
    """That kind of norm (a class), computed so; ``eps``: the name under which it keeps what is added to the mean square."""
    plain: Any = kind

    def forward(self: Any, hidden_states: Any) -> Any:
        if hidden_states.dtype != self.weight.dtype:
            return plain.forward(self, hidden_states)
        return _step().apply(hidden_states, self.weight, getattr(self, eps))

    return type(f"Fused{plain.__name__}", (plain,), {"forward": forward})


def fuse_norms(model: Any) -> int:
    """Let norms compute so where that gives the same on trial; how many do. Other kinds, such as Gemma's, stay as they are."""
    import torch

    found = 0
    for norm in list(model.modules()):
        kind: Any = type(norm)
        eps = next((name for name in ("variance_epsilon", "eps") if isinstance(getattr(norm, name, None), float)), "")
        weight = getattr(norm, "weight", None)
        usual = isinstance(weight, torch.nn.Parameter) and weight.dim() == 1 and weight.dtype in (torch.float32, torch.bfloat16)
        if kind.__name__.endswith("RMSNorm") and eps and usual:
            tried = torch.linspace(-3, 5, 2 * len(norm.weight)).reshape(2, -1).to(norm.weight.dtype)
            found += taken_up(norm, _fused(kind, eps), tried)
    return found
