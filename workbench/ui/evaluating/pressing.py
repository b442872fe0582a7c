"""What the left side of Evaluate does: the line, the marks, the preview, Start, and a run that another tab sends here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.checking import Checked
from workbench.data.datasets import read_catalogue
from workbench.problems import Problem, UserError
from workbench.runs import Run, create
from workbench.specs import EvalSpec, Spec
from workbench.ui.asking import box_marks, box_updates, value_names
from workbench.ui.data.room import QUIET, SHARED, filled
from workbench.ui.desk import Arrival, Desk
from workbench.ui.evaluating.asking import SHARED as TOP
from workbench.ui.evaluating.asking import TOLD, Asking, listed, plan_line
from workbench.ui.evaluating.happening import Happening
from workbench.ui.evaluating.preview import Preview
from workbench.ui.evaluating.reporting import bind_reporting
from workbench.ui.evaluating.whom import BROUGHT, brought, trained
from workbench.ui.form import shown
from workbench.ui.loading import answerers, is_run, trained_with

VALUES = "dataset_values"


@dataclass(frozen=True)
class Pressing:
    """Answers the left side's events."""

    asking: Asking
    side: Happening

    @property
    def desk(self) -> Desk:
        return self.asking.desk

    @property
    def told(self) -> list[Any]:
        """What ``tell`` updates."""
        return [self.asking.line, self.asking.names, *self.asking.boxes]

    @property
    def marks(self) -> list[Any]:
        """What ``mark`` updates."""
        asking = self.asking
        return [asking.line, asking.marked, *asking.boxes, *asking.form.components]

    @property
    def picks(self) -> list[Any]:
        """What ``pick`` may update."""
        asking, form = self.asking, self.desk.form
        own = [asking.form.fields[key] for key in ("dataset", *BROUGHT)]
        return [asking.who, asking.line, asking.names, *asking.boxes, *own, *(form.fields[key] for key in TOP)]

    def tell(self, language: str, who: str, names: str, *values: Any) -> list[Any]:
        """The line above Start, and a box for each placeholder of the chosen sets."""
        locale, count = self.desk.locale(language), len(TOP) + len(self.asking.boxes)
        before, now = listed(names), value_names(self.desk, dict(zip(TOLD, values[count:], strict=True)))
        if now == before:
            line = plan_line(self.desk, locale, who or "", self.asking.check_told(who or "", names, values))
            return [line, gr.skip(), *[gr.skip()] * len(self.asking.boxes)]
        typed = filled([before, *values[len(TOP) : count]])
        moved = [*values[: len(TOP)], *(typed.get(name, "") for name in now), *values[len(TOP) + len(now) :]]
        line = plan_line(self.desk, locale, who or "", self.asking.check_told(who or "", json.dumps(now), moved))
        return [line, json.dumps(now), *box_updates(locale, now, typed)]

    def retell(self, language: str, who: str, names: str, *values: Any) -> list[Any]:
        """The same in another language."""
        told = self.tell(language, who, names, *values)
        count = len(TOP) + len(self.asking.boxes)
        now = value_names(self.desk, dict(zip(TOLD, values[count:], strict=True)))
        fresh = box_updates(self.desk.locale(language), now, None) if now == listed(names) else told[2:]
        return [*told[:2], *fresh, self.list_anew(language)]

    def pick(self, language: str, who: str, chosen: Sequence[str]) -> dict[Any, Any]:
        """A run brings its model and template into the bar above, its sets and what fills them where none is chosen."""
        asking, locale = self.asking, self.desk.locale(language)
        updates: dict[Any, Any] = {asking.who: gr.update(choices=answerers(self.desk.workspace, locale), value=who)}
        spec = trained(self.desk.workspace, who)
        if spec is None or not is_run(who):
            return updates
        try:
            values = trained_with(self.desk.workspace, who)
        except UserError as error:
            return {**updates, asking.line: plan_line(self.desk, locale, who, Checked(None, error.problems))}
        updates |= {self.desk.form.fields[key]: values[key] for key in TOP}
        given = brought(spec)
        updates |= {asking.form.fields[key]: shown(asking.form.knobs[key], given[key]) for key in BROUGHT}
        if not chosen or list(chosen) == given["dataset"]:
            names = value_names(self.desk, given)
            updates |= {asking.form.fields["dataset"]: gr.update(value=given["dataset"], choices=self.sets())}
            updates[asking.names] = json.dumps(names)
            updates |= dict(zip(asking.boxes, box_updates(locale, names, given[VALUES]), strict=True))
        return updates

    def wanted(self, wanted: Mapping[str, Any], language: str) -> dict[Any, Any]:
        """What another tab sends: that run, with its own sets."""
        who = str(wanted.get("run") or "")
        return self.pick(language, who, []) if who else {self.asking.who: gr.skip()}

    def mark(self, language: str, who: str, names: str, checked: Checked[EvalSpec], values: Sequence[Any]) -> list[Any]:
        """Every problem beside its field and in the line."""
        asking, locale = self.asking, self.desk.locale(language)
        updates, marked = asking.form.mark(checked.problems, list(asking.form.fields), language)
        unfilled = any(problem.key == VALUES for problem in checked.problems)
        asked, typed = listed(names), values[len(TOP) : len(TOP) + len(asking.boxes)]
        boxes = box_marks(locale, asked, filled([asked, *typed]), unfilled)
        return [plan_line(self.desk, locale, who, checked), marked, *boxes, *updates]

    def start(
        self, kept: Mapping[str, Any], panel: Mapping[str, Any], language: str, who: str, names: str, *values: Any
    ) -> list[Any]:
        """A new evaluation of what the form says, or every problem beside its field."""
        checked, run = self.asking.check(who or "", names, values), None
        if checked.spec is not None:
            run, problems = begin(self.desk, checked.spec)
            checked = Checked(None, problems) if problems else checked
        marks = self.mark(language, who or "", names, checked, values)
        if run is None:
            return [kept, *[gr.skip()] * len(self.side.shown), *marks]
        return [{**kept, "run": run.name}, *self.side.show(run.name, language, int(panel["nudge"]) + 1), *marks]

    def look(self, language: str, who: str, names: str, *values: Any) -> tuple[Checked[EvalSpec], list[Any]]:
        """What the form says, with every problem marked."""
        checked = self.asking.check(who or "", names, values)
        return checked, self.mark(language, who or "", names, checked, values)

    def turn(self, *values: Any) -> list[Any]:
        """The fields that count beside those that decide about them are seen, the others are not."""
        form = self.asking.form
        used = form.used(dict(zip(form.turners, values, strict=True)))
        return [gr.update(visible=key in used) for key in form.turned]

    def list_anew(self, language: str) -> Any:
        """Who can be measured, as the runs are now."""
        return gr.update(choices=answerers(self.desk.workspace, self.desk.locale(language)))

    def sets(self) -> list[str]:
        """The sets that can be chosen."""
        try:
            return list(read_catalogue(self.desk.workspace).entries)
        except UserError:
            return []

    def arrive(self, language: str, prefs: Mapping[str, Any]) -> list[Any]:
        """A visitor finds what can be measured and on what; nothing is chosen yet."""
        locale = self.desk.locale(language)
        line = plan_line(self.desk, locale, "", self.asking.check_told("", "[]", self.blank))
        return [self.list_anew(language), gr.update(choices=self.sets()), line]

    @property
    def blank(self) -> list[Any]:
        """The values of an untouched left side, in the order of ``check_told``."""
        form = self.asking.form
        top = [self.desk.form.fields[key].value for key in TOP]
        return [*top, *[""] * len(self.asking.boxes), *(form.default(key) for key in TOLD)]


