"""Under the line above Start: measure here what a run will need, and what would make it fit. Knows runs, no job."""

import html
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gradio as gr

from workbench.checking import Checked
from workbench.estimates import Change, changes
from workbench.estimates import Say as Needs
from workbench.estimates.grounds import known, learn
from workbench.estimates.measuring import begin
from workbench.events import Failed
from workbench.problems import Problem, UserError
from workbench.runs import Run
from workbench.specs import TrainSpec
from workbench.text import Locale, Text
from workbench.ui.asking import Asking, restore, restored, told_line
from workbench.ui.desk import Arrival, Desk
from workbench.wording import phase_words

MOST_CHANGES = 4
TICK_S = 1.0


class Say:
    measure = Text("Measure here")
    stop = Text("Stop measuring")
    use = Text("Use this")
    unready = Text("Measuring needs a form without open problems. Mend what the line above says first.")
    doing = Text("Measuring: {phase}.")
    step = Text("Measuring: step {step} of {total}.")
    lost = Text("The measurement ended without a word. Its worker.log says why; memory may not have done.")
    stopped = Text("Measuring was stopped.")


@dataclass
class Parts:
    """The components under the line."""

    measure: Any
    status: Any
    timer: Any
    run: Any
    column: Any
    found: Any
    texts: list[Any] = field(default_factory=list)
    buttons: list[Any] = field(default_factory=list)


def build_needs(desk: Desk, asking: Asking) -> None:
    """The button and its progress, then the changes that would make the run fit, each with a button."""
    with asking.under, gr.Row(elem_id="measuring"):
        measure = desk.button(Say.measure, size="sm", scale=0, min_width=130, elem_id="measure")
        status = gr.HTML("", elem_id="measured", apply_default_css=False)
    # Not in the column below: what is hidden is not mounted, and would not tick.
    timer, run, found = gr.Timer(TICK_S, active=False), gr.State(""), gr.State([])
    with asking.under, gr.Column(visible=False, elem_id="changes") as column:
        parts = Parts(measure, status, timer, run, column, found)
        for number in range(MOST_CHANGES):
            with gr.Row(elem_classes=["change"]):
                parts.texts.append(gr.HTML("", visible=False, apply_default_css=False))
                parts.buttons.append(desk.button(Say.use, size="sm", scale=0, min_width=90, visible=False,
                                                 elem_id=f"change-{number}"))  # fmt: skip
    desk.finishings.append(lambda: _bind(desk, asking, parts))
    _learn_once(desk)


def _learn_once(desk: Desk) -> None:
    """When somebody first comes and torch was never asked about this machine, ask it in the background."""
    asked = threading.Event()

    def ask() -> None:
        with suppress(UserError, OSError):
            learn(desk.workspace)

    def arrive(language: str, prefs: dict[str, Any]) -> list[Any]:
        if not asked.is_set() and known(desk.workspace) is None:
            threading.Thread(target=ask, daemon=True).start()
        asked.set()
        return []

    desk.arrivals.append(Arrival(arrive, []))


def _bind(desk: Desk, asking: Asking, parts: Parts) -> None:
    shown = [parts.column, parts.found, *parts.texts, *parts.buttons]

    def fit(language: str, draft: dict[str, Any]) -> list[Any]:
        return change_updates(desk, desk.locale(language), asking.check_flat(desk.form.chosen(draft)))

    drafted = [desk.language, asking.draft]
    asking.line.change(fit, drafted, shown, show_progress="hidden", trigger_mode="always_last")
    ticking = [parts.status, parts.timer, parts.run, parts.measure, asking.line]
    inputs = [parts.run, *asking.inputs]
    parts.measure.click(partial(press, desk, asking), inputs, ticking, show_progress="hidden")
    parts.timer.tick(partial(tick, desk, asking), inputs, ticking, show_progress="hidden")

    def use(number: int, found: list[dict[str, Any]], language: str, names: list[str], *values: Any) -> list[Any]:
        return restore(desk, asking, {**asking.flat(names, values), **found[number]}, language)

    for number, button in enumerate(parts.buttons):
        button.click(partial(use, number), [parts.found, *asking.inputs], restored(desk, asking), show_progress="hidden")


