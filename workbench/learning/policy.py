"""The formulas of proximal policy optimisation over answers. Knows tensors of shape (answers, tokens), no model.

A token is an action, ``learned`` is 1 where the model chose it and 0 at questions and padding.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PolicySettings:
    """The numbers in the formulas, with the values of InstructGPT's followers (trl up to 0.11, LLaMA-Factory)."""

    gamma: float = 1.0
    """How much a reward counts one token earlier."""
    smoothing: float = 0.95
    """lambda of GAE."""
    clip: float = 0.2
    """epsilon: how far a token's probability may move from the one it was drawn with."""
    clip_value: float = 0.2
    value_weight: float = 0.1
    kl_start: float = 0.2
    kl_horizon: int = 10_000


@dataclass
class KlControl:
    """How much distance from the reference costs: raised when answers are further than ``target`` away, lowered when
    nearer (arXiv 1909.08593, section 2.2)."""

    weight: float
    target: float
    horizon: int

    def update(self, distance: float, answers: int) -> None:
        """``distance``: the mean over answers of log p - log p_ref, summed over tokens."""
        error = min(max(distance / self.target - 1, -0.2), 0.2)
        self.weight *= 1 + error * answers / self.horizon


@dataclass
class Moments:
    """Mean and spread of all scores so far (Chan, Golub, LeVeque 1979)."""

    count: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    def normalised(self, scores: Any) -> Any:
        """Take the scores in; they come back less the mean and divided by the spread."""
        count, mean = scores.numel(), scores.mean().item()
        squares = ((scores - mean) ** 2).sum().item()
        total = self.count + count
        self.squares += squares + (mean - self.mean) ** 2 * self.count * count / total
        self.mean += (mean - self.mean) * count / total
        self.count = total
        spread = (self.squares / max(self.count - 1, 1)) ** 0.5
        return (scores - self.mean) / (spread + 1e-8)


def masked_mean(values: Any, learned: Any) -> Any:
    """The mean over the tokens that were chosen."""
    return (values * learned).sum() / learned.sum().clamp(min=1)


def whitened(values: Any, learned: Any, keep_mean: bool = False) -> Any:
    """The values with spread 1 over the chosen tokens, and mean 0 unless it is kept."""
    mean = masked_mean(values, learned)
    spread = masked_mean((values - mean) ** 2, learned).sqrt()
    return (values - mean) / (spread + 1e-8) + (mean if keep_mean else 0.0)


def token_rewards(scores: Any, log_probs: Any, reference: Any, learned: Any, kl_weight: float) -> Any:
    """Each token costs its log p - log p_ref times the weight; the answer's score comes with its last token."""
    import torch

    rewards = -kl_weight * (log_probs - reference) * learned
    places = torch.arange(learned.shape[1], device=learned.device)
    last = (places * (learned > 0)).argmax(1)
    rewards[torch.arange(len(scores), device=learned.device), last] += scores
    return rewards


def advantages_and_returns(rewards: Any, values: Any, learned: Any, settings: PolicySettings) -> tuple[Any, Any]:
    """Generalised advantage estimation (arXiv 1506.02438, eq. 16): d_t = r_t + gamma V_t+1 - V_t and
    A_t = d_t + gamma lambda A_t+1, nothing after the last token; returns are A + V."""
    import torch

    advantage = torch.zeros_like(rewards[:, 0])
    coming = torch.zeros_like(advantage)
    found = []
    for at in range(rewards.shape[1] - 1, -1, -1):
        chosen = learned[:, at]
        delta = rewards[:, at] + settings.gamma * coming - values[:, at]
        advantage = chosen * (delta + settings.gamma * settings.smoothing * advantage)
        coming = chosen * values[:, at]
        found.append(advantage)
    advantages = torch.stack(found[::-1], 1)
    return advantages, (advantages + values) * learned


def policy_loss(log_probs: Any, old: Any, advantages: Any, learned: Any, clip: float) -> Any:
    """The clipped surrogate (arXiv 1707.06347, eq. 7): -mean min(q A, clip(q, 1 - e, 1 + e) A), q = p / p_old."""
    ratios = ((log_probs - old) * learned).exp()
    kept = ratios.clamp(1 - clip, 1 + clip)
    return -masked_mean((ratios * advantages).minimum(kept * advantages), learned)


def value_loss(values: Any, old: Any, returns: Any, learned: Any, clip: float) -> Any:
    """Half the squared error, of the value or of the value moved at most ``clip`` from the old one, the worse of both."""
    kept = old + (values - old).clamp(-clip, clip)
    return masked_mean(((values - returns) ** 2).maximum((kept - returns) ** 2), learned) / 2
