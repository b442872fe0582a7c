"""What can be done once a run has ended: start again or go on with what would help, or train for more epochs.
Knows no component."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.continuing import begin, extension, read_epochs
from workbench.events import State
from workbench.problems import Cause, UserError
from workbench.remedies import Remedy, beside, cause_of, remedies, told_killed
from workbench.runs import Run
from workbench.specs import TrainSpec
from workbench.text import Locale, Message, Text
from workbench.view import View

HELPED: Collection[Cause] = ("memory", "disk")
"""Causes for which something may help."""


class Say:
    helps = Text("What would help, the cheapest first:")
    again = Text("Apply and start again")
    go_on = Text("Apply and go on")
    becomes = Text("{label}: {before} → {after}")
    nothing = Text("empty")
    longer = Text("Train on for")
    epochs = Text("epochs more")
    train_on = Text("Train on")
    changed = Text("What would help has changed since. Choose again.")


@dataclass(frozen=True)
class After:
    """What is offered below an ended run, as far as it is one of a training."""

    cause: Cause = ""
    killed: Message | None = None
    remedies: Sequence[Remedy] = ()
    more: Sequence[Message] = ()
    """What is said below them."""
    longer: Message | None = None


def after(run: Run, view: View, state: State) -> After:
    """What can be done with the run as it has ended."""
    if state == "finished":
        try:
            return After(longer=extension(run, 1).told)
        except UserError:
            return After()
    cause = cause_of(run, view, state)
    killed = told_killed(run, view) if state == "lost" and cause == "memory" else None
    if cause not in HELPED:
        return After(cause, killed)
    found = remedies(run, cause)
    return After(cause, killed, found, beside(run, cause, found))


def drawn(found: After, locale: Locale) -> dict[str, Any] | None:
    """The same for the panel, in the visitor's language; None where there is nothing to offer."""
    if found.longer:
        words = {"before": locale(Say.longer), "after": locale(Say.epochs), "press": locale(Say.train_on)}
        return {"longer": {**words, "told": locale(found.longer)}}
    if found.cause not in HELPED:
        return None
    lines = [
        {
            "choice": named(one),
            "changes": [_changed(locale, *change) for change in one.differs],
            "told": " ".join(locale(said) for said in one.told),
        }
        for one in found.remedies
    ]
    title = locale(Say.helps) if lines else ""
    press = locale(Say.go_on if any(one.own for one in found.remedies) else Say.again)
    return {"title": title, "remedies": lines, "more": [locale(said) for said in found.more], "press": press}


def _changed(locale: Locale, key: str, before: str, value: str) -> str:
    label = TrainSpec.knobs()[key].label(locale)
    return locale(Say.becomes(label=label, before=before or Say.nothing(), after=value or Say.nothing()))


def named(remedy: Remedy) -> str:
    """What tells a remedy from the others of its run."""
    return ", ".join(f"{key}={value}" for key, _, value in remedy.differs)


def act(run: Run, asked: Mapping[str, Any]) -> Run:
    """Do what a button offers; the run that goes on or was begun. UserError where that can't be."""
    if asked["action"] == "longer":
        return begin(run, extension(run, read_epochs(str(asked["epochs"]))).spec)
    view, state = run.view(), run.state()
    found = remedies(run, cause_of(run, view, state))
    chosen = next((one for one in found if named(one) == asked["choice"]), None)
    if chosen is None:
        raise UserError(Say.changed())
    return chosen.apply(run)
