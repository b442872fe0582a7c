"""The right side of Evaluate: which evaluation, what its buttons do, and the panel. Knows runs, no form."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from workbench.problems import UserError
from workbench.runs import Run
from workbench.text import Locale, Text
from workbench.ui.data.room import QUIET
from workbench.ui.desk import TOLD_S, Desk
from workbench.ui.evaluating.panel import Panel
from workbench.ui.evaluating.reported import anew, delete, find, is_report, listed, state_of, trained_of
from workbench.ui.side import Side, bind_side
from workbench.wording import STATES

LISTED = 200


class Say:
    which = Text("Evaluation")
    report = Text("Report: {run}")


class Happening(Side):
    """The right side of Evaluate, and what its buttons do."""

    def act(self, name: str | None, language: str, panel: Mapping[str, Any], event: gr.EventData) -> list[Any]:
        """Stop, Resume, Delete or Make anew, then tell how it is."""
        try:
            run = find(self.desk.workspace, name or "")
            match event.action:
                case "again" if is_report(run):
                    anew(run, language)
                case "delete" if is_report(run):
                    delete(run)
                case action:
                    {"stop": Run.stop, "resume": Run.resume, "delete": Run.delete}[str(action)](run)
        except UserError as error:
            raise refused(self.desk.locale(language), error) from None
        left = self.newest() if event.action == "delete" else name
        return self.pick(left, language, panel)


def evaluation_choices(desk: Desk, locale: Locale) -> list[tuple[str, str]]:
    """Every evaluation and report with its state in words, the newest first."""
    return [(f"{listing(locale, run)}  ·  {locale(STATES[state_of(run)])}", run.name) for run in listed(desk.workspace)[:LISTED]]


def evaluation_names(desk: Desk) -> list[str]:
    """The names of the same, all of them."""
    return [run.name for run in listed(desk.workspace)]


def listing(locale: Locale, run: Run) -> str:
    """An evaluation by its own name, a report by that of the run it is on."""
    return locale(Say.report(run=trained_of(run).short_name)) if is_report(run) else run.short_name


def refused(locale: Locale, error: UserError) -> gr.Error:
    """What is in the way, as the page tells it."""
    return gr.Error(" ".join(locale(problem.message) for problem in error.problems), duration=TOLD_S)


def furnish_happening(desk: Desk) -> Happening:
    """The picker and the panel, bound."""
    picker = desk.words(gr.Dropdown, lambda locale: {"label": locale(Say.which)}, elem_id="eval-picker", elem_classes=["field"])
    panel, kept = Panel(desk).component(), desk.remember("evaluate")
    side = Happening(desk, picker, panel, kept, evaluation_choices, evaluation_names)
    bind_side(side)
    side.panel.click(side.act, side.which, [side.kept, *side.shown], **QUIET)
    return side
