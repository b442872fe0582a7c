"""What a run will need, before it starts: memory by part, time by part, and what would make it fit. Loads no torch.

Formulas of needs.py, corrected by what was measured on this machine. Knows no page and no job.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from workbench.estimates import measurements
from workbench.estimates.grounds import ground as ground_of
from workbench.estimates.measurements import Correction, Measured, corrected_parts, correction, names_of
from workbench.estimates.model_facts import read_facts
from workbench.estimates.needs import (
    Batch,
    Ground,
    Part,
    Setting,
    batch_seconds,
    forward_seconds,
    memory_parts,
    optimiser_seconds,
)
from workbench.estimates.row_lengths import RowLengths, mean_tokens, row_lengths
from workbench.estimates.sharing import shared_parts
from workbench.fields import plain
from workbench.fitting import fit_problems
from workbench.models import local_folder
from workbench.plans import Plan, every, smaller_batch, total_steps
from workbench.specs import TrainSpec, read_flat
from workbench.text import Message, Text
from workbench.wording import duration, size
from workbench.workspace import Workspace

Span = Literal["starting", "learning", "trying", "watching", "saving"]
Source = Literal["formula", "runs", "measured"]
ROOM_SHARE = 0.95
"""So much of the memory a run may fill: the rest is the system's."""
EVALS_A_RUN = 8
START_S = 12.0
DISK_RATE, MEMORY_RATE = 0.4e9, 3e9
WORD_TOKENS_A_BATCH = 12
"""A drawn token takes a pass over one position, which is so many times slower than in a batch."""
LEAST_LENGTH, LEAST_RANK = 128, 4


class Say:
    batch = Text("Batch size {batch} with accumulation {accumulation}: about {share} % slower, the result stays the same.")
    batch_compared = Text(
        "Batch size {batch} with accumulation {accumulation}: about {share} % slower. The loss of this stage compares the rows "
        "of a batch, so the result differs a little."
    )
    checkpointing = Text("Gradient checkpointing: about 30 % slower, the result stays the same.")
    quantised = Text("Frozen weights in 4 bits (QLoRA): slower, and a little less exact.")
    optimiser = Text("Optimiser {optimiser}: its memory becomes a quarter, and learning is nearly the same.")
    cutoff = Text("Cutoff length {cutoff}: {rows} % of the rows lose their end.")
    needs = Text("About {time}, needs {memory} of {room}.")
    needs_measured = Text("About {time}, needs {memory} of {room}, as measured here.")
    no_room_known = Text("About {time}, needs {memory}.")
    too_much = Text("It will not fit: it needs about {memory} of {room}.")
    nothing_helps = Text("No change of these fields makes it fit. Choose a smaller model.")
    rank = Text("LoRA rank {rank}: the adapter can hold less.")


@dataclass(frozen=True)
class Estimate:
    """What a run will need. ``room_bytes`` 0: the machine's memory is not known."""

    memory: Mapping[Part, int] = field(default_factory=dict)
    room_bytes: int = 0
    seconds: Mapping[Span, float] = field(default_factory=dict)
    steps: int = 0
    source: Source = "formula"

    @property
    def total_bytes(self) -> int:
        return sum(self.memory.values())

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())

    @property
    def step_seconds(self) -> float:
        return self.seconds["learning"] / max(1, self.steps)

    @property
    def fits(self) -> bool:
        return not self.room_bytes or self.total_bytes <= ROOM_SHARE * self.room_bytes


@dataclass(frozen=True)
class Change:
    """What would make a run smaller: the fields to change, what it costs in words, and what the run then needs."""

    values: Mapping[str, Any]
    costs: Sequence[Message]
    estimate: Estimate


def estimate(workspace: Workspace, spec: TrainSpec, planned: Plan, ground: Ground | None = None) -> Estimate | None:
    """What the spec's run will need; None while its model or its rows are not here."""
    folder = local_folder(workspace, spec.model.model_name_or_path)
    model = read_facts(folder) if folder else None
    lengths = row_lengths(workspace, spec)
    if model is None or lengths is None:
        return None
    setting = Setting(spec, model, ground or ground_of(workspace))
    learned = correction(workspace, setting)
    widest, usual = batches(workspace, setting, lengths, planned.rows)
    parts = shared_parts(setting, corrected_parts(setting, memory_parts(setting, widest), learned.peak))
    steps = _steps(workspace, spec, planned, lengths)
    return Estimate(
        memory=parts,
        room_bytes=setting.ground.room_bytes,
        seconds=_seconds(setting, planned, steps, usual, learned.time),
        steps=steps,
        source=_source(learned, setting.spec.sharing.processes),
    )


