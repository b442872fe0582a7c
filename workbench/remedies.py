"""What would help a run that memory or the disk has ended: changes of its spec, the cheapest first, and where it goes on
with them. Knows no page and no job."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from workbench.ceilings import COUNTER, ceiling_bytes, kills
from workbench.checkpoints import step_of
from workbench.continuing import AGAIN, begin, follower
from workbench.estimates import KINDS, ROOM_SHARE, changes, estimate
from workbench.estimates.grounds import ground
from workbench.estimates.needs import Ground
from workbench.events import Failed, State
from workbench.fields import plain
from workbench.fitting import fit_problems
from workbench.plans import plan
from workbench.preconditions import unmet
from workbench.problems import Cause, UserError
from workbench.runs import Run
from workbench.sparing import elsewhere, fewer, room, spare
from workbench.specs import TrainSpec
from workbench.text import Message, Text
from workbench.view import View
from workbench.wording import size
from workbench.workspace import Workspace

LESS = 0.75
"""A run that did not find room is to need so much less than it was thought to."""
NEAR = 0.85
"""A process that held so much of what it may have has most likely been ended for it."""
MOST = 4
KEEPING = {
    "per_device_train_batch_size", "gradient_accumulation_steps", "per_device_eval_batch_size", "gradient_checkpointing",
    "cutoff_len", "save_total_limit", "save_strategy",
}  # fmt: skip
"""What may change while a run goes on with its weights and its optimiser."""


class Say:
    killed = Text(
        "The worker was ended from outside, most likely by the system, since memory ended: {held} of {room} were in use at "
        "its last step. What was saved before is whole. Make room and press Resume (in a terminal: runs resume {name}), or "
        "begin again with smaller settings."
    )
    counted = Text(
        "The worker ended without a word, probably by the system, since memory ended: {count} of the processes that it may be "
        "one of have been ended for that since it began. What was saved before is whole. Make room and press Resume (in a "
        "terminal: runs resume {name}), or begin again with smaller settings."
    )
    nothing_helps = Text("No change of the settings is known to help. A smaller model would.")
    as_few = Text("The run keeps as few checkpoints as it can. Free space elsewhere, then press Resume.")
    one_kept = Text("Only the newest checkpoint is kept, instead of {count}.")
    one_kept_of_all = Text("Only the newest checkpoint is kept, instead of all.")
    none_kept = Text("No checkpoint is saved while it runs: a worker that is killed begins anew.")
    goes_on = Text("It goes on from step {step}.")
    from_start = Text("It begins from the start: the checkpoint of step {step} does not fit these settings.")
    from_nothing = Text("It begins from the start: no checkpoint was saved yet.")


@dataclass(frozen=True)
class Remedy:
    """A run that would go better: its spec, what differs (key, before, after), what that costs, and where it begins."""

    spec: TrainSpec
    differs: Sequence[tuple[str, str, str]]
    told: Sequence[Message]
    own: bool = False
    """The run itself goes on so, in its own folder; else a new one."""

    @property
    def flags(self) -> Sequence[str]:
        """What a terminal is given beside the run, or beside its spec where another one begins."""
        flat = self.spec.flat()
        keys = [key for key, _, _ in self.differs]
        return [f"{key}={plain(flat[key])}" for key in (keys if self.own else [*keys, *PLACES])]

    def apply(self, run: Run) -> Run:
        """Let the run go on so, or begin the one that does; the one that runs then. UserError where that can't be."""
        if not self.own:
            return begin(run, self.spec)
        spare(run, self.spec)
        return run


PLACES = ("resume_from_checkpoint", "output_dir")


def cause_of(run: Run, view: View, state: State) -> Cause:
    """What ended the run, where something may help."""
    if isinstance(view.ended, Failed) and state == "failed":
        return view.ended.cause
    return "memory" if state == "lost" and _was_killed(run, view) else ""


def _was_killed(run: Run, view: View) -> bool:
    """Whether a worker that ended without a word was probably ended by the system for want of memory: it held nearly all there
    is, or such an end was counted since it began. Who was ended nobody says: a count may be of another process of its
    control group or, where groups do not count, of the machine. So it is only ever called probable."""
    return _held_all(run, view) or _counted(view) > 0


def _held_all(run: Run, view: View) -> bool:
    if ground(run.workspace).device == "cuda":  # what is told of a step is then the card's memory
        return False
    return view.step.memory_bytes >= NEAR * ceiling_bytes()


def _counted(view: View) -> int:
    """How many were ended for want of memory since the worker began; 0 where that is not known."""
    started = view.started
    if started is None or started.kills < 0 or psutil.boot_time() >= view.started_at:
        return 0
    return max(0, kills(Path(started.counter or COUNTER)) - started.kills)


def told_killed(run: Run, view: View) -> Message:
    """The same in words."""
    if not _held_all(run, view):
        return Say.counted(name=run.name, count=_counted(view))
    return Say.killed(name=run.name, held=size(view.step.memory_bytes), room=size(ceiling_bytes()))


