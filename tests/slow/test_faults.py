"""Real workers that are killed, stopped, starved of disk and led astray: nothing saved is lost, and what is resumed ends
as the run that was never stopped, to the last bit."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import lay_workspace
from tests.training import Done, contents, lay_rows, spec_of
from workbench.events import (
    Entry,
    Eval,
    Event,
    Failed,
    Note,
    Phase,
    Sample,
    Saved,
    Started,
    Step,
    Stopped,
    last_kind,
    tail,
)
from workbench.problems import UserError
from workbench.remedies import remedies
from workbench.runs import Run, create
from workbench.workspace import Workspace, source_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform == "win32", reason="Windows has no kill -9 and no tmpfs; its own way is not tried here"
    ),
]
PATIENCE_S = 300
LOST_S = 5
STEPS = 60
LONG = {"max_steps": STEPS, "save_steps": 7, "eval_steps": 8, "save_total_limit": 2, "watch_max_tokens": 8}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Workers of this module compute in one thread: more would not help so small a model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return lay_rows(lay_workspace(tmp_path_factory.mktemp("faults") / "workspace"))


@pytest.fixture(scope="module")
def whole(home: Workspace) -> Done:
    """The run that was never stopped."""
    run = new(home, "never-stopped")
    run.start()
    assert run.wait(PATIENCE_S) == "finished", run.log_tail()
    return Done(run)


def new(home: Workspace, name: str) -> Run:
    return create(home, spec_of(output_dir=name, **LONG))


def wait_for(run: Run, wanted: Callable[[Event], bool], offset: int = 0) -> Event:
    """The first such event after the offset."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        entries, offset = tail(run.events, offset)
        for entry in entries:
            if wanted(entry.event):
                return entry.event
        assert last_kind(run.events) not in ("finished", "failed"), f"too late\n{run.log_tail()}"
        time.sleep(0.002)
    raise AssertionError(run.log_tail())


def step_is(step: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Step) and event.step >= step


def end_of(run: Run) -> int:
    return run.events.stat().st_size if run.events.exists() else 0


def kill(run: Run) -> None:
    """kill -9, and the run is lost in time."""
    started = run.view().started
    assert started is not None
    began = time.monotonic()
    os.kill(started.pid, signal.SIGKILL)
    assert run.wait(LOST_S) == "lost"
    assert time.monotonic() - began < LOST_S


def go_on(run: Run) -> int:
    """Resume; where the events of the new life begin."""
    offset = end_of(run)
    run.resume()
    assert run.state() == "running"
    return offset


def kill_while_saving(run: Run) -> None:
    """kill -9 at a moment when a checkpoint is half written."""
    while True:
        assert run.state() == "running", run.log_tail()
        if not half_written(run):
            continue
        os.kill(pid(run), signal.SIGSTOP)
        if half_written(run):
            kill(run)
            return
        os.kill(pid(run), signal.SIGCONT)


def half_written(run: Run) -> bool:
    """Whether a checkpoint is being written and lacks its list of contents, which comes last."""
    try:
        files = list((run.folder / ".saving").glob("checkpoint-*/*"))
    except FileNotFoundError:  # renamed to its final name while it was listed
        return False
    return bool(files) and not any(path.name == "contents.json" for path in files)


class Reader(threading.Thread):
    """Reads along from a cursor of its own, as a window does."""

    def __init__(self, run: Run) -> None:
        super().__init__(daemon=True)
        self.entries: list[Entry] = []
        self._run, self._over = run, threading.Event()

    def run(self) -> None:
        offset, last = 0, False
        while not last:
            last = self._over.is_set()
            entries, offset = tail(self._run.events, offset)
            self.entries += entries
            time.sleep(0.001)

    def finish(self) -> list[Entry]:
        self._over.set()
        self.join(10)
        return self.entries


def assert_as_if_never_stopped(run: Run, whole: Done) -> None:
    """Weights, curves, validations and answers are those of the run that was never stopped."""
    assert run.state() == "finished", run.log_tail()
    assert Done(run).weights() == whole.weights()
    seen, wanted = run.view(), whole.run.view()
    assert (seen.loss, seen.learning_rate, seen.grad_norm) == (wanted.loss, wanted.learning_rate, wanted.grad_norm)
    assert seen.eval == wanted.eval
    assert [(one.step, one.answer) for one in seen.samples] == [(one.step, one.answer) for one in wanted.samples]
    last_start = next(event for event in Done(run).last_life() if isinstance(event, Started))
    assert Done(run).steps() == whole.steps(after=last_start.resumed_step)
    assert not (run.folder / ".saving").exists()
    assert not run.stop_file.exists()
    damaged = [entry for entry in tail(run.events, 0)[0] if entry.seq < 0]
    assert damaged == []


