"""``report``: measure a finished run and say what it learned, kept, memorised, and how its answers look."""

from collections.abc import Iterator, Sequence

from workbench import reports
from workbench.checking import check_report
from workbench.cli import DONE, FAILED
from workbench.cli.flags import given_values, raise_all
from workbench.cli.follow import follow, say_ending, shown_path
from workbench.cli.interrupts import counted
from workbench.cli.overview import command_help, field_help
from workbench.cli.screen import Screen
from workbench.reporting import LIGHTS, READABLE, TITLES
from workbench.reporting.card import parts_of
from workbench.runs import Run
from workbench.specs import ReportSpec
from workbench.text import Locale, Message, Text
from workbench.view import View
from workbench.workspace import Workspace


class Say:
    title = Text("Report on a finished run: what it learned, what it kept, whether it learned by heart, how its answers look.")
    name = Text("RUN is a run's folder, its path inside saves/, or the end of that path.")
    stop = Text("Ctrl-C ends it; what was asked is kept: the same command goes on there.")
    file = Text("The whole report: {file}")
    part = Text("{title}: {light}. {verdict}")
    advice = Text("    next: {advice}")


def title() -> Message:
    return Say.title()


def help(locale: Locale) -> Iterator[str]:
    yield from command_help(locale, "report RUN [key=value ...] [--key value ...]", (Say.title, Say.name, Say.stop))
    yield from field_help(locale, ReportSpec.knobs())


def run(words: Sequence[str], workspace: Workspace, screen: Screen) -> int:
    named = list(words[:1]) if words and "=" not in words[0] and not words[0].startswith("-") else []
    values, given = given_values(words[len(named) :], ReportSpec.knobs(), workspace)
    values = {"report_lang": screen.locale.name, **values, **({"report_run": named[0]} if named else {})}
    checked = check_report(workspace, values)
    raise_all(given.problems, checked.problems)
    with counted() as pressed:
        made = reports.begin(workspace, checked.unwrap())
        seen = View()
        state = follow(made, screen, pressed, seen, 0, checked.warnings)
    if state != "finished":
        say_ending(made, screen, seen, state)
        return DONE if state == "stopped" else FAILED
    held = reports.read(Run(workspace, made.folder.parent))
    for part in parts_of(held or {"parts": []}):
        screen.say(Say.part(title=TITLES[part.name](), light=LIGHTS[part.light](), verdict=part.verdict))
        for advice in part.advice:
            screen.say(Say.advice(advice=advice))
    screen.say(Say.file(file=f"{shown_path(made).rpartition('/')[0]}/{READABLE}"))
    return DONE