def remedies(run: Run, cause: Cause) -> list[Remedy]:
    """Changes that would help, the best first; none where none is known."""
    spec = run.read_spec().spec
    if not isinstance(spec, TrainSpec) or spec.JOB != TrainSpec.JOB or cause not in ("memory", "disk"):
        return []
    if cause == "disk":
        return [one for values, cost in _fewer_files(spec) if (one := _in_place(run, spec, values, cost))]
    return [one for values, costs in _smaller(run, spec) if (one := _remedy(run, spec, values, costs))][:MOST]


def beside(run: Run, cause: Cause, found: Sequence[Remedy]) -> list[Message]:
    """What is to be said beside the changes that were found, or where there are none."""
    none = [] if found else [Say.as_few() if cause == "disk" else Say.nothing_helps()]
    return [*none, *(elsewhere(run) if cause == "disk" else ())]


Found = tuple[Mapping[str, Any], Sequence[Message]]


def _smaller(run: Run, spec: TrainSpec) -> list[Found]:
    """What the estimate says would fit; where it knows nothing, the first step of each kind of change."""
    named = spec.model_copy(update={"saving": spec.saving.model_copy(update={"output_dir": ""})})
    planned = plan(run.workspace, named)
    needed = None if planned.problems else estimate(run.workspace, named, planned)
    fitting = []
    if needed is not None:
        room = _less_room(ground(run.workspace), needed.total_bytes)
        fitting = [(one.values, one.costs) for one in changes(run.workspace, named, planned, room)]
    return fitting or [option for kind in KINDS for option in _first(kind(run.workspace, spec))]


def _less_room(here: Ground, needed_bytes: int) -> Ground:
    """The machine as it has proved to be: with less room than was thought to be needed."""
    known = [here.room_bytes] if here.room_bytes else []
    known += [ceiling_bytes()] if here.device == "cpu" else []
    return replace(here, room_bytes=round(min([*known, LESS * needed_bytes / ROOM_SHARE])))


def _first(options: Iterator[tuple[Mapping[str, Any], Message]]) -> Iterator[Found]:
    first = next(options, None)
    if first:
        yield first[0], [first[1]]


def _fewer_files(spec: TrainSpec) -> Iterator[tuple[Mapping[str, Any], Message]]:
    count = spec.saving.save_total_limit
    fewer = {} if count == 1 else {"save_total_limit": 1}
    if fewer:
        yield fewer, Say.one_kept(count=count) if count else Say.one_kept_of_all()
    if spec.saving.save_strategy != "no":
        yield {**fewer, "save_strategy": "no"}, Say.none_kept()


def _in_place(run: Run, spec: TrainSpec, values: Mapping[str, Any], cost: Message) -> Remedy | None:
    """The run itself with these values: a new one would leave it its checkpoints, and the disk as full. None where they do
    not go together."""
    try:
        changed = fewer(run, values)
    except UserError:
        return None
    step, before = run.first_step(), spec.flat()
    differs = [(key, plain(before[key]), plain(value)) for key, value in values.items()]
    place = Say.goes_on(step=step) if step else Say.from_nothing()
    return Remedy(changed, differs, [cost, *room(run, changed), place], own=True)


def _remedy(run: Run, spec: TrainSpec, values: Mapping[str, Any], costs: Sequence[Message]) -> Remedy | None:
    """A run with these values; None where they do not go together."""
    checkpoint, before = run.checkpoint(), spec.flat()
    values = dict(values)
    rows = values.get("per_device_train_batch_size")
    if rows and spec.optim.per_device_train_batch_size < spec.optim.per_device_eval_batch_size:
        values["per_device_eval_batch_size"] = rows
    kept = keeps_place(spec, values)
    if kept and checkpoint:
        values["resume_from_checkpoint"] = f"saves/{run.name}/{checkpoint.name}"
    elif not kept:
        values["resume_from_checkpoint"] = None
    changed = follower(run, spec, values, AGAIN).spec
    if changed is None or _unfit(run.workspace, changed):
        return None
    differs = [(key, plain(before[key]), plain(value)) for key, value in values.items() if key not in PLACES]
    return Remedy(changed, differs, [*costs, _place(spec, changed, step_of(checkpoint))])


def _unfit(workspace: Workspace, spec: TrainSpec) -> bool:
    """Whether something is missing here for the spec, or does not go together in it."""
    return bool(unmet(spec) or fit_problems(workspace, spec.model, spec.tuning, spec.memory))


def keeps_place(spec: TrainSpec, values: Mapping[str, Any]) -> bool:
    """Whether a run whose values change so can go on from its checkpoint: weights, optimiser and steps stay the same."""
    packed = spec.stage.packs and "cutoff_len" in values
    return set(values) <= KEEPING and not packed


def _place(spec: TrainSpec, changed: TrainSpec, step: int) -> Message:
    """Where the new run begins, in words."""
    given = changed.saving.resume_from_checkpoint
    if given:
        named = given.rpartition("checkpoint-")[2]
        return Say.goes_on(step=int(named) if named.isdecimal() else step)
    return Say.from_start(step=step) if step else Say.from_nothing()
