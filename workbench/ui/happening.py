"""The right side of Train: which run, its buttons, and the live panel. Knows runs and their states, no job."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from workbench.checking import Checked
from workbench.problems import Problem, UserError
from workbench.runs import Run, create, find_run, list_runs
from workbench.text import Locale, Text
from workbench.ui.aftermath import act
from workbench.ui.asking import Asking, box_marks, told_line
from workbench.ui.desk import TOLD_S, Arrival, Desk
from workbench.ui.live import Live
from workbench.wording import STATES

LISTED_RUNS = 200
TWICE_S = 5.0
"""A second press on Start within so long means the same run."""


class Say:
    run = Text("Run")
    stop = Text("Stop")
    stop_now = Text("Stop now")
    resume = Text("Resume")
    chat = Text("Chat with it")
    evaluate = Text("Evaluate it")
    report = Text("Report")
    export = Text("Export")


@dataclass
class Happening:
    """The right side's components, and what each press and each news of the run does to them."""

    desk: Desk
    asking: Asking
    picker: Any
    stop: Any
    resume: Any
    chat: Any
    evaluate: Any
    report: Any
    export: Any
    panel: Any

    @property
    def shown(self) -> list[Any]:
        """What ``show`` updates."""
        return [*self.heads, self.panel]

    @property
    def heads(self) -> list[Any]:
        """What ``head`` updates."""
        return [self.picker, self.stop, self.resume, self.chat, self.evaluate, self.report, self.export]

    def show(self, name: str | None, language: str, nudge: int) -> list[Any]:
        """Everything on the right for one run; a new ``nudge`` makes the panel ask anew."""
        run = _run(self.desk, name)
        value = {"run": run.name if run else "", "language": language, "nudge": nudge}
        head = self.head(name, language)
        return [gr.update(choices=head[0]["choices"], value=run.name if run else None), *head[1:], value]

    def head(self, name: str | None, language: str) -> list[Any]:
        """The picker's entries and the buttons, as the runs are now."""
        locale = self.desk.locale(language)
        return [gr.update(choices=run_choices(self.desk, locale)), *_buttons(_run(self.desk, name), locale)]

    def news(self, name: str | None, language: str, names: list[str], *values: Any) -> list[Any]:
        """What a change of the run's state changes: the picker, the buttons, and what the line above Start warns of."""
        checked = self.asking.check(names, values)
        return [*self.head(name, language), told_line(self.desk.locale(language), checked)]

    def anew(self, name: str, language: str, value: dict[str, Any]) -> list[Any]:
        """The same run, told once more."""
        return self.show(name, language, int(value["nudge"]) + 1)

    def pick(self, name: str, language: str, value: dict[str, Any], prefs: dict[str, Any]) -> list[Any]:
        return [{**prefs, "run": name or ""}, *self.anew(name, language, value)]

    def press(self, action: Callable[[Run], None], name: str, language: str, value: dict[str, Any]) -> list[Any]:
        """Do something to the run, then tell how it is."""
        run = _run(self.desk, name)
        if run is not None:
            try:
                action(run)
            except UserError as error:
                # No error: that would leave the run as it was last told, which is why it was pressed.
                gr.Warning(_words(self.desk.locale(language), error), duration=TOLD_S)
        return self.anew(name, language, value)

    def follow_up(self, prefs: dict[str, Any], language: str, value: dict[str, Any], event: gr.EventData) -> list[Any]:
        """A new run that goes on from the one shown: with what would help, or for more epochs."""
        try:
            asked = {"action": event.action, "choice": event.choice if event.action == "again" else "", "epochs": event.epochs}
            begun = act(find_run(self.desk.workspace, str(event.run)), asked)
        except UserError as error:
            raise gr.Error(_words(self.desk.locale(language), error), duration=TOLD_S) from None
        return [{**prefs, "run": begun.name}, *self.anew(begun.name, language, value)]

    def start(
        self, prefs: dict[str, Any], value: dict[str, Any], language: str, names: list[str], *values: Any
    ) -> list[Any]:
        """A new run from the form, or every problem beside its field."""
        desk, asking, run = self.desk, self.asking, None
        checked = asking.check(names, values)
        if checked.spec is not None:
            run, problems = _start(desk, checked.spec)
            checked = Checked(None, problems) if problems else checked
        updates, marked = desk.form.mark(checked.problems, list(desk.form.fields), language)
        locale, filled = desk.locale(language), asking.flat(names, values)["dataset_values"]
        unfilled = any(problem.key == "dataset_values" for problem in checked.problems)
        boxes = box_marks(locale, names, filled, unfilled)
        asked = [told_line(locale, checked), [*marked, *["dataset_values"] * unfilled], *boxes, *updates]
        if run is None:
            return [prefs, *[gr.skip()] * len(self.shown), *asked]
        return [{**prefs, "run": run.name}, *self.anew(run.name, language, value), *asked]

    def arrive(self, language: str, prefs: dict[str, Any]) -> list[Any]:
        """The run that this visitor watched last, else the newest."""
        names = [run.name for run in list_runs(self.desk.workspace)]
        remembered = prefs.get("run") if prefs.get("run") in names else None
        return self.show(remembered or next(iter(names), None), language, 1)


