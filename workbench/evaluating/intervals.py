"""How sure a mean is, and whether two lists of scores differ. Knows numbers only, no metric and no model.

A score that is None or not finite could not be said and does not count. Every interval is for 95 %.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

from workbench.text import Message, Text

Verdict = Literal["better", "same", "worse"]
Scores = Sequence[float | None]

CONFIDENCE = 0.95
DRAWS = 2_000
FLIPS = 10_000
SEED = 42
SIGNIFICANT = 0.05
LEAST_PAIRS = 6
"""With fewer, not even a change of all in one direction is rarer by chance than one in twenty."""
MOST_EXACT = 12
"""So many changes have 4,096 ways of signs, which are all tried."""
AT_ONCE = 2_000_000
"""Numbers drawn at a time, so that long lists take no more memory."""
ENOUGH = 30
"""So many scores that are all the same say that others are rare; fewer do not."""
NORMAL = NormalDist()
Z = NORMAL.inv_cdf((1 + CONFIDENCE) / 2)


class Say:
    better = Text("better")
    same = Text("no measurable difference")
    worse = Text("worse")
    too_few = Text("no measurable difference: {count} answers are too few to tell")


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval; None where there are too few scores to say it."""

    mean: float | None
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Change:
    """What the second list has over the first, pair by pair. ``p``: how often chance alone would bring as much."""

    mean: float | None
    low: float | None
    high: float | None
    count: int
    p: float | None
    verdict: Verdict

    def words(self) -> Message:
        """The verdict as a person says it."""
        if self.verdict == "same" and self.count < LEAST_PAIRS:
            return Say.too_few(count=self.count)
        return {"better": Say.better, "same": Say.same, "worse": Say.worse}[self.verdict]()


def estimate(scores: Scores) -> Estimate:
    """The mean with Wilson's interval where every score is 0 or 1, else a bootstrap's (BCa)."""
    told = said(scores)
    if not told:
        return Estimate(None, None, None, 0)
    low, high = wilson(round(sum(told)), len(told)) if set(told) <= {0.0, 1.0} else bootstrap(told)
    return Estimate(math.fsum(told) / len(told), low, high, len(told))


def compare(before: Scores, after: Scores, lower_is_better: bool = False) -> Change:
    """How the same questions came out before and after. A verdict other than same needs both: chance explains the
    change less than once in twenty, and the interval, where there is one, leaves out 0."""
    pairs = zip(before, after, strict=True)
    changes = said([None if left is None or right is None else right - left for left, right in pairs])
    if not changes:
        return Change(None, None, None, 0, None, "same")
    mean = math.fsum(changes) / len(changes)
    low, high = shares_apart(changes) if set(changes) <= {-1.0, 0.0, 1.0} else bootstrap(changes)
    p = sign_flips(changes)
    clear = p < SIGNIFICANT and (low is None or high is None or low > 0 or high < 0)
    verdict: Verdict = "same" if not clear else "better" if (mean > 0) != lower_is_better else "worse"
    return Change(mean, low, high, len(changes), p, verdict)


def said(scores: Scores) -> list[float]:
    """The scores that could be said."""
    return [float(score) for score in scores if score is not None and math.isfinite(score)]


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Of a share (Wilson 1927): it never leaves 0 to 1, nor shrinks to a point where all are alike."""
    share, z2 = hits / count, Z * Z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    reach = Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count)) / (1 + z2 / count)
    return (0.0 if hits == 0 else middle - reach), (1.0 if hits == count else middle + reach)


def shares_apart(changes: Sequence[float]) -> tuple[float, float]:
    """Of the difference of two shares of the same questions (Agresti and Min 2005): half a pair is added to each of the
    four ways in which a pair can come out."""
    gained, lost, count = changes.count(1.0) + 0.5, changes.count(-1.0) + 0.5, len(changes) + 2
    middle = (gained - lost) / count
    reach = Z * math.sqrt(max(0.0, gained + lost - (gained - lost) ** 2 / count)) / count
    return max(-1.0, middle - reach), min(1.0, middle + reach)


def bootstrap(scores: Sequence[float]) -> tuple[float | None, float | None]:
    """Of a mean: bias-corrected and accelerated (Efron 1987), with the quantiles widened as Student's are, since a
    bootstrap of few scores is too narrow. (None, None) for less than two scores, and for few that are all the same."""
    if len(scores) < 2:
        return None, None
    if min(scores) == max(scores):
        return (scores[0], scores[0]) if len(scores) >= ENOUGH else (None, None)
    import numpy as np

    values = np.asarray(scores, dtype=float)
    means, mean = _drawn_means(values), values.mean()
    below = ((means < mean).mean() + (means <= mean).mean()) / 2
    bias = NORMAL.inv_cdf(min(max(below, 1 / DRAWS), 1 - 1 / DRAWS))
    apart = values - mean
    skew = (apart**3).sum() / (6 * (apart**2).sum() ** 1.5)
    reach = student(len(scores) - 1) * math.sqrt(len(scores) / (len(scores) - 1))
    low, high = np.quantile(means, [_shifted(bias, skew, side) for side in (-reach, reach)])
    return float(low), float(high)


def _shifted(bias: float, skew: float, reach: float) -> float:
    """The quantile that BCa takes in the place of a plain one."""
    room = 1 - skew * (bias + reach)
    return NORMAL.cdf(bias + (bias + reach) / room) if room > 0 else float(reach > 0)


def _drawn_means(values: Any) -> Any:
    """The means of as many scores drawn with replacement, many times."""
    import numpy as np

    lot, size = np.random.default_rng(SEED), len(values)
    rows = max(1, min(DRAWS, AT_ONCE // size))
    sizes = [(min(rows, DRAWS - start), size) for start in range(0, DRAWS, rows)]
    return np.concatenate([values.take(lot.integers(0, size, one, np.int32)).mean(axis=1) for one in sizes])


def student(freedom: int) -> float:
    """Student's quantile for 95 % (Cornish and Fisher 1937), good to 1 % from three degrees of freedom on."""
    first, second = (Z**3 + Z) / 4, (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    third = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    return Z + first / freedom + second / freedom**2 + third / freedom**3


def sign_flips(changes: Sequence[float]) -> float:
    """How often changes of these sizes, each up or down by the toss of a coin, come out as far from 0: two-sided; all
    ways are tried for few changes and for changes of one size, else 10,000 at random."""
    moved = [abs(change) for change in changes if change]
    if not moved:
        return 1.0
    total = abs(math.fsum(changes))
    if min(moved) == max(moved):
        return one_size(round(total / moved[0]), len(moved))
    import numpy as np

    sizes, close = np.asarray(moved), total * (1 - 1e-9)
    if len(moved) <= MOST_EXACT:
        ways = np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1
        return float((np.abs((2 * ways - 1) @ sizes) >= close).mean())
    lot, rows, far, done = np.random.default_rng(SEED), max(1, AT_ONCE // len(moved)), 0, 0
    while done < FLIPS:
        ways = lot.integers(0, 2, (min(rows, FLIPS - done), len(moved)), dtype=np.int8)
        far += int((np.abs((2 * ways - 1) @ sizes) >= close).sum())
        done += len(ways)
    return (far + 1) / (FLIPS + 1)


def one_size(lead: int, tosses: int) -> float:
    """The chance that heads and tails of so many tosses are that far apart, or farther (McNemar's exact test)."""
    if lead == 0:
        return 1.0
    most = (tosses + lead) // 2
    return min(1.0, 2 * sum(math.comb(tosses, heads) for heads in range(most, tosses + 1)) / 2**tosses)