def begin(desk: Desk, spec: Spec) -> tuple[Run | None, list[Problem]]:
    """A new run of it, started; or what stands in its way."""
    try:
        run = create(desk.workspace, spec)
        run.start()
    except UserError as error:
        return None, list(error.problems)
    return run, []


def bind_pressing(asking: Asking, side: Happening, preview: Preview) -> None:
    """Everything of the left side."""
    desk, form, press = asking.desk, asking.form, Pressing(asking, side)
    deciding = [asking.who, *(form.fields[key] for key in TOLD), *asking.boxes, *asking.shared]
    gr.on([one.change for one in deciding], press.tell, asking.telling, press.told, **SHARED)
    picked = [desk.language, asking.who, form.fields["dataset"]]
    asking.who.input(press.pick, picked, press.picks, **QUIET)
    asking.who.focus(press.list_anew, desk.language, asking.who, **QUIET)
    form.fields["dataset"].focus(lambda: gr.update(choices=press.sets()), None, form.fields["dataset"], **QUIET)
    desk.evaluate_with.change(press.wanted, [desk.evaluate_with, desk.language], press.picks, **SHARED)
    bind_reporting(asking, side)
    turners, turned = [form.fields[key] for key in form.turners], [form.fields[key] for key in form.turned]
    gr.on([one.change for one in turners], press.turn, turners, turned, **SHARED)
    started = [side.kept, *side.shown, *press.marks]
    asking.start.click(press.start, [side.kept, side.panel, *asking.inputs], started, **QUIET)
    asking.preview.click(preview.show(press.look), [preview.opened, *asking.inputs], [*preview.outputs, *press.marks], **QUIET)
    desk.retellings.append((press.retell, asking.telling, [*press.told, asking.who]))
    desk.arrivals.append(Arrival(press.arrive, [asking.who, form.fields["dataset"], asking.line]))
