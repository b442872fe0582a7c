"""The training job on the tiny model: what it leaves, what moves, what it counts, and that resuming changes nothing."""

import gc
import json
import math
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.conftest import lay_workspace
from tests.training import SMALL, Done, as_killed_after, contents, lay_rows, spec_of, trained, work
from workbench.events import Eval, Note, Sample, Saved, Step
from workbench.fields import plain
from workbench.jobs import train
from workbench.jobs.train.telling import memory_bytes
from workbench.models import device
from workbench.problems import UserError
from workbench.runs import create
from workbench.specs import TrainSpec, read_flat, read_yaml
from workbench.view import View
from workbench.workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),  # what libraries say to each other
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return lay_rows(lay_workspace(tmp_path_factory.mktemp("trained") / "workspace"))


@pytest.fixture(scope="module")
def asked_hosts() -> Iterator[list[Any]]:
    """What was asked of the network while the fixtures of this module trained."""
    asked: list[Any] = []
    connect, find = socket.socket.connect, socket.getaddrinfo
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            socket.socket, "connect", lambda self, address: (asked.append(address), connect(self, address))[1]
        )
        patch.setattr(
            socket, "getaddrinfo", lambda host, *rest, **named: (asked.append(host), find(host, *rest, **named))[1]
        )
        yield asked


class Moved:
    """The weights of the model before and after, by name."""

    def __init__(self) -> None:
        self.before: dict[str, Any] = {}
        self.after: dict[str, Any] = {}
        self.trainable: set[str] = set()


@pytest.fixture(scope="module")
def moved() -> Moved:
    return Moved()


@pytest.fixture(scope="module")
def done(home: Workspace, asked_hosts: list[Any], moved: Moved) -> Done:
    """A run that was never stopped."""
    learn = train._learn

    def watched(spec: Any, desk: Any, trainer: Any, *rest: Any) -> Any:
        moved.before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
        moved.trainable = {name for name, weight in trainer.model.named_parameters() if weight.requires_grad}
        numbers = learn(spec, desk, trainer, *rest)
        moved.after = {name: weight.detach() for name, weight in trainer.model.named_parameters()}
        return numbers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "_learn", watched)
        finished = trained(home, "never-stopped")
    gc.freeze()  # each run collects garbage once, and need not look at all that the libraries have imported
    return finished


def of(done: Done, kind: type[Any]) -> list[Any]:
    return [event for event in done.last_life() if isinstance(event, kind)]


def test_it_finishes_and_leaves_what_it_promises(done: Done) -> None:
    assert done.run.state() == "finished"
    names = {path.name for path in done.run.folder.iterdir()}
    assert names == {
        "spec.yaml", "events.jsonl", "adapter_model.safetensors", "adapter_config.json", "tokenizer.json",
        "tokenizer_config.json", "chat_template.jinja", "training_loss.png", "checkpoint-6", "checkpoint-9", "checkpoint-10",
    }  # fmt: skip
    assert (done.run.folder / "training_loss.png").read_bytes().startswith(b"\x89PNG")
    config = json.loads((done.run.folder / "adapter_config.json").read_text("utf-8"))
    assert config["base_model_name_or_path"] == "models/tiny"
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (8, 16, 0.1)
    assert [event.folder for event in of(done, Saved)] == [
        "checkpoint-3",
        "checkpoint-6",
        "checkpoint-9",
        "checkpoint-10",
        ".",
    ]


def test_a_checkpoint_knows_its_own_files(done: Done) -> None:
    for folder in done.run.folder.glob("checkpoint-*"):
        sizes = json.loads((folder / "contents.json").read_text("utf-8"))
        found = {name: len(data) for name, data in contents(folder).items() if name != "contents.json"}
        assert sizes == found
        assert {
            "adapter_model.safetensors",
            "optimizer.pt",
            "scheduler.pt",
            "rng_state.pth",
            "trainer_state.json",
        } <= set(sizes)
        config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        assert config["base_model_name_or_path"] == "models/tiny"


def test_nothing_is_asked_of_the_network(done: Done, asked_hosts: list[Any]) -> None:
    assert asked_hosts == []