def _source(learned: Correction, processes: int) -> Source:
    """Where it was learned. What one process has shown is no measurement of several."""
    return "measured" if learned.exact and processes == 1 else "runs" if learned.time else "formula"


def batches(workspace: Workspace, setting: Setting, lengths: RowLengths, there: int) -> tuple[Batch, Batch]:
    """The widest batch and a usual one: as measured for the same rows, else as guessed. ``there``: how many rows there are,
    0 where that is not known."""
    optim = setting.spec.optim
    rows = min(optim.per_device_train_batch_size, there or optim.per_device_train_batch_size)
    grouped = optim.train_sampling_strategy == "group_by_length"
    widest, usual = lengths.widest(rows), lengths.usual(rows, grouped)
    _, _, named = names_of(setting)
    for one in measurements.read(workspace):
        if one.rows == named and one.usual_length:
            length = one.usual_length if one.batch_rows == rows else min(one.length, usual.length)
            return Batch(widest.texts, one.length), Batch(usual.texts, length)
    return widest, usual


def _steps(workspace: Workspace, spec: TrainSpec, planned: Plan, lengths: RowLengths) -> int:
    """Optimiser steps; where rows are packed, of packed rows."""
    if not lengths.packed or spec.optim.max_steps:
        return planned.steps
    tokens = planned.rows * mean_tokens(workspace, spec)
    return total_steps(spec, max(1, math.ceil(tokens / lengths.longest)))


