"""``train``: a spec from a file and a command line, a run of it, and its progress until it ends."""

from collections.abc import Iterator, Sequence

from workbench import runs
from workbench.checking import Checked, check_train
from workbench.cli import DONE, FAILED
from workbench.cli.flags import given_values, raise_all
from workbench.cli.follow import follow, say_ending, shown_path
from workbench.cli.interrupts import counted
from workbench.cli.overview import command_help, field_help
from workbench.cli.screen import Screen
from workbench.estimates import Say as Needs
from workbench.estimates import changes, estimate, told, told_values
from workbench.estimates.measuring import begin
from workbench.specs import TrainSpec
from workbench.text import Locale, Message, Text
from workbench.view import View
from workbench.workspace import Workspace

MEASURE = "--measure"


class Say:
    title = Text("Train a model; the run shows in the window too.")
    file = Text("SPEC.yaml holds 'key: value' lines, as examples/quickstart.yaml does; without it the fields say all.")
    stop = Text(
        "Ctrl-C finishes the step, saves and stops; pressed again it ends the run at once. The run is a process of its "
        "own: when this terminal is closed or killed, it goes on. 'runs show' finds it again, 'runs stop' stops it."
    )
    measure = Text(
        "--measure begins no run: it takes three steps of it, the longest rows first, and says what memory and time it will "
        "need here. What it finds is used from then on."
    )
    codes = Text("Exit code: 0 finished or stopped, 1 failed, 2 a value is not accepted (one line each on stderr).")
    plan = Text("{rows} rows to learn from, {held} held out, {steps} steps.")
    plan_about = Text("About {rows} rows to learn from, {held} held out, about {steps} steps.")
    created = Text("Run: {folder}")
    would_fit = Text("This would fit: {values}. {costs}")


def title() -> Message:
    return Say.title()


def help(locale: Locale) -> Iterator[str]:
    yield from command_help(
        locale, "train [SPEC.yaml] [key=value ...] [--key value ...] [--measure]", (Say.title, Say.file, Say.measure, Say.stop, Say.codes)
    )
    yield from field_help(locale, TrainSpec.knobs())


def run(words: Sequence[str], workspace: Workspace, screen: Screen) -> int:
    asked = [word for word in words if word != MEASURE]
    values, given = given_values(asked, TrainSpec.knobs(), workspace)
    checked = check_train(workspace, values)
    raise_all(given.problems, checked.problems)
    for warning in checked.warnings:
        screen.warn(warning)
    spec = checked.unwrap()
    if len(asked) < len(words):
        return _measure(checked, workspace, screen)
    with counted() as pressed:
        created = runs.create(workspace, spec)
        _say_plan(checked, created, workspace, screen)
        _say_needs(checked, workspace, screen)
        created.start()
        seen = View()
        state = follow(created, screen, pressed, seen, 0, checked.warnings)
    say_ending(created, screen, seen, state)
    return DONE if state in ("finished", "stopped") else FAILED


def _say_plan(checked: Checked[TrainSpec], created: runs.Run, workspace: Workspace, screen: Screen) -> None:
    planned, said, steps = checked.plan, Say.plan, checked.plan.steps
    if not planned.exact and (needed := estimate(workspace, checked.unwrap(), planned)):
        said, steps = Say.plan_about, needed.steps
    screen.say(said(rows=planned.rows, held=planned.validation_rows, steps=steps))
    screen.say(Say.created(folder=shown_path(created)))


def _measure(checked: Checked[TrainSpec], workspace: Workspace, screen: Screen) -> int:
    """Three steps in a worker, then what the run will need."""
    with counted() as pressed:
        measured, seen = begin(workspace, checked.unwrap()), View()
        state = follow(measured, screen, pressed, seen, 0, checked.warnings)
    if state != "finished":
        say_ending(measured, screen, seen, state)
        return DONE if state == "stopped" else FAILED
    _say_needs(checked, workspace, screen)
    return DONE


def _say_needs(checked: Checked[TrainSpec], workspace: Workspace, screen: Screen) -> None:
    """Time and memory, and what would fit if this does not."""
    spec = checked.unwrap()
    needed = estimate(workspace, spec, checked.plan)
    if needed is None:
        return
    screen.say(told(needed))
    if needed.fits:
        return
    found = changes(workspace, spec, checked.plan)
    for change in found:
        costs = " ".join(screen.locale(cost) for cost in change.costs)
        screen.say(Say.would_fit(values=", ".join(told_values(change.values)), costs=costs))
    if not found:
        screen.say(Needs.nothing_helps())