def test_only_the_promised_weights_move(done: Done, moved: Moved) -> None:
    assert moved.trainable == {name for name in moved.before if "lora_" in name}
    assert len(moved.trainable) == 2 * 2 * 7, "two matrices for each linear layer of two blocks"
    still = {name for name, weight in moved.before.items() if bool((weight == moved.after[name]).all())}
    assert still == set(moved.before) - moved.trainable


def test_the_curve_is_whole_and_falls(done: Done) -> None:
    steps: list[Step] = of(done, Step)
    assert [step.step for step in steps] == list(range(1, 11))
    assert {step.total for step in steps} == {10}
    losses = [step.loss for step in steps]
    assert all(loss is not None and math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
    assert all(step.grad_norm and step.memory_bytes > 0 and step.seconds > 0 for step in steps)
    rates = [step.learning_rate for step in steps]
    assert max(rates) == pytest.approx(5e-3)
    assert rates[-1] < 5e-4
    assert [step.epoch for step in steps][3::4] == [1.0, 2.0]


def test_the_rows_held_out_and_the_questions_are_tried_from_the_start_to_the_end(done: Done) -> None:
    evals: list[Eval] = of(done, Eval)
    assert [event.step for event in evals] == [0, 4, 8, 10]
    assert evals[-1].loss < evals[0].loss
    assert [event.step for event in of(done, Sample)] == [0, 4, 8, 10]
    first = next(event for event in done.last_life() if isinstance(event, Eval | Sample))
    assert isinstance(first, Eval), "the first loss is seen before a question takes its seconds"


def test_real_tokens_are_counted_and_padding_apart(done: Done, home: Workspace) -> None:
    (rows,) = [note.message.args for note in of(done, Note) if note.message.key.endswith(".rows")]
    assert (rows["train"], rows["held"]) == ("16", "4")
    whole = trained(home, "whole", val_size=0, max_steps=5, watch_prompts=[])
    assert sum(step.tokens for step in of(whole, Step)) == int(rows["tokens"].replace(",", "")), "an epoch sees every row once"
    steps: list[Step] = of(done, Step)
    assert sum(step.tokens for step in steps[:4]) == sum(step.tokens for step in steps[4:8])
    assert not any(step.padding for step in steps), "rows stand in one line"
    plain = trained(home, "padded", max_steps=4, watch_prompts=[], fast_kernels=False)
    padded: list[Step] = of(plain, Step)
    assert sum(step.padding for step in padded) > 0, "rows are of unlike length"
    assert [step.tokens for step in padded] == [step.tokens for step in steps[:4]]
    assert done.numbers["tokens"] == sum(step.tokens for step in steps)


def test_the_closing_figures_are_those_of_the_curve(done: Done) -> None:
    steps, evals = of(done, Step), of(done, Eval)
    assert done.numbers["steps"] == 10
    assert done.numbers["loss"] == steps[-1].loss
    assert done.numbers["eval_loss"] == evals[-1].loss
    assert done.numbers["seconds"] == pytest.approx(sum(step.seconds for step in steps), abs=0.02)


def test_the_validation_loss_is_the_same_whatever_the_batches(home: Workspace) -> None:
    losses = [
        trained(home, f"held{size}", max_steps=1, eval_steps=1, watch_prompts=[], per_device_eval_batch_size=size)
        for size in (1, 3, 4)
    ]
    seen = [done.numbers["eval_loss"] for done in losses]
    assert seen == pytest.approx([seen[0]] * 3, rel=1e-5), "rows are of unlike length"


# Resuming


@pytest.mark.parametrize("step", [6, 9, 10])
def test_a_run_resumed_from_any_checkpoint_is_as_if_it_was_never_stopped(step: int, done: Done) -> None:
    resumed = work(as_killed_after(done, f"killed-{step}", step))
    assert resumed.weights() == done.weights()
    assert resumed.steps() == done.steps(after=step)
    assert [(e.step, e.loss) for e in of(resumed, Eval)] == [(e.step, e.loss) for e in of(done, Eval) if e.step > step]
    assert [(s.step, s.answer) for s in of(resumed, Sample)] == [
        (s.step, s.answer) for s in of(done, Sample) if s.step > step
    ]
    assert resumed.numbers["loss"] == done.numbers["loss"]
    assert resumed.numbers["eval_loss"] == done.numbers["eval_loss"]
    whole, again = done.run.view(), resumed.run.view()
    assert (again.loss, again.eval, again.grad_norm) == (whole.loss, whole.eval, whole.grad_norm)
    assert [one.step for one in again.samples] == [0, 4, 8, 10]
    assert contents(resumed.run.folder)["adapter_config.json"] == contents(done.run.folder)["adapter_config.json"]
    assert (resumed.run.folder / "training_loss.png").is_file()


def test_a_run_killed_before_its_first_checkpoint_begins_anew_and_ends_alike(done: Done) -> None:
    run = as_killed_after(done, "killed-0", 0)
    staging = run.folder / ".saving" / "checkpoint-3"
    staging.mkdir(parents=True)
    (staging / "optimizer.pt").write_bytes(b"half")
    resumed = work(run)
    assert "No whole checkpoint was found" in " ".join(str(note.message) for note in of(resumed, Note))
    assert resumed.weights() == done.weights()
    assert resumed.steps() == done.steps()
    assert not (run.folder / ".saving").exists()
    assert resumed.run.view().loss == done.run.view().loss


@pytest.mark.parametrize("at", [4, 5])
def test_a_run_that_was_stopped_and_resumed_ends_alike(at: int, home: Workspace, done: Done) -> None:
    """Step 4 is one at which the rows held out are tried, which a stop leaves no time for."""
    run = create(home, spec_of(output_dir=f"stopped-{at}"))
    say = train.Desk.say

    def stop_in_time(desk: Any, event: Any) -> None:
        say(desk, event)
        if isinstance(event, Step) and event.step == at - 1:
            run.stop_file.touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Desk, "say", stop_in_time)
        stopped = work(run)
    assert run.state() == "stopped"
    assert run.saved_step() == at
    assert stopped.steps() == done.steps()[:at]
    assert not (run.folder / "adapter_config.json").exists()
    resumed = work(run)
    assert resumed.weights() == done.weights()
    assert resumed.steps() == done.steps(after=at)
    whole, again = done.run.view(), run.view()
    assert (again.loss, again.eval) == (whole.loss, whole.eval)
    assert [(s.step, s.answer) for s in again.samples] == [(s.step, s.answer) for s in whole.samples]


