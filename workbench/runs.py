"""A run is a folder: create, start, stop, resume, list, state. Knows no job; a worker is only a process that it starts.

Status is never stored. The last word of events.jsonl says finished, failed or stopped; else a held lock means running;
else a run that has begun is lost, and one that has only a spec is waiting.
"""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from workbench import locks
from workbench.checkpoints import given_checkpoint, step_of
from workbench.events import EventLog, State, Stopped, last_kind, last_line, pieces, tail
from workbench.fields import plain
from workbench.models import is_adapter, is_whole_run, newest_checkpoint
from workbench.naming import DEEPEST, run_folder
from workbench.problems import Problem, UserError
from workbench.spares import spare
from workbench.specs import SPECS, EvalSpec, ExportSpec, Reading, Spec, TrainSpec, read_flat, yaml_mapping
from workbench.text import Text
from workbench.view import View
from workbench.wording import STATES
from workbench.workspace import Workspace, source_folder

SHOWN = (TrainSpec.JOB, EvalSpec.JOB, ExportSpec.JOB)
"""Jobs whose runs lie where people look, under saves/; those of the others lie in hidden folders there."""
HEAD_BYTES = 4_096
LAST_BYTES = 65_536
"""So much of the end of a run's events is enough for a list."""
END_PATIENCE_S = 10.0
CLOCK_SLACK_S = 60.0
START_PATIENCE_S = 60.0
DELETED_LOCK_PATIENCE_S = 2.5
"""A living worker makes its lock file again within a second; so long a missing one proves nothing."""

ENDS: Mapping[str | None, State] = {"finished": "finished", "failed": "failed", "stopped": "stopped"}
WORKER_ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "true", "GOMP_SPINCOUNT": "10000"}
"""What the person's own environment may overrule. A short spin: alone a worker then keeps 95 % of its speed, and where two
compute side by side, as a training and a chat do, each has twice what spinning for long leaves it."""
WORKER_OUTPUT = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "HF_HUB_OFFLINE": "1"}
"""What holds always. Models are fetched by hubs.py, with a word; no library asks a hub on its own."""


def worker_environment() -> dict[str, str]:
    """The environment of every worker."""
    return {**WORKER_ENVIRONMENT, **os.environ, **WORKER_OUTPUT}


class Say:
    exists = Text("The run '{given}' exists already. Choose another name, or tick 'Overwrite the run' to delete it.")
    running = Text("The run '{given}' is running. Stop it first.")
    not_a_run = Text("'{given}' holds other files than a run's and is not overwritten. Choose another name.")
    unknown = Text("No run named '{given}'. Known: {known}. 'python app.py runs list' shows all.")
    ambiguous = Text("'{given}' names several runs: {known}. Give the longer name.")
    cannot_resume = Text("The run '{given}' is {state}. Only a stopped, failed, lost or waiting run can be resumed.")
    still_ending = Text("The worker of '{given}' has not ended yet. Wait a moment, then try again.")
    other_job = Text("'{given}' holds a run that does something else ({job}), and is not overwritten. Choose another name.")
    inside_run = Text("'{given}' lies inside the run '{run}'. Choose a name outside it.")
    no_folder = Text(
        "The run's folder '{given}' can't be made: {reason}. Free space or mend its rights, then try again."
    )
    no_spec = Text("The run '{given}' has no spec.yaml. Put it back, or begin a new run.")
    no_worker = Text("The worker of '{given}' ended before it began. The end of {log}: {words}")


