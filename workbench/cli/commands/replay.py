"""``replay``: train a bundled run again from its spec, and say whether the losses are the same. Changes no other run."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from workbench import runs
from workbench.checking import check_train
from workbench.cli import DONE, FAILED
from workbench.cli.flags import raise_all
from workbench.cli.follow import follow, say_ending, shown_path
from workbench.cli.interrupts import counted
from workbench.cli.overview import command_help
from workbench.cli.screen import Screen
from workbench.exporting.unbundle import (
    Bundle,
    Match,
    bundled_losses,
    compare,
    differences,
    losses,
    reaching,
    read,
    to_train,
)
from workbench.fields import plain
from workbench.problems import UserError
from workbench.specs import TrainSpec
from workbench.text import Locale, Message, Text
from workbench.view import View
from workbench.workspace import Workspace

CHECK, TRUST, WITHIN = "--check", "--trust", "--within"


class Say:
    title = Text("Train a bundled run again, and say whether its losses come out the same.")
    what = Text(
        "BUNDLE.zip is what 'runs bundle' wrote. It is checked first; then it is said what differs here from where it was made: "
        "libraries, machine, base model, rows. The base model must be here under the name in the spec, or on its hub."
    )
    check = Text("--check says what differs and trains nothing.")
    within = Text("--within 0.01 takes losses for the same that differ by up to 1 percent. Without it they must be equal to the last bit.")
    trust = Text("--trust lets the bundle run code of its model and speak to the addresses in its spec; without it such a one is refused.")
    codes = Text("Exit code: 0 the losses are the same, 1 they are not or the run failed, 2 the bundle is not accepted.")
    one = Text("{count} bundles are named. Accepted: one. Write replay BUNDLE.zip.")
    bad_flag = Text("'{given}' is no flag of replay. Accepted: {known}. Take it out.")
    bad_share = Text("--within is '{given}'. Accepted: a number from 0 to 1. Write, for example, --within 0.01.")
    holds = Text("The bundle of {run} is whole: {files} files.")
    alike = Text("Nothing differs here from where it was made.")
    created = Text("Run: {folder}")
    nothing = Text("The bundle or the run says no losses, so there is nothing to compare.")
    equal = Text("The losses are the same: all {steps} steps, to the last bit.")
    near = Text("The losses are the same within {share}: {steps} steps, furthest apart at step {at}.")
    apart = Text("The losses are NOT the same: {steps} steps, up to {share} apart, at step {at}.")
    others = Text("The losses are NOT the same: {count} steps stand in one of the two runs alone.")


def title() -> Message:
    return Say.title()


def help(locale: Locale) -> Iterator[str]:
    sentences = (Say.title, Say.what, Say.check, Say.within, Say.trust, Say.codes)
    yield from command_help(locale, "replay BUNDLE.zip [--check] [--within SHARE] [--trust]", sentences)


def run(words: Sequence[str], workspace: Workspace, screen: Screen) -> int:
    share, words = _share(words)
    flags = [word for word in words if word.startswith("-")]
    names = [word for word in words if not word.startswith("-")]
    if odd := [flag for flag in flags if flag not in (CHECK, TRUST)]:
        raise UserError(Say.bad_flag(given=plain(odd[0]), known=f"{CHECK}, {WITHIN}, {TRUST}"))
    if len(names) != 1:
        raise UserError(Say.one(count=len(names)))
    bundle = read(Path(names[0]))
    screen.say(Say.holds(run=bundle.facts.run, files=len(bundle.names)))
    found = list(differences(workspace, bundle))
    for message in found:
        screen.warn(message)
    if not found:
        screen.say(Say.alike())
    if CHECK not in flags:
        return _train(bundle, to_train(workspace, bundle, TRUST in flags), share, workspace, screen)
    if TRUST not in flags and (said := reaching(bundle.spec)):
        screen.warn(said)
    return DONE


def _share(words: Sequence[str]) -> tuple[float, list[str]]:
    """What ``--within`` says, and the words without it."""
    joined = [part for word in words for part in (word.split("=", 1) if word.startswith(f"{WITHIN}=") else [word])]
    if WITHIN not in joined:
        return 0.0, joined
    at = joined.index(WITHIN)
    given = joined[at + 1] if at + 1 < len(joined) else ""
    try:
        share = float(given)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UserError(Say.bad_share(given=plain(given)))
    return share, [*joined[:at], *joined[at + 2 :]]


def _train(bundle: Bundle, spec: TrainSpec, share: float, workspace: Workspace, screen: Screen) -> int:
    """The new run to its end, then both losses side by side."""
    checked = check_train(workspace, spec.flat())
    raise_all((), checked.problems)
    with counted() as pressed:
        created = runs.create(workspace, checked.unwrap())
        screen.say(Say.created(folder=shown_path(created)))
        created.start()
        seen = View()
        state = follow(created, screen, pressed, seen, 0, ())
    say_ending(created, screen, seen, state)
    if state != "finished":
        return FAILED
    match = compare(bundled_losses(bundle), losses(created.events))
    screen.say(verdict(match, share))
    return DONE if match.within(share) else FAILED


def verdict(match: Match, share: float) -> Message:
    """Whether the losses are the same, and by how much they are not."""
    if not match.steps:
        return Say.nothing()
    if match.equal:
        return Say.equal(steps=match.steps)
    if match.missing:
        return Say.others(count=match.missing)
    said = Say.near if match.within(share) else Say.apart
    return said(steps=match.steps, share=f"{100 * match.furthest:.2g} %", at=match.at)
