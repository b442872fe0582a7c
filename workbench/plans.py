"""What a spec would do, before it does it: every problem at once, rows, steps, and what is unwise. Loads no model."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from workbench import stages
from workbench.chats import check_template
from workbench.checkpoints import given_checkpoint, step_of
from workbench.data.datasets import Entry, chosen_entries, read_catalogue
from workbench.data.hub_datasets import is_fetched
from workbench.data.samples import Count, count_set, value_notes, value_problems
from workbench.deepspeed_file import OwnFile, overruled, own_file
from workbench.fields import plain
from workbench.fitting import fit_problems
from workbench.models import check_model
from workbench.preconditions import unmet
from workbench.problems import Problem, UserError
from workbench.runs import SHOWN, check_folder, list_runs
from workbench.sockets import plugins
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
    about_excluded = Text("About {count} of about {rows} rows are left out. The first: {reason}")
    mended = Text("{count} of {rows} rows are put right while they are read. The Data tab shows which and how.")
    about_mended = Text(
        "About {count} of about {rows} rows are put right while they are read. The Data tab shows which and how."
    )
    from_tokens = Text("The rows are the tokens in {folder}; how many there are is known when the run starts.")
    unfetched = Text("The run fetches {names} first. How many rows and steps there are is known then.")
    probs = Text(
        "Shares in the mix are {given} for {sets} sets. Accepted: one share above 0 for each set, together 1. "
        "Enter, for example, {example}."
    )
    stream_steps = Text("Streaming does not know how many rows come. Accepted: 'Max steps' above 0. Enter, for example, 500.")
    stream_share = Text(
        "Validation share is {given}, and streaming does not know how many rows come. Accepted: 0, or a whole number of "
        "rows. Enter, for example, 100."
    )
    unused_probs = Text(
        "'Shares in the mix' is {given} and not used: 'Mixing' is concat, which takes every row once. Choose another way of "
        "mixing, or leave the shares empty."
    )
    nothing_to_share = Text(
        "'Shared as' is {given} and not used: one process has nothing to share. Choose several cards or processes, or ddp."
    )
    nothing_to_learn = Text(
        "The checkpoint has learned {done} steps, and this run has {steps}. Accepted: a run with more steps. Raise 'Epochs' "
        "or 'Max steps', or choose no checkpoint."
    )
    stream_folder = Text("Streaming keeps no tokens. Accepted: one of 'Streaming' and 'Token folder'. Take one out.")


@dataclass(frozen=True)
class Plan:
    """What a spec would do. With problems the figures are 0."""

    problems: Sequence[Problem] = ()
    warnings: Sequence[Message] = ()
    rows: int = 0
    validation_rows: int = 0
    excluded: int = 0
    steps: int = 0
    exact: bool = True
    """False where large sets were judged by their first rows, mixing draws by lot, or several rows become one."""


def validation_rows(val_size: float, rows: int) -> int:
    """How many of the rows are held out: a share below 1 (at least one row), else a count."""
    if not val_size:
        return 0
    return max(1, round(val_size * rows)) if val_size < 1 else int(val_size)


def held_places(spec: TrainSpec, count: int) -> list[int]:
    """Which of so many rows are held out, by their places, in order; drawn by the seed."""
    held = min(validation_rows(spec.data.val_size, count), count - 1)
    return sorted(random.Random(spec.optim.seed).sample(range(count), held))  # noqa: S311


def total_steps(spec: TrainSpec, train_rows: int) -> int:
    """Optimiser steps of the whole run, as transformers' Trainer counts them."""
    if spec.optim.max_steps:
        return spec.optim.max_steps
    at_once = spec.optim.per_device_train_batch_size * spec.sharing.processes
    batches = math.ceil(train_rows / at_once) * spec.stage.times
    return math.ceil(spec.optim.num_train_epochs * math.ceil(batches / spec.optim.gradient_accumulation_steps))


