"""The process: take the lock, read the spec, do the job, say how it ended. Knows no job by name and no page.

``python -m workbench.worker ROOT RUN``. Everything it prints is worker.log; everything it means is events.jsonl.
"""

import os
import sys
import threading
import time
import traceback
from pathlib import Path

from workbench import jobs, locks
from workbench.events import EventLog, Failed, Finished, Started, Stopped
from workbench.jobs import UNSAVED, Desk, Job, StopAsked
from workbench.problems import Problem, UserError
from workbench.runs import Run
from workbench.sockets import plugins
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
    """Work on one run; 0 when it finished or was stopped, 1 when it failed, 3 when another worker has it."""
    workspace = Workspace(root)
    run = Run(workspace, workspace.saves / name)
    lock = locks.hold(run.lock)
    if lock is None:
        print(f"another worker holds {run.name}")
        return 3
    resuming = run.events.exists()
    log = EventLog(run.events)
    saved = run.checkpoint()
    step = int(saved.name.removeprefix("checkpoint-")) if saved and resuming else 0
    log.write(Started(os.getpid(), step))
    desk = Desk(run, log, resuming)
    threading.Thread(target=_watch, args=(lock, desk), daemon=True).start()
    return _work(run, desk)


def _work(run: Run, desk: Desk) -> int:
    try:
        reading = run.read_spec()
        spec = reading.unwrap()
        for warning in reading.warnings:
            desk.note(warning, "warning")
        job: Job = plugins(jobs)[spec.JOB]
        desk.say(Finished(job.run(spec, desk)))
        return 0
    except StopAsked as stop:
        desk.say(Stopped(stop.step))
        return 0
    except UserError as error:
        traceback.print_exc()
        desk.say(Failed(list(error.problems)))
    except Exception as error:  # noqa: BLE001 - the last place: whatever it was ends as one Failed event
        traceback.print_exc()
        if isinstance(error, OSError) and error.errno == 28:
            desk.say(Failed([Problem(Say.disk_full(reason=str(error)))]))
        else:
            reason = verbatim(f"{type(error).__name__}: {error}"[:500])
            desk.say(Failed([Problem(Say.crashed(reason=reason))], traceback.format_exc()[-DETAIL_CHARACTERS:]))
    finally:
        run.stop_file.unlink(missing_ok=True)
    return 1


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
            saved = desk.run.checkpoint()
            desk.say(Stopped(int(saved.name.removeprefix("checkpoint-")) if saved and desk.resuming else 0))
            desk.run.stop_file.unlink(missing_ok=True)
            os._exit(0)


def _keep(lock: locks.Lock) -> None:
    """Make the lock file again when somebody deletes it; end the process when another worker took it."""
    try:
        if lock.mend():
            print("the lock file was deleted and made again", flush=True)
    except BlockingIOError:
        print("another worker took the run: this one ends", flush=True)
        os._exit(3)
    except OSError as error:
        print(f"the lock file can't be made again: {error}", flush=True)
        if not lock.path.parent.is_dir():
            os._exit(4)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
