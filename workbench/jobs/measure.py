"""Measure: two real steps on the longest rows and one on usual ones, to know memory and time before a run. Saves no weights."""

import math
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from workbench import jobs, machine
from workbench.desk import Desk
from workbench.estimates import grounds, measurements
from workbench.estimates.measurements import Measured, bounded, names_of
from workbench.estimates.model_facts import read_facts
from workbench.estimates.needs import LIBRARIES_BYTES, Batch, Ground, Setting, batch_seconds, optimiser_seconds
from workbench.estimates.row_lengths import RowLengths
from workbench.events import Event, Note, Phase, Step
from workbench.models import local_folder
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.specs import MeasureSpec, TrainSpec
from workbench.text import Message, Text
from workbench.wording import Say as Times
from workbench.wording import duration, size

WIDE_STEPS = 2
STEPS = WIDE_STEPS + 1
ACCUMULATED = 2
"""More batches in a step take more time and no more memory."""
STREAMED_ROWS = 2_000
LOOKED_AT_ROWS = 512
TICK_S = 0.01
SLACK = 0.1
"""A row becomes whole texts: so little over a whole number is none."""


class Say:
    measured = Text("Measured: {memory} at the peak, {seconds} for a usual step of {rows} rows.")
    measured_alone = Text(
        "Measured with one of {processes} processes alone: {memory} at the peak, {seconds} for a usual step of its {rows} rows. What "
        "they share, and the time in which they wait for each other, is calculated or not known."
    )
    no_facts = Text("What '{given}' is made of can't be read, so nothing can be measured. Begin the run itself.")


class Enough(Exception):
    """All steps are measured: nothing is left to learn or to save."""


@dataclass
class Watching(Desk):
    """A desk at which training sits to be measured: it hears every step, and ends it after the last."""

    steps: list[Step] = field(default_factory=list)
    peak_bytes: int = 0
    lengths: Sequence[int] = ()
    rows_a_step: int = 1

    def choose(self, rows: Any) -> Any:
        self.lengths = lengths_of(rows)
        return rows.select(chosen_rows(self.lengths, self.rows_a_step))

    def say(self, event: Event) -> None:
        if isinstance(event, Note) and event.level == "warning":
            return  # the run itself will say it
        super().say(event)
        if isinstance(event, Phase) and event.name == "training" and not self.steps:
            threading.Thread(target=self._watch, daemon=True).start()
        if isinstance(event, Step):
            self.steps.append(event)
            self.peak_bytes = max(self.peak_bytes, event.memory_bytes)
            if len(self.steps) == STEPS:
                raise Enough

    def _watch(self) -> None:
        """The most memory that the process holds while it learns."""
        process = psutil.Process()
        while len(self.steps) < STEPS:
            self.peak_bytes = max(self.peak_bytes, process.memory_info().rss)
            time.sleep(TICK_S)


def run(spec: MeasureSpec, desk: Desk) -> dict[str, float]:
    """Measure the spec's run and keep what was found; its closing figures: bytes, seconds of a usual step."""
    workspace = desk.run.workspace
    ground = grounds.keep(workspace, machine.survey())
    short = shortened(spec)
    rows, times = short.optim.per_device_train_batch_size, short.optim.gradient_accumulation_steps
    watching = Watching(desk.run, desk.log, desk.resuming, rows_a_step=rows * times)
    with suppress(Enough):
        plugins(jobs)[TrainSpec.JOB].run(short, watching)
    setting = _setting(spec, desk, ground)
    found = measured(setting, watching)
    measurements.keep(workspace, found)
    seconds = watching.steps[-1].seconds / times * spec.optim.gradient_accumulation_steps
    batch = rows * spec.optim.gradient_accumulation_steps
    desk.note(told(spec, found.peak_bytes, seconds, batch))
    return {"memory_bytes": float(found.peak_bytes), "seconds": seconds}


def told(spec: TrainSpec, peak_bytes: int, seconds: float, rows: int) -> Message:
    """What was found, in words; of a run that several processes share one alone was measured."""
    words = {"memory": size(peak_bytes), "seconds": _time(seconds), "rows": rows}
    processes = spec.sharing.processes
    return Say.measured_alone(processes=processes, **words) if processes > 1 else Say.measured(**words)


