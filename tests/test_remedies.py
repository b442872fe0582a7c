"""What is offered when a run has failed or ended: changes that help, further epochs, and where each goes on. No training."""

import errno
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.bad_inputs import GOOD
from tests.conftest import Tell
from workbench import ceilings
from workbench import remedies as module
from workbench.ceilings import ceiling_bytes, counted, kills
from workbench.checking import check_train
from workbench.checkpoints import given_checkpoint, planned_steps, step_of
from workbench.cli.flags import given_values
from workbench.cli.follow import again_command
from workbench.continuing import extension, follower, free_name
from workbench.events import Event, EventLog, Failed, Finished, Phase, Started, Step
from workbench.fields import plain
from workbench.jobs.train.troubles import damage_is_said, disk_full_is_said, idle_card, machine_is_said
from workbench.plans import smaller_batch, total_steps
from workbench.problems import Cause, Problem, UserError
from workbench.remedies import Remedy, cause_of, keeps_place, remedies
from workbench.runs import Run, create
from workbench.specs import TrainSpec, read_flat
from workbench.text import ENGLISH, Message, verbatim
from workbench.ui.aftermath import act, after, drawn
from workbench.workspace import Workspace

STEP = Step(step=8, total=20, epoch=2.0, loss=1.0, memory_bytes=10**9)


class OutOfMemoryError(RuntimeError):
    """As torch's own, which is not loaded here."""


NO_MEMORY = Failed([Problem(verbatim("Memory ended."))], cause="memory")


def ended(workspace: Workspace, *events: Event, at: int = 8, **more: Any) -> Run:
    """A run whose worker has said these events, with a checkpoint of step ``at`` unless that is 0."""
    values = {**GOOD, "output_dir": "mine", "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, **more}
    run = create(workspace, read_flat(TrainSpec, values).unwrap())
    log = EventLog(run.events)
    for event in (Started(1), Phase("training"), STEP, *events):
        log.write(event)
    log.close()
    if at:
        lay_checkpoint(run, at)
    return run


def lay_checkpoint(run: Run, step: int) -> Path:
    folder = run.folder / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "trainer_state.json").write_text(json.dumps({"max_steps": 20, "global_step": step}), "utf-8")
    (folder / "adapter_config.json").write_text("{}", "utf-8")
    return folder


def found(run: Run) -> list[Remedy]:
    return remedies(run, cause_of(run, run.view(), run.state()))


