"""What the left side of Export does: the line, the marks, the preview, Start, and a run that another tab sends here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.checking import Checked
from workbench.models import model_name
from workbench.problems import UserError
from workbench.specs import ExportSpec
from workbench.ui.data.room import QUIET, SHARED
from workbench.ui.desk import Arrival, Desk, over
from workbench.ui.evaluating.pressing import begin
from workbench.ui.evaluating.preview import Preview
from workbench.ui.evaluating.whom import BROUGHT, trained
from workbench.ui.exporting.asking import SHARED as TOP
from workbench.ui.exporting.asking import Asking, exportable, plan_line, told
from workbench.ui.exporting.destinations import CHOOSER, destination
from workbench.ui.exporting.happening import Happening
from workbench.ui.form import shown
from workbench.ui.loading import is_run, trained_with


@dataclass(frozen=True)
class Pressing:
    """Answers the left side's events."""

    asking: Asking
    side: Happening

    @property
    def desk(self) -> Desk:
        return self.asking.desk

    @property
    def marks(self) -> list[Any]:
        """What ``mark`` updates."""
        return [self.asking.line, self.asking.marked, *self.asking.form.components]

    @property
    def picks(self) -> list[Any]:
        """What ``pick`` may update."""
        asking = self.asking
        own = [asking.form.fields[key] for key in BROUGHT]
        return [asking.who, asking.others, asking.line, *own, *asking.shared]

    def tell(self, language: str, who: str, where: str, others: Sequence[str], *values: Any) -> str:
        """The line above Start."""
        checked = self.asking.check(who or "", where, others, values)
        return plan_line(self.desk, self.desk.locale(language), checked)

    def retell(self, language: str, who: str, where: str, others: Sequence[str], *values: Any) -> list[Any]:
        """The same in another language, with what the destination means."""
        locale = self.desk.locale(language)
        return [self.tell(language, who, where, others, *values), told(locale, destination(where)), self.list_anew(language)]

    def go(self, language: str, where: str, *values: Any) -> list[Any]:
        """Another destination: its words, its format and usual values, the fields that matter there."""
        form, place = self.asking.form, destination(where)
        flat = {**dict(zip(form.turners, values, strict=True)), **place.usual, CHOOSER: place.offered[0]}
        updates = dict(zip(form.fields, self._seen(where, flat), strict=True))
        for key, value in place.usual.items():
            updates[key] = over(updates[key], shown(form.knobs[key], value))
        updates[CHOOSER] = over(updates[CHOOSER], gr.update(choices=place.offered, value=place.offered[0]))
        return [told(self.desk.locale(language), place), *updates.values()]

    def turn(self, where: str, *values: Any) -> list[Any]:
        """The fields that count beside those that decide about them are seen, the others are not."""
        return self._seen(where, dict(zip(self.asking.form.turners, values, strict=True)))

    def _seen(self, where: str, flat: Mapping[str, Any]) -> list[Any]:
        form, place = self.asking.form, destination(where)
        used = form.used(flat)
        return [gr.update(visible=key in used and place.shows(key)) for key in form.fields]

    def pick(self, language: str, who: str) -> dict[Any, Any]:
        """A run brings its model and template into the bar above, and what it said to the model first."""
        asking, locale = self.asking, self.desk.locale(language)
        updates: dict[Any, Any] = {asking.who: gr.update(choices=exportable(self.desk, locale), value=who)}
        if not is_run(who):
            return {**updates, asking.others: gr.update(choices=[], value=[])}
        try:
            values = trained_with(self.desk.workspace, who)
        except UserError as error:
            return {**updates, asking.line: plan_line(self.desk, locale, Checked(None, error.problems))}
        updates |= {self.desk.form.fields[key]: values[key] for key in TOP if key in values}
        updates[asking.others] = gr.update(choices=self._beside(who, str(values["model_name_or_path"])), value=[])
        spec = trained(self.desk.workspace, who)
        flat = spec.flat() if spec else {}
        return updates | {asking.form.fields[key]: shown(asking.form.knobs[key], flat[key]) for key in BROUGHT if key in flat}

    def _beside(self, who: str, model: str) -> list[tuple[str, str]]:
        """The other runs that learned over the same base."""
        found = []
        for words, one in exportable(self.desk, self.desk.locale("")):
            spec = trained(self.desk.workspace, one) if one != who else None
            if spec and model_name(spec.model.model_name_or_path) == model_name(model) and spec.tuning.ADAPTER:
                found.append((words, f"saves/{one}"))
        return found

    def wanted(self, wanted: Mapping[str, Any], language: str) -> dict[Any, Any]:
        """What another tab sends."""
        who = str(wanted.get("run") or "")
        return self.pick(language, who) if who else {self.asking.who: gr.skip()}

    def mark(self, language: str, checked: Checked[ExportSpec]) -> list[Any]:
        """Every problem beside its field and in the line."""
        form = self.asking.form
        updates, marked = form.mark(checked.problems, list(form.fields), language)
        return [plan_line(self.desk, self.desk.locale(language), checked), marked, *updates]

    def look(self, language: str, who: str, where: str, others: Sequence[str], *values: Any) -> tuple[Checked[ExportSpec], list[Any]]:
        """What the form says, with every problem marked."""
        checked = self.asking.check(who or "", where, others, values)
        return checked, self.mark(language, checked)

    def start(self, kept: Mapping[str, Any], panel: Mapping[str, Any], language: str, *values: Any) -> list[Any]:
        """A new export of what the form says, or every problem beside its field."""
        checked, marks = self.look(language, *values)
        if checked.spec is not None:
            run, problems = begin(self.desk, checked.spec)
            if run is not None:
                return [{**kept, "run": run.name}, *self.side.show(run.name, language, int(panel["nudge"]) + 1), *marks]
            marks = self.mark(language, Checked(None, problems))
        return [kept, *[gr.skip()] * len(self.side.shown), *marks]

    def list_anew(self, language: str) -> Any:
        """What can be exported, as the runs are now."""
        return gr.update(choices=exportable(self.desk, self.desk.locale(language)))

    def arrive(self, language: str, prefs: Mapping[str, Any]) -> list[Any]:
        """A visitor finds what can be exported; nothing is chosen yet."""
        where = destination(self.asking.where.value)
        top = [self.desk.form.fields[key].value for key in TOP]
        own = [component.value for component in self.asking.form.components]
        line = self.tell(language, "", where.name, [], *top, *own)
        return [self.list_anew(language), line, told(self.desk.locale(language), where)]