def test_a_stop_at_the_last_step_finishes(home: Workspace) -> None:
    run = create(home, spec_of(output_dir="stopped-10", max_steps=2))
    say = train.Desk.say

    def stop_in_time(desk: Any, event: Any) -> None:
        say(desk, event)
        if isinstance(event, Step) and event.step == 1:
            (run.folder / "wanted").touch()

    def asked(desk: Any) -> bool:
        return (run.folder / "wanted").exists() and desk.current == "training"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Desk, "say", stop_in_time)
        patch.setattr(train.Desk, "stop_asked", asked)
        assert work(run).run.state() == "finished"


def test_points_of_the_curve_are_alike_when_they_are_few(home: Workspace) -> None:
    whole = trained(home, "sparse", logging_steps=4, lora_dropout=0.0)
    assert [step[0] for step in whole.steps()] == [3, 4, 6, 8, 9, 10], "each checkpoint ends a stretch"
    resumed = work(as_killed_after(whole, "sparse-killed", 6))
    assert resumed.steps() == whole.steps(after=6)
    assert resumed.weights() == whole.weights()


# Damage


def damage(folder: Path, name: str, how: str) -> None:
    path = folder / name
    match how:
        case "missing":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[:-10])
        case "other bytes":
            path.write_bytes(b"\x7f" * path.stat().st_size)


