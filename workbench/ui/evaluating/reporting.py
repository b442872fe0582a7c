"""The Report button: begins a report of the run that is picked, goes on with one, or shows it. Knows no part of a card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.checking import Checked, check_report
from workbench.problems import UserError
from workbench.runs import Run
from workbench.specs import ReportSpec
from workbench.ui.data.room import QUIET, SHARED
from workbench.ui.desk import Desk
from workbench.ui.evaluating.asking import Asking, plan_line, problem_line
from workbench.ui.evaluating.happening import Happening, refused
from workbench.ui.evaluating.reported import asked_for, opened
from workbench.ui.evaluating.whom import trained


@dataclass(frozen=True)
class Reporting:
    """Answers the presses that ask for a report."""

    asking: Asking
    side: Happening

    @property
    def desk(self) -> Desk:
        return self.asking.desk

    @property
    def outputs(self) -> list[Any]:
        """What ``press`` updates."""
        return [self.side.kept, *self.side.shown, self.asking.line, *self.asking.report_form.components]

    def offer(self, who: str) -> Any:
        """The button is there for a whole training run, not for one of its checkpoints."""
        whole = not who.rpartition("/")[2].startswith("checkpoint-") if who else False
        return gr.update(visible=whole and trained(self.desk.workspace, who) is not None)

    @property
    def inputs(self) -> list[Any]:
        """What ``press`` takes, in its order."""
        return [self.side.kept, self.side.panel, *self.asking.report_form.components, *self.asking.telling]

    def press(self, kept: Mapping[str, Any], panel: Mapping[str, Any], *values: Any) -> list[Any]:
        """The report on the right, or every problem beside its field and in the line above Start."""
        form, count = self.asking.report_form, len(self.asking.report_form.fields)
        language, who, names, *told = values[count:]
        locale = self.desk.locale(language)
        made, checked = self._made(who or "", language, values[:count])
        updates, _ = form.mark(checked.problems, list(form.fields), language)
        if made is None:
            return [gr.skip(), *[gr.skip()] * len(self.side.shown), problem_line(locale, checked.problems), *updates]
        line = plan_line(self.desk, locale, who, self.asking.check_told(who, names, told))
        return [*self._show(made, kept, panel, language), line, *updates]

    def _made(self, who: str, language: str, values: Sequence[Any]) -> tuple[Run | None, Checked[ReportSpec]]:
        """As the form asks; untouched, it asks for the report as it is."""
        form, workspace = self.asking.report_form, self.desk.workspace
        flat = form.flat(values)
        checked = check_report(workspace, {**flat, "report_run": who, "report_lang": language})
        if checked.spec is None:
            return None, checked
        try:
            changed = form.changed(dict(zip(form.fields, values, strict=True)))
            return asked_for(workspace, checked.spec) if changed else opened(workspace, who, language), checked
        except UserError as error:
            return None, Checked(None, error.problems)

    def wanted(self, wanted: Mapping[str, Any], kept: Mapping[str, Any], panel: Mapping[str, Any], language: str) -> list[Any]:
        """What another tab asks for."""
        if not wanted.get("report"):
            return [gr.skip()] * (1 + len(self.side.shown))
        try:
            made = opened(self.desk.workspace, str(wanted.get("run") or ""), language)
        except UserError as error:
            raise refused(self.desk.locale(language), error) from None
        return self._show(made, kept, panel, language)

    def _show(self, made: Run, kept: Mapping[str, Any], panel: Mapping[str, Any], language: str) -> list[Any]:
        return [{**kept, "run": made.name}, *self.side.show(made.name, language, int(panel["nudge"]) + 1)]


def bind_reporting(asking: Asking, side: Happening) -> None:
    """The button of this tab, and the one of Train."""
    desk, report = asking.desk, Reporting(asking, side)
    asking.who.change(report.offer, asking.who, asking.report, **SHARED)
    asking.report.click(report.press, report.inputs, report.outputs, **QUIET)
    desk.evaluate_with.change(
        report.wanted, [desk.evaluate_with, side.kept, side.panel, desk.language], [side.kept, *side.shown], **SHARED
    )
