"""A full disk: which checkpoints of the run go, what is told of the room, and that the run itself goes on. No training."""

import errno
import json
import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.bad_inputs import GOOD
from tests.conftest import Tell
from workbench import locks
from workbench.checkpoints import drop
from workbench.cli.follow import again_command
from workbench.events import EventLog, Failed, Finished, Phase, Started, Step
from workbench.problems import Problem, UserError
from workbench.remedies import Remedy, beside, remedies
from workbench.runs import DELETED_LOCK_PATIENCE_S, Run, create, list_runs
from workbench.sparing import elsewhere, fewer, going, room, size_of, spare
from workbench.specs import TrainSpec, read_flat
from workbench.text import ENGLISH, verbatim
from workbench.ui.aftermath import act, after, drawn
from workbench.workspace import Workspace

FULL = Failed([Problem(verbatim("The disk is full."))], cause="disk")
WEIGHTS_BYTES = 20_000_000


def ended(workspace: Workspace, *steps: int, **more: Any) -> Run:
    """A run that a full disk has ended, with whole checkpoints of these steps."""
    run = create(workspace, read_flat(TrainSpec, {**GOOD, "output_dir": "mine", **more}).unwrap())
    log = EventLog(run.events)
    for event in (Started(1), Phase("training"), Step(step=9, total=20, loss=1.0), FULL):
        log.write(event)
    log.close()
    for step in steps:
        lay_checkpoint(run, step)
    return run


def lay_checkpoint(run: Run, step: int, best: int | None = None) -> Path:
    folder = run.folder / f"checkpoint-{step}"
    folder.mkdir()
    with (folder / "optimizer.pt").open("wb") as file:
        file.truncate(WEIGHTS_BYTES)
    (folder / "adapter_config.json").write_text("{}", "utf-8")
    state = {"max_steps": 20, "global_step": step, "best_global_step": best}
    (folder / "trainer_state.json").write_text(json.dumps(state), "utf-8")
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    (folder / "contents.json").write_text(json.dumps(sizes), "utf-8")
    return folder


def left(run: Run) -> list[str]:
    return sorted(path.name for path in run.folder.iterdir() if path.is_dir())


