"""A gated layer as one step of autograd, whatever of it is learned. Knows the shape of transformers' gated layers.

Written plainly it remembers four arrays of its inner width for the way back. Here it remembers two, what the gate gave and what
came beside it, finds the others again, and writes over those that are needed no more.
"""

from collections.abc import Hashable
from functools import cache
from typing import Any

from workbench.kernels.lora import branch
from workbench.kernels.products import Branch, Product, computed_in
from workbench.kernels.trial import taken_up

SIDES = ("gate_proj", "up_proj", "down_proj")


@cache
def _step() -> type[Any]:
    """y = D(silu(G x) * U x), with products G, U and D."""
    import torch
    from torch.nn.functional import silu

    slope_of_silu = torch.ops.aten.silu_backward.grad_input

    class Gated(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, scales: tuple[float, ...], *told: Any) -> Any:
            """x: (..., in). told: weight, A and B of each product; scales: that of each."""
            rows = x.reshape(-1, x.shape[-1])
            gate, beside, down = products(told, scales)
            (opened, first), (came, second) = gate.of(rows), beside.of(rows)
            made, third = down.of(silu(opened).mul_(came))
            ctx.save_for_backward(rows, opened, came, first, second, third, *told)
            ctx.scales = scales
            return made.view(*x.shape[:-1], -1)

        @staticmethod
        def backward(ctx: Any, slope: Any) -> Any:
            rows, opened, came, first, second, third, *told = ctx.saved_tensors
            gate, beside, down = products(told, ctx.scales)
            of_x, _, *rest = ctx.needs_input_grad
            wanted = [tuple(rest[at : at + 3]) for at in (0, 3, 6)]
            let = silu(opened)
            inner, *of_down = down.back(slope.reshape(-1, slope.shape[-1]), let * came, third, (True, *wanted[2]))
            of_came = let.mul_(inner)
            of_opened = slope_of_silu(inner.mul_(came), opened, grad_input=inner)
            back, *of_gate = gate.back(of_opened, rows, first, (of_x, *wanted[0]))
            back, *of_beside = beside.back(of_came, rows, second, (of_x, *wanted[1]), back)
            return None if back is None else back.view(*slope.shape[:-1], -1), None, *of_gate, *of_beside, *of_down

    def products(told: Any, scales: tuple[float, ...]) -> list[Product]:
        return [Product(Branch(told[3 * at], told[3 * at + 1], told[3 * at + 2], scale)) for at, scale in enumerate(scales)]

    return Gated


@cache
def _fused(kind: Hashable) -> type[Any]:
    """That kind of layer (a class), computed so wherever its products are plain ones in the numbers of what comes in."""
    plain: Any = kind

    def forward(self: Any, x: Any) -> Any:
        told = [one for name in SIDES if (one := branch(getattr(self, name)))]
        kind = computed_in(x)
        if len(told) < len(SIDES) or any(one.weight.dtype not in (x.dtype, kind) for one in told):
            return plain.forward(self, x)
        parts = (part for one in told for part in (one.weight.to(kind), one.down, one.up))
        return _step().apply(x.to(kind), tuple(one.scale for one in told), *parts)

    return type(f"Fused{plain.__name__}", (plain,), {"forward": forward})


def fuse_gates(model: Any) -> int:
    """Let gated layers compute so where that gives the same on trial; how many do. Their weights and names stay."""
    import torch
    from transformers.activations import SiLUActivation

    found = 0
    for layer in list(model.modules()):
        act = getattr(layer, "act_fn", None)
        if isinstance(act, torch.nn.SiLU | SiLUActivation) and all(branch(getattr(layer, name, None)) for name in SIDES):
            kind: Any = type(layer)
            weight = layer.gate_proj.weight
            tried = torch.linspace(-1, 1, 2 * weight.shape[1]).reshape(2, -1).to(weight.dtype)
            found += taken_up(layer, _fused(kind), tried)
    return found
