"""A new run that goes on from an ended one: with other settings, or for more epochs. Knows no page and no job.

A run's spec is written once, so what goes on under another spec is another run, whose spec names the checkpoint that it
goes on from.
"""

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from workbench.checkpoints import learned_epochs, step_of
from workbench.fields import plain
from workbench.plans import plan
from workbench.problems import UserError
from workbench.runs import Run, create
from workbench.specs import Reading, TrainSpec, read_flat
from workbench.text import Message, Text
from workbench.wording import STATES

AGAIN, MORE = "again", "more"
ENDING = re.compile(rf"-({AGAIN}|{MORE})(-\d+)?$")
STEADY = ("constant", "constant_with_warmup", "reduce_lr_on_plateau")
"""Schedules whose rate does not depend on how many steps there are."""

ROUNDED = 5e-5
FINE = 10**9
"""Epochs are given to this fraction, rounded down: so that the rest of it is never a step more."""


class Say:
    not_finished = Text(
        "The run '{given}' is {state}. Accepted: a finished one. Resume it, and it goes on to its end first."
    )
    no_training = Text("The run '{given}' trains nothing. Accepted: a finished training. 'runs list' shows all.")
    no_epochs = Text("'{given}' are no epochs to go on for. Accepted: a number above 0. Enter, for example, 1.")
    streamed = Text(
        "The run '{given}' streamed its rows, so nobody knows where an epoch ends. Accepted: runs that read their sets whole. "
        "Begin a new one with 'Go on from' {checkpoint} and more 'Max steps'."
    )
    nothing_kept = Text("The run '{given}' has neither a checkpoint nor weights any more. Begin a new run.")
    from_checkpoint = Text(
        "It goes on from step {step} with its optimiser, as a new run. The schedule '{scheduler}' is drawn anew over the old "
        "epochs and the new ones: the learning rate takes up where that one stands at step {step}, and goes to its end."
    )
    steady = Text(
        "It goes on from step {step} with its optimiser, as a new run. The learning rate stays what '{scheduler}' has made it."
    )
    from_weights = Text(
        "No checkpoint was kept, so the optimiser's memory is gone: a new run goes on from the trained weights alone, with a "
        "new optimiser, and with the whole schedule, warm-up included, over the new epochs."
    )


@dataclass(frozen=True)
class Extension:
    """A run to come that adds epochs to another: its spec, and how it goes on, in words."""

    spec: TrainSpec
    told: Message


def extension(run: Run, epochs: float) -> Extension:
    """More epochs after a finished run; UserError where that can't be."""
    spec, state = run.read_spec().unwrap(), run.state()
    if not isinstance(spec, TrainSpec) or spec.JOB != TrainSpec.JOB:
        raise UserError(Say.no_training(given=run.name))
    if state != "finished":
        raise UserError(Say.not_finished(given=run.name, state=STATES[state]()))
    if not 0 < epochs <= 10_000:
        raise UserError(Say.no_epochs(given=plain(epochs)), key="epochs")
    checkpoint = run.checkpoint()
    if spec.data.streaming:
        known = f"saves/{run.name}/{checkpoint.name}" if checkpoint else f"saves/{run.name}"
        raise UserError(Say.streamed(given=run.name, checkpoint=known))
    if checkpoint is None:
        return _from_weights(run, spec, epochs)
    step, whole = run.view().step, Fraction(str(spec.optim.num_train_epochs))
    if step.step != step.total or spec.optim.max_steps:
        # An epoch told of a step is rounded, and rounded down it would make the steps of an epoch one too many.
        per_epoch = steps_an_epoch(step_of(checkpoint), learned_epochs(checkpoint) or step.epoch + ROUNDED)
        whole = Fraction(step.step, per_epoch)
    all_epochs = math.floor((whole + Fraction(str(epochs))) * FINE) / FINE
    values = {"num_train_epochs": all_epochs, "max_steps": None, "resume_from_checkpoint": _named(run, checkpoint.name)}
    scheduler = spec.optim.lr_scheduler_type
    if scheduler in STEADY:
        told = Say.steady(step=step_of(checkpoint), scheduler=scheduler)
    else:
        told = Say.from_checkpoint(step=step_of(checkpoint), scheduler=scheduler)
    return Extension(follower(run, spec, values, MORE).unwrap(), told)


def read_epochs(given: str) -> float:
    """The number that a person has written; UserError for what is none."""
    try:
        return float(given)
    except ValueError:
        raise UserError(Say.no_epochs(given=plain(given[:40])), key="epochs") from None


def steps_an_epoch(step: int, epoch: float) -> int:
    """How many steps an epoch has, when it was so far after this step. A last step from fewer batches than the others
    counts for less of it, so what was learned may be ahead of the steps by less than one."""
    return max(1, math.ceil(step / epoch - 1e-6)) if epoch else max(1, step)


def _from_weights(run: Run, spec: TrainSpec, epochs: float) -> Extension:
    if not run.has_weights():
        raise UserError(Say.nothing_kept(given=run.name))
    values: dict[str, Any] = {"num_train_epochs": epochs, "max_steps": None, "resume_from_checkpoint": None}
    if spec.tuning.ADAPTER:
        given = spec.model.adapter_name_or_path
        renewed = bool(spec.tuning.model_dump().get("create_new_adapter"))
        values["adapter_name_or_path"] = [*(given if renewed else given[:-1]), _named(run)]
        values |= {"create_new_adapter": False} if renewed else {}
    else:
        values["model_name_or_path"] = _named(run)
    return Extension(follower(run, spec, values, MORE).unwrap(), Say.from_weights())


def follower(run: Run, spec: TrainSpec, values: Mapping[str, Any], ending: str) -> Reading[TrainSpec]:
    """The run's spec with other values, under a name of its own."""
    own = {"output_dir": free_name(run, ending), "overwrite_output_dir": False}
    return read_flat(TrainSpec, {**spec.flat(), **values, **own})


def free_name(run: Run, ending: str) -> str:
    """The run's name with an ending, and a number behind it where that is taken; endings do not pile up."""
    bare = run.folder.with_name(f"{ENDING.sub('', run.folder.name)}-{ending}")
    numbered = (bare.with_name(f"{bare.name}-{count}") for count in itertools.count(2))
    return _named(Run(run.workspace, next(one for one in itertools.chain([bare], numbered) if not one.exists())))


def _named(run: Run, inside: str = "") -> str:
    """A run, or a folder in it, as seen from the workspace."""
    return f"saves/{run.name}/{inside}".rstrip("/")


def begin(run: Run, spec: TrainSpec) -> Run:
    """The new run, started; UserError with every problem in its way."""
    if problems := plan(run.workspace, spec).problems:
        raise UserError(*problems)
    begun = create(run.workspace, spec)
    begun.start()
    return begun
