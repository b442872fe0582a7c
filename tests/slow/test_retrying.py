"""Memory that ends while a run learns, smaller batches of the same rows a step, and runs that go on from other runs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import lay_workspace
from tests.training import Done, lay_rows, spec_of, trained, work
from workbench.continuing import extension
from workbench.events import Eval, Note, Started, Step
from workbench.jobs.train.steering import group_settings, take_settings
from workbench.problems import UserError
from workbench.runs import Run, create
from workbench.workspace import Workspace, source_folder

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")]
SINGLE = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4, "per_device_eval_batch_size": 1}
WIDE = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}
FAR = {"max_steps": None, "num_train_epochs": 2.0, "save_steps": 4, "eval_steps": 4, "lora_dropout": 0.1}
"""Eight steps of two epochs."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return lay_rows(lay_workspace(tmp_path_factory.mktemp("retried") / "workspace"))


Limit = Callable[..., None]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Limit]:
    """``memory(rows, after)``: from the forward pass ``after`` on, batches of more rows than that find no room."""
    import torch
    from transformers.models.llama.modeling_llama import LlamaModel

    whole, limit = LlamaModel.forward, {"rows": 10**9, "after": 0, "passes": 0}

    def forward(self: Any, input_ids: Any = None, **named: Any) -> Any:
        line = named.get("rows")
        rows = len(line.lengths if line else named["inputs_embeds"] if input_ids is None else input_ids)
        limit["passes"] += self.training
        if self.training and rows > limit["rows"] and limit["passes"] > limit["after"]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return whole(self, input_ids=input_ids, **named)

    def set_limit(rows: int, after: int = 0) -> None:
        limit.update(rows=rows, after=after, passes=0)

    monkeypatch.setattr(LlamaModel, "forward", forward)
    yield set_limit


def told(done: Done) -> list[str]:
    return [str(event.message) for event in done.events if isinstance(event, Note)]


def test_smaller_batches_learn_what_the_whole_ones_would_have(home: Workspace, memory: Limit) -> None:
    plain = trained(home, "single", **SINGLE)
    memory(1)
    found = trained(home, "found", **WIDE, auto_find_batch_size=True)
    assert found.steps() == plain.steps() and len(found.steps()) == 10
    assert found.weights() == plain.weights()
    lives = [event for event in found.events if isinstance(event, Started)]
    assert [event.resumed_step for event in lives] == [0, 0, 0]
    said = [words for words in told(found) if words.startswith("Memory ended")]
    assert "batches of 4 rows" in said[0]
    assert "batches of 2 and an accumulation of 2: each step learns from 4" in said[0]
    assert "batches of 1 and an accumulation of 4: each step learns from 4 rows as before" in said[1]
    assert found.run.read_spec().unwrap().flat()["per_device_train_batch_size"] == 4
    view = found.run.view()
    assert view.loss.steps == list(range(1, 11)) and view.eval.steps == [0, 4, 8, 10]


def test_it_goes_on_from_the_last_checkpoint(home: Workspace, memory: Limit) -> None:
    half = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    plain = trained(home, "half", **half)
    memory(2, after=5)
    found = trained(home, "found-late", **WIDE, auto_find_batch_size=True)
    lives = [event.resumed_step for event in found.events if isinstance(event, Started)]
    assert lives == [0, 3]
    assert [step[0] for step in found.steps()] == list(range(4, 11))
    assert found.run.view().step.step == plain.run.view().step.step == 10
    for ours, theirs in zip(found.steps(), plain.steps(after=3), strict=True):
        assert ours[:3] == theirs[:3] and ours[4] == theirs[4] and ours[6] == theirs[6]
        assert ours[3] == pytest.approx(theirs[3], rel=2e-2)  # the three steps before were batches of four


def test_unless_asked_for_memory_that_ends_is_the_end(home: Workspace, memory: Limit) -> None:
    memory(1)
    with pytest.raises(UserError, match=r"Memory ended \(OutOfMemoryError") as caught:
        trained(home, "not-asked", **WIDE)
    assert caught.value.cause == "memory"
    memory(0)
    with pytest.raises(UserError, match="Memory ended"):
        trained(home, "no-room", **WIDE, auto_find_batch_size=True)
    run = Run(home, home.saves / "tiny/lora/no-room")
    assert str(run.view().notes[-1].message) == "Memory ended with batches of one row, so they can't be made smaller."


