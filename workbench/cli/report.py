"""Runs as lines of text: a table of many, a report of one. Reads files only; knows no command."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime

from workbench.cli.follow import shown_path
from workbench.cli.overview import columns_of
from workbench.cli.screen import in_one_line
from workbench.events import Failed, State
from workbench.fields import plain
from workbench.runs import Run
from workbench.specs import Spec, TrainSpec
from workbench.text import Locale, Text
from workbench.view import View
from workbench.wording import SIZED, STATES, counted, duration, figure, phase_words, size

LOG_LINES = 10


class Say:
    head_name = Text("run")
    head_state = Text("state")
    head_step = Text("step")
    head_loss = Text("loss")
    head_time = Text("last word")
    folder = Text("folder")
    model = Text("model")
    data = Text("data")
    phase = Text("phase")
    step = Text("step")
    loss = Text("loss")
    validation = Text("validation loss")
    rate = Text("learning rate")
    speed = Text("speed")
    tokens_a_second = Text("{rate} tokens/s")
    memory = Text("memory")
    left = Text("time left")
    began = Text("began")
    took = Text("took")
    address = Text("address")
    weights = Text("weights")
    checkpoint = Text("checkpoint")
    note = Text("note")
    stopping = Text("a stop was asked for; the step is being finished")
    problem = Text("problem")
    spec_problem = Text("spec.yaml")
    log = Text("log")
    log_end = Text("The end of the log:")


def rows_of_list(runs: Sequence[Run], locale: Locale) -> Iterator[str]:
    """A table: name, state, step, loss, time of the last word. Only the end of each run's events is read."""
    heads = (Say.head_name, Say.head_state, Say.head_step, Say.head_loss, Say.head_time)
    rows = [[locale(head()) for head in heads], *(_row(run, locale) for run in runs)]
    if not runs:
        return
    widths = [max(columns_of(row[at]) for row in rows) for at in range(len(heads))]
    for row in rows:
        yield "  ".join(
            cell + " " * (width - columns_of(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()


def _row(run: Run, locale: Locale) -> list[str]:
    view = run.recent_view()
    step, loss = view.step, view.smoothed_loss()
    at = view.last_at or (run.folder / "spec.yaml").stat().st_mtime
    reached = f"{step.step}/{step.total}" if step.total else ""
    return [run.name, state_words(run.state(), locale), reached, "" if loss is None else figure(loss), clock(at)]


def state_words(state: State, locale: Locale) -> str:
    """The state's own word, which scripts look for, with the reader's word behind it where that differs."""
    said = locale(STATES[state]())
    return state if said == state else f"{state} ({said})"


def clock(at_s: float) -> str:
    """A time of day in the person's zone."""
    return datetime.fromtimestamp(at_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def run_report(run: Run, locale: Locale) -> Iterator[str]:
    """The state in the first word, then what is known, a figure a line."""
    state, view, reading = run.state(), run.view(), run.read_spec()
    facts = [(Say.folder, shown_path(run))]
    if reading.spec is not None:
        facts += list(_asked(reading.spec))
    facts += list(_reached(run, view, state, locale))
    facts += [(Say.spec_problem, in_one_line(problem, locale)) for problem in reading.problems]
    if isinstance(view.ended, Failed) and state == "failed":
        facts += [(Say.problem, in_one_line(problem, locale)) for problem in view.ended.problems]
    facts += [(Say.note, locale(note.message)) for note in view.notes if note.level == "warning"]
    if state in ("failed", "lost"):
        facts.append((Say.log, shown_path(run, run.log.name)))
    yield state_words(state, locale)
    width = max(columns_of(locale(label())) for label, _ in facts)
    for label, value in facts:
        said = locale(label())
        yield f"  {said}{' ' * (width - columns_of(said))}  {value}"
    if state == "lost":
        yield from _log_end(run, locale)


def _asked(spec: Spec) -> Iterator[tuple[Text, str]]:
    values = spec.flat()
    yield Say.model, plain([values["model_name_or_path"], *values["adapter_name_or_path"]])
    if isinstance(spec, TrainSpec):
        yield Say.data, plain(spec.data.dataset)


def _reached(run: Run, view: View, state: State, locale: Locale) -> Iterator[tuple[Text, str]]:
    """How far it came, with which figures."""
    if view.started is not None:
        yield Say.began, clock(view.started_at)
    if (took := view.took_s(time.time() if state == "running" else None)) is not None:
        yield Say.took, locale(duration(took))
    if state == "running":
        told = counted(view.phase.done, view.phase.total, view.phase.name in SIZED) if view.phase.total else ""
        yield Say.phase, f"{locale(phase_words(view.phase.name))} {told}".strip()
        if run.stopping():
            yield Say.note, locale(Say.stopping())
        if view.ready is not None:
            yield Say.address, f"{view.ready.url} ({plain(list(view.ready.models))})"
    if view.step.total:
        yield Say.step, f"{view.step.step}/{view.step.total}"
    for label, value in (
        (Say.loss, view.step.loss),
        (Say.validation, view.eval_loss),
        (Say.rate, view.step.learning_rate),
    ):
        if value is not None:
            yield label, figure(value)
    if rate := view.tokens_per_second():
        yield Say.speed, locale(Say.tokens_a_second(rate=f"{rate:,.0f}"))
    if view.step.memory_bytes:
        yield Say.memory, size(view.step.memory_bytes)
    left = view.seconds_left()
    if state == "running" and left is not None:
        yield Say.left, locale(duration(left))
    if saved := run.checkpoint():
        yield Say.checkpoint, shown_path(run, saved.name)
    if run.has_weights():
        yield Say.weights, shown_path(run)


def _log_end(run: Run, locale: Locale) -> Iterator[str]:
    """The last lines that the process printed, under their own heading."""
    lines = [line for line in run.log_tail(4_000).splitlines() if line.strip()][-LOG_LINES:]
    if lines:
        yield ""
        yield locale(Say.log_end())
        yield from (f"  {line}" for line in lines)
