"""Going on with smaller batches when memory ends, where that is asked for: a step still learns from as many rows.

Knows no trainer: it is given what is to be tried, and frees what that has left behind.
"""

import gc
import os
import traceback
from collections.abc import Callable, Iterator
from typing import TypeVar

from workbench.ceilings import counted
from workbench.desk import Desk
from workbench.events import Started
from workbench.jobs.train.troubles import machine_is_said, remove_unfinished
from workbench.plans import smaller_batch
from workbench.problems import UserError
from workbench.specs import TrainSpec
from workbench.text import Text

T = TypeVar("T")


class Say:
    smaller = Text(
        "Memory ended with batches of {before} rows. The run goes on from step {step} with batches of {rows} and an "
        "accumulation of {times}: each step learns from {all} rows as before, so the result stays the same."
    )
    smaller_compared = Text(
        "Memory ended with batches of {before} rows. The run goes on from step {step} with batches of {rows} and an "
        "accumulation of {times}: each step learns from {all} rows as before. The loss of this stage compares the rows of a "
        "batch, so the result differs a little."
    )
    one_row = Text("Memory ended with batches of one row, so they can't be made smaller.")


def with_room(spec: TrainSpec, desk: Desk, attempt: Callable[[TrainSpec], T]) -> T:
    """What ``attempt`` gives for the spec, or, when memory ends and that is asked for, for one with smaller batches."""
    while True:
        ended = _tried(spec, desk, attempt)
        if not isinstance(ended, _NoMemory):
            return ended
        smaller = smaller_batch(spec.optim.per_device_train_batch_size, spec.optim.gradient_accumulation_steps)
        if smaller is None:
            desk.note(Say.one_row(), "warning")
            raise ended.error
        _free(ended.error)
        spec = _begin_again(spec, desk, *smaller)


class _NoMemory:
    """What stands for the outcome of an attempt that memory ended."""

    def __init__(self, error: UserError) -> None:
        self.error = error


def _tried(spec: TrainSpec, desk: Desk, attempt: Callable[[TrainSpec], T]) -> "T | _NoMemory":
    try:
        with machine_is_said():
            return attempt(spec)
    except UserError as error:
        if error.cause != "memory" or not spec.optim.auto_find_batch_size or desk.stop_asked() or _is_one_of_several():
            raise
        return _NoMemory(error)


def _is_one_of_several() -> bool:
    """Whether other processes learn with this one, which would wait for it in vain."""
    from torch import distributed

    return distributed.is_available() and distributed.is_initialized()


def _begin_again(spec: TrainSpec, desk: Desk, rows: int, times: int) -> TrainSpec:
    """The spec with other batches; a reader of the run hears where it goes on."""
    before, step = spec.optim.per_device_train_batch_size, desk.run.first_step()
    remove_unfinished(desk.run.folder)
    kills, counter = counted()
    desk.say(Started(os.getpid(), step, kills=kills, counter=counter))
    desk.phase("model")
    say = Say.smaller_compared if spec.stage.COMPARES else Say.smaller
    desk.note(say(before=before, rows=rows, times=times, all=rows * times, step=step), "warning")
    changed = {
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": times,
    }
    if spec.optim.per_device_eval_batch_size > before:  # else left alone: figures of other batches are not quite alike
        changed["per_device_eval_batch_size"] = rows
    return spec.model_copy(update={"optim": spec.optim.model_copy(update=changed)})


def _free(error: BaseException) -> None:
    """Let go of the model and all that was computed with it: the frames of the error still hold them."""
    for one in _chain(error):
        traceback.clear_frames(one.__traceback__)
        one.__traceback__ = None
    from accelerate.state import GradientState

    GradientState._reset_state()  # it knows the loader of the trainer that is gone, and would ask it how far it is
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