def told(said: Sequence[Any]) -> str:
    return " ".join(ENGLISH(one) for one in said)


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs that were resumed; no worker is started."""
    found: list[Run] = []
    monkeypatch.setattr(Run, "resume", lambda run: found.append(run))
    return found


def disk(run: Run) -> list[Remedy]:
    return remedies(run, "disk")


def test_a_full_disk_is_answered_with_fewer_checkpoints_of_the_run_itself(workspace: Workspace) -> None:
    run = ended(workspace, 3, 6, 9, save_total_limit=None)
    fewest, none = disk(run)
    assert fewest.differs == [("save_total_limit", "", "1")]
    assert none.differs == [("save_total_limit", "", "1"), ("save_strategy", "steps", "no")]
    for one in (fewest, none):
        assert one.own and one.spec.saving.resume_from_checkpoint is None
        assert one.spec.saving.output_dir == "saves/tiny/lora/mine"
    said = told(fewest.told)
    assert "Only the newest checkpoint is kept, instead of all." in said
    assert "Deleted first: checkpoint-3, checkpoint-6, which frees 40 MB." in said
    assert said.endswith("It goes on from step 9.")
    assert left(run) == ["checkpoint-3", "checkpoint-6", "checkpoint-9"], "nothing goes before it is asked for"


def test_what_keeps_as_few_as_it_can_has_no_remedy(workspace: Workspace) -> None:
    run = ended(workspace, 9, save_total_limit=1, save_strategy="no")
    assert disk(run) == []
    assert "keeps as few checkpoints as it can" in told(beside(run, "disk", []))
    best = ended(workspace, 9, output_dir="best", load_best_model_at_end=True)
    assert [one.differs for one in disk(best)] == [[("save_total_limit", "2", "1")]]


def test_before_the_first_checkpoint_nothing_goes(workspace: Workspace) -> None:
    fewest, _ = disk(ended(workspace))
    assert "No older checkpoint of this run can go." in told(fewest.told)
    assert told(fewest.told).endswith("It begins from the start: no checkpoint was saved yet.")


def test_room_that_will_not_do_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended(workspace, 6, 9)
    for free, enough in ((0, False), (10_000, True)):
        monkeypatch.setattr("shutil.disk_usage", lambda path, free=free: type("Usage", (), {"free": free})())
        (run.folder / "checkpoint-9" / "more").write_bytes(b"0" * 5_000)
        assert (
            "The next checkpoint takes 20 MB" in told(list(room(run, fewer(run, {"save_total_limit": 1}))))
        ) != enough
    assert "The next" not in told(list(room(run, fewer(run, {"save_strategy": "no", "save_total_limit": 2}))))


def test_the_newest_and_the_best_stay_and_none_goes_for_a_damaged_one(workspace: Workspace) -> None:
    run = ended(workspace, 3, 6)
    lay_checkpoint(run, 9, best=3)
    spec = fewer(run, {"save_total_limit": 1})
    assert [one.name for one in going(run, spec)] == ["checkpoint-6"]
    assert going(run, fewer(run, {"save_total_limit": 3})) == []
    (run.folder / "checkpoint-9" / "optimizer.pt").write_bytes(b"")
    assert going(run, spec) == []


def test_the_button_lets_the_run_itself_go_on(workspace: Workspace, resumed: list[Run]) -> None:
    run = ended(workspace, 3, 6, 9, save_total_limit=3)
    shown = drawn(after(run, run.view(), "failed"), ENGLISH)
    assert shown is not None and shown["press"] == "Apply and go on" and shown["more"] == []
    assert shown["remedies"][0]["changes"] == ["Keep checkpoints: 3 → 1"]
    before = run.read_spec().unwrap().flat()
    assert act(run, {"action": "again", "choice": shown["remedies"][0]["choice"]}) == run
    assert resumed == [run] and left(run) == ["checkpoint-9"] and run.saved_step() == 9
    assert run.read_spec().unwrap().flat() == {**before, "save_total_limit": 1}
    assert not locks.held(run.lock) and not (run.folder / ".spec.yaml").exists()


def test_the_command_of_the_terminal_does_the_same(workspace: Workspace, tell: Tell, resumed: list[Run]) -> None:
    run = ended(workspace, 6, 9)
    command = again_command(run, disk(run)[1])
    assert command == "python app.py runs resume tiny/lora/mine save_total_limit=1 save_strategy=no --follow"
    _, out, _ = tell("runs", "show", "mine")
    assert f"Start it so: {command}" in out
    code, out, err = tell(*shlex.split(command)[2:-1])
    assert (code, err) == (0, "") and "tiny/lora/mine goes on" in out
    assert resumed == [run] and left(run) == ["checkpoint-9"]
    saving = run.read_spec().unwrap().flat()
    assert (saving["save_total_limit"], saving["save_strategy"]) == (1, "no")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            "learning_rate=1",
            "'learning_rate' can't change while a run goes on in its own folder. Accepted: save_total_limit",
        ),
        ("save_total_limit=0", "Accepted: a whole number of at least 1"),
        ("save_strategy=no", "needs checkpoints, and 'Save by' is no"),
    ],
)
def test_what_can_not_change_on_the_way_is_refused_and_nothing_goes(
    given: str, words: str, workspace: Workspace, tell: Tell, resumed: list[Run]
) -> None:
    run = ended(workspace, 6, 9, load_best_model_at_end=True)
    code, _, err = tell("runs", "resume", "mine", given)
    assert code == 2 and words in err
    assert resumed == [] and left(run) == ["checkpoint-6", "checkpoint-9"]


def test_a_run_that_is_not_over_keeps_what_it_has(
    workspace: Workspace, resumed: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ended(workspace, 6, 9)
    spec = fewer(run, {"save_total_limit": 1})
    with monkeypatch.context() as patch, pytest.raises(UserError, match="is running"):
        patch.setattr(Run, "state", lambda run: "running")
        spare(run, spec)
    with monkeypatch.context() as patch, pytest.raises(UserError, match="has not ended yet"):
        patch.setattr(locks, "hold", lambda path, patience_s: None)
        spare(run, spec)
    assert resumed == [] and left(run) == ["checkpoint-6", "checkpoint-9"]


def test_a_worker_whose_lock_was_deleted_gets_the_time_to_make_it_again(
    workspace: Workspace, resumed: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ended(workspace, 6, 9)
    spec, waited = fewer(run, {"save_total_limit": 1}), list[float]()
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(Run, "state", lambda run: "running" if waited else "lost")
    with pytest.raises(UserError, match="is running"):
        spare(run, spec)
    assert waited == [DELETED_LOCK_PATIENCE_S]
    assert resumed == [] and left(run) == ["checkpoint-6", "checkpoint-9"]


@pytest.mark.parametrize(
    ("fails", "words", "stay"),
    [
        ("workbench.sparing.drop", "The checkpoint checkpoint-6 can't be deleted: No space left", ["checkpoint-6", "checkpoint-9"]),
        ("os.utime", "spec.yaml can't be written: No space left", ["checkpoint-9"]),
    ],
)
def test_what_fails_is_told_and_no_half_spec_stays(
    fails: str, words: str, stay: list[str], workspace: Workspace, resumed: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ended(workspace, 6, 9)
    spec, before = fewer(run, {"save_total_limit": 1}), (run.folder / "spec.yaml").read_bytes()

    def full(*_: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left")

    with monkeypatch.context() as patch, pytest.raises(UserError, match=words):
        patch.setattr(fails, full)
        spare(run, spec)
    assert resumed == [] and left(run) == stay
    assert (run.folder / "spec.yaml").read_bytes() == before and not (run.folder / ".spec.yaml").exists()
    assert not locks.held(run.lock)


def test_a_run_keeps_its_place_among_the_others(workspace: Workspace, resumed: list[Run]) -> None:
    run = ended(workspace, 6, 9)
    ended(workspace, 9, output_dir="newer")
    os.utime(run.folder / "spec.yaml", (1_000, 1_000))
    names = [one.name for one in list_runs(workspace)]
    spare(run, fewer(run, {"save_total_limit": 1}))
    assert resumed == [run] and [one.name for one in list_runs(workspace)] == names == ["tiny/lora/newer", "tiny/lora/mine"]


def test_what_other_runs_and_the_cache_hold_is_named(workspace: Workspace) -> None:
    run = ended(workspace, 9)
    assert list(elsewhere(run)) == []
    done = ended(workspace, 10, 20, output_dir="done")
    ended(workspace, 10, output_dir="failed")
    (done.folder / "adapter_config.json").write_text("{}", "utf-8")
    log = EventLog(done.events)
    log.write(Finished({}))
    log.close()
    workspace.cache.mkdir(exist_ok=True)
    (workspace.cache / "tokens").write_bytes(b"0" * 11_000_000)
    said = told(beside(run, "disk", disk(run)))
    assert "Finished runs have checkpoints, too: tiny/lora/done (40 MB)." in said
    assert "The folder cache holds 11 MB" in said
    assert size_of(workspace.cache) == 11_000_000


def test_a_checkpoint_is_dropped_beside_what_can_not_be_deleted(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ended(workspace, 6, 9)
    (run.folder / ".saving").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda path, ignore_errors: None)
        drop(run.folder / "checkpoint-6")
    assert left(run) == [".saving", "checkpoint-9"]
    drop(run.folder / "checkpoint-9")
    assert left(run) == []