def test_killed_again_and_again(home: Workspace, whole: Done) -> None:
    run = new(home, "killed")
    reader = Reader(run)
    run.start()
    reader.start()
    wait_for(run, lambda event: isinstance(event, Phase) and event.name == "model")
    kill(run)
    assert run.saved_step() == 0

    offset = go_on(run)
    wait_for(run, step_is(3), offset)
    kill(run)
    assert run.saved_step() == 0, "killed before the first checkpoint"

    for at in (9, 25):
        offset = go_on(run)
        wait_for(run, step_is(at), offset)
        kill(run)
        assert 0 < run.saved_step() <= at
        with run.events.open("ab") as file:
            file.write(b'{"seq": 9999, "time": 1.0, "kind": "st')

    for _ in range(2):
        before = run.saved_step()
        offset = go_on(run)
        wait_for(run, lambda event, before=before: isinstance(event, Saved) and event.step > before, offset)  # type: ignore[misc]
        kill_while_saving(run)
        assert half_written(run)
        assert run.saved_step() > before

    offset = go_on(run)
    wait_for(run, lambda event: isinstance(event, Phase) and event.name == "saving", offset)
    kill(run)
    assert run.saved_step() == STEPS

    newest = run.folder / f"checkpoint-{STEPS}" / "optimizer.pt"
    newest.write_bytes(newest.read_bytes()[:-7])
    go_on(run)
    assert run.wait(PATIENCE_S) == "failed"
    ended = run.view().ended
    assert isinstance(ended, Failed)
    assert f"Checkpoint checkpoint-{STEPS} can't be read: its optimizer.pt has" in str(ended.problems[0].message)
    newest.parent.rename(home.root / "set aside")

    go_on(run)
    assert run.wait(PATIENCE_S) == "finished", run.log_tail()
    assert_as_if_never_stopped(run, whole)
    read = reader.finish()
    assert [entry.seq for entry in read] == list(range(len(read)))
    assert read == tail(run.events, 0)[0]
    with pytest.raises(UserError, match="is finished"):
        run.resume()


def test_stopped_in_every_way(home: Workspace, whole: Done) -> None:
    run = new(home, "stopped")
    run.start()
    wait_for(run, lambda event: isinstance(event, Phase) and event.name == "data")
    began = time.monotonic()
    run.stop()
    assert run.wait(PATIENCE_S) == "stopped"
    assert time.monotonic() - began < 20, "before training there is nothing to save"
    assert run.view().ended == Stopped(0)
    assert run.saved_step() == 0

    for ask in (run.stop, lambda: os.kill(pid(run), signal.SIGTERM)):
        offset = go_on(run)
        wait_for(run, step_is(run.saved_step() + 10), offset)
        ask()
        asked = run.view().step.step
        assert run.wait(PATIENCE_S) == "stopped"
        ended = run.view().ended
        assert isinstance(ended, Stopped)
        assert run.saved_step() == ended.step
        assert asked <= ended.step <= asked + 2, "the step that was being computed, and one that had just begun"
        assert not (run.folder / "adapter_config.json").exists()

    before = contents(run.folder)
    (run.folder / "spec.yaml").write_text("learning_rate: fast\nlora_rnak: 8\n- dance\n", "utf-8")
    go_on_to_fail(run, ["not YAML"])
    (run.folder / "spec.yaml").write_text("learning_rate: fast\nlora_rnak: 8\nstage: dance\n", "utf-8")
    go_on_to_fail(run, ["'fast'", "lora_rank", "'dance'"])
    for name, data in before.items():
        if name.startswith("checkpoint-"):
            assert (run.folder / name).read_bytes() == data
    (run.folder / "spec.yaml").write_bytes(before["spec.yaml"])

    offset = go_on(run)
    wait_for(run, step_is(run.saved_step() + 3), offset)
    saved = run.saved_step()
    run.stop_file.touch()
    began = time.monotonic()
    run.stop()
    assert run.wait(1) == "stopped"
    assert time.monotonic() - began < 2, "asked twice it ends at once"
    ended = run.view().ended
    assert isinstance(ended, Stopped)
    assert saved <= ended.step == run.saved_step()

    go_on(run)
    assert run.wait(PATIENCE_S) == "finished", run.log_tail()
    assert_as_if_never_stopped(run, whole)


def pid(run: Run) -> int:
    started = run.view().started
    assert started is not None
    return started.pid


def go_on_to_fail(run: Run, words: list[str]) -> None:
    run.resume()
    assert run.wait(PATIENCE_S) == "failed"
    ended = run.view().ended
    assert isinstance(ended, Failed)
    assert len(ended.problems) == len(words)
    said = "\n".join(str(problem) for problem in ended.problems)
    assert all(word in said for word in words), said


