"""LoRA's product and the frozen one beneath it as one step of autograd. Knows PEFT's LoRA layers."""

from functools import cache
from typing import Any

from workbench.kernels.products import Branch, Product


@cache
def _step() -> type[Any]:
    import torch

    class AdaptedProduct(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, bias: Any, weight: Any, down: Any, up: Any, scale: float) -> Any:
            """x: (..., in), the others as in a branch; (..., out) in x's numbers."""
            rows = x.reshape(-1, x.shape[-1])
            made, between = Product(Branch(weight, down, up, scale)).of(rows, bias)
            ctx.save_for_backward(rows, between, weight, down, up)
            ctx.scale = scale
            return made.view(*x.shape[:-1], -1)

        @staticmethod
        def backward(ctx: Any, slope: Any) -> Any:
            rows, between, *told = ctx.saved_tensors
            weight, first, second = told
            back, _, down, up = Product(Branch(weight, first, second, ctx.scale)).back(
                slope.reshape(-1, slope.shape[-1]), rows, between, (ctx.needs_input_grad[0], False, True, True)
            )
            return None if back is None else back.view(*slope.shape[:-1], -1), None, None, down, up, None

    return AdaptedProduct


@cache
def _layer() -> type[Any]:
    import torch
    from peft.tuners.lora import Linear

    class AdaptedLinear(Linear):
        """PEFT's layer; what it is given beyond the usual goes PEFT's own way."""

        def forward(self, x: Any, *rest: Any, **named: Any) -> Any:
            told = None if rest or named or torch.is_autocast_enabled(x.device.type) else self.branch()
            if told is None or told.weight.dtype != x.dtype:
                return super().forward(x, *rest, **named)
            return _step().apply(x, self.base_layer.bias, *told)

        def branch(self) -> Branch | None:
            """The one adapter that speaks, when it is plain LoRA over frozen weights and nothing is left to chance."""
            if self.disable_adapters or self.merged or len(self.active_adapters) != 1:
                return None
            name: str = self.active_adapters[0]
            if name not in self.lora_A or name in self.lora_variant or self.lora_bias[name]:
                return None
            drops = self.training and getattr(self.lora_dropout[name], "p", 0.0) > 0
            if drops or self.base_layer.weight.requires_grad:
                return None
            return Branch(self.base_layer.weight, self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name])

    return AdaptedLinear


def branch(layer: Any) -> Branch | None:
    """A layer without bias as numbers; None where it is no plain one, or does more than plain LoRA does."""
    import torch

    if type(layer) is torch.nn.Linear:
        return Branch(layer.weight) if layer.bias is None else None
    return layer.branch() if isinstance(layer, _layer()) and layer.base_layer.bias is None else None


def quicken_adapters(model: Any) -> int:
    """Let PEFT's LoRA layers over plain linear ones compute so; how many do. Their weights and names stay."""
    import torch
    from peft.tuners.lora import Linear

    found = [part for part in model.modules() if type(part) is Linear and type(part.base_layer) is torch.nn.Linear]
    for part in found:
        part.__class__ = _layer()
    return len(found)
