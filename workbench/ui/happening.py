"""The right side of Train: which run, its buttons, and the live panel. Knows runs and their states, no job."""

import time
from typing import Any

import gradio as gr

from workbench.checking import Checked
from workbench.problems import Problem, UserError
from workbench.runs import Run, create, find_run, list_runs
from workbench.text import Locale, Text
from workbench.ui.asking import Asking, box_marks, told_line
from workbench.ui.desk import Arrival, Desk
from workbench.ui.live import Live
from workbench.wording import STATES

LISTED_RUNS = 200


class Say:
    run = Text("Run")
    stop = Text("Stop")
    stop_now = Text("Stop now")
    resume = Text("Resume")
    chat = Text("Chat with it")


def build_happening(desk: Desk, asking: Asking) -> None:
    """The picker, the buttons and the panel, bound to Start on the left."""
    live = Live(desk)
    with gr.Row(elem_id="run-head"):
        picker = desk.words(
            gr.Dropdown,
            lambda locale: {"label": locale(Say.run)},
            elem_id="run-picker",
            scale=6,
            min_width=200,
            filterable=True,
        )
        stop = desk.button(Say.stop, elem_id="stop", scale=1, min_width=80, visible=False)
        resume = desk.button(Say.resume, elem_id="resume", scale=1, min_width=80, visible=False)
        chat = desk.button(Say.chat, elem_id="chat-with", scale=1, min_width=100, visible=False)
    panel = live.component()
    shown = [picker, stop, resume, chat, panel]

    def show(name: str, language: str, nudge: int) -> list[Any]:
        """Everything on the right for one run."""
        locale = desk.locale(language)
        run = _run(desk, name)
        value = {"run": run.name if run else "", "language": locale.name, "nudge": nudge}
        choices = run_choices(desk, locale)
        return [gr.update(choices=choices, value=run.name if run else None), *_buttons(run, locale), value]

    def pick(name: str, language: str, prefs: dict[str, Any], value: dict[str, Any]) -> list[Any]:
        return [{**prefs, "run": name or ""}, *show(name, language, int(value["nudge"]) + 1)]

    def act(action: str) -> Any:
        def do(name: str, language: str, value: dict[str, Any]) -> list[Any]:
            run = _run(desk, name)
            if run is not None:
                try:
                    run.stop() if action == "stop" else run.resume()
                except UserError as error:
                    raise gr.Error(_words(desk.locale(language), error), duration=None) from None
            return show(name, language, int(value["nudge"]) + 1)

        return do

    def start(prefs: dict[str, Any], value: dict[str, Any], language: str, names: list[str], *values: Any) -> list[Any]:
        checked, run = asking.check(names, values), None
        if checked.spec is not None:
            run, problems = _start(desk, checked.spec)
            checked = Checked(None, problems) if problems else checked
        updates, marked = desk.form.mark(checked.problems, list(desk.form.fields), language)
        locale, filled = desk.locale(language), asking.flat(names, values)["dataset_values"]
        unfilled = any(problem.key == "dataset_values" for problem in checked.problems)
        boxes = box_marks(locale, names, filled, unfilled)
        asked = [told_line(locale, checked), [*marked, *["dataset_values"] * unfilled], *boxes, *updates]
        if run is None:
            return [prefs, *[gr.skip()] * len(shown), *asked]
        return [{**prefs, "run": run.name}, *show(run.name, language, int(value["nudge"]) + 1), *asked]

    picker.input(pick, [picker, desk.language, desk.prefs, panel], [desk.prefs, *shown], show_progress="hidden")

    def refresh(name: str, language: str) -> list[Any]:
        locale = desk.locale(language)
        return [gr.update(choices=run_choices(desk, locale)), *_buttons(_run(desk, name), locale)]

    picker.focus(refresh, [picker, desk.language], shown[:4], show_progress="hidden")
    stop.click(act("stop"), [picker, desk.language, panel], shown, show_progress="hidden")
    resume.click(act("resume"), [picker, desk.language, panel], shown, show_progress="hidden")
    panel.change(refresh, [picker, desk.language], shown[:4], show_progress="hidden")
    desk.retellings.append(
        (
            lambda name, language, value: show(name, language, int(value["nudge"]) + 1),
            [picker, desk.language, panel],
            shown,
        )
    )
    asking.start.click(
        start,
        [desk.prefs, panel, *asking.inputs],
        [desk.prefs, *shown, asking.line, asking.marked, *asking.boxes, *desk.form.components],
        show_progress="hidden",
    )
    chat.click(
        lambda name: [gr.update(selected="chat"), {"run": name, "at": time.time()}],
        picker,
        [desk.tabs, desk.chat_with],
        show_progress="hidden",
    )

    def arrive(language: str, prefs: dict[str, Any]) -> list[Any]:
        runs = list_runs(desk.workspace)
        remembered = next((run.name for run in runs if run.name == prefs.get("run")), None)
        return show(remembered or (runs[0].name if runs else ""), language, 1)

    desk.arrivals.append(Arrival(arrive, shown))


def _start(desk: Desk, spec: Any) -> tuple[Run | None, list[Problem]]:
    try:
        run = create(desk.workspace, spec)
        run.start()
    except UserError as error:
        return None, list(error.problems)
    return run, []


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
    """Stop, Resume and Chat as the run's state allows them."""
    state = run.state() if run else "waiting"
    stopping = run is not None and run.stopping()
    return [
        gr.update(visible=state == "running", value=locale(Say.stop_now if stopping else Say.stop)),
        gr.update(visible=run is not None and state in ("stopped", "failed", "lost", "waiting")),
        gr.update(visible=run is not None and state != "running" and run.has_adapter()),
    ]
