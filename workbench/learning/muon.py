"""Muon and AdamW as one torch optimiser. Knows tensors only."""

from collections.abc import Mapping
from typing import Any

MOMENTUM = 0.95
"""As in its source."""


def muon_with_adamw() -> type[Any]:
    """An optimiser class: groups with ``matrices`` are moved by Muon, the others by AdamW.

    One class instead of torch's two, so that one scheduler drives it and one state is saved.
    """
    import torch

    class MuonWithAdamW(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            loss = None if closure is None else torch.enable_grad()(closure)()
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is None:
                        continue
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    (_muon_step if group["matrices"] else _adam_step)(weight, self.state[weight], group)
            return loss

    return MuonWithAdamW


def _muon_step(weight: Any, state: dict[str, Any], group: Mapping[str, Any]) -> None:
    """Nesterov momentum made orthogonal, at a rate that moves weights about as far as AdamW does (arXiv 2502.16982)."""
    import torch

    if not state:
        state["momentum"] = torch.zeros_like(weight)
    state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
    update = orthogonal(weight.grad.lerp(state["momentum"], MOMENTUM))
    weight.add_(update.to(weight), alpha=-group["lr"] * 0.2 * max(weight.shape) ** 0.5)


def orthogonal(matrix: Any) -> Any:
    """Nearly the closest matrix with singular values of 1, by five steps of a Newton-Schulz iteration in bf16.

    The iteration and its coefficients: Keller Jordan, https://kellerjordan.github.io/posts/muon/
    """
    import torch

    tall = matrix.shape[0] > matrix.shape[1]
    found = (matrix.T if tall else matrix).to(torch.bfloat16)
    found = found / found.norm().clamp(min=1e-7)
    for _ in range(5):
        square = found @ found.T
        # addmm rounds once where a sum of products would round several times.
        change = torch.addmm(square, square, square, beta=-4.7750, alpha=2.0315)
        found = torch.addmm(found, change, found, beta=3.4445)
    return found.T if tall else found


def _adam_step(weight: Any, state: dict[str, Any], group: Mapping[str, Any]) -> None:
    """Adam with decoupled weight decay (arXiv 1711.05101), the decay being done."""
    import torch

    if not state:
        state.update(step=0, mean=torch.zeros_like(weight), square=torch.zeros_like(weight))
    first, second = group["betas"]
    state["step"] += 1
    state["mean"].lerp_(weight.grad, 1 - first)
    state["square"].mul_(second).addcmul_(weight.grad, weight.grad, value=1 - second)
    spread = (state["square"] / (1 - second ** state["step"])).sqrt().add_(group["eps"])
    weight.addcdiv_(state["mean"], spread, value=-group["lr"] / (1 - first ** state["step"]))