@pytest.mark.parametrize(
    ("name", "how", "words"),
    [
        ("optimizer.pt", "cut", "its optimizer.pt has"),
        ("optimizer.pt", "missing", "its optimizer.pt is missing"),
        ("adapter_model.safetensors", "cut", "its adapter_model.safetensors has"),
        ("rng_state.pth", "missing", "its rng_state.pth is missing"),
        ("contents.json", "cut", "its contents.json has"),
        ("optimizer.pt", "other bytes", "Error"),
        ("adapter_model.safetensors", "other bytes", "Error"),
        ("trainer_state.json", "other bytes", "Error"),
        ("rng_state.pth", "other bytes", "Error"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_older_one_goes_on(name: str, how: str, words: str, done: Done) -> None:
    run = as_killed_after(done, f"damaged-{name}-{how.replace(' ', '-')}", 9)
    older = contents(run.folder / "checkpoint-6")
    damage(run.folder / "checkpoint-9", name, how)
    with pytest.raises(UserError) as caught:
        work(run)
    (problem,) = caught.value.problems
    said = str(problem.message)
    assert said.startswith("Checkpoint checkpoint-9 can't be read: ")
    assert "Delete that folder, then press Resume" in said
    assert words in said
    assert contents(run.folder / "checkpoint-6") == older


def test_folders_that_are_no_checkpoints_are_left_alone(home: Workspace) -> None:
    run = create(home, spec_of(output_dir="strange", max_steps=3, save_steps=1, save_total_limit=1))
    for name in ("checkpoint-best", "checkpoint-9 (copy)", "checkpoint-"):
        (run.folder / name).mkdir()
    (run.folder / "checkpoint-7").write_text("a file", "utf-8")
    work(run)
    names = {path.name for path in run.folder.glob("checkpoint-*")}
    assert names == {"checkpoint-3", "checkpoint-best", "checkpoint-9 (copy)", "checkpoint-", "checkpoint-7"}


# What is not to change the result


def test_how_a_batch_is_split_changes_nothing(home: Workspace) -> None:
    one, other = (
        trained(home, f"split-{batch}", max_steps=4, lora_dropout=0.0, per_device_train_batch_size=batch,
                gradient_accumulation_steps=8 // batch, watch_prompts=[], plot_loss=False)
        for batch in (8, 2)
    )  # fmt: skip
    for left, right in zip(one.steps(), other.steps(), strict=True):
        assert left[3] == pytest.approx(right[3], rel=1e-4), "loss"
        assert left[5] == pytest.approx(right[5], rel=1e-3), "gradient norm"
        assert left[6] == right[6], "tokens"


def test_watching_and_validating_change_nothing(home: Workspace, done: Done) -> None:
    other = trained(home, "unwatched", watch_prompts=[], eval_steps=3, save_steps=5, save_total_limit=None)
    assert other.weights() == done.weights()
    assert other.steps() == done.steps()


def test_the_same_values_from_a_file_and_from_boxes_are_the_same_run(home: Workspace, done: Done) -> None:
    """What a person types is text; what a file holds has types; what a terminal is given is either."""
    filed = read_yaml(TrainSpec, yaml.safe_dump({**SMALL, "output_dir": "filed"})).unwrap()
    typed = {key: "\n".join(value) if key == "watch_prompts" else plain(value) for key, value in SMALL.items()}
    boxed = read_flat(TrainSpec, {**typed, "output_dir": "boxed"}).unwrap()
    runs = [create(home, spec) for spec in (filed, boxed)]
    first, second = ((run.folder / "spec.yaml").read_text("utf-8") for run in runs)
    assert first.replace("filed", "boxed") == second
    assert read_yaml(TrainSpec, first).unwrap().to_yaml() == first
    other = work(runs[1])
    assert other.steps() == done.steps()
    assert other.weights() == done.weights()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no such figure of a process at hand")
def test_memory_is_the_most_that_was_held() -> None:
    if device() == "cuda":
        pytest.skip("a card is measured by itself")
    held = psutil.Process().memory_info().rss
    block = bytearray(b"x") * 300_000_000
    assert memory_bytes() >= held + len(block) * 0.9
    del block
    assert memory_bytes() >= held + 270_000_000


def test_a_loss_that_runs_away_is_told_and_the_events_stay_readable(home: Workspace) -> None:
    wild = trained(
        home, "wild", optim="sgd", learning_rate=0.99, max_grad_norm=1e6, lr_scheduler_type="constant", max_steps=8,
        lora_rank=64, lora_alpha=4096, watch_prompts=[], plot_loss=True,
    )  # fmt: skip
    view: View = wild.run.view()
    told = [str(note.message) for note in view.notes if note.level == "warning"]
    assert any("no number any more" in words and "learning rate" in words for words in told)
    assert not any("can't be read" in words for words in told)
    assert all(math.isfinite(value) for value in [*view.loss.values, *view.eval.values])
    assert wild.run.state() == "finished"
