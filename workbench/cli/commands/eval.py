"""``eval``: a spec from a file and a command line, an evaluation of it, and what came out. Ends no run by itself."""

from collections.abc import Iterator, Sequence

from workbench import runs
from workbench.checking import check_eval
from workbench.cli import DONE, FAILED
from workbench.cli.flags import given_values, raise_all
from workbench.cli.follow import follow, say_ending, shown_path
from workbench.cli.interrupts import counted
from workbench.cli.overview import command_help, field_help
from workbench.cli.screen import Screen
from workbench.specs import EvalSpec
from workbench.text import Locale, Message, Text
from workbench.view import View
from workbench.workspace import Workspace


class Say:
    title = Text("Evaluate a model: its answers, its loss, benchmarks; what training left beside the base.")
    file = Text("SPEC.yaml holds 'key: value' lines, as examples/evaluate.yaml does; without it the fields say all.")
    stop = Text("Ctrl-C ends it; what was asked is kept: 'runs resume' goes on there, and asks nothing twice.")
    created = Text("Run: {folder}")
    files = Text("Every answer and figure: {folder}")


def title() -> Message:
    return Say.title()


def help(locale: Locale) -> Iterator[str]:
    sentences = (Say.title, Say.file, Say.stop)
    yield from command_help(locale, "eval [SPEC.yaml] [key=value ...] [--key value ...]", sentences)
    yield from field_help(locale, EvalSpec.knobs())


def run(words: Sequence[str], workspace: Workspace, screen: Screen) -> int:
    values, given = given_values(words, EvalSpec.knobs(), workspace)
    checked = check_eval(workspace, values)
    raise_all(given.problems, checked.problems)
    for warning in checked.warnings:
        screen.warn(warning)
    with counted() as pressed:
        created = runs.create(workspace, checked.unwrap())
        screen.say(Say.created(folder=shown_path(created)))
        created.start()
        seen = View()
        state = follow(created, screen, pressed, seen, 0, checked.warnings)
    say_ending(created, screen, seen, state)
    if state == "finished":
        screen.say(Say.files(folder=shown_path(created)))
    return DONE if state in ("finished", "stopped") else FAILED