@pytest.mark.parametrize(
    ("error", "cause", "words"),
    [
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "memory", "Memory ended (OutOfMemory"),
        (RuntimeError("MPS backend out of memory"), "memory", "Memory ended"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "memory", "Memory ended"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
            "memory",
            "Memory",
        ),
        (MemoryError(), "memory", "Memory ended (MemoryError"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory", "Memory ended"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk", "The disk is full"),
        (
            RuntimeError("[enforce fail at inline_container.cc:659] . unexpected pos 64 vs 0"),
            "disk",
            "The disk is full",
        ),
        (RuntimeError("Found no NVIDIA driver on your system."), "driver", "The card can't be used"),
        (RuntimeError("The NVIDIA driver on your system is too old (found version 11040)."), "driver", "newest driver"),
        (AssertionError("Torch not compiled with CUDA enabled"), "driver", "built for other cards"),
    ],
    ids=lambda given: str(given)[:40],
)
def test_what_a_machine_refuses_is_said_with_its_cause(
    error: Exception, cause: Cause, words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught, machine_is_said(), disk_full_is_said(tmp_path):
        raise error
    assert caught.value.cause == cause
    assert words in str(caught.value)


def test_a_card_without_a_driver_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name, maker, kind in (("00:02.0", "0x8086", "0x030000"), ("00:03.0", "0x10de", "0x040300")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{maker}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    assert idle_card(tmp_path) is None and idle_card(tmp_path / "none") is None
    (tmp_path / "00:03.0" / "class").write_text("0x030200\n")
    assert "'python app.py doctor' says which" in str(idle_card(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert idle_card(tmp_path) is None


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), OSError(errno.EACCES, "denied"), AssertionError("x")])
def test_other_errors_pass(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, machine_is_said(), disk_full_is_said(tmp_path):
        raise error
    assert caught.value is error


def test_a_checkpoint_of_another_run_that_does_not_fit_is_not_called_damaged(tmp_path: Path) -> None:
    foreign, own = tmp_path / "other" / "checkpoint-4", tmp_path / "mine"
    with pytest.raises(UserError, match="does not fit") as caught, damage_is_said(foreign, own, lambda: False):
        raise RuntimeError("size mismatch")
    assert caught.value.problems[0].key == "resume_from_checkpoint"


def test_batches_get_smaller_and_a_step_keeps_its_rows() -> None:
    steps = [(12, 2)]
    while smaller := smaller_batch(*steps[-1]):
        steps.append(smaller)
    assert steps == [(12, 2), (6, 4), (3, 8), (1, 24)]


def test_what_memory_ended_is_answered_with_changes_the_cheapest_first(workspace: Workspace) -> None:
    run = ended(workspace, NO_MEMORY)
    offered = found(run)
    assert 2 <= len(offered) <= 4
    assert len({one.differs[0][0] for one in offered}) == len(offered)
    first = offered[0]
    optim = first.spec.optim
    assert optim.per_device_train_batch_size < 8
    assert optim.per_device_train_batch_size * optim.gradient_accumulation_steps == 8
    assert optim.per_device_eval_batch_size == 4
    assert first.spec.saving.resume_from_checkpoint == "saves/tiny/lora/mine/checkpoint-8"
    assert first.spec.saving.output_dir == "saves/tiny/lora/mine-again"
    assert ENGLISH(first.told[-1]) == "It goes on from step 8."
    changed = {key for key, _, _ in first.differs}
    old, new = run.read_spec().unwrap().flat(), first.spec.flat()
    assert {key for key in old if old[key] != new[key]} == changed | {"output_dir", "resume_from_checkpoint"}


def test_what_changes_the_weights_begins_anew_and_says_so(workspace: Workspace) -> None:
    by_key = {one.differs[0][0]: one for one in found(ended(workspace, NO_MEMORY, lora_rank=16))}
    assert set(by_key) >= {"per_device_train_batch_size", "gradient_checkpointing", "optim"}
    other = by_key["optim"]
    assert other.spec.saving.resume_from_checkpoint is None
    assert "begins from the start: the checkpoint of step 8" in ENGLISH(other.told[-1])
    assert by_key["gradient_checkpointing"].spec.saving.resume_from_checkpoint


def test_without_a_checkpoint_it_begins_from_the_start(workspace: Workspace) -> None:
    first = found(ended(workspace, NO_MEMORY, at=0))[0]
    assert first.spec.saving.resume_from_checkpoint is None
    assert "no checkpoint was saved yet" in ENGLISH(first.told[-1])


def test_what_the_run_went_on_from_is_kept_while_it_has_nothing_of_its_own(workspace: Workspace) -> None:
    older = ended(workspace, NO_MEMORY)
    given = f"saves/{older.name}/checkpoint-8"
    run = ended(workspace, NO_MEMORY, at=0, output_dir="mine-again", resume_from_checkpoint=given)
    assert (run.saved_step(), run.first_step(), older.first_step()) == (0, 8, 8)
    first = found(run)[0]
    assert first.spec.saving.resume_from_checkpoint == given
    assert first.spec.saving.output_dir == "saves/tiny/lora/mine-again-2"
    assert ENGLISH(first.told[-1]) == "It goes on from step 8."


def test_rows_that_are_packed_change_their_number_with_the_cutoff(workspace: Workspace) -> None:
    plain, packed = (read_flat(TrainSpec, {**GOOD, "packing": given}).unwrap() for given in (False, True))
    assert keeps_place(plain, {"cutoff_len": 128}) and not keeps_place(packed, {"cutoff_len": 128})


def test_what_is_missing_here_is_not_offered(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended(workspace, NO_MEMORY)
    assert any(one.differs[0][0] == "quantization_bit" for one in found(run))
    monkeypatch.setattr("workbench.quantising.no_quantiser", lambda: Message("", "none"))
    assert found(run) and not any(one.differs[0][0] == "quantization_bit" for one in found(run))


@pytest.mark.parametrize("cause", ["", "driver"])
def test_other_causes_have_no_remedy_among_the_fields(cause: Cause, workspace: Workspace) -> None:
    assert found(ended(workspace, Failed([Problem(verbatim("x"))], cause=cause))) == []


def test_the_flags_of_the_terminal_make_the_same_spec(workspace: Workspace) -> None:
    run = ended(workspace, NO_MEMORY)
    for one in found(run):
        words = shlex.split(again_command(run, one))
        assert words[:3] == ["python", "app.py", "train"]
        rest = [str(workspace.root / words[3]), *words[4:]]
        checked = check_train(workspace, given_values(rest, TrainSpec.knobs(), workspace)[0])
        assert checked.unwrap() == one.spec


def test_a_worker_that_linux_ended_is_told_from_one_that_was_lost(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = ended(workspace)
    assert run.state() == "lost"
    assert cause_of(run, run.view(), "lost") == ""
    counter = tmp_path / "vmstat"
    counter.write_text("nr_dirty 4\noom_kill 17\nworkingset_refault_oom_kill 1\n")
    assert (kills(counter), kills(tmp_path / "none")) == (17, -1)
    for started, file, cause in ((15, "vmstat", "memory"), (17, "vmstat", ""), (-1, "vmstat", ""), (15, "gone", "")):
        view = run.view()
        view.started, view.started_at = Started(1, kills=started, counter=str(tmp_path / file)), view.last_at + 1e6
        assert cause_of(run, view, "lost") == cause
        offered = after(run, view, "lost")
        assert (offered.killed is not None) == bool(cause)
        if offered.killed:
            said = ENGLISH(offered.killed)
            assert "probably by the system" in said and "2 of the processes that it may be one of" in said


def test_who_was_ended_is_counted_by_control_group_where_that_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ceilings, "COUNTERS", {"": f"{tmp_path}/two{{group}}/e", "memory": f"{tmp_path}/one{{group}}/e"})
    groups = tmp_path / "groups"
    for version, lines, known in (
        ("two/me", "0::/me\n", 3),
        ("one/me/deep", "9:name=systemd:/\n4:memory:/me/deep\n1:cpu:/\n0::/\n", 5),
    ):
        groups.write_text(lines)
        assert counted(groups) == (kills(), ""), "it is not counted there"
        (tmp_path / version).mkdir(parents=True)
        (tmp_path / version / "e").write_text(f"oom 9\noom_kill {known}\noom_group_kill 0\n")
        assert counted(groups) == (known, str(tmp_path / version / "e"))
    assert counted(tmp_path / "none") == (kills(), "")


def test_a_worker_that_held_nearly_all_there_is_was_ended_for_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ended(workspace)
    assert ceiling_bytes() > 10**9
    monkeypatch.setattr(module, "ceiling_bytes", lambda: 11 * 10**8)
    offered = after(run, run.view(), "lost")
    assert offered.killed is not None and "1.0 GB of 1.1 GB" in ENGLISH(offered.killed)
    assert f"press Resume (in a terminal: runs resume {run.name})" in ENGLISH(offered.killed)
    assert offered.remedies


def test_the_page_shows_what_changes_and_the_button_begins_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, begun = ended(workspace, NO_MEMORY), list[Run]()
    monkeypatch.setattr(Run, "start", lambda run: begun.append(run))
    shown = drawn(after(run, run.view(), "failed"), ENGLISH)
    assert shown is not None and shown["press"] == "Apply and start again"
    first = shown["remedies"][0]
    assert first["changes"][0].startswith("Batch size: 8 → ")
    assert "It goes on from step 8." in first["told"]
    made = act(run, {"action": "again", "choice": first["choice"]})
    assert begun == [made] and made.name == "tiny/lora/mine-again"
    flat = made.read_spec().unwrap().flat()
    assert [(key, plain(flat[key])) for key, _, _ in found(run)[0].differs] == [
        (key, value) for key, _, value in found(run)[0].differs
    ]
    with pytest.raises(UserError, match="changed since"):
        act(run, {"action": "again", "choice": "optim=sgd"})


def test_a_finished_run_trains_on_from_its_checkpoint(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended(workspace, Step(step=20, total=20, epoch=5.0, loss=1.0), Finished({}), at=20)
    longer = extension(run, 2)
    flat, old = longer.spec.flat(), run.read_spec().unwrap().flat()
    assert {key: flat[key] for key in flat if flat[key] != old[key]} == {
        "num_train_epochs": 7.0,
        "resume_from_checkpoint": "saves/tiny/lora/mine/checkpoint-20",
        "output_dir": "saves/tiny/lora/mine-more",
    }
    assert "drawn anew over the old epochs and the new ones" in ENGLISH(longer.told)
    begun = list[Run]()
    monkeypatch.setattr(Run, "start", lambda run: begun.append(run))
    assert drawn(after(run, run.view(), "finished"), ENGLISH)["longer"]["press"] == "Train on"  # type: ignore[index]
    made = act(run, {"action": "longer", "epochs": "2"})
    assert begun == [made] and made.read_spec().unwrap() == longer.spec
    assert extension(run, 1).spec.saving.output_dir == "saves/tiny/lora/mine-more-2"
    for given in ("0", "-1", "nan", "many"):
        with pytest.raises(UserError, match="are no epochs"):
            act(run, {"action": "longer", "epochs": given})


def test_a_run_of_so_many_steps_trains_on_by_epochs(workspace: Workspace) -> None:
    last = Step(step=20, total=20, epoch=2.5, loss=1.0)
    run = ended(workspace, last, Finished({}), at=20, max_steps=20, lr_scheduler_type="constant")
    longer = extension(run, 1)
    assert (longer.spec.optim.max_steps, longer.spec.optim.num_train_epochs) == (None, 3.5)
    assert "stays what 'constant' has made it" in ENGLISH(longer.told)


@pytest.mark.parametrize(
    ("epoch", "exact", "steps"),
    [(2.6667, 8 / 3, 11), (2.6667, None, 11), (2.3333, 7 / 3, 10), (2.3333, None, 10), (1.4, 1.4, 7), (0.8, 0.8, 5)],
    ids=["up", "up rounded", "down", "down rounded", "short last step", "within the first epoch"],
)
def test_an_epoch_more_is_as_many_steps_as_an_epoch_has(
    epoch: float, exact: float | None, steps: int, workspace: Workspace
) -> None:
    """Three steps an epoch; where five batches make them, the first two count for two fifths each."""
    at = steps - 3
    run = ended(workspace, Step(step=at, total=at, epoch=epoch), Finished({}), at=at, max_steps=at, val_size=0.0)
    if exact is not None:
        state = {"max_steps": at, "global_step": at, "epoch": exact}
        (run.folder / f"checkpoint-{at}" / "trainer_state.json").write_text(json.dumps(state), "utf-8")
    assert total_steps(extension(run, 1).spec, 3 * 8) == steps


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, {"adapter_name_or_path": ["saves/tiny/lora/mine"]}),
        ({"finetuning_type": "full"}, {"model_name_or_path": "saves/tiny/lora/mine"}),
        (
            {"adapter_name_or_path": ["saves/a", "saves/b"]},
            {"adapter_name_or_path": ["saves/a", "saves/tiny/lora/mine"]},
        ),
        (
            {"adapter_name_or_path": ["saves/a"], "create_new_adapter": True},
            {"adapter_name_or_path": ["saves/a", "saves/tiny/lora/mine"], "create_new_adapter": False},
        ),
    ],
    ids=["adapter", "full", "two adapters", "new adapter"],
)
def test_without_a_checkpoint_the_weights_alone_train_on(
    more: Mapping[str, Any], wanted: Mapping[str, Any], workspace: Workspace
) -> None:
    run = ended(workspace, Finished({}), at=0, **{"output_dir": "tiny/lora/mine", **more})
    for name in ("adapter_config.json", "config.json"):
        (run.folder / name).write_text("{}", "utf-8")
    longer = extension(run, 2)
    flat = longer.spec.flat()
    assert {key: flat[key] for key in wanted} == wanted
    assert (flat["num_train_epochs"], flat["resume_from_checkpoint"]) == (2.0, None)
    assert "No checkpoint was kept" in ENGLISH(longer.told)


def test_what_can_not_be_trained_on_says_why(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="is failed. Accepted: a finished one"):
        extension(ended(workspace, NO_MEMORY), 1)
    streamed = ended(workspace, Finished({}), output_dir="streamed", streaming=True, max_steps=20)
    with pytest.raises(UserError, match="nobody knows where an epoch ends"):
        extension(streamed, 1)
    bare = ended(workspace, Finished({}), at=0, output_dir="bare")
    with pytest.raises(UserError, match="neither a checkpoint nor weights"):
        extension(bare, 1)
    assert after(bare, bare.view(), "finished").longer is None


def test_names_do_not_pile_up(workspace: Workspace) -> None:
    run = ended(workspace, NO_MEMORY, output_dir="mine-20261122-080000")
    assert free_name(run, "again") == "saves/tiny/lora/mine-20261122-080000-again"
    again = create(workspace, follower(run, run.read_spec().unwrap(), {}, "again").unwrap())  # type: ignore[arg-type]
    assert free_name(again, "again") == "saves/tiny/lora/mine-20261122-080000-again-2"
    assert free_name(again, "more") == "saves/tiny/lora/mine-20261122-080000-more"


def test_a_checkpoint_is_named_by_folder_or_by_run(workspace: Workspace) -> None:
    run = ended(workspace)
    folder = run.folder / "checkpoint-8"
    for given in (f"saves/{run.name}/checkpoint-8", f"{run.name}/checkpoint-8", f"saves/{run.name}", str(folder)):
        assert given_checkpoint(workspace, given) == folder
    assert (step_of(folder), planned_steps(folder), step_of(None)) == (8, 20, 0)
    assert given_checkpoint(workspace, None) is None
    for given in ("nowhere", "models/tiny", f"saves/{run.name}/checkpoint-9", "../x"):
        with pytest.raises(UserError) as caught:
            given_checkpoint(workspace, given)
        assert caught.value.problems[0].key == "resume_from_checkpoint"
    problems = check_train(workspace, {**GOOD, "resume_from_checkpoint": "nowhere"}).problems
    assert [problem.key for problem in problems] == ["resume_from_checkpoint"]


def test_a_terminal_says_what_would_help_and_how_to_train_on(
    workspace: Workspace, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(workspace, NO_MEMORY)
    _, out, _ = tell("runs", "show", "mine")
    assert "This would help: per_device_train_batch_size 8 -> " in out
    assert "train saves/tiny/lora/mine/spec.yaml per_device_train_batch_size=" in out
    ended(workspace, Step(step=20, total=20, epoch=5.0), Finished({}), at=20, output_dir="done")
    begun = list[Run]()
    monkeypatch.setattr(Run, "start", lambda run: begun.append(run))
    code, out, _ = tell("runs", "extend", "done", "--epochs", "3")
    assert code == 0 and "It goes on from step 20 with its optimiser" in out
    assert [run.name for run in begun] == ["tiny/lora/done-more"]
    for words, said in (
        (("--epochs",), "Nothing says for how many"),
        (("--epochs=x",), "'x' are no epochs"),
        ((), "Nothing"),
    ):
        code, _, err = tell("runs", "extend", "done", *words)
        assert code == 2 and said in err
