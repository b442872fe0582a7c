"""Two sides of one answer, place by place: the same tokens, ties, and how far probabilities differ. Knows no engine."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Likely = Mapping[int, float]
"""The likeliest tokens at a place and the natural logarithms of their probabilities, the likeliest first."""
TIE = 1e-4
"""Two log-probabilities that are nearer than that are one to fp32: which of them comes first is chance."""
LEAST = 1e-7
"""A share smaller than float32 can tell from none."""


@dataclass(frozen=True)
class Places:
    """What all places of an answer give."""

    tokens: int
    same: int
    ties: int
    divergence: float
    """Mean, nats."""


def compare(tokens: Sequence[int], here: Sequence[Likely], there: Sequence[Likely]) -> Places:
    """Of the training side's ``tokens`` how many are the likeliest there; ``here`` and ``there`` are what each side told."""
    pairs = list(zip(tokens, here, there, strict=True))
    ties = sum(_tied(token, mine, first(theirs)) for token, mine, theirs in pairs)
    same = sum(first(theirs) == token for token, _, theirs in pairs)
    divergences = [divergence(mine, theirs) for _, mine, theirs in pairs]
    return Places(len(pairs), same + ties, ties, math.fsum(divergences) / max(1, len(pairs)))


def divergence(here: Likely, there: Likely) -> float:
    """Kullback-Leibler divergence of ``there`` from ``here``, nats, over the tokens that both sides told and one bucket for
    all others. To lay tokens together never makes it larger (data processing inequality), so this is a lower bound."""
    both = [token for token in here if token in there]
    told = math.fsum(math.exp(here[token]) * (here[token] - there[token]) for token in both)
    rest = [max(0.0, 1 - math.fsum(math.exp(side[token]) for token in both)) for side in (here, there)]
    if rest[0] > LEAST:
        told += rest[0] * math.log(rest[0] / max(rest[1], LEAST))
    return max(0.0, told)


def first(likely: Likely) -> int:
    """The likeliest token."""
    return next(iter(likely))


def _tied(token: int, here: Likely, other: int) -> bool:
    """Whether the training side could as well have said the other token."""
    return other != token and abs(here.get(other, -math.inf) - here[token]) < TIE if token in here else False