def test_more_epochs_are_as_if_they_had_been_planned(home: Workspace) -> None:
    """With a rate that does not depend on the number of steps, to the last bit."""
    steady = {**FAR, "lr_scheduler_type": "constant_with_warmup", "warmup_steps": 2}
    longer = trained(home, "planned", **{**steady, "num_train_epochs": 3.0})
    first = trained(home, "first", **steady)
    more = work(create(home, extension(first.run, 1).spec))
    assert [step[0] for step in more.steps()] == [9, 10, 11, 12]
    assert more.steps() == longer.steps(after=8)
    assert more.weights() == longer.weights()
    assert "Goes on from checkpoint-8 of the run first: step 8." in told(more)


def test_the_schedule_is_that_of_all_epochs(home: Workspace) -> None:
    longer = trained(home, "planned-cosine", **{**FAR, "num_train_epochs": 3.0})
    first = trained(home, "first-cosine", **FAR)
    assert first.steps()[-1][4] < 1e-3 < longer.steps()[8][4]
    more = work(create(home, extension(first.run, 1).spec))
    assert [step[4] for step in more.steps()] == [step[4] for step in longer.steps(after=8)]
    assert [step[0] for step in more.steps()] == [9, 10, 11, 12]
    assert any(
        "had 8 steps, this one has 12: the learning rate is that of 'cosine' over 12 steps" in s for s in told(more)
    )
    again = work(create(home, extension(more.run, 1).spec))
    assert [step[0] for step in again.steps()] == [13, 14, 15, 16]


def test_the_optimiser_takes_the_rate_of_its_place() -> None:
    import torch
    from transformers import get_cosine_schedule_with_warmup

    def made(steps: int) -> tuple[Any, Any]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        return optimizer, get_cosine_schedule_with_warmup(optimizer, 0, steps)

    short, long = made(8), made(12)
    for optimizer, scheduler in (short, long):
        for _ in range(8):
            optimizer.step()
            scheduler.step()
    optimizer, scheduler = made(12)
    asked = group_settings(optimizer)
    optimizer.load_state_dict(short[0].state_dict())
    scheduler.load_state_dict(short[1].state_dict())
    assert optimizer.param_groups[0]["lr"] == 0
    assert take_settings(optimizer, scheduler, asked)
    assert optimizer.param_groups[0]["lr"] == long[0].param_groups[0]["lr"] == pytest.approx(0.125)


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "wrapped"])
@pytest.mark.parametrize("kind", ["linear", "reduce_lr_on_plateau"])
def test_the_run_s_own_settings_hold_and_the_moments_stay(kind: str, wrapped: bool) -> None:
    import torch
    from accelerate.scheduler import AcceleratedScheduler
    from transformers import get_scheduler

    def made(rate: float, beta: float, decay: float) -> tuple[Any, Any]:
        weight = torch.nn.Parameter(torch.ones(1))
        optimizer = torch.optim.AdamW([weight], lr=rate, betas=(beta, 0.99), eps=1e-7, weight_decay=decay)
        return optimizer, group_settings(optimizer)

    (old, _), (new, asked) = made(0.1, 0.9, 0.0), made(0.4, 0.8, 0.3)
    schedules = [get_scheduler(kind, one, num_warmup_steps=0, num_training_steps=8) for one in (old, new)]
    for _ in range(4):
        old.param_groups[0]["params"][0].grad = torch.ones(1)
        old.step()
        schedules[0].step(*([1.0] if kind == "reduce_lr_on_plateau" else []))
    if kind == "reduce_lr_on_plateau":
        old.param_groups[0]["lr"] = 0.05
    new.load_state_dict(old.state_dict())
    schedules[1].load_state_dict(schedules[0].state_dict())
    given = AcceleratedScheduler(schedules[1], []) if wrapped else schedules[1]
    assert take_settings(new, given, asked)
    (group,), (state,) = new.param_groups, new.state.values()
    assert (group["lr"], group["initial_lr"]) == (pytest.approx(0.2), 0.4)
    assert (group["weight_decay"], group["betas"], group["eps"]) == (0.3, (0.8, 0.99), 1e-7)
    assert state["step"] == 4 and state["exp_avg"].item() == pytest.approx(1 - 0.9**4)
    if kind == "linear":
        new.step()
        schedules[1].step()
        assert group["lr"] == pytest.approx(0.4 * 3 / 8)
    assert not take_settings(new, given, [])


