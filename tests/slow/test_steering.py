"""What a spec can say about how a run goes: optimisers, order of rows, best weights, early end; and that resuming
changes none of it."""

from typing import Any

import pytest

from tests.conftest import lay_workspace
from tests.training import Done, as_killed_after, lay_rows, trained, work
from workbench.events import Eval, Note, Saved, Step
from workbench.workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),  # what libraries say to each other
]
QUIET = {"watch_prompts": [], "max_steps": 8, "save_steps": 3}
RISING = {
    "learning_rate": 0.5, "lr_scheduler_type": "constant", "max_steps": 3, "eval_steps": 1, "watch_prompts": [],
    "fast_kernels": False,
}  # fmt: skip
"""A rate that is far too high: the validation gets worse after the second step. So far from sense the last bit of a sum decides
what happens, so it is computed the plain way, whatever becomes of the fast one."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return lay_rows(lay_workspace(tmp_path_factory.mktemp("steered") / "workspace"))


def weights(done: Done) -> bytes:
    """What the run has learned, an adapter or a whole model."""
    (file,) = done.run.folder.glob("*.safetensors")
    return file.read_bytes()


def notes(done: Done) -> str:
    return "\n".join(str(event.message) for event in done.events if isinstance(event, Note))


def evals(done: Done) -> list[tuple[int, float]]:
    return [(event.step, event.loss) for event in done.events if isinstance(event, Eval)]


def losses(done: Done) -> list[float]:
    return [event.loss for event in done.events if isinstance(event, Step)]


@pytest.mark.parametrize(
    "more",
    [
        {"optim": "muon"},
        {"optim": "adamw_8bit"},
        {"optim": "paged_adamw_8bit"},
        {"optim": "lion_32bit", "learning_rate": 1e-3},
        {"optim": "adafactor"},
        {"optim": "badam", "badam_switch_interval": 2, "finetuning_type": "full", "learning_rate": 1e-3},
        {"train_sampling_strategy": "group_by_length", "data_seed": 7},
        {"train_sampling_strategy": "sequential", "lr_scheduler_type": "warmup_stable_decay"},
        {"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"patience": "0"}, "eval_steps": 2},
    ],
    ids=lambda more: str(more.get("optim") or more.get("train_sampling_strategy") or "plateau"),
)
def test_killed_and_resumed_is_never_stopped(home: Workspace, more: dict[str, Any]) -> None:
    name = "-".join(str(value) for value in more.values() if isinstance(value, str))
    whole = trained(home, name, **{**QUIET, **more})
    killed = as_killed_after(whole, f"{name}-again", 3)
    for path in killed.folder.glob("*.safetensors"):
        path.unlink()
    again = work(killed)
    assert again.steps() == [step for step in whole.steps() if step[0] > 3]
    assert weights(again) == weights(whole)
    assert len(losses(whole)) == 8 and losses(whole)[-1] < losses(whole)[0]


def test_optimisers_are_not_one_and_the_same(home: Workspace) -> None:
    runs = [
        trained(home, f"few-{name}", **QUIET, optim=name, num_train_epochs=1) for name in ("adamw_torch", "sgd", "muon")
    ]
    assert len({run.weights() for run in runs}) == 3
    assert len({losses(run)[0] for run in runs}) == 1


def test_rows_of_like_length_need_less_padding(home: Workspace) -> None:
    padding = {}
    for order in ("random", "group_by_length"):
        asked = {"train_sampling_strategy": order, "per_device_train_batch_size": 4, "fast_kernels": False}
        done = trained(home, f"order-{order}", **QUIET, **asked)
        padding[order] = sum(event.padding for event in done.events if isinstance(event, Step))
    assert padding["group_by_length"] < 0.6 * padding["random"]


def test_the_best_weights_are_kept_whatever_the_limit(home: Workspace) -> None:
    last = trained(home, "last", **RISING)
    best = trained(home, "best", **{**RISING, "save_total_limit": 1}, load_best_model_at_end=True)
    assert evals(best) == evals(last)
    assert min(evals(best), key=lambda one: one[1])[0] == 2
    assert {folder.name for folder in best.run.folder.glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-3"}
    assert best.weights() == (best.run.folder / "checkpoint-2/adapter_model.safetensors").read_bytes()
    assert last.weights() == (best.run.folder / "checkpoint-3/adapter_model.safetensors").read_bytes()
    assert "The weights of step 2 are taken" in notes(best)
    again = work(as_killed_after(best, "best-again", 3))
    assert again.weights() == best.weights(), "also when all that was left to do was the end"


def test_a_run_that_gets_no_better_ends_early(home: Workspace) -> None:
    done = trained(home, "early", **{**RISING, "max_steps": 12}, early_stopping_steps=1)
    assert [step for step, _ in evals(done)] == [0, 1, 2, 3]
    assert len(losses(done)) == 3
    assert "Stopped early: 1 validations" in notes(done)


def test_strategies(home: Workspace) -> None:
    by_epoch = {"eval_strategy": "epoch", "save_strategy": "epoch", "eval_steps": 1, "save_steps": 1, "max_steps": 9}
    done = trained(home, "by-epoch", **{**QUIET, **by_epoch}, save_total_limit=None)
    assert [step for step, _ in evals(done)] == [0, 4, 8] or [step for step, _ in evals(done)] == [0, 4, 8, 9]
    assert [event.step for event in done.events if isinstance(event, Saved)][:2] == [4, 8]
    never = trained(home, "never", **QUIET | {"max_steps": 3}, eval_strategy="no", save_strategy="no")
    assert not evals(never)
    assert not list(never.run.folder.glob("checkpoint-*"))


def test_loader_processes_change_nothing(home: Workspace) -> None:
    one, two = (trained(home, f"loaders-{count}", **QUIET, dataloader_num_workers=count) for count in (0, 2))
    assert one.weights() == two.weights()
    assert losses(one) == losses(two)