def _time(seconds: float) -> Message:
    """Seconds with two digits, since a step may take less than one."""
    return duration(seconds) if seconds >= 10 else Times.seconds(seconds=f"{seconds:.2g}")


def _setting(spec: MeasureSpec, desk: Desk, ground: Ground) -> Setting:
    folder = local_folder(desk.run.workspace, spec.model.model_name_or_path)
    model = read_facts(folder) if folder else None
    if model is None:
        raise UserError(Say.no_facts(given=spec.model.model_name_or_path), key="model_name_or_path")
    return Setting(spec, model, ground)


def shortened(spec: MeasureSpec) -> TrainSpec:
    """The run without all that is not a step: a few of them, nothing tried, watched or saved, rows in our order."""
    data = {"val_size": 0.0, "eval_dataset": [], "streaming": False}
    if spec.data.streaming:
        data["max_samples"] = min(spec.data.max_samples or STREAMED_ROWS, STREAMED_ROWS)
    optim = {
        "max_steps": STEPS,
        "gradient_accumulation_steps": min(ACCUMULATED, spec.optim.gradient_accumulation_steps),
        "train_sampling_strategy": "sequential",
        "lr_scheduler_type": "constant",
        "lr_scheduler_kwargs": {},
        "auto_find_batch_size": False,
    }
    saving = {
        "watch_prompts": [], "logging_steps": 1, "eval_strategy": "no", "save_strategy": "no", "report_to": [],
        "resume_from_checkpoint": None,
        "load_best_model_at_end": False, "early_stopping_steps": None, "plot_loss": False,
    }  # fmt: skip
    places = {place: spec.__dict__[place] for place in TrainSpec.model_fields}
    changed = {
        name: places[name].model_copy(update=update)
        for name, update in (("data", data), ("optim", optim), ("saving", saving), ("sharing", {"num_processes": 1}))
    }
    return TrainSpec(**{**places, **changed})


def lengths_of(rows: Any) -> list[int]:
    """Tokens of each row, of several texts the longest. Rows that are made when asked for are judged by the first ones."""
    from pyarrow.compute import list_value_length

    names = [name for name in rows.column_names if name.endswith("ids")]
    if not names:
        first = (rows[at] for at in range(min(len(rows), LOOKED_AT_ROWS)))
        return [max(len(values) for name, values in row.items() if name.endswith("ids")) for row in first]
    tables = rows.select_columns(names).with_format("arrow").iter(10_000)
    counted = ([list_value_length(table[name]).to_pylist() for name in names] for table in tables)
    return [max(sizes) for columns in counted for sizes in zip(*columns, strict=True)]


def chosen_rows(lengths: Sequence[int], a_step: int) -> list[int]:
    """Places of rows: a step's worth of the longest as often as they are measured, then usual ones, evenly by length."""
    order = sorted(range(len(lengths)), key=lambda at: (-lengths[at], at))
    longest = [order[at % len(order)] for at in range(a_step)]
    usual = [order[(2 * at + 1) * len(order) // (2 * a_step)] for at in range(a_step)]
    return [*longest * WIDE_STEPS, *usual]


def measured(setting: Setting, watching: Watching) -> Measured:
    """What the steps have shown: the peak of the longest rows, and how a usual step compares with the formula."""
    optim = setting.spec.optim
    rows, times = optim.per_device_train_batch_size, min(ACCUMULATED, optim.gradient_accumulation_steps)
    longest, (first, wide, last) = max(watching.lengths), watching.steps
    texts = rows * max(1, math.ceil((wide.tokens + wide.padding) / times / longest / rows - SLACK))
    grouped = optim.train_sampling_strategy == "group_by_length"
    lengths = RowLengths(watching.lengths, longest)
    expected = sum(
        times * batch_seconds(setting, Batch(texts, (step.tokens + step.padding) / times / texts))
        + optimiser_seconds(setting)
        for step in (wide, last)
    )
    same, near, named = names_of(setting)
    context = LIBRARIES_BYTES["cuda"] if setting.ground.device == "cuda" else 0
    return Measured(
        same=same,
        near=near,
        rows=named,
        batch_rows=rows,
        texts=texts,
        length=float(longest),
        peak_bytes=watching.peak_bytes + context,
        factor=bounded((wide.seconds + last.seconds) / expected),
        usual_length=lengths.usual(rows, grouped).length,
        warming_s=max(0.0, first.seconds - wide.seconds),
    )