def bind_pressing(asking: Asking, side: Happening, preview: Preview) -> None:
    """Everything of the left side."""
    desk, form, press = asking.desk, asking.form, Pressing(asking, side)
    deciding = [asking.who, asking.where, asking.others, *asking.shared, *form.components]
    gr.on([one.change for one in deciding], press.tell, asking.inputs, asking.line, **SHARED)
    turners = [form.fields[key] for key in form.turners]
    asking.where.input(press.go, [desk.language, asking.where, *turners], [asking.told, *form.components], **QUIET)
    gr.on([one.input for one in turners], press.turn, [asking.where, *turners], form.components, **SHARED)
    asking.who.input(press.pick, [desk.language, asking.who], press.picks, **QUIET)
    asking.who.focus(press.list_anew, desk.language, asking.who, **QUIET)
    desk.export_with.change(press.wanted, [desk.export_with, desk.language], press.picks, **SHARED)
    started = [side.kept, *side.shown, *press.marks]
    asking.start.click(press.start, [side.kept, side.panel, *asking.inputs], started, **QUIET)
    asking.preview.click(preview.show(press.look), [preview.opened, *asking.inputs], [*preview.outputs, *press.marks], **QUIET)
    desk.retellings.append((press.retell, asking.inputs, [asking.line, asking.told, asking.who]))
    desk.arrivals.append(Arrival(press.arrive, [asking.who, asking.line, asking.told]))
