"""How a run is doing: each of the curves that a person would frown at gets its own words, and a good one its praise."""

from collections.abc import Sequence

import pytest

from workbench.events import Entry, Eval, Event, Step
from workbench.health import verdict
from workbench.view import View


def seen(losses: Sequence[float | None], evals: Sequence[float] = (), norms: Sequence[float] = ()) -> View:
    """A run with these losses, a step each, validations spread over it, and lengths of gradients."""
    events: list[Event] = [
        Step(step=at, total=len(losses), loss=loss, learning_rate=3e-4, grad_norm=norms[at - 1] if norms else 1.0)
        for at, loss in enumerate(losses, 1)
    ]
    every = len(losses) // max(1, len(evals))
    events += [Eval(step=at * every, loss=loss) for at, loss in enumerate(evals)]
    return View().fold(Entry(at, float(at), event) for at, event in enumerate(events))


def falling(steps: int, first: float = 3.0, last: float = 1.0) -> list[float]:
    return [last + (first - last) * 0.97**at for at in range(steps)]


@pytest.mark.parametrize(
    ("view", "level", "key"),
    [
        (View(), "waiting", "waiting"),
        (seen(falling(5)), "waiting", "early"),
        (seen([*falling(40), None]), "bad", "no_number"),
        (seen([10.9, 10.5, 10.1]), "bad", "guessing"),
        (seen(falling(100), [2.0, 1.5, 1.2, 1.3, 1.4]), "bad", "overfitting"),
        (seen(falling(100), [2.0, 1.5, 1.2, 1.21, 1.19]), "good", "falling_both"),
        (seen([*falling(60), 9.0]), "watch", "spike"),
        (seen(falling(60), norms=[1.0] * 59 + [50.0]), "watch", "explosion"),
        (seen([2.0 + 0.1 * (at % 3) for at in range(80)]), "watch", "no_progress"),
        (seen(falling(60)), "good", "falling"),
        (seen([*falling(60, 3.0, 0.5), *[0.82] * 400]), "good", "settled"),
    ],
)
def test_a_verdict(view: View, level: str, key: str) -> None:
    found = verdict(view)
    assert (found.level, found.message.key) == (level, f"health.{key}")
    assert "{" not in str(found.message)


def test_the_figures_are_those_of_the_curve() -> None:
    assert "best at step 40 (1.200) and is 1.400 now" in str(verdict(seen(falling(100), [2.0, 1.5, 1.2, 1.3, 1.4])).message)
    assert "50 times" in str(verdict(seen(falling(60), norms=[1.0] * 59 + [50.0])).message)
    assert "from about 1." in str(verdict(seen([*falling(60), 9.0])).message)