def build_happening(desk: Desk, asking: Asking) -> None:
    """The picker, the buttons and the panel."""
    with gr.Row(elem_id="run-head"):
        picker = desk.words(
            gr.Dropdown, lambda locale: {"label": locale(Say.run)}, elem_id="run-picker", scale=6, min_width=200
        )
        stop = desk.button(Say.stop, elem_id="stop", scale=1, min_width=80, visible=False)
        resume = desk.button(Say.resume, elem_id="resume", scale=1, min_width=80, visible=False)
        chat = desk.button(Say.chat, elem_id="chat-with", scale=0, min_width=100, visible=False)
        evaluate = desk.button(Say.evaluate, elem_id="evaluate-with", scale=0, min_width=100, visible=False)
        report = desk.button(Say.report, elem_id="report-on", scale=0, min_width=80, visible=False)
        export = desk.button(Say.export, elem_id="export-it", scale=0, min_width=80, visible=False)
    _bind(Happening(desk, asking, picker, stop, resume, chat, evaluate, report, export, Live(desk).component()))


def _bind(side: Happening) -> None:
    desk, asking = side.desk, side.asking
    run = [side.picker, desk.language, side.panel]
    side.picker.input(side.pick, [*run, desk.prefs], [desk.prefs, *side.shown], show_progress="hidden")
    side.picker.focus(side.head, run[:2], side.heads, show_progress="hidden")
    side.panel.change(side.news, [side.picker, *asking.inputs], [*side.heads, asking.line], show_progress="hidden")
    side.panel.click(
        side.follow_up, [desk.prefs, desk.language, side.panel], [desk.prefs, *side.shown], show_progress="hidden"
    )
    side.stop.click(partial(side.press, Run.stop), run, side.shown, show_progress="hidden")
    side.resume.click(partial(side.press, Run.resume), run, side.shown, show_progress="hidden")
    asking.start.click(
        side.start,
        [desk.prefs, side.panel, *asking.inputs],
        [desk.prefs, *side.shown, asking.line, asking.marked, *asking.boxes, *desk.form.components],
        show_progress="hidden",
    )
    for tab, button, wanted, report in (
        ("chat", side.chat, desk.chat_with, False),
        ("evaluate", side.evaluate, desk.evaluate_with, False),
        ("evaluate", side.report, desk.evaluate_with, True),
        ("export", side.export, desk.export_with, False),
    ):
        button.click(
            lambda name, tab=tab, report=report: [gr.update(selected=tab), {"run": name, "at": time.time(), "report": report}],
            side.picker,
            [desk.tabs, wanted],
            show_progress="hidden",
        )
    desk.retellings.append((side.anew, run, side.shown))
    desk.arrivals.append(Arrival(side.arrive, side.shown))


def _start(desk: Desk, spec: Any) -> tuple[Run | None, list[Problem]]:
    if begun := _just_begun(desk, spec):
        return begun, []
    try:
        run = create(desk.workspace, spec)
        run.start()
    except UserError as error:
        return None, list(error.problems)
    return run, []


def _just_begun(desk: Desk, spec: Any) -> Run | None:
    """The run that a press a moment ago has begun with the very same spec: who presses twice wants it once."""
    newest = next(iter(list_runs(desk.workspace)), None)
    if newest is None or newest.state() != "running" or newest.read_spec().spec != spec:
        return None
    with suppress(OSError):
        return newest if time.time() - (newest.folder / "spec.yaml").stat().st_mtime < TWICE_S else None
    return None


def _words(locale: Locale, error: UserError) -> str:
    return " ".join(locale(problem.message) for problem in error.problems)


def _run(desk: Desk, name: str | None) -> Run | None:
    try:
        return find_run(desk.workspace, name) if name else None
    except UserError:
        return None


def run_choices(desk: Desk, locale: Locale) -> list[tuple[str, str]]:
    """Every run with its state in words, the newest first."""
    return [
        (f"{run.short_name}  ·  {locale(STATES[run.state()])}", run.name)
        for run in list_runs(desk.workspace)[:LISTED_RUNS]
    ]


def _buttons(run: Run | None, locale: Locale) -> list[Any]:
    """Stop, Resume, Chat, Evaluate, Report and Export as the run's state allows them."""
    state = run.state() if run else "waiting"
    stopping = run is not None and run.stopping()
    return [
        gr.update(visible=state == "running", value=locale(Say.stop_now if stopping else Say.stop)),
        gr.update(visible=run is not None and state in ("stopped", "failed", "lost", "waiting")),
        *[gr.update(visible=run is not None and state != "running" and run.has_adapter())] * 4,
    ]
