"""The process: take the lock, read the spec, do the job, say how it ended. Knows no job by name and no page.

``python -m workbench.worker ROOT RUN``, or ``--spare`` for one that is told later which run is its own. Everything it prints is
worker.log; everything it means is events.jsonl.
"""

import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

from workbench import jobs, locks, reports, spares
from workbench.ceilings import counted
from workbench.desk import UNSAVED, Desk, StopAsked
from workbench.evaluating.section import ReportSection
from workbench.events import DISK_FULL, Event, EventLog, Failed, Finished, Started, Stopped, last_kind, last_line
from workbench.jobs import Job
from workbench.problems import Problem, UserError
from workbench.runs import DELETED_LOCK_PATIENCE_S, Run
from workbench.sockets import plugins
from workbench.specs import ReportSpec, TrainSpec
from workbench.text import Text, verbatim
from workbench.workspace import Workspace

DETAIL_CHARACTERS = 4000
HEARTBEAT_S = 0.5
STOP_DEADLINE_S = 600.0
"""A step that takes longer after a stop is given up: what was saved before it stays."""


class Say:
    crashed = Text("The run failed: {reason}. The last lines of worker.log say where.")
    disk_full = Text("No space is left on the disk ({reason}). Free some space, then press Resume.")


def main(root: Path, name: str) -> int:
    """Work on one run; 0 when it finished or was stopped, 1 when it failed, 3 when another worker has or had it."""
    workspace = Workspace(root)
    run = Run(workspace, workspace.saves / name)
    lock = _take(run)
    if lock is None:
        print(f"another worker holds {run.name}")
        return 3
    if last_kind(run.events) == "finished":
        print(f"{run.name} has finished: there is nothing left to do")
        return 3
    desk = Desk(run, EventLog(run.events), resuming=run.saved_step() > 0 or last_line(run.events)[1] > 0)
    kills, counter = counted()
    desk.say(Started(os.getpid(), run.first_step(), kills=kills, counter=counter))
    # A machine that shuts down asks first: save what there is.
    signal.signal(signal.SIGTERM, lambda *_: run.stop_file.touch())
    threading.Thread(target=_watch, args=(lock, desk), daemon=True).start()
    last = _work(run, desk)
    run.stop_file.unlink(missing_ok=True)
    desk.say(last)
    if isinstance(last, Finished):
        _report(run)
    return 1 if isinstance(last, Failed) else 0


def _report(run: Run) -> None:
    """Begin the report that the spec asks for at the end; what stands in its way is in worker.log."""
    spec = run.read_spec().spec
    if isinstance(spec, TrainSpec) and spec.JOB == TrainSpec.JOB and spec.saving.report_at_end:
        try:
            reports.begin(run.workspace, ReportSpec(report=ReportSection(report_run=run.name)))
        except UserError as error:
            _print(str(error))


def _take(run: Run) -> locks.Lock | None:
    """The run's lock. When somebody deleted its file, a worker that still lives gets the time to make it again."""
    deadline = time.monotonic() + DELETED_LOCK_PATIENCE_S
    while run.events.exists() and not run.lock.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return locks.hold(run.lock)


def _work(run: Run, desk: Desk) -> Event:
    """Do the job; its last word."""
    try:
        reading = run.read_spec()
        spec = reading.unwrap()
        for warning in reading.warnings:
            desk.note(warning, "warning")
        job: Job = plugins(jobs)[spec.JOB]
        return Finished(job.run(spec, desk))
    except StopAsked:
        return Stopped(run.saved_step())
    except UserError as error:
        _print(traceback.format_exc())
        return Failed(list(error.problems), cause=error.cause)
    except Exception as error:  # noqa: BLE001 - the last place: whatever it was ends as one Failed event
        _print(traceback.format_exc())
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return Failed([Problem(Say.disk_full(reason=str(error)))], cause="disk")
        reason = verbatim(f"{type(error).__name__}: {error}"[:500])
        return Failed([Problem(Say.crashed(reason=reason))], traceback.format_exc()[-DETAIL_CHARACTERS:])


def _watch(lock: locks.Lock, desk: Desk) -> None:
    """Beside the job: keep the lock, and end the process when a stop finds nothing to save or is not heeded in time."""
    while True:
        time.sleep(HEARTBEAT_S)
        _keep(lock)
        try:
            asked_s = time.time() - desk.run.stop_file.stat().st_mtime
        except FileNotFoundError:
            continue
        if desk.current not in UNSAVED or asked_s > STOP_DEADLINE_S:
            try:
                desk.say(Stopped(desk.run.saved_step()))
                desk.run.stop_file.unlink(missing_ok=True)
            finally:
                os._exit(0)


def _keep(lock: locks.Lock) -> None:
    """Make the lock file again when somebody deletes it; end the process when another worker took it."""
    try:
        if lock.mend():
            _print("the lock file was deleted and made again")
    except BlockingIOError:
        _print("another worker took the run: this one ends")
        os._exit(3)
    except OSError as error:
        _print(f"the lock file can't be made again: {error}")
        if not lock.path.parent.is_dir():
            os._exit(4)


def _print(words: str) -> None:
    """Into worker.log, unless the disk is full."""
    with suppress(OSError):
        print(words, flush=True)


if __name__ == "__main__":
    from workbench import worker  # under its own name, by which its words are translated

    given = spares.wait_for_run() if sys.argv[1:] == [spares.FLAG] else (Path(sys.argv[1]), sys.argv[2])
    sys.exit(worker.main(*given) if given else 0)
