"""A run is a folder: create, start, stop, resume, list, state. Knows no job; a worker is only a process that it starts.

Status is never stored. The last word of events.jsonl says finished, failed or stopped; else a held lock means running;
else a run that has begun is lost, and one that has only a spec is waiting.
"""

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from workbench import locks
from workbench.events import State, tail
from workbench.fields import plain
from workbench.models import model_name, newest_checkpoint
from workbench.problems import UserError
from workbench.specs import SPECS, Reading, ServeSpec, Spec, TrainSpec, read_flat, yaml_mapping
from workbench.text import Text
from workbench.view import View
from workbench.workspace import Workspace, source_folder

LAST_BYTES = 65_536
NAME_BYTES = 200
START_PATIENCE_S = 20.0
DELETED_LOCK_PATIENCE_S = 2.5
"""A living worker makes its lock file again within a second; so long a missing one proves nothing."""


class Say:
    bad_name = Text(
        "Run name '{given}' is not accepted. Accepted: letters, digits, - _ . and / inside saves/. Rename it."
    )
    exists = Text("The run '{given}' exists already. Choose another name, or tick 'Overwrite the run' to delete it.")
    running = Text("The run '{given}' is running. Stop it first.")
    not_a_run = Text("'{given}' holds other files than a run's and is not overwritten. Choose another name.")
    unknown = Text("No run named '{given}'. Known: {known}. 'python app.py runs list' shows all.")
    ambiguous = Text("'{given}' names several runs: {known}. Give the longer name.")
    cannot_resume = Text("The run '{given}' is {state}. Only a stopped, failed, lost or waiting run can be resumed.")
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
        values = yaml_mapping((self.folder / "spec.yaml").read_text("utf-8", errors="replace"))
        if not isinstance(values, dict):
            return Reading(None, [values])
        kind = SPECS.get(str(values.get("job", TrainSpec.JOB)), TrainSpec)
        return read_flat(kind, values)

    def state(self) -> State:
        """One word, computed from the files."""
        last = _last_line(self.events)
        for state in ("finished", "failed", "stopped"):
            if f'"kind": "{state}"' in last:
                return state
        if locks.held(self.lock):
            return "running"
        return "lost" if last or self.events.exists() else "waiting"

    def stopping(self) -> bool:
        """Whether a stop was asked for and the worker has not ended yet."""
        return self.stop_file.exists() and self.state() == "running"

    def view(self) -> View:
        """Everything that was said so far, folded."""
        return View().fold(tail(self.events, 0)[0])

    def checkpoint(self) -> Path | None:
        """The newest whole checkpoint, None when there is none."""
        return newest_checkpoint(self.folder)

    def has_adapter(self) -> bool:
        """Whether something can be loaded from it: final weights or a checkpoint."""
        return (self.folder / "adapter_config.json").is_file() or self.checkpoint() is not None

    def log_tail(self, size_bytes: int = 8_000) -> str:
        """The end of what the process printed."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - size_bytes))
                return file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def start(self) -> None:
        """Start a worker that outlives this process, and wait until it holds the lock. Its output goes to worker.log."""
        self.stop_file.unlink(missing_ok=True)
        windows = sys.platform == "win32"
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "workbench.worker", str(self.workspace.root), self.name],
                cwd=source_folder(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=not windows,
                creationflags=(0x00000008 | 0x00000200) if windows else 0,  # DETACHED_PROCESS, NEW_PROCESS_GROUP
                env={
                    **os.environ,
                    "PYTHONUNBUFFERED": "1",
                    "PYTHONIOENCODING": "utf-8",
                    "TOKENIZERS_PARALLELISM": "false",
                },
            )
        deadline = time.monotonic() + START_PATIENCE_S
        while process.poll() is None and not locks.held(self.lock) and time.monotonic() < deadline:
            time.sleep(0.02)
        if process.poll() not in (None, 0) and not locks.held(self.lock) and self.state() in ("waiting", "lost"):
            raise UserError(Say.no_worker(given=self.name, log=self.log.name, words=self.log_tail(600)))
        threading.Thread(target=process.wait, daemon=True).start()

    def resume(self) -> None:
        """Go on from the newest whole checkpoint, or from the start when there is none."""
        if self.state() == "lost" and not self.lock.exists():
            time.sleep(DELETED_LOCK_PATIENCE_S)
        state = self.state()
        if state in ("running", "finished") or locks.held(self.lock):
            raise UserError(Say.cannot_resume(given=self.name, state=state))
        self.start()

    def stop(self) -> None:
        """Ask the worker to end after its step and save; asked again, end the process now."""
        if self.stop_file.exists():
            self.kill()
        else:
            self.stop_file.touch()

    def kill(self) -> None:
        """End the worker's process at once; nothing since the last checkpoint is kept."""
        started = self.view().started
        if started and self.state() == "running":
            os.kill(started.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)

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
        shutil.rmtree(self.folder)


