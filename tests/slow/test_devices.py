"""Runs that several processes share, on gloo and by real workers: they learn what one process would, divide a model, stop,
resume, and tell of a process that falls."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import lay_workspace
from tests.slow.test_faults import PATIENCE_S, go_on, kill, pid, step_is, wait_for
from tests.slow.test_stages import lay_sets
from tests.training import Done, lay_rows, spec_of
from workbench.events import Failed, Note, Started, Step, Stopped
from workbench.models import is_adapter, load_model, load_tokenizer
from workbench.runs import Run, create
from workbench.workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9; its own way is not tried here"),
    pytest.mark.skipif(sys.platform == "darwin", reason="Apple's chip computes for one process"),
]
SHORT = {
    "max_steps": 30,
    "save_steps": 3,
    "save_total_limit": None,
    "eval_steps": 30,
    "learning_rate": 1e-3,
    "lora_dropout": 0.0,
    "val_size": 0.1,
    "plot_loss": False,
}
"""18 rows to learn from, of which 8 a step: each epoch ends with a batch that is not full."""
FALL_S = 30
TWO: dict[str, Any] = {"num_processes": 2}
DIVIDED: dict[str, Any] = {"num_processes": 2, "distributed": "fsdp2"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace whose workers compute in one thread: more would not help so small a model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield lay_rows(lay_workspace(tmp_path_factory.mktemp("devices") / "workspace"))


def trained(home: Workspace, name: str, **more: Any) -> Done:
    """The run, done by a worker of its own."""
    run = create(home, spec_of(output_dir=name, **{**SHORT, **more}))
    run.start()
    assert run.wait(PATIENCE_S) == "finished", told(run)
    return Done(run)


def told(run: Run) -> str:
    return "\n".join([run.log_tail(), *(path.read_text("utf-8") for path in run.folder.glob("worker-*.log"))])


@pytest.fixture(scope="module")
def alone(home: Workspace) -> Done:
    """One process with batches twice as large."""
    return trained(home, "alone", per_device_train_batch_size=4)


@pytest.fixture(scope="module")
def shared(home: Workspace) -> Done:
    return trained(home, "shared", **TWO, plot_loss=True)


def assert_alike(one: Done, other: Done, file: str = "adapter_model.safetensors") -> None:
    """What was learned is the same, and what the validation says of it."""
    assert_learned_alike(one, other, file)
    assert one.run.view().eval_loss == pytest.approx(other.run.view().eval_loss, rel=1e-5)


def assert_learned_alike(one: Done, other: Done, file: str = "adapter_model.safetensors") -> None:
    """Losses, gradients, rates, tokens and weights are the same; padding is not, since batches are padded each by itself."""
    from safetensors.torch import load_file

    left, right = one.steps(), other.steps()
    assert [step[:3] for step in left] == [step[:3] for step in right]
    for place in (3, 4, 5):
        assert [step[place] for step in left] == pytest.approx([step[place] for step in right], rel=1e-5)
    assert [step[6] for step in left] == [step[6] for step in right], "each row is learned once"
    weights, others = (load_file(done.run.folder / file) for done in (one, other))
    assert weights.keys() == others.keys()
    apart = {name: float((weights[name] - others[name]).abs().max()) for name in weights}
    assert max(apart.values()) < 2e-5, apart


def notes(done: Done) -> str:
    return "\n".join(str(event.message) for event in done.events if isinstance(event, Note))


def answer(home: Workspace, done: Done) -> str:
    """What the trained model says to the watched question when it is loaded again, greedily."""
    import torch
    from peft import PeftModel

    adapted = is_adapter(done.run.folder)
    model = load_model(home.models / "tiny" if adapted else done.run.folder, "fp32", False)
    model = PeftModel.from_pretrained(model, str(done.run.folder)) if adapted else model
    tokenizer = load_tokenizer(done.run.folder, False)
    asked = [{"role": "user", "content": "Say a 3 times."}]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    said = model.eval().generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False)
    return str(tokenizer.decode(said[0, ids.shape[1] :], skip_special_tokens=True)).strip()


def test_two_processes_learn_what_one_with_twice_the_batch_does(alone: Done, shared: Done) -> None:
    assert_alike(alone, shared)
    assert "2 processes learn together: each step sees 8 rows." in notes(shared)
    assert [sample.answer for sample in alone.run.view().samples] == [one.answer for one in shared.run.view().samples]
    assert len([event for event in shared.events if isinstance(event, Started)]) == 1, "only the first one speaks"
    assert (shared.run.folder / "training_loss.png").stat().st_size > 1000, "and draws"


def test_a_divided_model_learns_the_same_and_its_adapter_answers(home: Workspace, alone: Done) -> None:
    divided = trained(home, "divided", **DIVIDED)
    assert_alike(alone, divided)
    assert_halved(divided)
    assert (divided.run.folder / "checkpoint-3" / "pytorch_model_fsdp.bin").is_file()
    assert answer(home, divided) == divided.run.view().samples[-1].answer != ""


@pytest.mark.parametrize(("stage", "dataset"), [("rm", "pairs"), ("dpo", "pairs"), ("kto", "marks")])
def test_rows_of_an_uneven_batch_count_alike(
    stage: str, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of seven rows the last step has three: two for one process and one for the other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    home = lay_sets(lay_workspace(tmp_path / "workspace"))
    asked: dict[str, Any] = {"stage": stage, "dataset": dataset, "val_size": 3, "eval_strategy": "no", "max_steps": 4}
    more = {**asked, "gradient_accumulation_steps": 1, "learning_rate": 5e-3, "watch_prompts": []}
    one = trained(home, "one", **more, per_device_train_batch_size=4)
    assert_learned_alike(one, trained(home, "two", **more, **TWO))


def assert_halved(done: Done) -> None:
    words = next(line for line in notes(done).splitlines() if line.startswith("This process holds "))
    held, everything = (int(word.replace(",", "")) for word in words.split() if word.replace(",", "").isdecimal())
    assert 0.45 * everything < held < 0.55 * everything, words


def others(run: Run) -> list[psutil.Process]:
    """The processes beside the worker."""
    found = psutil.Process(pid(run)).children()
    return [process for process in found if "workbench.jobs.train.beside" in process.cmdline()]


def gone(processes: Sequence[psutil.Process]) -> bool:
    """Whether all of them end within a few seconds."""
    _, left = psutil.wait_procs(processes, 8)
    return not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]


def test_a_whole_model_is_divided_killed_and_resumed_and_answers(home: Workspace) -> None:
    run = create(home, spec_of(output_dir="whole", **{**SHORT, **DIVIDED, "finetuning_type": "full"}))
    run.start()
    wait_for(run, step_is(4))
    beside = others(run)
    kill(run)
    assert len(beside) == 1 and gone(beside), "no process stays behind"
    saved = run.saved_step()
    assert 0 < saved < 30

    go_on(run)
    assert run.wait(PATIENCE_S) == "finished", told(run)
    done = Done(run)
    assert_halved(done)
    assert [step[0] for step in done.steps()] == list(range(saved + 1, 31))
    losses = [event.loss for event in done.events if isinstance(event, Step)]
    assert losses[-1] < losses[0] / 2
    assert answer(home, done) == run.view().samples[-1].answer != ""


def test_stopped_and_resumed_it_ends_as_if_it_never_was(home: Workspace, shared: Done) -> None:
    run = create(home, spec_of(output_dir="stopped", **{**SHORT, **TWO}))
    run.start()
    wait_for(run, step_is(5))
    beside = others(run)
    run.stop()
    assert run.wait(PATIENCE_S) == "stopped", told(run)
    ended = run.view().ended
    assert isinstance(ended, Stopped)
    assert 5 <= ended.step == run.saved_step() < 30
    assert len(beside) == 1 and gone(beside)

    go_on(run)
    assert run.wait(PATIENCE_S) == "finished", told(run)
    assert Done(run).weights() == shared.weights()
    assert Done(run).steps() == shared.steps(after=ended.step)


def test_a_process_that_falls_ends_the_run_with_its_last_words(home: Workspace) -> None:
    run = create(home, spec_of(output_dir="fallen", **{**SHORT, **TWO, "max_steps": 400}))
    run.start()
    wait_for(run, step_is(6))
    (other,) = others(run)
    with (run.folder / "worker-2.log").open("a", encoding="utf-8") as log:
        log.write("The end is near.\n")
    os.kill(other.pid, signal.SIGKILL)
    assert run.wait(FALL_S) == "failed"
    ended = run.view().ended
    assert isinstance(ended, Failed)
    said = str(ended.problems[0].message)
    assert said.startswith("Process 2 of 2 was killed (signal 9)")
    assert "The end is near. All of them are in worker-2.log." in said
    assert run.saved_step() >= 3