def smaller_batch(rows: int, times: int) -> tuple[int, int] | None:
    """Batch size and accumulation for half the rows at once, or a third of an odd number, and as many in a step; None
    where one row is computed at once already."""
    factor = next((number for number in range(2, rows + 1) if rows % number == 0), None)
    return (rows // factor, times * factor) if factor else None


def rows_a_step(spec: TrainSpec) -> int:
    """Rows that all processes together see between two steps of the optimiser."""
    optim = spec.optim
    return optim.per_device_train_batch_size * optim.gradient_accumulation_steps * spec.sharing.processes


def every(given: int | None, steps: int, times: int) -> int:
    """Steps between two validations or checkpoints: as given, or so that it happens about ``times`` times."""
    return given or max(1, math.ceil(steps / times))


@dataclass(frozen=True)
class Counted:
    """The rows of a spec's sets: those to learn from and those to try."""

    learned: Sequence[Count]
    tried: Sequence[Count] = ()
    unfetched: Sequence[str] = ()
    """Sets of a hub that the run will fetch; nothing is known of their rows yet."""


def chosen_sets(workspace: Workspace, spec: TrainSpec) -> tuple[list[Entry], list[Entry]]:
    """The sets to learn from and to try, with every value that they ask for; UserError with every problem."""
    problems = _data_problems(spec)
    catalogue = read_catalogue(workspace, spec.data.dataset_dir)
    if catalogue.file_problems:
        raise UserError(*catalogue.file_problems)
    entries = _try(problems, lambda: chosen_entries(catalogue, spec.data.dataset)) or []
    tried = []
    if spec.data.eval_dataset:
        try:
            tried = chosen_entries(catalogue, spec.data.eval_dataset)
        except UserError as error:
            problems += [Problem(problem.message, "eval_dataset") for problem in error.problems]
    if not problems:
        here = [one for one in [*entries, *tried] if not unfetched(one)]
        problems += value_problems(here, spec.data.dataset_values, spec.data.max_samples)
    if problems:
        raise UserError(*problems)
    return entries, tried


def unfetched(entry: Entry) -> bool:
    """Whether the set lies on a hub and not here."""
    return entry.source is not None and not is_fetched(entry.place, entry.source)


def has_tokens(workspace: Workspace, spec: TrainSpec) -> bool:
    """Whether the rows lie ready as tokens in the folder of the person's choice."""
    given = spec.data.tokenized_path
    return bool(given) and workspace.inside(workspace.root, given, "tokenized_path").exists()


def _data_problems(spec: TrainSpec) -> list[Problem]:
    """What does not fit together among the fields of the data."""
    data, problems = spec.data, []
    if data.val_size > 1 and data.val_size % 1:
        problems.append(Problem(Say.half_row(given=plain(data.val_size)), "val_size"))
    shares, sets = data.interleave_probs, len(data.dataset)
    if shares and (len(shares) != sets or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6):
        example = ", ".join([plain(round(1 / max(1, sets), 2))] * sets)
        problems.append(Problem(Say.probs(given=plain(shares), sets=sets, example=example), "interleave_probs"))
    if data.streaming:
        if not spec.optim.max_steps:
            problems.append(Problem(Say.stream_steps(), "max_steps"))
        if 0 < data.val_size < 1 and not data.eval_dataset:
            problems.append(Problem(Say.stream_share(given=plain(data.val_size)), "val_size"))
        if data.tokenized_path:
            problems.append(Problem(Say.stream_folder(), "tokenized_path"))
    return problems


def count_rows(workspace: Workspace, spec: TrainSpec) -> Counted:
    """How many rows of each set can be learned from; UserError with every problem of the data."""
    entries, tried = chosen_sets(workspace, spec)
    shapes = plugins(stages)[spec.stage.stage].SHAPES
    counts = [
        Count(exact=False)
        if unfetched(entry)
        else count_set(entry, spec.data.dataset_values, spec.data.max_samples, shapes)
        for entry in [*entries, *tried]
    ]
    counted = Counted(
        counts[: len(entries)], counts[len(entries) :], [entry.name for entry in [*entries, *tried] if unfetched(entry)]
    )
    rows = sum(count.samples for count in counted.learned)
    if counted.unfetched:
        return counted
    exact = all(count.exact for count in counted.learned)
    if not rows and exact:
        raise UserError(Say.no_rows(reason=next(count.first for count in counts if count.first)), key="dataset")
    held = 0 if tried else validation_rows(spec.data.val_size, rows)
    if held >= rows and exact:
        raise UserError(Say.val_size(given=held, left=0, rows=rows), key="val_size")
    return counted


def mixed_rows(spec: TrainSpec, counts: Sequence[int]) -> int:
    """How many rows one epoch has once the sets are mixed; where lots are drawn, about how many."""
    shares = spec.data.interleave_probs or [1 / len(counts)] * len(counts)
    match spec.data.mix_strategy:
        case "interleave_under":
            return math.floor(min(count / share for count, share in zip(counts, shares, strict=True)))
        case "interleave_over":
            return math.ceil(max(count / share for count, share in zip(counts, shares, strict=True)))
        case _:
            return sum(counts)


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
    problems += fit_problems(workspace, spec.model, spec.tuning, spec.memory)
    problems += unmet(spec)
    problems += spec.stage.problems()
    own = _try(problems, lambda: own_file(workspace, spec))
    checkpoint = _try(problems, lambda: given_checkpoint(workspace, spec.saving.resume_from_checkpoint))
    ready = _try(problems, lambda: has_tokens(workspace, spec))
    counted = _try(problems, lambda: count_rows(workspace, spec)) if ready is False else None
    _try(problems, lambda: check_folder(workspace, spec))
    if problems:
        return Plan(problems)
    warnings = _ignored(spec, own)
    if counted is None:
        return Plan((), [*warnings, Say.from_tokens(folder=spec.data.tokenized_path)], exact=False)
    counts = [count.samples for count in counted.learned]
    rows = sum(counts)
    held = sum(count.samples for count in counted.tried) or min(validation_rows(spec.data.val_size, rows), max(0, rows - 1))
    if counted.unfetched:
        return Plan((), [*warnings, Say.unfetched(names=", ".join(counted.unfetched))], exact=False)
    train = mixed_rows(spec, [count - (0 if counted.tried else round(held * count / max(1, rows))) for count in counts])
    steps, exact = total_steps(spec, train), _is_exact(spec, [*counted.learned, *counted.tried])
    if exact and step_of(checkpoint) >= steps:
        said = Say.nothing_to_learn(done=step_of(checkpoint), steps=steps)
        return Plan([Problem(said, "resume_from_checkpoint")])
    if steps < FEW_STEPS:
        warnings.append(few_steps(spec, train, steps))
    running = next((run.name for job in SHOWN for run in list_runs(workspace, job) if run.state() == "running"), None)
    if running:
        warnings.append(Say.busy(name=running))
    warnings += _try(problems, lambda: _notes(workspace, spec)) or []
    everything = [*counted.learned, *counted.tried]
    excluded, mended = sum(count.excluded for count in everything), sum(count.mended for count in everything)
    read = excluded + sum(count.samples for count in everything)
    counted_all = all(count.exact for count in everything)
    if excluded:
        first = next(count.first for count in everything if count.first)
        say = Say.excluded if counted_all else Say.about_excluded
        warnings.append(say(count=f"{excluded:,}", rows=f"{read:,}", reason=first))
    if mended:
        say = Say.mended if counted_all else Say.about_mended
        warnings.append(say(count=f"{mended:,}", rows=f"{read:,}"))
    return Plan((), warnings, train, held, excluded, steps, exact)


def _ignored(spec: TrainSpec, own: OwnFile | None) -> list[Message]:
    """Fields that are filled in and not used, or overruled by a file of the person's own."""
    data, found = spec.data, list(overruled(spec, own)) if own else []
    if data.interleave_probs and data.mix_strategy == "concat":
        found.append(Say.unused_probs(given=plain(data.interleave_probs)))
    if spec.sharing.distributed != "ddp" and not spec.sharing.way:
        found.append(Say.nothing_to_share(given=spec.sharing.distributed))
    return found


def _is_exact(spec: TrainSpec, counts: Sequence[Count]) -> bool:
    drawn = len(spec.data.dataset) > 1 and spec.data.interleave_probs and spec.data.mix_strategy != "concat"
    steps_known = bool(spec.optim.max_steps) or not spec.stage.packs
    return all(count.exact for count in counts) and not drawn and steps_known


def _notes(workspace: Workspace, spec: TrainSpec) -> list[Message]:
    """What is said of the values of the chosen sets."""
    entries, tried = chosen_sets(workspace, spec)
    return value_notes([*entries, *tried], spec.data.dataset_values, spec.data.max_samples)


def few_steps(spec: TrainSpec, train_rows: int, steps: int) -> Message:
    """The advice for a run of a handful of steps."""
    if spec.optim.max_steps:
        return Say.few_max_steps(steps=steps)
    epochs = math.ceil(spec.optim.num_train_epochs * 2 * FEW_STEPS / max(1, steps))
    return Say.few_steps(steps=steps, epochs=epochs)