def change_updates(desk: Desk, locale: Locale, checked: Checked[TrainSpec]) -> list[Any]:
    """The column of changes: hidden while the run fits; one line, without a button, where nothing helps."""
    missing = checked.spec is not None and checked.needed is not None and not checked.needed.fits
    if checked.spec is None or not missing:
        return [gr.update(visible=False), [], *[gr.skip()] * (2 * MOST_CHANGES)]
    found = changes(desk.workspace, checked.spec, checked.plan)[:MOST_CHANGES]
    lines = [change_line(locale, change) for change in found] or [_paragraph(locale(Needs.nothing_helps))]
    texts = [gr.update(value=lines[at] if at < len(lines) else "", visible=at < len(lines)) for at in range(MOST_CHANGES)]
    buttons = [gr.update(visible=at < len(found)) for at in range(MOST_CHANGES)]
    return [gr.update(visible=True), [dict(change.values) for change in found], *texts, *buttons]


def change_line(locale: Locale, change: Change) -> str:
    """What would change, and what that costs."""
    return _paragraph(" ".join(locale(cost) for cost in change.costs))


def press(desk: Desk, asking: Asking, name: str, language: str, names: list[str], *values: Any) -> list[Any]:
    """Begin measuring what the form says, or end what is being measured."""
    locale, running = desk.locale(language), _run(desk, name)
    if running is not None and running.state() == "running":
        running.kill()
        return tick(desk, asking, name, language, names, *values)
    checked = asking.check(names, values)
    line = told_line(locale, checked)
    if checked.spec is None:
        return [_paragraph(locale(Say.unready)), gr.Timer(active=False), "", gr.skip(), line]
    try:
        run = begin(desk.workspace, checked.spec)
    except UserError as error:
        return [_problems(locale, error.problems), gr.Timer(active=False), "", gr.skip(), line]
    words = _paragraph(locale(Say.doing(phase=phase_words("reading"))))
    return [words, gr.Timer(active=True), run.name, gr.update(value=locale(Say.stop)), line]


def tick(desk: Desk, asking: Asking, name: str, language: str, names: list[str], *values: Any) -> list[Any]:
    """How far the measurement is; at its end the line above Start, which now knows better."""
    locale, run = desk.locale(language), _run(desk, name)
    state = run.state() if run else "lost"
    if run is not None and state == "running":
        return [_paragraph(progress(locale, run)), gr.skip(), gr.skip(), gr.skip(), gr.skip()]
    line = told_line(locale, asking.check(names, values))
    ended = ending(locale, run, state) if run else ""
    return [ended, gr.Timer(active=False), "", gr.update(value=locale(Say.measure)), line]


def progress(locale: Locale, run: Run) -> str:
    """What the measurement does now."""
    view = run.view()
    if view.phase.name == "training" and view.step.total:
        return locale(Say.step(step=min(view.step.step + 1, view.step.total), total=view.step.total))
    return locale(Say.doing(phase=phase_words(view.phase.name)))


def ending(locale: Locale, run: Run, state: str) -> str:
    """The last word of the measurement."""
    view = run.view()
    if state == "finished" and view.notes:
        return _paragraph(locale(view.notes[-1].message))
    if isinstance(view.ended, Failed):
        return _problems(locale, view.ended.problems)
    return _paragraph(locale(Say.stopped if state == "stopped" else Say.lost))


def _problems(locale: Locale, problems: Sequence[Problem]) -> str:
    return _paragraph(" ".join(locale(problem.message) for problem in problems))


def _paragraph(words: str) -> str:
    return f'<p role="status">{html.escape(words)}</p>'


def _run(desk: Desk, name: str) -> Run | None:
    return Run(desk.workspace, desk.workspace.saves / name) if name.startswith(".measure/") and ".." not in name else None