STARTER = """
import sys, time
from pathlib import Path
from workbench.runs import Run
from workbench.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
Run(workspace, workspace.saves / sys.argv[2]).start()
print("started", flush=True)
time.sleep(60)
"""


def test_the_window_is_killed_and_the_lock_is_deleted(home: Workspace, whole: Done) -> None:
    run = new(home, "alone")
    window = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(home.root), run.name], cwd=source_folder(), stdout=subprocess.PIPE
    )
    assert window.stdout is not None
    assert window.stdout.readline() == b"started\n"
    window.kill()
    window.communicate()
    assert run.state() == "running"

    wait_for(run, step_is(5))
    run.lock.unlink()
    deadline = time.monotonic() + 2
    while run.state() != "running":
        assert time.monotonic() < deadline, "a living worker makes its lock again"
        time.sleep(0.01)
    run.lock.unlink()
    second = subprocess.run(
        [sys.executable, "-m", "workbench.worker", str(home.root), run.name],
        cwd=source_folder(),
        capture_output=True,
        text=True,
    )
    assert second.returncode == 3, second.stdout + second.stderr
    assert "another worker holds" in second.stdout or "has finished" in second.stdout
    assert run.wait(PATIENCE_S) == "finished", run.log_tail()
    assert_as_if_never_stopped(run, whole)
    assert len([entry for entry in tail(run.events, 0)[0] if isinstance(entry.event, Started)]) == 1


# A full disk


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """The folder on a disk of its own of four megabytes."""
    if os.geteuid() != 0:
        pytest.skip("a small disk can only be mounted by root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path, leaving: int) -> None:
    """Fill the disk but for so many bytes."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - leaving))


@pytest.mark.parametrize("leaving", [0, 50_000, 150_000], ids=["nothing", "a little", "half a checkpoint"])
def test_the_disk_is_full(leaving: int, tmp_path: Path, whole: Done) -> None:
    home = lay_rows(lay_workspace(tmp_path / "workspace"))
    with small_disk(home.saves):
        run = new(home, "full")
        run.start()
        wait_for(run, lambda event: isinstance(event, Saved) and event.step == 14)
        fill(home.saves / "filler", leaving)
        assert run.wait(PATIENCE_S) == "failed", run.log_tail()
        ended = run.view().ended
        assert isinstance(ended, Failed)
        said = str(ended.problems[0].message)
        assert said.startswith("The disk is full: ")
        assert "Free some space, then press Resume." in said
        assert ended.detail == ""
        assert [entry for entry in tail(run.events, 0)[0] if entry.seq < 0] == [], "no line is damaged"
        assert not (run.folder / ".saving").exists()
        kept = sorted(path.name for path in run.folder.glob("checkpoint-*"))
        assert len(kept) == 2
        for name in kept:
            sizes = json.loads((run.folder / name / "contents.json").read_text("utf-8"))
            assert sizes == {
                path.name: path.stat().st_size for path in (run.folder / name).iterdir() if path.name != "contents.json"
            }
        (home.saves / "filler").unlink()
        go_on(run)
        assert run.wait(PATIENCE_S) == "finished", run.log_tail()
        assert_as_if_never_stopped(run, whole)


def test_a_run_makes_room_for_itself_and_goes_on_though_the_disk_stays_as_it_is(tmp_path: Path, whole: Done) -> None:
    home = lay_rows(lay_workspace(tmp_path / "workspace"))
    with small_disk(home.saves):
        run = new(home, "full")
        run.start()
        wait_for(run, lambda event: isinstance(event, Saved) and event.step == 14)
        fill(home.saves / "filler", 150_000)
        assert run.wait(PATIENCE_S) == "failed", run.log_tail()
        newest = run.saved_step()
        first = remedies(run, "disk")[0]
        assert first.differs == [("save_total_limit", "2", "1")]
        assert first.apply(run) == run
        assert run.wait(PATIENCE_S) == "finished", run.log_tail()
        started = [entry.event.resumed_step for entry in tail(run.events, 0)[0] if isinstance(entry.event, Started)]
        assert started == [0, newest]
        assert [path.name for path in run.folder.glob("checkpoint-*")] == [f"checkpoint-{STEPS}"]
        assert Done(run).steps(newest) == whole.steps(newest)
        name = "adapter_model.safetensors"
        assert (run.folder / name).read_bytes() == (whole.run.folder / name).read_bytes()


def test_what_was_never_stopped_says_so_itself(whole: Done) -> None:
    """The yardstick of the other tests is a whole run."""
    kinds = [type(event) for event in whole.events]
    assert kinds.count(Started) == 1
    assert [step[0] for step in whole.steps()] == list(range(1, STEPS + 1))
    assert kinds.count(Eval) == kinds.count(Sample) == 9
    assert kinds.count(Saved) == 10
    assert [event for event in whole.events if isinstance(event, Note) and event.level == "warning"] == []
