"""What must not change a result, through real workers: how a batch is split, whether rows are packed, and whether a run was
stopped. Stops of sft lora are in test_faults.py, several processes in test_devices.py."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import lay_workspace
from tests.slow.test_devices import told
from tests.slow.test_stages import lay_sets
from tests.training import Done, as_killed_after, lay_rows, spec_of
from workbench.runs import create
from workbench.workspace import Workspace

pytestmark = pytest.mark.slow
PATIENCE_S = 300
PLAIN = {"lora_dropout": 0.0, "val_size": 0, "watch_prompts": [], "plot_loss": False, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield lay_rows(lay_workspace(tmp_path_factory.mktemp("equivalences") / "workspace"))


def trained(home: Workspace, name: str, **more: Any) -> Done:
    """The run, done by a worker of its own."""
    run = create(home, spec_of(output_dir=name, **more))
    run.start()
    assert run.wait(PATIENCE_S) == "finished", told(run)
    return Done(run)


def assert_alike(one: Done, other: Done) -> None:
    """The same losses, gradients and tokens at every step, and the same weights, as far as sums in another order are."""
    from safetensors.torch import load_file

    left, right = one.steps(), other.steps()
    assert len(left) == len(right) > 1
    for place in (3, 5):
        assert [step[place] for step in left] == pytest.approx([step[place] for step in right], rel=2e-5)
    assert [step[6] for step in left] == [step[6] for step in right]
    weights, others = (load_file(done.run.folder / "adapter_model.safetensors") for done in (one, other))
    assert weights.keys() == others.keys()
    assert max(float((weights[name] - others[name]).abs().max()) for name in weights) < 2e-5


@pytest.fixture(scope="module")
def at_once(home: Workspace) -> Done:
    """Every step learns from all twenty rows."""
    return trained(home, "at-once", **PLAIN, per_device_train_batch_size=20, gradient_accumulation_steps=1)


def test_how_a_batch_is_split_changes_nothing(home: Workspace, at_once: Done) -> None:
    split = trained(home, "split", **PLAIN, per_device_train_batch_size=5, gradient_accumulation_steps=4)
    assert_alike(at_once, split)


def test_rows_that_are_packed_apart_are_learned_as_if_each_stood_alone(home: Workspace, at_once: Done) -> None:
    packed = trained(
        home, "packed", **PLAIN, per_device_train_batch_size=20, gradient_accumulation_steps=1, neat_packing=True
    )
    assert_alike(at_once, packed)
    tokens, padding = (sum(step[place] for step in packed.steps()) for place in (6, 7))
    assert padding < tokens / 5, "hardly any padding"


@pytest.mark.parametrize(
    "kind", [{"finetuning_type": "full"}, {"stage": "dpo", "dataset": "pairs"}], ids=["full", "dpo"]
)
def test_resumed_it_ends_as_if_it_was_never_stopped(kind: dict[str, str], tmp_path_factory: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        home = lay_sets(lay_workspace(tmp_path_factory.mktemp("resumed") / "workspace"))
        whole = trained(home, "whole", **{"dataset": "talks", **kind})
        run = as_killed_after(whole, "killed", 6)
        for path in (*run.folder.glob("model*.safetensors"), *run.folder.glob("config.json")):
            path.unlink()
        run.resume()
        assert run.wait(PATIENCE_S) == "finished", told(run)
    name = "model.safetensors" if "finetuning_type" in kind else "adapter_model.safetensors"
    assert (run.folder / name).read_bytes() == (whole.run.folder / name).read_bytes()
    assert Done(run).steps() == whole.steps(after=6)
    assert (run.view().loss, run.view().eval) == (whole.run.view().loss, whole.run.view().eval)


@pytest.mark.parametrize(
    "kind",
    [
        {"dataset": "talks"}, {"stage": "pt", "dataset": "talks", "packing": False}, {"stage": "dpo", "dataset": "pairs"},
        {"stage": "kto", "dataset": "marks"}, {"dataset": "talks", "finetuning_type": "full"},
    ],
    ids=["sft", "pt", "dpo", "kto", "full"],
)  # fmt: skip
def test_the_fast_way_learns_as_the_plain_one(kind: dict[str, Any], tmp_path_factory: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        home = lay_sets(lay_workspace(tmp_path_factory.mktemp("fast") / "workspace"))
        fast, plain = (trained(home, str(on), **PLAIN, **kind, fast_kernels=on) for on in (True, False))
    for place in (3, 5):
        assert [step[place] for step in fast.steps()] == pytest.approx([step[place] for step in plain.steps()], rel=2e-5)
    assert [step[6] for step in fast.steps()] == [step[6] for step in plain.steps()]
    assert {step[7] for step in fast.steps()} == {0}, "no padding is computed"
    assert sum(step[7] for step in plain.steps()) > 0
