"""Runs by name on the terminal: states, figures, stop, resume, delete; the folders are made by hand."""

import subprocess
import sys

import pytest

from tests.bad_inputs import GOOD
from tests.conftest import Tell
from workbench import locks
from workbench.events import Eval, Event, EventLog, Failed, Finished, Phase, Ready, Saved, Started, Step, Stopped
from workbench.problems import Problem
from workbench.runs import Run, create
from workbench.specs import ServeSpec, TrainSpec, read_flat
from workbench.text import verbatim
from workbench.workspace import Workspace, source_folder


def a_run(workspace: Workspace, name: str, *events: Event) -> Run:
    """A run's folder whose worker has said these events and is gone."""
    run = create(workspace, read_flat(TrainSpec, {**GOOD, "output_dir": name}).unwrap())
    if events:
        log = EventLog(run.events)
        for event in events:
            log.write(event)
        log.close()
    return run


STEP = Step(step=7, total=20, epoch=1.4, loss=0.8423, learning_rate=2e-4, tokens=90, seconds=0.5, memory_bytes=10**9)
BEGUN = (Started(pid=1), Phase("training"), STEP, Eval(7, 0.9), Saved(5, "checkpoint-5"))
PROBLEM = Problem(verbatim("No space is left."), "output_dir")
STATES: tuple[tuple[str, tuple[Event, ...]], ...] = (
    ("waiting", ()),
    ("lost", BEGUN),
    ("finished", (*BEGUN, Finished({"loss": 0.8, "steps": 20}))),
    ("stopped", (*BEGUN, Stopped(7))),
    ("failed", (*BEGUN, Failed([PROBLEM], "Traceback ..."))),
)


@pytest.mark.parametrize(("state", "events"), STATES, ids=[state for state, _ in STATES])
def test_show_says_the_state_first_and_list_too(
    state: str, events: tuple[Event, ...], tell: Tell, workspace: Workspace
) -> None:
    a_run(workspace, "mine", *events)
    code, out, err = tell("runs", "show", "mine")
    assert (code, err) == (0, "")
    assert out.split()[0] == state
    assert "models/tiny" in out
    assert ("0.8423" in out) == bool(events)
    assert ("output_dir: No space is left." in out) == (state == "failed")
    assert "Traceback" not in out
    code, out, _ = tell("runs", "list")
    row = out.splitlines()[1].split()
    assert code == 0
    assert row[:2] == ["tiny/lora/mine", state]
    assert ("7/20" in row) == bool(events)


@pytest.mark.parametrize(
    "name", ["mine", "lora/mine", "tiny/lora/mine", "saves/tiny/lora/mine", "./saves/tiny/lora/mine/"]
)
def test_a_run_is_found_by_folder_or_name(name: str, tell: Tell, workspace: Workspace) -> None:
    a_run(workspace, "mine")
    assert tell("runs", "show", name)[0] == 0
    assert tell("runs", "show", str(workspace.saves / "tiny/lora/mine"))[0] == 0


def test_a_name_of_several_runs_is_refused(tell: Tell, workspace: Workspace) -> None:
    a_run(workspace, "a/mine")
    a_run(workspace, "b/mine")
    code, _, err = tell("runs", "show", "mine")
    assert code == 2
    assert "'mine' names several runs: " in err


def test_a_run_whose_spec_is_nonsense_is_still_shown(tell: Tell, workspace: Workspace) -> None:
    run = a_run(workspace, "mine", *BEGUN)
    (run.folder / "spec.yaml").write_text("learning_rate: abc\nnope: 1\n", "utf-8")
    code, out, _ = tell("runs", "show", "mine")
    assert code == 0
    assert out.startswith("lost\n")
    assert "learning_rate: Learning rate is 'abc'." in out
    assert "nope: Unknown key" in out


@pytest.mark.parametrize("action", ["stop", "resume"])
def test_an_ended_run_is_neither_stopped_nor_resumed(action: str, tell: Tell, workspace: Workspace) -> None:
    run = a_run(workspace, "mine", *BEGUN, Finished())
    code, _, err = tell("runs", action, "mine")
    assert code == 2
    assert "is finished" in err
    assert not run.stop_file.exists()


def test_delete_asks_unless_told_not_to(tell: Tell, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(workspace, "mine", *BEGUN, Stopped(7))
    answers = workspace.root / "answers"
    for answer, code in (("n\n", 1), ("", 1), ("y\n", 0)):
        answers.write_text(answer, "utf-8")
        with answers.open(encoding="utf-8") as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            assert tell("runs", "delete", "mine")[0] == code
        assert run.folder.exists() == (code == 1)
    a_run(workspace, "one")
    a_run(workspace, "two")
    assert tell("runs", "delete", "one", "two", "--yes")[0] == 0
    assert list(workspace.saves.glob("**/spec.yaml")) == []


def test_there_are_no_runs_yet(tell: Tell) -> None:
    code, out, _ = tell("runs", "list")
    assert code == 0
    assert "There are no runs yet." in out


def test_show_tells_where_a_server_answers(tell: Tell, workspace: Workspace) -> None:
    run = create(workspace, read_flat(ServeSpec, {"infer_backend": "echo"}).unwrap())
    log = EventLog(run.events)
    for event in (Started(pid=1), Phase("serving"), Ready("http://127.0.0.1:1234", ["base"])):
        log.write(event)
    log.close()
    holder = subprocess.Popen(
        [sys.executable, "-c", f"from workbench import locks; from pathlib import Path\n"
         f"lock = locks.hold(Path({str(run.lock)!r})); print('held', flush=True); input()"],
        cwd=source_folder(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline()
    try:
        assert locks.held(run.lock)
        _, out, _ = tell("runs", "show", run.name)
        assert out.startswith("running\n")
        assert "http://127.0.0.1:1234 (base)" in out
        assert tell("runs", "delete", run.name, "--yes")[0] == 2
        assert tell("runs", "stop", run.name)[0] == 0
        assert run.stop_file.exists()
    finally:
        holder.communicate(b"\n")
