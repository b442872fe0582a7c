"""LoRA's product and the frozen one beneath it as one step of autograd. Knows PEFT's LoRA layers.

PEFT computes an adapter in its own numbers, fp32, and adds its product to the frozen one: five passes over arrays twice as wide
as the layer's. Here the adapter is rounded to the layer's numbers, as autocast would, and its products are added as they are made.
"""

from functools import cache
from typing import Any


@cache
def _step() -> type[Any]:
    """y = W x + b + s B A x of LoRA (arXiv 2106.09685), and what it passes back."""
    import torch

    class AdaptedProduct(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any, bias: Any, down: Any, up: Any, scale: float) -> Any:
            """x: (..., in), weight: (out, in), down: (rank, in), up: (out, rank); (..., out) in x's numbers."""
            rows = x.reshape(-1, x.shape[-1])
            narrow, wide = down.to(x.dtype), (up * scale).to(x.dtype)
            between = rows @ narrow.t()
            made = torch.nn.functional.linear(rows, weight, bias).addmm_(between, wide.t())
            ctx.save_for_backward(rows, weight, narrow, wide, between)
            ctx.scale, ctx.kinds = scale, (down.dtype, up.dtype)
            return made.view(*x.shape[:-1], -1)

        @staticmethod
        def backward(ctx: Any, slope: Any) -> Any:
            rows, weight, narrow, wide, between = ctx.saved_tensors
            flat = slope.reshape(-1, slope.shape[-1])
            inner = flat @ wide
            back = None
            if ctx.needs_input_grad[0]:
                back = (flat @ weight).addmm_(inner, narrow).view(*slope.shape[:-1], -1)
            down = (inner.t() @ rows).to(ctx.kinds[0])
            up = (flat.t() @ between).to(ctx.kinds[1]) * ctx.scale
            return back, None, None, down, up, None

    return AdaptedProduct


@cache
def _layer() -> type[Any]:
    import torch
    from peft.tuners.lora import Linear

    class AdaptedLinear(Linear):
        """PEFT's layer; what it is given beyond the usual goes PEFT's own way."""

        def forward(self, x: Any, *rest: Any, **named: Any) -> Any:
            name = self._alone()
            if rest or named or name is None or torch.is_autocast_enabled(x.device.type) or x.dtype != self.base_layer.weight.dtype:
                return super().forward(x, *rest, **named)
            base, down, up = self.base_layer, self.lora_A[name].weight, self.lora_B[name].weight
            return _step().apply(x, base.weight, base.bias, down, up, self.scaling[name])

        def _alone(self) -> str | None:
            """The one adapter that speaks, when it is plain LoRA over frozen weights and nothing is left to chance."""
            if self.disable_adapters or self.merged or len(self.active_adapters) != 1:
                return None
            name: str = self.active_adapters[0]
            if name not in self.lora_A or name in self.lora_variant or self.lora_bias[name]:
                return None
            drops = self.training and getattr(self.lora_dropout[name], "p", 0.0) > 0
            return None if drops or self.base_layer.weight.requires_grad else name

    return AdaptedLinear


def quicken_adapters(model: Any) -> int:
    """Let PEFT's LoRA layers over plain linear ones compute so; how many do. Their weights and names stay."""
    import torch
    from peft.tuners.lora import Linear

    found = [part for part in model.modules() if type(part) is Linear and type(part.base_layer) is torch.nn.Linear]
    for part in found:
        part.__class__ = _layer()
    return len(found)