def _seconds(setting: Setting, planned: Plan, steps: int, usual: Batch, known: Measured | None) -> dict[Span, float]:
    """Seconds by part, as much slower or faster than the formula as this machine has proved."""
    spec, model = setting.spec, setting.model
    factor, warming = (known.factor, known.warming_s) if known else (1.0, 0.0)
    processes = spec.sharing.processes
    if setting.ground.device == "cpu":
        factor *= processes  # they share the cores
    batch = batch_seconds(setting, usual) * factor
    learning = steps * (spec.optim.gradient_accumulation_steps * batch + optimiser_seconds(setting) * factor)
    learning += warming if steps else 0.0
    looks = steps // every(spec.saving.eval_steps, max(1, steps), EVALS_A_RUN) + 1
    rows = spec.optim.per_device_eval_batch_size
    tried = Batch(max(1, usual.texts * rows // spec.optim.per_device_train_batch_size), usual.length)
    trying = looks * math.ceil(planned.validation_rows / rows / processes) * forward_seconds(setting, tried) * factor
    drawn = forward_seconds(setting, Batch(WORD_TOKENS_A_BATCH, 1)) * factor
    watching = looks * len(spec.saving.watch_prompts) * spec.saving.watch_max_tokens * drawn
    saved = setting.trained * 4 * 3 if spec.tuning.ADAPTER else model.num_weights * 4 * 3
    return {
        "starting": START_S + model.stored_bytes / MEMORY_RATE,
        "learning": learning,
        "trying": trying if planned.validation_rows and spec.saving.eval_strategy != "no" else 0.0,
        "watching": watching,
        "saving": 4 * saved / DISK_RATE,
    }


def changes(workspace: Workspace, spec: TrainSpec, planned: Plan, ground: Ground | None = None) -> list[Change]:
    """What would make the run fit: each change that does alone, the cheapest first, else as few of them together as do.

    Nothing when it fits already, and when all changes together are too little.
    """
    now = estimate(workspace, spec, planned, ground)
    if now is None or now.fits:
        return []
    alone = [one for kind in KINDS if (one := _enough(workspace, spec, planned, ground, [kind]))]
    together = None if alone else _enough(workspace, spec, planned, ground, KINDS)
    return [together] if together else alone


def _enough(
    workspace: Workspace, spec: TrainSpec, planned: Plan, ground: Ground | None, kinds: Sequence["Kind"]
) -> Change | None:
    """As much of these kinds of change, one after the other, as makes the run fit; None when all of it does not."""
    values: dict[str, Any] = {}
    costs: list[Message] = []
    for kind in kinds:
        before, base = (dict(values), list(costs)), _changed(workspace, spec, values)
        for option, cost in kind(workspace, base) if base else ():
            changed = _changed(workspace, spec, {**before[0], **option})
            found = estimate(workspace, changed, planned, ground) if changed else None
            if found is None:
                continue
            values, costs = {**before[0], **option}, [*before[1], cost]
            if found.fits:
                return Change(values, costs, found)
    return None


def _changed(workspace: Workspace, spec: TrainSpec, values: Mapping[str, Any]) -> TrainSpec | None:
    """The spec with other values; None where they don't go together."""
    changed = read_flat(TrainSpec, {**spec.flat(), **values}).spec
    if changed is None or fit_problems(workspace, changed.model, changed.tuning, changed.memory):
        return None
    return changed


Options = Iterator[tuple[Mapping[str, Any], Message]]
Kind = Callable[[Workspace, TrainSpec], Options]


def _smaller_batch(workspace: Workspace, spec: TrainSpec) -> Options:
    """Half the batch and twice the accumulation, or a third and thrice, again and again: the rows of a step stay the same."""
    rows, times, slower = spec.optim.per_device_train_batch_size, spec.optim.gradient_accumulation_steps, 0
    while smaller := smaller_batch(rows, times):
        (rows, times), slower = smaller, slower + 10
        values = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": times}
        say = Say.batch_compared if spec.stage.COMPARES else Say.batch
        yield values, say(batch=rows, accumulation=times, share=slower)


def _checkpointing(workspace: Workspace, spec: TrainSpec) -> Options:
    if not spec.memory.gradient_checkpointing and spec.tuning.CHECKPOINTING:
        yield {"gradient_checkpointing": True}, Say.checkpointing()


def _optimiser(workspace: Workspace, spec: TrainSpec) -> Options:
    if spec.optim.optim in ("adamw_torch", "adamw_torch_fused"):
        yield {"optim": "adamw_8bit"}, Say.optimiser(optimiser="adamw_8bit")


def _quantised(workspace: Workspace, spec: TrainSpec) -> Options:
    if spec.tuning.QUANTISED and spec.memory.quantization_bit == "none":
        yield {"quantization_bit": "4"}, Say.quantised()


def _cutoff(workspace: Workspace, spec: TrainSpec) -> Options:
    """Shorter and shorter, with the share of rows that are longer."""
    cutoff, lengths = spec.data.cutoff_len, row_lengths(workspace, spec)
    if lengths is None:
        return
    while cutoff // 2 >= LEAST_LENGTH:
        cutoff //= 2
        over = 0 if lengths.packed else sum(count > cutoff for count in lengths.tokens)
        yield {"cutoff_len": cutoff}, Say.cutoff(cutoff=cutoff, rows=math.ceil(100 * over / max(1, len(lengths.tokens))))


def _rank(workspace: Workspace, spec: TrainSpec) -> Options:
    rank = spec.tuning.model_dump().get("lora_rank", 0)
    while rank // 2 >= LEAST_RANK:
        rank //= 2
        yield {"lora_rank": rank}, Say.rank(rank=rank)


KINDS: Sequence[Kind] = (_smaller_batch, _checkpointing, _optimiser, _quantised, _cutoff, _rank)
"""Kinds of change, the cheapest first."""


def told(estimate: Estimate) -> Message:
    """Time and memory in a sentence."""
    memory, room = size(estimate.total_bytes), size(estimate.room_bytes)
    time = duration(estimate.total_seconds)
    if not estimate.room_bytes:
        return Say.no_room_known(time=time, memory=memory)
    if not estimate.fits:
        return Say.too_much(memory=memory, room=room)
    said = Say.needs_measured if estimate.source == "measured" else Say.needs
    return said(time=time, memory=memory, room=room)


def told_values(values: Mapping[str, Any]) -> Sequence[str]:
    """The changed fields as a person writes them."""
    return [f"{key}: {plain(value)}" for key, value in values.items()]