def test_a_run_that_goes_on_learns_at_its_own_rate_and_says_where_it_began(home: Workspace, memory: Limit) -> None:
    first = trained(home, "slowly", **{**FAR, "learning_rate": 1e-3, "lr_scheduler_type": "constant"})
    values = {**FAR, **WIDE, "num_train_epochs": 3.0, "learning_rate": 4e-3, "lr_scheduler_type": "constant"}
    memory(2, after=0)
    values |= {"auto_find_batch_size": True, "resume_from_checkpoint": f"saves/{first.run.name}"}
    spec = spec_of(**values, output_dir="faster")
    more = work(create(home, spec))
    assert [step[4] for step in more.steps()] == [4e-3] * 4
    assert [event.resumed_step for event in more.events if isinstance(event, Started)] == [8, 8]
    assert any("The run goes on from step 8 with batches of 2" in words for words in told(more))


def test_without_a_checkpoint_a_new_optimiser_begins_where_the_weights_are(home: Workspace) -> None:
    first = trained(home, "unsaved", **{**FAR, "save_strategy": "no"})
    assert first.run.checkpoint() is None
    more = work(create(home, extension(first.run, 1).spec))
    assert [step[0] for step in more.steps()] == [1, 2, 3, 4]
    tried = [event.loss for event in more.events if isinstance(event, Eval)]
    ended = [event.loss for event in first.events if isinstance(event, Eval)]
    assert tried[0] == pytest.approx(ended[-1], rel=1e-4)


def test_validations_of_the_other_run_do_not_end_this_one(home: Workspace) -> None:
    early = {**FAR, "load_best_model_at_end": True, "early_stopping_steps": 1}
    first = trained(home, "early", **{**early, "learning_rate": 0.5})
    more = work(create(home, extension(first.run, 2).spec))
    assert len([event for event in more.events if isinstance(event, Step)]) >= 4


def test_a_checkpoint_that_does_not_fit_is_said(home: Workspace) -> None:
    first = trained(home, "ranked", **FAR)
    other = spec_of(**FAR, lora_rank=4, output_dir="other", resume_from_checkpoint=f"saves/{first.run.name}")
    with pytest.raises(UserError, match="Checkpoint checkpoint-8 does not fit this run"):
        work(create(home, other))


CEILING = """
import json, resource, sys
from pathlib import Path
from tests.training import trained
from workbench.events import Note, Step
from workbench.workspace import Workspace

import torch, transformers, trl, peft
home = Workspace(Path(sys.argv[1]))
trained(home, "warm", max_steps=1, dataset="long", cutoff_len=512, per_device_train_batch_size=1, save_strategy="no")
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + int(sys.argv[2]), resource.RLIM_INFINITY))
done = trained(home, "capped", max_steps=2, dataset="long", cutoff_len=512, per_device_train_batch_size=128,
               gradient_accumulation_steps=1, auto_find_batch_size=True, per_device_eval_batch_size=1)
notes = [str(event.message) for event in done.events if isinstance(event, Note)]
steps = [event for event in done.events if isinstance(event, Step)]
print(json.dumps({"notes": notes, "steps": [[step.step, step.total, step.tokens + step.padding] for step in steps]}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its address space")
def test_a_real_ceiling_is_found_and_the_run_ends_under_it(tmp_path: Path) -> None:
    home = lay_rows(lay_workspace(tmp_path / "workspace"))
    rows = [{"instruction": f"Count to {at}.", "output": "a b c d e f g " * 60} for at in range(180)]
    (home.data / "long.json").write_text(json.dumps(rows), "utf-8")
    entries = {name: {"file_name": f"{name}.json"} for name in ("uneven", "long")}
    (home.data / "dataset_info.json").write_text(json.dumps(entries), "utf-8")
    words = [sys.executable, "-c", CEILING, str(home.root), str(500_000_000)]
    # One thread and one arena: each further one takes address space of its own, which a ceiling counts as memory.
    calm = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(words, cwd=source_folder(), env=calm, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    smaller = [note for note in said["notes"] if note.startswith("Memory ended")]
    print(smaller[-1:], said["steps"])
    assert smaller and "each step learns from 128 rows as before" in smaller[-1]
    assert [step[:2] for step in said["steps"]] == [[1, 2], [2, 2]]
