"""Room on a full disk: what of an ended run can go, and how the run goes on in its own folder with fewer checkpoints.

What is learned does not depend on how many are kept, so that the run's spec may say otherwise from then on. Knows no page
and no job.
"""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from workbench import locks
from workbench.checkpoints import best_step, drop, lost_file, surplus
from workbench.fields import plain
from workbench.models import checkpoints
from workbench.preconditions import unmet
from workbench.problems import Problem, UserError
from workbench.runs import DELETED_LOCK_PATIENCE_S, END_PATIENCE_S, Run, list_runs
from workbench.runs import Say as Runs
from workbench.specs import TrainSpec, read_flat
from workbench.text import Message, Text
from workbench.wording import STATES, size

KEYS = ("save_total_limit", "save_strategy")
MOST = 3
"""Other runs that are named."""
WORTH_BYTES = 10_000_000
"""Less is not worth telling."""


class Say:
    goes = Text("Deleted first: {names}, which frees {freed}.")
    nothing_goes = Text("No older checkpoint of this run can go.")
    too_little = Text("The next checkpoint takes {needed}, and {free} will be free: make more room before.")
    others = Text(
        "Finished runs have checkpoints, too: {runs}. Their weights stay when you delete their folders checkpoint-N; only "
        "'Train on' then begins with a new optimiser."
    )
    cache = Text(
        "The folder {folder} holds {size} that is made again when it is needed, and can be deleted while nothing runs."
    )
    other_key = Text(
        "'{given}' can't change while a run goes on in its own folder. Accepted: {known}. Begin a new run with 'Go on from' to "
        "change more."
    )
    no_training = Text("The run '{given}' trains nothing. Accepted: a training. 'runs list' shows all.")
    not_deleted = Text(
        "The checkpoint {folder} can't be deleted: {reason}. Mend its rights or delete it by hand, then try again."
    )
    not_written = Text("The run's spec.yaml can't be written: {reason}. Free space or mend its rights, then try again.")


def fewer(run: Run, values: Mapping[str, Any]) -> TrainSpec:
    """The run's spec with other values of what is kept; UserError for any other key, and for what does not go together."""
    problems = [
        Problem(Say.other_key(given=plain(key), known=", ".join(KEYS)), key) for key in values if key not in KEYS
    ]
    if problems:
        raise UserError(*problems)
    spec = run.read_spec().unwrap()
    if not isinstance(spec, TrainSpec) or spec.JOB != TrainSpec.JOB:
        raise UserError(Say.no_training(given=run.name))
    changed = read_flat(TrainSpec, {**spec.flat(), **values}).unwrap()
    if found := [problem for problem in unmet(changed) if problem not in unmet(spec)]:
        raise UserError(*found)
    return changed


def spare(run: Run, spec: TrainSpec) -> None:
    """Delete the checkpoints that the spec does not keep, let it be the run's own, and go on from the newest one."""
    if run.state() == "lost" and not run.lock.exists():
        time.sleep(DELETED_LOCK_PATIENCE_S)  # a worker that lives makes it again
    state = run.state()
    if state in ("running", "finished"):
        raise UserError(Runs.cannot_resume(given=run.name, state=STATES[state]()))
    lock = locks.hold(run.lock, END_PATIENCE_S)
    if lock is None:
        raise UserError(Runs.still_ending(given=run.name))
    try:
        for checkpoint in going(run, spec):
            _drop(checkpoint)
        _rewrite(run, spec)
    finally:
        lock.release()
    run.resume()


def _drop(checkpoint: Path) -> None:
    try:
        drop(checkpoint)
    except OSError as error:
        raise UserError(Say.not_deleted(folder=checkpoint.name, reason=error.strerror or str(error))) from error


def _rewrite(run: Run, spec: TrainSpec) -> None:
    """Put the spec in the place of the run's own, as old as that: lists are in the order in which runs were begun."""
    own, beside = run.folder / "spec.yaml", run.folder / ".spec.yaml"
    try:
        beside.write_text(spec.to_yaml(), "utf-8")
        was = own.stat()
        os.utime(beside, ns=(was.st_atime_ns, was.st_mtime_ns))
        beside.replace(own)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise UserError(Say.not_written(reason=error.strerror or str(error))) from error


def going(run: Run, spec: TrainSpec) -> Sequence[Path]:
    """The checkpoints that go under the spec: never the newest and the best one, and none while the newest is not whole."""
    newest = run.checkpoint()
    if newest is None or lost_file(newest):
        return []
    return surplus(run.folder, spec.saving.save_total_limit, best_step(newest))


def room(run: Run, spec: TrainSpec) -> Iterator[Message]:
    """What that frees, and whether it does for the next checkpoint."""
    goes, newest = going(run, spec), run.checkpoint()
    freed = sum(map(size_of, goes))
    yield Say.goes(names=", ".join(one.name for one in goes), freed=size(freed)) if goes else Say.nothing_goes()
    free, needed = shutil.disk_usage(run.folder).free + freed, size_of(newest) if newest else 0
    if spec.saving.save_strategy != "no" and free < needed:
        yield Say.too_little(needed=size(needed), free=size(free))


def elsewhere(run: Run) -> Iterator[Message]:
    """What else in the workspace takes room and is not needed."""
    sizes = {
        one.name: sum(map(size_of, checkpoints(one.folder)))
        for one in list_runs(run.workspace)
        if one.folder != run.folder and one.has_weights() and one.state() == "finished"
    }
    largest = sorted((name for name in sizes if sizes[name] >= WORTH_BYTES), key=lambda name: -sizes[name])
    if largest:
        yield Say.others(runs=", ".join(f"{name} ({size(sizes[name])})" for name in largest[:MOST]))
    cache = run.workspace.cache
    if (held := size_of(cache)) >= WORTH_BYTES:
        yield Say.cache(folder=cache.name, size=size(held))


def size_of(folder: Path) -> int:
    """Bytes of all files below; what goes away meanwhile counts nothing."""
    return sum(_bytes(path) for path in folder.rglob("*"))


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
