"""How a run is doing, in words, judged by its curves alone. Knows no page, no model and no run's folder."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.text import Message, Text
from workbench.view import Curve, View

GUESSING_LOSS = 7.0
"""A model that fits its tokenizer and template starts below; guessing among 1,100 words or more starts above."""
EARLY_STEPS = 30
SPIKE = 2.0
EXPLOSION = 20.0
RISE = 1.03
LITTLE = 0.02
Level = Literal["waiting", "good", "watch", "bad"]


class Say:
    waiting = Text("No step has been made yet.")
    early = Text("Too early to tell: {steps} steps so far.")
    no_number = Text(
        "The loss is no number any more, so the weights are spoiled. Stop; begin anew with a lower learning rate "
        "(a third of {rate}) or more warm-up."
    )
    guessing = Text(
        "The first loss was {loss}: the model guesses, so template, tokenizer and weights do not fit each other. Stop and "
        "look at the rows as the model sees them; choose the template that the model was trained with."
    )
    explosion = Text(
        "The gradient is {times} times as long as usual. If it stays so, the loss will run away: lower the learning rate "
        "or set 'Gradient clipping' to 1 or less."
    )
    spike = Text("The loss jumped from about {usual} to {now}. One such jump mends itself; several call for a lower rate.")
    overfitting = Text(
        "Validation was best at step {step} ({best}) and is {now} now, while the training loss still falls: the model "
        "learns the rows by heart. Stop here, or begin anew with fewer epochs, a lower rate, or more rows."
    )
    no_progress = Text(
        "The loss is still {now} after {steps} steps; it began at {first}. Raise the learning rate, or see whether the "
        "answers can be learned from their questions at all."
    )
    falling = Text("Learning well: the loss fell from {first} to {now}.")
    falling_both = Text("Learning well: the loss fell from {first} to {now}, and validation from {began} to {tried}.")
    settled = Text("The loss has settled at {now}; it began at {first}.")


@dataclass(frozen=True)
class Verdict:
    """One judgement. ``waiting``: nothing to judge; ``watch``: look again soon; ``bad``: stop and change something."""

    level: Level
    message: Message


def verdict(view: View) -> Verdict:
    """The most serious thing that the curves say, else how well it learns."""
    if not view.step.step:
        return Verdict("waiting", Say.waiting())
    for look in LOOKS:
        found = look(view)
        if found is not None:
            return found
    if view.step.step < EARLY_STEPS:
        return Verdict("waiting", Say.early(steps=view.step.step))
    return _progress(view)


def _no_number(view: View) -> Verdict | None:
    if view.step.loss is not None:
        return None
    return Verdict("bad", Say.no_number(rate=f"{view.learning_rate.values[0]:.1e}" if view.learning_rate.values else "-"))


def _guessing(view: View) -> Verdict | None:
    first = view.loss.values[0]
    return Verdict("bad", Say.guessing(loss=f"{first:.1f}")) if first > GUESSING_LOSS else None


def _overfitting(view: View) -> Verdict | None:
    """Validation has risen for two measurements in a row, clearly over its best, while training falls."""
    values = view.eval.values
    if len(values) < 4:
        return None
    at = min(range(len(values)), key=values.__getitem__)
    risen = at < len(values) - 2 and values[-1] > values[-2] * 0.999 and values[-1] > values[at] * RISE
    smoothed = view.loss.smoothed()
    if not risen or smoothed[-1] >= smoothed[len(smoothed) // 2]:
        return None
    said = Say.overfitting(step=view.eval.steps[at], best=f"{values[at]:.3f}", now=f"{values[-1]:.3f}")
    return Verdict("bad", said)


def _explosion(view: View) -> Verdict | None:
    usual, now = _usual(view.grad_norm)
    if usual is None or now <= usual * EXPLOSION:
        return None
    return Verdict("watch", Say.explosion(times=f"{now / usual:.0f}"))


def _spike(view: View) -> Verdict | None:
    usual, now = _usual(view.loss)
    if usual is None or now <= max(usual * SPIKE, usual + 1):
        return None
    return Verdict("watch", Say.spike(usual=f"{usual:.2f}", now=f"{now:.2f}"))


LOOKS: Sequence[Callable[[View], Verdict | None]] = (_no_number, _guessing, _overfitting, _explosion, _spike)
"""From the most to the least serious."""


def _usual(curve: Curve) -> tuple[float | None, float]:
    """The median of the points before the last one, at most 50 of them, and the last; None while there are few."""
    before = curve.values[-51:-1]
    return (statistics.median(before) if len(before) >= 10 else None), curve.values[-1] if curve.values else 0.0


def _progress(view: View) -> Verdict:
    smoothed = view.loss.smoothed()
    tenth = max(1, len(smoothed) // 10)
    first, now = statistics.mean(view.loss.values[:tenth]), smoothed[-1]
    words = {"first": f"{first:.2f}", "now": f"{now:.2f}"}
    if now > first * (1 - LITTLE):
        return Verdict("watch", Say.no_progress(steps=view.step.step, **words))
    if len(view.eval.values) > 1 and view.eval.values[-1] < view.eval.values[0]:
        tried = {"began": f"{view.eval.values[0]:.2f}", "tried": f"{view.eval.values[-1]:.2f}"}
        return Verdict("good", Say.falling_both(**words, **tried))
    recent = smoothed[-max(2, len(smoothed) // 4) :]
    if abs(recent[0] - now) < LITTLE * recent[0]:
        return Verdict("good", Say.settled(**words))
    return Verdict("good", Say.falling(**words))
