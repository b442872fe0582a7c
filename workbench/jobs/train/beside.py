"""One of the processes beside the worker of a run that several share: does the same work, says nothing, saves nothing.

``python -m workbench.jobs.train.beside ROOT RUN``, started by ranks.py. What it prints is quoted when it falls.
"""

import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from workbench.desk import StopAsked
from workbench.jobs import train
from workbench.jobs.train.ranks import READY, Seat
from workbench.problems import UserError
from workbench.runs import Run
from workbench.workspace import Workspace


def main(root: Path, name: str) -> int:
    """Be one of the other processes; 0 when the run finished or was stopped, 1 when this process fell."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a machine that shuts down asks the first process, which saves
    ready, workspace = threading.Event(), Workspace(root)
    threading.Thread(target=_follow, args=(ready,), daemon=True).start()
    run = Run(workspace, workspace.saves / name)
    try:
        spec: Any = run.read_spec().unwrap()
        from transformers import Trainer  # noqa: F401 - seconds, in which the first process reads the rows

        ready.wait()
        cached = spec.model_copy(update={"data": spec.data.model_copy(update={"overwrite_cache": False})})
        place, port = int(os.environ["RANK"]), int(os.environ["MASTER_PORT"])
        train.run(cached, Seat(run, None, run.saved_step() > 0, place=place, port=port))
    except StopAsked:
        return 0
    except UserError as error:
        print("\n".join(str(problem) for problem in error.problems), flush=True)
        return 1
    except Exception:  # noqa: BLE001 - the last place: the first process quotes what is printed
        traceback.print_exc()
        return 1
    return 0


def _follow(ready: threading.Event) -> None:
    """Hear when it is time, and end with the first process: its end of the pipe closes however it dies."""
    for line in sys.stdin.buffer:
        if line == READY:
            ready.set()
    os._exit(0)


if __name__ == "__main__":
    from workbench.jobs.train import beside  # under its own name, by which its words are translated

    os._exit(beside.main(Path(sys.argv[1]), sys.argv[2]))
