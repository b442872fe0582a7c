"""Intervals and verdicts: they cover as often as promised, agree with the exact figures, and know where nothing is said."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from workbench.evaluating import intervals
from workbench.evaluating.intervals import Change, Estimate, bootstrap, compare, estimate, sign_flips, student, wilson

SIMULATIONS, SIZE = 400, 50
Lot = np.random.Generator


def share(at: float) -> Callable[[Lot], Any]:
    return lambda lot: (lot.random(SIZE) < at) * 1.0


DRAWN: dict[str, tuple[Callable[[Lot], Any], float]] = {
    "even": (lambda lot: lot.random(SIZE), 0.5),
    "skewed": (lambda lot: lot.beta(1, 4, SIZE), 0.2),
    "often nothing": (lambda lot: np.where(lot.random(SIZE) < 0.7, 0, lot.random(SIZE)), 0.15),
    "share of a half": (share(0.5), 0.5),
    "small share": (share(0.06), 0.06),
}


@pytest.mark.parametrize("name", DRAWN)
def test_an_interval_covers_the_mean_as_often_as_it_says(name: str) -> None:
    draw, mean = DRAWN[name]
    lot, covered = np.random.default_rng(1), 0
    for _ in range(SIMULATIONS):
        found = estimate(draw(lot).tolist())
        assert found.low is not None and found.high is not None
        covered += found.low <= mean <= found.high
    assert 0.93 <= covered / SIMULATIONS <= 0.98


def paired(lot: Lot, moved: float, binary: bool) -> tuple[list[float], list[float]]:
    """Answers to the same questions before and after, in shares that move by so much."""
    hard = lot.random(SIZE)
    sides = [np.clip((0.6 + by - hard) * 1.5 + lot.normal(0, 0.2, SIZE), 0, 1) for by in (0, moved)]
    return tuple((one > 0.5 if binary else one).astype(float).tolist() for one in sides)  # type: ignore[return-value]


@pytest.mark.parametrize("binary", [False, True])
def test_a_change_is_found_where_there_is_one_and_seldom_where_there_is_none(binary: bool) -> None:
    lot = np.random.default_rng(2)
    idle = [compare(*paired(lot, 0, binary)) for _ in range(200)]
    moved = [compare(*paired(lot, 0.2, binary)) for _ in range(50)]
    assert sum(one.verdict != "same" for one in idle) <= 0.08 * 200
    assert sum(one.low <= 0 <= one.high for one in idle if one.low is not None and one.high is not None) >= 0.92 * 200
    assert sum(one.verdict == "better" for one in moved) >= 0.9 * 50
    assert not any(one.verdict == "worse" for one in moved)


def test_wilson_is_the_textbooks() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_the_bootstrap_is_scipys() -> None:
    from scipy import stats

    values = np.random.default_rng(3).beta(1, 3, 400)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=9_999, method="BCa", rng=np.random.default_rng(4))
    low, high = bootstrap(values.tolist())
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.001)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.001)


@pytest.mark.parametrize(("freedom", "quantile"), [(3, 3.182), (5, 2.571), (10, 2.228), (49, 2.0096), (1000, 1.9623)])
def test_students_quantile(freedom: int, quantile: float) -> None:
    assert student(freedom) == pytest.approx(quantile, rel=0.012)


def test_an_interval_of_many_scores_takes_no_more_memory_and_says_the_same_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(5).random(90).tolist()
    whole = bootstrap(values)
    assert bootstrap(values) == whole
    monkeypatch.setattr(intervals, "AT_ONCE", 1_000)
    assert bootstrap(values) == pytest.approx(whole, abs=0.01)


def exact(changes: list[float]) -> float:
    """Every way of signs, one by one."""
    total = abs(sum(changes))
    ways = itertools.product((-1, 1), repeat=len(changes))
    far = [abs(sum(sign * abs(one) for sign, one in zip(way, changes, strict=True))) >= total - 1e-9 for way in ways]
    return sum(far) / len(far)


@pytest.mark.parametrize(
    "changes",
    [
        [0.5],
        [0.1, 0.2, 0.3],
        [1.0, 1.0, 1.0, -1.0, 0.0],
        [0.1, -0.1, 0.1, 0.1, 0.1, 0.1],
        [0.3, -0.2, 0.5, 0.1, 0.4, -0.05, 0.2, 0.25, 0.15, 0.35],
        [-2.0, -1.0, -3.0, 0.0, -0.5],
    ],
)
def test_few_changes_are_tried_in_every_way(changes: list[float]) -> None:
    assert sign_flips(changes) == pytest.approx(exact(changes))


def test_many_changes_are_tried_at_random_and_come_near() -> None:
    changes = np.random.default_rng(6).normal(0.2, 1, 15).round(3).tolist()
    assert sign_flips(changes) == pytest.approx(exact(changes), abs=0.02)
    assert sign_flips([0.1 + place / 1000 for place in range(300)]) == pytest.approx(1 / 10_001)


def test_right_and_wrong_is_mcnemars_exact_test() -> None:
    from scipy import stats

    before, after = [0.0] * 15 + [1.0] * 5 + [1.0] * 30, [1.0] * 15 + [0.0] * 5 + [1.0] * 30
    found = compare(before, after)
    assert found.p == pytest.approx(stats.binomtest(15, 20).pvalue)
    assert (found.mean, found.count, found.verdict) == (pytest.approx(0.2), 50, "better")
    assert sign_flips([1.0] * 900 + [-1.0] * 900) == 1.0


def test_nothing_to_say_is_said_as_nothing() -> None:
    assert estimate([]) == estimate([None, None]) == estimate([math.nan]) == Estimate(None, None, None, 0)
    assert compare([], []) == compare([None, 1.0], [1.0, None]) == Change(None, None, None, 0, None, "same")


def test_one_score_has_no_interval_but_a_share() -> None:
    assert estimate([0.3]) == Estimate(0.3, None, None, 1)
    found = estimate([1.0])
    assert found.mean == 1 and found.low == pytest.approx(0.2065, abs=1e-4)
    one = compare([0.3], [0.9])
    assert (one.low, one.high, one.p, one.verdict) == (None, None, 1.0, "same")


def test_scores_that_are_all_the_same() -> None:
    assert estimate([0.5] * 9) == Estimate(0.5, None, None, 9), "nine that are alike don't say that no other comes"
    assert estimate([0.5] * 30) == Estimate(0.5, 0.5, 0.5, 30)
    assert estimate([0.0] * 20).high == pytest.approx(0.161, abs=1e-3)
    assert estimate([0.1] * 3).mean == pytest.approx(0.1)


def test_what_could_not_be_said_does_not_count() -> None:
    assert estimate([0.2, None, 0.4, math.inf]).mean == pytest.approx(0.3)
    found = compare([0.1, None, 0.3, 0.5], [0.2, 0.9, None, 0.7])
    assert found.count == 2 and found.mean == pytest.approx(0.15)


def test_two_scores_reach_from_one_to_the_other() -> None:
    assert bootstrap([0.2, 0.6]) == pytest.approx((0.2, 0.6))
    assert bootstrap([0.0, 0.0, 0.9]) == (pytest.approx(0, abs=0.1), pytest.approx(0.9, abs=0.1))


def test_a_model_against_itself_has_no_measurable_difference() -> None:
    scores = np.random.default_rng(7).random(100).tolist()
    found = compare(scores, scores)
    assert (found.mean, found.p, found.verdict) == (0, 1, "same")
    assert found.low is not None and found.high is not None and found.low < 0 < found.high
    assert str(found.words()) == "no measurable difference"


def test_verdicts_in_words_and_the_other_way_round_for_losses() -> None:
    low, high = [0.1 + place / 100 for place in range(20)], [0.5 + place / 90 for place in range(20)]
    assert str(compare(low, high).words()) == "better"
    assert str(compare(high, low).words()) == "worse"
    assert compare(low, high, lower_is_better=True).verdict == "worse"
    assert compare(high, low, lower_is_better=True).verdict == "better"


def test_too_few_answers_are_called_so() -> None:
    found = compare([0.0] * 5, [1.0] * 5)
    assert found.verdict == "same" and found.p == pytest.approx(1 / 16)
    assert str(found.words()) == "no measurable difference: 5 answers are too few to tell"
    assert compare([0.0] * 6, [1.0] * 6).verdict == "better"
    alike = compare([0.5] * 6, [0.25] * 6)
    assert (alike.low, alike.high, alike.verdict) == (None, None, "worse"), "chance alone does it once in 32 times"
    assert compare([0.5] * 5, [0.25] * 5).verdict == "same"


def test_lists_of_other_lengths_are_not_pairs() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compare([0.1, 0.2], [0.1])
