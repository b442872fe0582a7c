"""Losses of better and worse answers, as formulas over log-probabilities. Knows tensors, no model and no rows.

``r`` of an answer is how much likelier the model finds it than the reference does: log p(answer) - log p_ref(answer).
"""

from dataclasses import dataclass
from typing import Any, Literal

PairLoss = Literal["sigmoid", "hinge", "ipo", "kto_pair", "orpo", "simpo"]
WITHOUT_REFERENCE: tuple[PairLoss, ...] = ("orpo", "simpo")
MEANS: tuple[PairLoss, ...] = ("ipo", "orpo", "simpo")
"""Losses over the mean log-probability of an answer's tokens; the others take the sum."""


@dataclass(frozen=True)
class Pair:
    """Something of the better and of the worse answers of n pairs; tensors of shape (n)."""

    chosen: Any
    rejected: Any

    @property
    def margin(self) -> Any:
        return self.chosen - self.rejected

    def __sub__(self, other: "Pair") -> "Pair":
        return Pair(self.chosen - other.chosen, self.rejected - other.rejected)


@dataclass(frozen=True)
class PairSettings:
    """The numbers in the formulas."""

    loss: PairLoss = "sigmoid"
    beta: float = 0.1
    label_smoothing: float = 0.0
    simpo_gamma: float = 0.5


def halves(values: Any) -> Pair:
    """The batch's first half, of the better answers, and its second, of the worse ones."""
    return Pair(*values.chunk(2, dim=0))


def answer_logps(log_probs: Any, learned: Any, mean: bool, ld_alpha: float | None = None) -> Any:
    """log p of each of 2n answers from those of its tokens. Shapes (2n, length), (2n, length) -> (2n).

    ``learned`` is 1 at the answers' tokens. With ``ld_alpha`` what a pair's longer answer has beyond the length of the
    shorter one counts that much only (LD-DPO, arXiv 2409.06411, eq. 10).
    """
    if ld_alpha is not None:
        lengths = learned.sum(1)
        shared = lengths.view(2, -1).min(0).values.repeat(2)
        beyond = learned.cumsum(1) > shared[:, None]
        log_probs = log_probs.where(~beyond, log_probs * ld_alpha)
    summed = (log_probs * learned).sum(1)
    return summed / learned.sum(1).clamp(min=1) if mean else summed


def pair_losses(settings: PairSettings, logps: Pair, reference: Pair | None) -> Any:
    """The loss of each of n pairs, shape (n).

    sigmoid: -log s(beta (r_w - r_l)), DPO, arXiv 2305.18290, eq. 7; with label smoothing e: (1-e) of it and e of the
    pair turned round (cDPO). hinge: max(0, 1 - beta (r_w - r_l)), SLiC, arXiv 2309.06657. ipo: (r_w - r_l - 1/(2 beta))^2
    over means, arXiv 2310.12036, eq. 17. kto_pair: see ``kto_pair_losses``. orpo: -log p_w + beta * -log s(log odds_w -
    log odds_l) over means, arXiv 2403.07691, eq. 6. simpo: -log s(beta (log p_w - log p_l) - gamma) over means, arXiv
    2405.14734, eq. 6. s is the logistic function, w the better and l the worse answer.
    """
    from torch.nn.functional import logsigmoid, relu

    if settings.loss == "orpo":
        return -logps.chosen - settings.beta * logsigmoid(log_odds(logps.chosen) - log_odds(logps.rejected))
    if settings.loss == "simpo":
        return -logsigmoid(settings.beta * logps.margin - settings.simpo_gamma)
    assert reference is not None, "only orpo and simpo do without"
    ratios = logps - reference
    margin = settings.beta * ratios.margin
    match settings.loss:
        case "hinge":
            return relu(1 - margin)
        case "ipo":
            return (ratios.margin - 1 / (2 * settings.beta)) ** 2
        case "kto_pair":
            return kto_pair_losses(settings.beta, ratios)
    smoothing = settings.label_smoothing
    return -(1 - smoothing) * logsigmoid(margin) - smoothing * logsigmoid(-margin)


def kto_pair_losses(beta: float, ratios: Pair) -> Any:
    """KTO over pairs (arXiv 2402.01306, eq. 8): each kind of answer is measured from the mean r of the other kind, not
    below 0, through which no gradient flows; the two losses of a pair are averaged."""
    chosen_level = ratios.chosen.detach().mean().clamp(min=0)
    rejected_level = ratios.rejected.detach().mean().clamp(min=0)
    chosen = 1 - (beta * (ratios.chosen - rejected_level)).sigmoid()
    rejected = 1 - (beta * (chosen_level - ratios.rejected)).sigmoid()
    return (chosen + rejected) / 2


def kto_losses(beta: float, ratios: Any, good: Any, level: Any, weights: tuple[float, float]) -> Any:
    """KTO (arXiv 2402.01306, eq. 8): w (1 - s(beta (r - level))) of a good answer, w (1 - s(beta (level - r))) of a bad
    one. ``good`` is boolean, ``weights`` are those of good and of bad answers; shape (n)."""
    signs = good.to(ratios.dtype) * 2 - 1
    losses = 1 - (beta * signs * (ratios - level)).sigmoid()
    return losses.where(~good, weights[0] * losses).where(good, weights[1] * losses)


def log_odds(logps: Any) -> Any:
    """log(p / (1 - p)) from log p < 0, without loss of digits."""
    import torch

    return logps - torch.log1p(-torch.exp(logps.clamp(max=-1e-6)))
