"""A process that has the heavy libraries in it already and becomes the next worker, so that a run begins seconds sooner.

Only a window prepares one, while a person fills in the form. Nothing depends on it: where there is none, or it has gone, a worker
is started as ever. It holds no model and no memory of a card, and goes when nobody needs it for a while or the window ends.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import psutil

from workbench.workspace import source_folder

FLAG = "--spare"
SWITCH = "WORKBENCH_SPARE"
"""A variable of the environment: 0 prepares none."""
READY = b"ready\n"
ROOM_BYTES = 3 << 30
"""So much memory has to be free: it takes about 0.5 GB itself, and the run needs some too."""
PAUSE_S, PATIENCE_S, IDLE_S = 2.0, 8.0, 1200.0
"""Before it begins to load, since the page comes first; how long a run waits for one that is loading; how long it stays."""
HEAVY = ("torch", "datasets", "transformers.trainer", "transformers.models.auto.modeling_auto", "peft", "trl.trainer.sft_trainer")


class Spare:
    """At most one such process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = threading.Event()
        self._timer: threading.Timer | None = None
        self._changing = threading.Lock()

    def prepare(self, environment: Mapping[str, str]) -> None:
        """Have one soon, if there is none and room for one. ``environment``: what every worker is told."""
        with self._changing:
            waits = self._timer is not None and self._timer.is_alive()
            if waits or self._alive() or os.environ.get(SWITCH) == "0":
                return
            self._ready = threading.Event()
            self._timer = threading.Timer(PAUSE_S, self._start, [environment])
            self._timer.daemon = True
            self._timer.start()

    def _start(self, environment: Mapping[str, str]) -> None:
        with self._changing:
            if self._alive() or psutil.virtual_memory().available < ROOM_BYTES:
                return
            windows = sys.platform == "win32"
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workbench.worker", FLAG],
                cwd=source_folder(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=not windows,
                creationflags=(0x00000008 | 0x00000200) if windows else 0,  # DETACHED_PROCESS, NEW_PROCESS_GROUP
                env={**environment},
            )

            threading.Thread(target=self._listen, args=(self._process, self._ready), daemon=True).start()

    def _listen(self, process: subprocess.Popen[bytes], ready: threading.Event) -> None:
        assert process.stdout is not None
        with process.stdout:
            if process.stdout.readline() == READY:
                ready.set()
        process.wait()

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def take(self, root: Path, name: str, log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
        """The process, told which run is its own; None where there is none. ``environment``: what it alone is told."""
        with self._changing:
            process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None
        told = {"root": os.path.abspath(root), "name": name, "log": os.path.abspath(log), "environment": dict(environment)}
        if process.poll() is None and self._ready.wait(PATIENCE_S):
            with suppress(OSError):
                process.stdin.write(json.dumps(told).encode() + b"\n")
                process.stdin.close()
                return process
        process.kill()
        with suppress(OSError):
            process.stdin.close()
        return None

    def end(self) -> None:
        """Let it go."""
        with self._changing:
            if self._timer is not None:
                self._timer.cancel()
            if self._process is not None and self._process.stdin is not None:
                with suppress(OSError):
                    self._process.stdin.close()
            self._process = None


spare = Spare()
"""This process's own."""


def wait_for_run() -> tuple[Path, str] | None:
    """In such a process: load, say so, and wait; the workspace and the run's name, this process having its log and environment by
    then. None when it is not needed any more."""
    idle = threading.Timer(IDLE_S, os._exit, [0])
    idle.daemon = True
    idle.start()
    for name in HEAVY:
        with suppress(ImportError):  # what a run lacks, the run says
            import_module(name)
    sys.stdout.buffer.write(READY)
    sys.stdout.flush()
    line = sys.stdin.readline()
    idle.cancel()
    if not line:
        return None
    told = json.loads(line)
    log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    os.environ.update(told["environment"])
    return Path(told["root"]), told["name"]