def _last_line(path: Path) -> str:
    """The last whole line of a file, empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LAST_BYTES))
            data = file.read()
    except FileNotFoundError:
        return ""
    whole = data[: data.rfind(b"\n") + 1].rstrip(b"\n")
    return whole[whole.rfind(b"\n") + 1 :].decode("utf-8", errors="replace")


def run_folder(workspace: Workspace, spec: Spec) -> Path:
    """The folder that the spec's output_dir means; UserError beside output_dir when it would lie outside saves/."""
    if isinstance(spec, ServeSpec):
        return _free(workspace.saves / ".serve" / f"{model_name(spec.model.model_name_or_path)}-{_now()}")
    assert isinstance(spec, TrainSpec)
    given = spec.saving.output_dir.strip().replace("\\", "/").rstrip("/")
    home = f"{model_name(spec.model.model_name_or_path)}/{spec.tuning.finetuning_type}"
    if Path(given).is_absolute():
        given = f"saves/{workspace.inside(workspace.saves, given, 'output_dir').relative_to(workspace.saves).as_posix()}"
    path = given.removeprefix("./")
    if not path:
        path = f"{home}/{'-'.join(spec.data.dataset)[:40] or 'run'}-{_now()}"
    elif "/" not in path:
        path = f"{home}/{path}"
    path = path.removeprefix("saves/")
    good = re.fullmatch(r"[^\x00-\x1f<>:\"|?*\\]+", path) and all(
        part and part == part.strip() and not part.startswith(".") and len(part.encode()) <= NAME_BYTES
        for part in path.split("/")
    )
    if not good or path.startswith("/") or path == "saves":
        raise UserError(Say.bad_name(given=plain(given)), key="output_dir")
    return workspace.inside(workspace.saves, path, "output_dir")


def _free(folder: Path) -> Path:
    """The folder, or one with a number behind its name when two begin in the same second."""
    names = itertools.chain([folder], (folder.with_name(f"{folder.name}-{count}") for count in itertools.count(2)))
    return next(path for path in names if not path.exists())


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")


def check_folder(workspace: Workspace, spec: TrainSpec) -> Path:
    """The free folder for a new run; UserError beside output_dir when it is taken and was not to be overwritten."""
    folder = run_folder(workspace, spec)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        run = Run(workspace, folder)
        if folder.is_dir() and run.state() == "running":
            raise UserError(Say.running(given=run.name), key="output_dir")
        if not spec.saving.overwrite_output_dir:
            raise UserError(Say.exists(given=run.name), key="output_dir")
        if not (folder / "spec.yaml").is_file():
            raise UserError(Say.not_a_run(given=run.name), key="output_dir")
    return folder


def create(workspace: Workspace, spec: Spec) -> Run:
    """A new run's folder with its spec, waiting to be started."""
    if isinstance(spec, TrainSpec):
        folder = check_folder(workspace, spec)
        if folder.exists():
            shutil.rmtree(folder)
        saving = spec.saving.model_copy(
            update={"output_dir": f"saves/{folder.relative_to(workspace.saves).as_posix()}"}
        )
        spec = spec.model_copy(update={"saving": saving})
    else:
        folder = run_folder(workspace, spec)
    folder.mkdir(parents=True)
    beside = folder / ".spec.yaml"
    beside.write_text(spec.to_yaml(), "utf-8")
    beside.rename(folder / "spec.yaml")
    return Run(workspace, folder)


def list_runs(workspace: Workspace, job: str = "train") -> list[Run]:
    """Every run of the job, the newest first."""
    root = workspace.saves / ".serve" if job == "serve" else workspace.saves
    found = [(path.stat().st_mtime, path.parent) for path in _spec_files(root, 5)]
    return [Run(workspace, folder) for _, folder in sorted(found, reverse=True)]


def _spec_files(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / "spec.yaml").is_file():
        yield folder / "spec.yaml"
    elif depth and folder.is_dir():
        for inner in folder.iterdir():
            if inner.is_dir() and not inner.name.startswith("."):
                yield from _spec_files(inner, depth - 1)


def find_run(workspace: Workspace, given: str) -> Run:
    """The run by folder, by its path inside saves/, or by the end of that path; UserError when none or several fit."""
    wanted = given.replace("\\", "/").rstrip("/").removeprefix("./").removeprefix("saves/")
    if Path(given).is_absolute() and (Path(given) / "spec.yaml").is_file():
        wanted = workspace.inside(workspace.saves, given).relative_to(workspace.saves).as_posix()
    known = [*list_runs(workspace), *list_runs(workspace, "serve")]
    fitting = [run for run in known if run.name == wanted] or [run for run in known if run.name.endswith(f"/{wanted}")]
    names = ", ".join(run.name for run in known[:8]) or "-"
    if not fitting:
        raise UserError(Say.unknown(given=plain(given), known=names))
    if len(fitting) > 1:
        raise UserError(Say.ambiguous(given=plain(given), known=", ".join(run.name for run in fitting[:8])))
    return fitting[0]
