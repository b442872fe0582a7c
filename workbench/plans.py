"""What a spec would do, before it does it: every problem at once, rows, steps, and what is unwise. Loads no model."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from workbench.chats import check_template
from workbench.datasets import Rows, chosen_entries, read_catalogue, read_rows, value_problems
from workbench.fields import plain
from workbench.models import check_model
from workbench.problems import Problem, UserError
from workbench.runs import check_folder, list_runs
from workbench.specs import TrainSpec
from workbench.text import Message, Text
from workbench.workspace import Workspace

FEW_STEPS = 30
T = TypeVar("T")


class Say:
    no_rows = Text(
        "No row of the chosen sets can be learned from. First reason: {reason} Mend the set, or choose another."
    )
    val_size = Text(
        "Validation share is {given}, which leaves {left} of {rows} rows to learn. Accepted: below {rows}, or a share below 1."
    )
    half_row = Text(
        "Validation share is {given}. Accepted: a share below 1, or a whole number of rows. Enter, for example, 0.1 or 100."
    )
    few_steps = Text("Only {steps} steps: too few to change much. Try {epochs} epochs, or fewer rows a step.")
    few_max_steps = Text(
        "Only {steps} steps: too few to change much. 'Max steps' says so. Raise it, or leave it empty."
    )
    busy = Text("Another run is running: {name}. Both will be slower, and memory may not do for both.")
    excluded = Text("{count} of {rows} rows are left out. The first: {reason}")


@dataclass(frozen=True)
class Plan:
    """What a spec would do. With problems the figures are 0."""

    problems: Sequence[Problem] = ()
    warnings: Sequence[Message] = ()
    rows: int = 0
    validation_rows: int = 0
    excluded: int = 0
    steps: int = 0


def validation_rows(val_size: float, rows: int) -> int:
    """How many of the rows are held out: a share below 1 (at least one row), else a count."""
    if not val_size:
        return 0
    return max(1, round(val_size * rows)) if val_size < 1 else int(val_size)


def total_steps(spec: TrainSpec, train_rows: int) -> int:
    """Optimiser steps of the whole run, as transformers' Trainer counts them."""
    if spec.optim.max_steps:
        return spec.optim.max_steps
    batches = math.ceil(train_rows / spec.optim.per_device_train_batch_size)
    return math.ceil(spec.optim.num_train_epochs * math.ceil(batches / spec.optim.gradient_accumulation_steps))


def every(given: int | None, steps: int, times: int) -> int:
    """Steps between two validations or checkpoints: as given, or so that it happens about ``times`` times."""
    return given or max(1, math.ceil(steps / times))


def read_samples(workspace: Workspace, spec: TrainSpec) -> Rows:
    """The rows of the spec's sets with their placeholders filled; UserError with every problem of the data."""
    if spec.data.val_size > 1 and spec.data.val_size % 1:
        raise UserError(Say.half_row(given=plain(spec.data.val_size)), key="val_size")
    catalogue = read_catalogue(workspace, spec.data.dataset_dir)
    if catalogue.file_problems:
        raise UserError(*catalogue.file_problems)
    entries = chosen_entries(catalogue, spec.data.dataset)
    problems = value_problems(entries, spec.data.dataset_values)
    if problems:
        raise UserError(*problems)
    rows = read_rows(entries, spec.data.dataset_values, spec.data.max_samples)
    if not rows.samples:
        raise UserError(Say.no_rows(reason=rows.excluded[0]), key="dataset")
    held = validation_rows(spec.data.val_size, len(rows.samples))
    if held >= len(rows.samples):
        said = Say.val_size(given=held, left=max(0, len(rows.samples) - held), rows=len(rows.samples))
        raise UserError(said, key="val_size")
    return rows


def _try(problems: list[Problem], action: Callable[[], T]) -> T | None:
    try:
        return action()
    except UserError as error:
        problems += error.problems
        return None


def plan(workspace: Workspace, spec: TrainSpec) -> Plan:
    """Every problem that can be found without loading the model, or the figures of the run to come."""
    problems = check_model(workspace, spec.model)
    _try(problems, lambda: check_template(spec.model.template))
    rows = _try(problems, lambda: read_samples(workspace, spec))
    _try(problems, lambda: check_folder(workspace, spec))
    if problems or rows is None:
        return Plan(problems)
    held = validation_rows(spec.data.val_size, len(rows.samples))
    train = len(rows.samples) - held
    steps = total_steps(spec, train)
    warnings = [few_steps(spec, train, steps)] if steps < FEW_STEPS else []
    running = next((run.name for run in list_runs(workspace) if run.state() == "running"), None)
    if running:
        warnings.append(Say.busy(name=running))
    if rows.excluded:
        counted = len(rows.samples) + len(rows.excluded)
        warnings.append(Say.excluded(count=len(rows.excluded), rows=counted, reason=rows.excluded[0]))
    return Plan((), warnings, train, held, len(rows.excluded), steps)


def few_steps(spec: TrainSpec, train_rows: int, steps: int) -> Message:
    """The advice for a run of a handful of steps."""
    if spec.optim.max_steps:
        return Say.few_max_steps(steps=steps)
    epochs = math.ceil(spec.optim.num_train_epochs * 2 * FEW_STEPS / max(1, steps))
    return Say.few_steps(steps=steps, epochs=epochs)
