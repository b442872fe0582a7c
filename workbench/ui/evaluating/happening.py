"""The right side of Evaluate: which evaluation, what its buttons do, and the panel. Knows runs, no form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.problems import UserError
from workbench.runs import Run
from workbench.text import Locale, Text
from workbench.ui.data.room import QUIET
from workbench.ui.desk import Arrival, Desk
from workbench.ui.evaluating.panel import Panel
from workbench.ui.evaluating.reported import anew, delete, find, is_report, listed, state_of, trained_of
from workbench.wording import STATES

LISTED = 200


class Say:
    which = Text("Evaluation")
    report = Text("Report: {run}")


@dataclass
class Happening:
    """The right side's components, and what shows an evaluation in them."""

    desk: Desk
    picker: Any
    panel: Any
    kept: Any
    """What this browser keeps: the evaluation that it looked at last."""

    @property
    def shown(self) -> list[Any]:
        """What ``show`` updates."""
        return [self.picker, self.panel]

    def show(self, name: str, language: str, nudge: int) -> list[Any]:
        """One evaluation; a new ``nudge`` makes the panel ask anew."""
        choices = evaluation_choices(self.desk, self.desk.locale(language))
        return [gr.update(choices=choices, value=name or None), {"run": name, "language": language, "nudge": nudge}]

    def anew(self, name: str | None, language: str, panel: Mapping[str, Any]) -> list[Any]:
        """The same evaluation, told once more."""
        return self.show(name or "", language, int(panel["nudge"]) + 1)

    def pick(self, name: str | None, language: str, panel: Mapping[str, Any]) -> list[Any]:
        return [{"run": name or ""}, *self.anew(name, language, panel)]

    def list_anew(self, language: str) -> Any:
        """The list with the states as they are now."""
        return gr.update(choices=evaluation_choices(self.desk, self.desk.locale(language)))

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

    def newest(self) -> str:
        """The newest evaluation's or report's name; empty when there is none."""
        return next((run.name for run in listed(self.desk.workspace)), "")

    def arrive(self, language: str, prefs: Mapping[str, Any], kept: Mapping[str, Any]) -> list[Any]:
        """The evaluation that this visitor looked at last, else the newest."""
        names = [run.name for run in listed(self.desk.workspace)]
        wanted = str(kept.get("run") or "")
        return self.show(wanted if wanted in names else next(iter(names), ""), language, 1)


def evaluation_choices(desk: Desk, locale: Locale) -> list[tuple[str, str]]:
    """Every evaluation and report with its state in words, the newest first."""
    return [(f"{listing(locale, run)}  ·  {locale(STATES[state_of(run)])}", run.name) for run in listed(desk.workspace)[:LISTED]]


def listing(locale: Locale, run: Run) -> str:
    """An evaluation by its own name, a report by that of the run it is on."""
    return locale(Say.report(run=trained_of(run).short_name)) if is_report(run) else run.short_name


def refused(locale: Locale, error: UserError) -> gr.Error:
    """What is in the way, as the page tells it."""
    return gr.Error(" ".join(locale(problem.message) for problem in error.problems), duration=None)


def furnish_happening(desk: Desk) -> Happening:
    """The picker and the panel, bound."""
    picker = desk.words(gr.Dropdown, lambda locale: {"label": locale(Say.which)}, elem_id="eval-picker", elem_classes=["field"])
    side = Happening(desk, picker, Panel(desk).component(), desk.remember("evaluate"))
    which = [picker, desk.language, side.panel]
    picker.input(side.pick, which, [side.kept, *side.shown], **QUIET)
    picker.focus(side.list_anew, desk.language, picker, **QUIET)
    side.panel.change(side.list_anew, desk.language, picker, **QUIET)
    side.panel.click(side.act, which, [side.kept, *side.shown], **QUIET)
    desk.retellings.append((side.anew, which, side.shown))
    desk.arrivals.append(Arrival(side.arrive, side.shown, [side.kept]))
    return side