@dataclass(frozen=True)
class Run:
    """One run's folder. Every method looks at the files anew."""

    workspace: Workspace
    folder: Path

    @property
    def name(self) -> str:
        """The path inside saves/, with forward slashes."""
        return self.folder.relative_to(self.workspace.saves).as_posix()

    @property
    def short_name(self) -> str:
        """For lists: the run's own name first, so that it is seen where room is short; its model after it."""
        parts = self.name.split("/")
        return f"{parts[-1]}  ·  {parts[0]}" if len(parts) > 1 else self.name

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def stop_file(self) -> Path:
        return self.folder / "stop"

    def read_spec(self) -> Reading[Spec]:
        """The spec as it stands in the folder, checked again."""
        file = self.folder / "spec.yaml"
        if not file.is_file():
            return Reading(None, [Problem(Say.no_spec(given=self.name))])
        values = yaml_mapping(file.read_text("utf-8", errors="replace"))
        if not isinstance(values, dict):
            return Reading(None, [values])
        kind = SPECS.get(str(values.get("job", TrainSpec.JOB)), TrainSpec)
        return read_flat(kind, values)

    def state(self) -> State:
        """One word, computed from the files."""
        for _ in range(2):  # the worker may say its last word and go between the two looks
            last = last_kind(self.events)
            if last in ENDS:
                return ENDS[last]
            if locks.held(self.lock):
                return "running"
        return "lost" if self.events.exists() else "waiting"

    def stopping(self) -> bool:
        """Whether a stop was asked for and the worker has not ended yet."""
        return self.stop_file.exists() and self.state() == "running"

    def view(self) -> View:
        """Everything that was said so far, folded."""
        view = View()
        for entries, _ in pieces(self.events):
            view.fold(entries)
        return view

    def recent_view(self) -> View:
        """What the end of its events says; the beginning of a long run is not read."""
        size = self.events.stat().st_size if self.events.exists() else 0
        if size <= LAST_BYTES:
            return self.view()
        return View().fold(tail(self.events, size - LAST_BYTES)[0][1:])  # the first line may be cut

    def checkpoint(self) -> Path | None:
        """The newest whole checkpoint, None when there is none."""
        return newest_checkpoint(self.folder)

    def saved_step(self) -> int:
        """The step of the newest whole checkpoint, 0 when there is none."""
        newest = self.checkpoint()
        return int(newest.name.removeprefix("checkpoint-")) if newest else 0

    def first_step(self) -> int:
        """The step that a worker goes on from: of the run's own newest checkpoint, else of the one that its spec names."""
        if own := self.saved_step():
            return own
        with suppress(UserError):
            spec = self.read_spec().spec
            if isinstance(spec, TrainSpec):
                return step_of(given_checkpoint(self.workspace, spec.saving.resume_from_checkpoint))
        return 0

    def has_adapter(self) -> bool:
        """Whether something can be loaded from it: final weights or a checkpoint."""
        return self.has_weights() or self.checkpoint() is not None

    def has_weights(self) -> bool:
        """Whether the final weights lie there, an adapter's or a whole model's."""
        return is_adapter(self.folder) or is_whole_run(self.folder)

    def log_tail(self, size_bytes: int = 8_000) -> str:
        """The end of what the process printed."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - size_bytes))
                return file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start a worker that outlives this process, and wait until it has begun. Its output goes to worker.log.

        ``environment``: what it alone is told beside this process's own, such as a key, which no file may hold.
        """
        self.stop_file.unlink(missing_ok=True)
        _, before = last_line(self.events)
        process = spare.take(self.workspace.root, self.name, self.log, environment or {})
        if process is None or not self._begun(process, before):
            process = self._spawn(environment or {})
            if not self._begun(process, before):
                raise UserError(Say.no_worker(given=self.name, log=self.log.name, words=self.log_tail(600)))
        threading.Thread(target=process.wait, daemon=True).start()

    def _begun(self, process: subprocess.Popen[bytes], before: int) -> bool:
        """Wait until the worker has said its first word; False where it ended without one, and none works on the run."""
        deadline = time.monotonic() + START_PATIENCE_S
        while process.poll() is None and not tail(self.events, before)[0] and time.monotonic() < deadline:
            time.sleep(0.02)
        return process.poll() is None or bool(tail(self.events, before)[0]) or locks.held(self.lock)

    def _spawn(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        windows = sys.platform == "win32"
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "workbench.worker", os.path.abspath(self.workspace.root), self.name],
                cwd=source_folder(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=not windows,
                creationflags=(0x00000008 | 0x00000200) if windows else 0,  # DETACHED_PROCESS, NEW_PROCESS_GROUP
                env={**worker_environment(), **environment},
            )

    def resume(self) -> None:
        """Go on from the newest whole checkpoint, or from the start when there is none."""
        if self.state() == "lost" and not self.lock.exists():
            time.sleep(DELETED_LOCK_PATIENCE_S)
        state = self.state()
        if state in ("running", "finished"):
            raise UserError(Say.cannot_resume(given=self.name, state=STATES[state]()))
        self._await_end()
        self.start()

    def _await_end(self) -> None:
        """A worker that has said its last word may still take a moment to go."""
        deadline = time.monotonic() + END_PATIENCE_S
        while locks.held(self.lock):
            if time.monotonic() > deadline:
                raise UserError(Say.still_ending(given=self.name))
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask the worker to end after its step and save; asked again, end the process now. Nothing once it ended."""
        if self.stop_file.exists():
            self.kill()
        elif self.state() in ("running", "lost"):  # a deleted lock looks lost until the worker has mended it
            with suppress(FileNotFoundError):  # deleted meanwhile, as in another window
                self.stop_file.touch()

    def kill(self) -> None:
        """End the worker's process at once and say so in its place; nothing since the last checkpoint is kept."""
        view = self.view()
        if view.started is None or self.state() != "running":
            return
        with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            # A number given to another process since then is not the worker's.
            if psutil.Process(view.started.pid).create_time() < view.started_at + CLOCK_SLACK_S:
                os.kill(view.started.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        try:
            lock = locks.hold(self.lock, END_PATIENCE_S)
        except FileNotFoundError:  # deleted meanwhile, as in another window
            return
        if lock is None:
            return
        if last_kind(self.events) not in ENDS:
            log = EventLog(self.events)
            log.write(Stopped(self.saved_step()))
            log.close()
        self.stop_file.unlink(missing_ok=True)
        lock.release()

    def wait(self, patience_s: float) -> State:
        """The state as soon as the run is not running, or after ``patience_s``."""
        deadline = time.monotonic() + patience_s
        while self.state() == "running" and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.state()

    def delete(self) -> None:
        """Delete the folder; UserError while it runs."""
        if self.state() == "running":
            raise UserError(Say.running(given=self.name))
        self._await_end()
        with suppress(FileNotFoundError):  # another window did
            shutil.rmtree(self.folder)


def check_folder(workspace: Workspace, spec: Spec) -> Path:
    """The free folder for a new run; UserError beside output_dir when it is taken and was not to be overwritten."""
    folder = run_folder(workspace, spec)
    place = spec.kept_in()
    if place is None:
        return folder
    run = Run(workspace, folder)
    for path in (folder, *folder.parents):
        if path.is_file():
            raise UserError(Say.not_a_run(given=run.name), key="output_dir")
        if path not in (folder, workspace.saves) and (path / "spec.yaml").is_file():
            name = Run(workspace, path).name
            raise UserError(Say.inside_run(given=run.name, run=name), key="output_dir")
        if path == workspace.saves:
            break
    if place.output_dir.strip() and folder.is_dir() and any(folder.iterdir()):
        if not (folder / "spec.yaml").is_file():
            raise UserError(Say.not_a_run(given=run.name), key="output_dir")
        if (job := job_of(folder)) != spec.JOB:
            raise UserError(Say.other_job(given=run.name, job=job), key="output_dir")
        if run.state() == "running":
            raise UserError(Say.running(given=run.name), key="output_dir")
        if not place.overwrite_output_dir:
            raise UserError(Say.exists(given=run.name), key="output_dir")
    return folder


def create(workspace: Workspace, spec: Spec) -> Run:
    """A new run's folder with its spec, waiting to be started. Of two that want the same name one gets it."""
    while True:
        folder, laid = check_folder(workspace, spec), spec
        if place := spec.kept_in():
            name = f"saves/{folder.relative_to(workspace.saves).as_posix()}"
            laid = spec.model_copy(update={spec.PLACE: place.model_copy(update={"output_dir": name})})
        try:
            if _lay(folder, laid):
                return Run(workspace, folder)
        except OSError as error:
            said = Say.no_folder(given=folder.name, reason=error.strerror or str(error))
            raise UserError(said, key="output_dir") from error


def _lay(folder: Path, spec: Spec) -> bool:
    """Put the run's folder in place in one move; False when another one was quicker."""
    mark = uuid.uuid4().hex
    beside, old = folder.with_name(f".new-{mark}"), folder.with_name(f".old-{mark}")
    beside.mkdir(parents=True)
    try:
        (beside / "spec.yaml").write_text(spec.to_yaml(), "utf-8")
        place = spec.kept_in()
        if place and place.overwrite_output_dir and (folder / "spec.yaml").is_file():
            folder.rename(old)
        elif folder.exists():
            folder.rmdir()
        beside.rename(folder)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    finally:
        for left in (beside, old):
            shutil.rmtree(left, ignore_errors=True)
    return True


def list_runs(workspace: Workspace, job: str = "train") -> list[Run]:
    """Every run of the job, the newest first."""
    shown = job in SHOWN
    found = sorted(_spec_files(workspace.saves if shown else workspace.saves / f".{job}", DEEPEST), reverse=True)
    return [Run(workspace, Path(folder)) for _, folder in found if not shown or job_of(Path(folder)) == job]


def job_of(folder: Path) -> str:
    """The job of the run that lies there, told by the head of its spec."""
    with suppress(OSError), (folder / "spec.yaml").open("rb") as file:
        if named := re.search(rb"^job: *['\"]?(\w+)", file.read(HEAD_BYTES), re.MULTILINE):
            return named[1].decode()
    return TrainSpec.JOB


def _spec_files(folder: Path | str, depth: int) -> Iterator[tuple[float, str]]:
    """The runs below: when each was laid down, and its folder. What goes away meanwhile is left out."""
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        yield os.stat(os.path.join(folder, "spec.yaml")).st_mtime, os.fspath(folder)
        return
    if depth:
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            for inner in list(os.scandir(folder)):
                if not inner.name.startswith(".") and inner.is_dir():
                    yield from _spec_files(inner.path, depth - 1)


def find_run(workspace: Workspace, given: str) -> Run:
    """The run by folder, by its path inside saves/, or by the end of that path; UserError when none or several fit."""
    wanted = given.replace("\\", "/").rstrip("/").removeprefix("./").removeprefix("saves/")
    if Path(given).is_absolute() and (Path(given) / "spec.yaml").is_file():
        wanted = workspace.inside(workspace.saves, given).relative_to(workspace.saves).as_posix()
    with suppress(UserError):
        exact = workspace.inside(workspace.saves, wanted)
        if (exact / "spec.yaml").is_file():
            return Run(workspace, exact)
    known = [*list_runs(workspace), *list_runs(workspace, "evaluate"), *list_runs(workspace, "export"), *list_runs(workspace, "serve")]
    fitting = [run for run in known if run.name == wanted] or [run for run in known if run.name.endswith(f"/{wanted}")]
    names = ", ".join(run.name for run in known[:8]) or "-"
    if not fitting:
        raise UserError(Say.unknown(given=plain(given), known=names))
    if len(fitting) > 1:
        raise UserError(Say.ambiguous(given=plain(given), known=", ".join(run.name for run in fitting[:8])))
    return fitting[0]
