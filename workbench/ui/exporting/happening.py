"""The right side of Export: which export, what its buttons do, and the panel. Knows runs, no form."""

import time
from collections.abc import Mapping
from typing import Any

import gradio as gr

from workbench.problems import UserError
from workbench.runs import Run, find_run, list_runs
from workbench.specs import ExportSpec
from workbench.text import Locale, Text
from workbench.ui.data.room import QUIET
from workbench.ui.desk import Desk
from workbench.ui.evaluating.happening import LISTED, refused
from workbench.ui.exporting.panel import Panel
from workbench.ui.exporting.taken import taken
from workbench.ui.side import Side, bind_side
from workbench.wording import STATES

ANSWERING = ("chat", "api")


class Say:
    which = Text("Export")


class Happening(Side):
    """The right side of Export, and what its buttons do."""

    def act(self, name: str | None, language: str, panel: Mapping[str, Any], event: gr.EventData) -> list[Any]:
        """Stop, Resume or Delete, then tell how it is; or let it answer in Chat, or over the API."""
        action = str(event.action)
        try:
            run = find_run(self.desk.workspace, name or "")
            if action in ANSWERING:
                return [*self._answer(run, action), *[gr.skip()] * (1 + len(self.shown))]
            {"stop": Run.stop, "resume": Run.resume, "delete": Run.delete}[action](run)
        except UserError as error:
            raise refused(self.desk.locale(language), error) from None
        return [gr.skip(), gr.skip(), *self.pick(self.newest() if action == "delete" else name, language, panel)]

    def _answer(self, run: Run, action: str) -> list[Any]:
        """To the Chat tab, with what it is to load there."""
        found = taken(run)
        answers = found.answers if found else None
        if answers is None:
            return [gr.skip(), gr.skip()]
        return [gr.update(selected="chat"), {**answers, "api": action == "api", "at": time.time()}]


def export_choices(desk: Desk, locale: Locale) -> list[tuple[str, str]]:
    """Every export with its state in words, the newest first."""
    runs = list_runs(desk.workspace, ExportSpec.JOB)[:LISTED]
    return [(f"{run.short_name}  ·  {locale(STATES[run.state()])}", run.name) for run in runs]


def export_names(desk: Desk) -> list[str]:
    """The names of all of them."""
    return [run.name for run in list_runs(desk.workspace, ExportSpec.JOB)]


def furnish_happening(desk: Desk) -> Happening:
    """The picker and the panel, bound."""
    picker = desk.words(gr.Dropdown, lambda locale: {"label": locale(Say.which)}, elem_id="export-picker", elem_classes=["field"])
    panel, kept = Panel(desk).component(), desk.remember("export")
    side = Happening(desk, picker, panel, kept, export_choices, export_names)
    bind_side(side)
    side.panel.click(side.act, side.which, [desk.tabs, desk.chat_with, side.kept, *side.shown], **QUIET)
    return side
