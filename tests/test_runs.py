"""Run folders: names, creating, states computed from files, starting, stopping, finding and listing. No worker here learns."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bad_inputs import GOOD
from workbench import naming, runs
from workbench.events import Event, EventLog, Failed, Finished, Phase, Started, Stopped, tail
from workbench.problems import UserError
from workbench.runs import Run, check_folder, create, find_run, list_runs
from workbench.specs import ServeSpec, TrainSpec, read_flat
from workbench.workspace import Workspace, source_folder


def spec(**more: Any) -> TrainSpec:
    return read_flat(TrainSpec, {**GOOD, **more}).unwrap()


def say(run: Run, *events: Event) -> None:
    log = EventLog(run.events)
    for event in events:
        log.write(event)
    log.close()


def refused(workspace: Workspace, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        create(workspace, spec(**more))
    (problem,) = caught.value.problems
    assert problem.key == "output_dir"
    return str(problem.message)


HOLDER = """
import os, sys, time
from pathlib import Path
from workbench import locks
from workbench.events import *
run = Path(sys.argv[1])
lock = locks.hold(run / "lock")
log = EventLog(run / "events.jsonl")
"""


@contextmanager
def worker(run: Run, does: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the run's lock and does this."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER + does + '\nprint("ready", flush=True)\ntime.sleep(60)', str(run.folder)],
        cwd=source_folder(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


# Names


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("mine", "tiny/lora/mine"),
        ("./mine/", "tiny/lora/mine"),
        ("a/b", "a/b"),
        ("saves/a/b", "a/b"),
        ("saves/mine", "mine"),
        ("saves\\a\\b", "a/b"),
        ("./saves/a/b/c/d/e", "a/b/c/d/e"),
        ("身份 1.2_x-y", "tiny/lora/身份 1.2_x-y"),
        ("v1.0 (second try)", "tiny/lora/v1.0 (second try)"),
        ("x" * 200, "tiny/lora/" + "x" * 200),
        ("console", "tiny/lora/console"),
    ],
)
def test_a_name_becomes_a_folder_in_saves(given: str, name: str, workspace: Workspace) -> None:
    run = create(workspace, spec(output_dir=given))
    assert run.name == name
    assert run.folder == workspace.saves / name
    laid = run.read_spec().unwrap()
    assert isinstance(laid, TrainSpec)
    assert laid.saving.output_dir == f"saves/{name}"
    assert find_run(workspace, given).folder == run.folder
    assert [one.name for one in list_runs(workspace)] == [name]


def test_an_absolute_name_inside_saves_is_taken(workspace: Workspace) -> None:
    assert create(workspace, spec(output_dir=str(workspace.saves / "a" / "b"))).name == "a/b"


@pytest.mark.parametrize(
    "given",
    [
        "../x", "a/../../x", "..", ".", "a/./b", "/tmp/x", "/", "a//b", "saves//b", ".hidden", "a/.hidden", "a:b", "a|b", "a?",
        "a*", 'a"b', "a<b", "a\nb", "a\x00b", "x" * 201, "身" * 67, "a/b/c/d/e/f", "a /b", "a/ b", "a./b", "mine.",
        "half\ud83d", "saves/.serve/x",
    ],
)  # fmt: skip
def test_other_names_are_refused_and_make_nothing(given: str, workspace: Workspace) -> None:
    before = sorted(workspace.root.rglob("*"))
    said = refused(workspace, output_dir=given)
    assert "Run name" in said or "outside" in said or "path" in said
    assert sorted(workspace.root.rglob("*")) == before


@pytest.mark.parametrize("given", ["con", "a/NUL.txt", "x/y/COM1"])
def test_a_name_that_windows_keeps_is_refused_with_the_reason(given: str, workspace: Workspace) -> None:
    assert f"'{given.split('/')[-1]}' can't be a name: Windows keeps it" in refused(workspace, output_dir=given)


@pytest.mark.parametrize(
    ("values", "start"),
    [
        ({"dataset": "my: set/1"}, "tiny/lora/my_set_1-2"),
        ({"dataset": "身份," * 40}, "tiny/lora/身份-身份"),
        ({"dataset": "..."}, "tiny/lora/run-2"),
        ({"model_name_or_path": "模" * 90}, "模模模"),
        ({"model_name_or_path": "a/b:c*d"}, "b_c_d/lora/plain-2"),
    ],
)
def test_a_made_up_name_is_always_a_good_one(values: Mapping[str, Any], start: str, workspace: Workspace) -> None:
    run = create(workspace, spec(**values))
    assert run.name.startswith(start)
    assert all(len(part.encode()) <= 200 for part in run.name.split("/"))
    assert create(workspace, spec(output_dir=f"saves/{run.name}", overwrite_output_dir=True)).name == run.name


def test_two_in_the_same_second_get_two_folders(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "_now", lambda: "20260101-000000")
    made = [create(workspace, spec()).name for _ in range(3)]
    assert made == [f"tiny/lora/plain-20260101-000000{end}" for end in ("", "-2", "-3")]
    served = [create(workspace, read_flat(ServeSpec, {**GOOD, "dataset": None}).spec or ServeSpec()) for _ in range(2)]
    assert len({run.name for run in served}) == 2


@pytest.mark.parametrize("named", [True, False])
def test_of_many_who_create_at_once_each_gets_its_own_or_a_word(
    named: bool, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "_now", lambda: "20260101-000000")
    made: list[str] = []
    said: list[str] = []

    def one() -> None:
        try:
            made.append(create(workspace, spec(output_dir="mine" if named else "")).name)
        except UserError as error:
            said.append(str(error))

    threads = [threading.Thread(target=one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) + len(said) == 12
    assert len(set(made)) == len(made) == (1 if named else 12)
    assert all("exists already" in one for one in said)
    assert all(run.read_spec().spec is not None for run in list_runs(workspace))
    assert list(workspace.saves.rglob(".*")) == [], "nothing half made is left"


# Creating


def test_a_run_that_exists_is_kept_unless_it_is_to_be_overwritten(workspace: Workspace) -> None:
    run = create(workspace, spec(output_dir="mine"))
    (run.folder / "checkpoint-3").mkdir()
    assert "'tiny/lora/mine' exists already" in refused(workspace, output_dir="mine")
    assert (run.folder / "checkpoint-3").is_dir()
    again = create(workspace, spec(output_dir="mine", overwrite_output_dir=True, seed=7))
    assert again.folder == run.folder
    assert [path.name for path in again.folder.iterdir()] == ["spec.yaml"]
    laid = again.read_spec().unwrap()
    assert isinstance(laid, TrainSpec)
    assert laid.optim.seed == 7


def test_other_peoples_files_are_never_overwritten(workspace: Workspace) -> None:
    photos = workspace.saves / "tiny" / "lora" / "photos"
    photos.mkdir(parents=True)
    (photos / "cat.jpg").write_bytes(b"x")
    file = workspace.saves / "file"
    file.write_bytes(b"y")
    for overwrite in (False, True):
        for name in ("photos", "saves/tiny", "saves/file", "file/b", "saves/file/b/c"):
            assert "other files" in refused(workspace, output_dir=name, overwrite_output_dir=overwrite)
    assert (photos / "cat.jpg").read_bytes() == b"x"
    assert file.read_bytes() == b"y"


def test_an_empty_folder_is_free(workspace: Workspace) -> None:
    (workspace.saves / "tiny" / "lora" / "mine").mkdir(parents=True)
    assert create(workspace, spec(output_dir="mine")).state() == "waiting"


def test_a_run_inside_a_run_is_refused(workspace: Workspace) -> None:
    create(workspace, spec(output_dir="a/b"))
    assert "lies inside the run 'a/b'" in refused(workspace, output_dir="a/b/c")
    assert "lies inside the run 'a/b'" in refused(workspace, output_dir="a/b/c/d", overwrite_output_dir=True)


def test_a_running_run_is_not_overwritten(workspace: Workspace) -> None:
    run = create(workspace, spec(output_dir="mine"))
    with worker(run, "log.write(Started(os.getpid()))"):
        for overwrite in (False, True):
            assert "is running" in refused(workspace, output_dir="mine", overwrite_output_dir=overwrite)
        with pytest.raises(UserError, match="is running"):
            run.delete()
    run.delete()
    assert not run.folder.exists()


def test_a_disk_that_refuses_is_told_and_leaves_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*rest: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert "No space left" in refused(workspace, output_dir="mine")
    assert list(workspace.saves.rglob("*")) in ([], [workspace.saves / "tiny", workspace.saves / "tiny" / "lora"])


# States


STATES: tuple[tuple[str, tuple[Event, ...]], ...] = (
    ("waiting", ()),
    ("lost", (Started(1), Phase("training"))),
    ("finished", (Started(1), Finished())),
    ("stopped", (Started(1), Stopped(3))),
    ("failed", (Started(1), Failed([], "x" * 100_000))),
    ("lost", (Started(1), Stopped(3), Started(2, 3))),
)


@pytest.mark.parametrize(("state", "events"), STATES)
def test_a_state_is_computed_from_the_files(state: str, events: tuple[Event, ...], workspace: Workspace) -> None:
    run = create(workspace, spec(output_dir="mine"))
    for event in events:
        say(run, event)
    assert run.state() == state
    with run.events.open("ab") as file:
        file.write(b'{"seq": 9, "kind": "finished"' if state != "waiting" else b"")
    assert run.state() == (state if events else "lost"), "a torn last line says nothing"


def test_a_run_is_running_while_its_lock_is_held(workspace: Workspace) -> None:
    run = create(workspace, spec(output_dir="mine"))
    with worker(run, ""):
        assert run.state() == "running"
    assert run.state() == "lost"
    with worker(run, "log.write(Started(os.getpid()))") as process:
        assert run.state() == "running"
        assert run.wait(0.1) == "running"
        process.kill()
        assert run.wait(5.0) == "lost"
    with worker(run, "log.write(Started(os.getpid())); log.write(Finished())"):
        assert run.state() == "finished", "a worker that is just going does not hide its last word"


def test_a_damaged_last_line_is_not_the_end(workspace: Workspace) -> None:
    run = create(workspace, spec(output_dir="mine"))
    say(run, Started(1))
    with run.events.open("ab") as file:
        file.write(b'"finished"\n')
    assert run.state() == "lost"


# Stopping


def test_stop_is_laid_down_once_and_then_ends_the_process(workspace: Workspace) -> None:
    run = create(workspace, spec(output_dir="mine"))
    (run.folder / "checkpoint-7").mkdir()
    with worker(run, "log.write(Started(os.getpid()))") as process:
        run.stop()
        assert run.stop_file.exists()
        assert run.stopping()
        assert run.state() == "running"
        began = time.monotonic()
        run.stop()
        assert process.wait(5) == (1 if sys.platform == "win32" else -9)
        assert time.monotonic() - began < 2
    assert run.state() == "stopped", "the person stopped it: it is not lost"
    assert run.view().ended == Stopped(7)
    assert not run.stop_file.exists()


@pytest.mark.parametrize("events", [(), (Started(1), Finished()), (Started(1), Stopped(3)), (Started(1), Failed())])
def test_what_does_not_run_is_not_stopped(events: tuple[Event, ...], workspace: Workspace) -> None:
    run = create(workspace, spec(output_dir="mine"))
    say(run, *events)
    if not events:
        run.events.unlink()
    before = run.state()
    run.stop()
    run.stop()
    run.kill()
    assert run.state() == before
    assert not run.stop_file.exists()


@pytest.mark.parametrize("act", [Run.stop, Run.kill, Run.delete])
def test_what_another_window_deletes_meanwhile_is_gone_for_this_one_too(
    act: Callable[[Run], None], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create(workspace, spec(output_dir="mine"))
    say(run, Started(2**22 + 1))
    state = "lost" if act is Run.delete else "running"

    def deleted(run: Run) -> str:
        shutil.rmtree(run.folder)
        return state

    monkeypatch.setattr(Run, "state", deleted)
    act(run)
    assert not run.folder.exists()


def test_a_process_that_got_the_workers_number_later_is_left_alone(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "END_PATIENCE_S", 0.2)
    run = create(workspace, spec(output_dir="mine"))
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        say(run, Started(stranger.pid))
        text = run.events.read_text("utf-8")
        moment = str(tail(run.events, 0)[0][0].time)
        run.events.write_text(text.replace(moment, str(float(moment) - 3600)), "utf-8")
        with worker(run, ""):
            run.kill()
            assert run.state() == "running"
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


# Starting


@pytest.mark.slow
def test_a_worker_that_can_not_begin_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = create(workspace, spec(output_dir="mine"))
    (run.folder / "lock").mkdir()
    with pytest.raises(UserError, match="ended before it began") as caught:
        run.start()
    assert "worker.log" in str(caught.value)
    assert "Is a directory" in str(caught.value) or "denied" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rate: abc\nnope: 1\nlora_rank: 0\n", ["'abc'", "'nope'", "LoRA rank is '0'"]),
        ("job: train\n  bad: [", ["not YAML", "line 2"]),
        ("version: 99\n", ["version 99"]),
        ("job: dance\n", ["'dance'"]),
        ("", ["The spec is"]),
        ("\x00\x01\xff", ["not YAML"]),
        (None, ["no spec.yaml"]),
    ],
)
def test_a_spec_edited_to_nonsense_fails_with_each_problem(
    text: str | None, words: list[str], workspace: Workspace
) -> None:
    run = create(workspace, spec(output_dir="mine"))
    (run.folder / "checkpoint-3").mkdir()
    (run.folder / "checkpoint-3" / "optimizer.pt").write_bytes(b"old")
    if text is None:
        (run.folder / "spec.yaml").unlink()
    else:
        (run.folder / "spec.yaml").write_text(text, "utf-8")
    run.start()
    assert run.wait(20) == "failed"
    ended = run.view().ended
    assert isinstance(ended, Failed)
    said = "\n".join(str(problem) for problem in ended.problems)
    assert len(ended.problems) == (3 if "nope" in (text or "") else 1)
    assert all(word in said for word in words), said
    assert ended.detail == ""
    assert (run.folder / "checkpoint-3" / "optimizer.pt").read_bytes() == b"old"


@pytest.mark.slow
def test_only_one_of_two_workers_gets_the_run(workspace: Workspace) -> None:
    run = create(workspace, spec(output_dir="mine"))
    with worker(run, "log.write(Started(os.getpid()))"):
        with pytest.raises(UserError, match="is running"):
            run.resume()
        run.start()
        assert [type(entry.event) for entry in tail(run.events, 0)[0]] == [Started]
        assert "another worker holds tiny/lora/mine" in run.log_tail()
        run.lock.unlink()
        assert run.state() == "lost", "until the worker has mended it"


def test_a_finished_run_is_not_resumed(workspace: Workspace) -> None:
    run = create(workspace, spec(output_dir="mine"))
    say(run, Started(1), Finished())
    with pytest.raises(UserError, match="is finished"):
        run.resume()


@pytest.mark.slow
def test_resuming_waits_for_a_worker_that_is_just_going(workspace: Workspace) -> None:
    run = create(workspace, spec(output_dir="mine"))
    (run.folder / "spec.yaml").write_text("nope: 1\n", "utf-8")
    with worker(run, "log.write(Started(os.getpid())); log.write(Stopped(3))") as process:
        threading.Timer(0.5, process.kill).start()
        run.resume()
        seen = [type(entry.event) for entry in tail(run.events, 0)[0]]
        assert seen[:3] == [Started, Stopped, Started], "when start() returns, the new worker has begun"
        assert run.wait(20) == "failed"


# Finding and listing


def test_a_run_is_found_by_any_of_its_names(workspace: Workspace) -> None:
    run = create(workspace, spec(output_dir="mine"))
    other = create(workspace, spec(output_dir="other/mine2"))
    for given in (
        "mine",
        "lora/mine",
        "tiny/lora/mine",
        "saves/tiny/lora/mine/",
        str(run.folder),
        "saves\\tiny\\lora\\mine",
    ):
        assert find_run(workspace, given).folder == run.folder
    assert find_run(workspace, "mine2").folder == other.folder
    for given in ("", "min", "ine", "..", "../mine", "saves", "x\x00y", "y" * 5000, str(workspace.root)):
        with pytest.raises(UserError, match="No run named"):
            find_run(workspace, given)
    create(workspace, spec(output_dir="b/mine"))
    with pytest.raises(UserError, match="several runs: .*b/mine"):
        find_run(workspace, "mine")
    assert find_run(workspace, "tiny/lora/mine").folder == run.folder


def test_the_newest_run_comes_first_and_what_is_no_run_is_left_out(workspace: Workspace) -> None:
    made = [create(workspace, spec(output_dir=f"r{at}")) for at in range(4)]
    for at, run in enumerate(made):
        os.utime(run.folder / "spec.yaml", (1e9 + at, 1e9 + at))
    (workspace.saves / "file").touch()
    (workspace.saves / "empty").mkdir()
    (workspace.saves / ".hidden").mkdir()
    (workspace.saves / ".hidden" / "spec.yaml").touch()
    served = create(workspace, read_flat(ServeSpec, {"infer_backend": "echo"}).unwrap())
    assert [run.name for run in list_runs(workspace)] == [f"tiny/lora/r{at}" for at in (3, 2, 1, 0)]
    assert [run.name for run in list_runs(workspace, "serve")] == [served.name]
    assert list_runs(Workspace(workspace.root / "none")) == []


def test_a_link_that_leads_back_is_no_trap(workspace: Workspace) -> None:
    create(workspace, spec(output_dir="mine"))
    (workspace.saves / "tiny" / "loop").symlink_to(workspace.saves)
    assert "tiny/lora/mine" in [run.name for run in list_runs(workspace)]


def test_five_hundred_runs_are_listed_in_a_moment(workspace: Workspace) -> None:
    text = spec().to_yaml()
    for at in range(500):
        folder = workspace.saves / "tiny" / "lora" / f"run-{at}"
        (folder / "checkpoint-4").mkdir(parents=True)
        (folder / "spec.yaml").write_text(text, "utf-8")
        (folder / "events.jsonl").write_bytes(
            b'{"kind": "started"}\n' + b'{"kind": "step"}\n' * 200 + b'{"kind": "finished"}\n'
        )
    began = time.process_time()
    found = list_runs(workspace)
    assert len(found) == 500
    assert {run.state() for run in found} == {"finished"}
    assert time.process_time() - began < 1.0


def test_runs_that_go_away_while_they_are_listed_are_left_out(workspace: Workspace) -> None:
    made = [create(workspace, spec(output_dir=f"r{at}")) for at in range(60)]
    thread = threading.Thread(target=lambda: [run.delete() for run in made])
    thread.start()
    while thread.is_alive():
        list_runs(workspace)
    assert list_runs(workspace) == []


def test_checking_a_folder_makes_none(workspace: Workspace) -> None:
    check_folder(workspace, spec(output_dir="mine"))
    assert list(workspace.saves.iterdir()) == []
