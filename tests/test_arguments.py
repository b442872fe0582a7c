"""A spec as TrainingArguments, what it needs, its own optimisers and order of rows: by hand-computed cases, no training."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from workbench import models, preconditions
from workbench.desk import Desk
from workbench.jobs.train import arguments
from workbench.jobs.train.arguments import eval_every, save_every, scheduler_settings, training_arguments
from workbench.jobs.train.optimisers import own_optimizer, transformers_name
from workbench.jobs.train.rows import Rows
from workbench.jobs.train.steering import LengthOrder, row_length, validations_since_best
from workbench.learning.blocks import Turns, block_adamw
from workbench.learning.muon import muon_with_adamw, orthogonal
from workbench.preconditions import unmet
from workbench.problems import UserError
from workbench.sections import OptimSection
from workbench.specs import TrainSpec, read_flat

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


@dataclass
class FakeRun:
    folder: Path


@dataclass
class FakeDesk:
    """A desk that remembers what it was told."""

    run: FakeRun
    said: list[str] = field(default_factory=list)

    def note(self, message: Any, level: str = "info") -> None:
        self.said.append(str(message))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDesk:
    monkeypatch.setattr(arguments, "device", lambda: "cpu")
    return FakeDesk(FakeRun(tmp_path / "my-run"))


def spec_of(**given: Any) -> TrainSpec:
    return read_flat(TrainSpec, {"val_size": 0.1, **given}).unwrap()


def rows(train: int = 21, held: int | None = 5) -> Rows:
    return Rows([{}] * train, [{}] * held if held else None)


def made(desk: FakeDesk, steps: int = 40, held: int | None = 5, **given: Any) -> dict[str, Any]:
    return training_arguments(spec_of(**given), cast(Desk, desk), steps, "fp32", rows(held=held))


def keys(**given: Any) -> list[str | None]:
    return [problem.key for problem in unmet(spec_of(**given))]


def test_when_is_validated_and_saved() -> None:
    small = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 3,
    }  # 21 rows: 11 batches, 4 steps an epoch
    assert eval_every(spec_of(**small), 40, rows()) == 5
    assert eval_every(spec_of(**small, eval_steps=7), 40, rows()) == 7
    assert eval_every(spec_of(**small, eval_steps=7, eval_strategy="epoch"), 40, rows()) == 4
    assert eval_every(spec_of(**small, eval_steps=7, eval_strategy="no"), 40, rows()) == 5
    assert save_every(spec_of(**small), 40, rows()) == 10
    assert save_every(spec_of(**small, save_strategy="epoch"), 40, rows()) == 4
    assert save_every(spec_of(**small, save_steps=20, eval_steps=7, load_best_model_at_end=True), 40, rows()) == 7


def test_strategies_and_what_they_follow(desk: FakeDesk) -> None:
    usual = made(desk)
    assert (usual["eval_strategy"], usual["save_strategy"], usual["report_to"]) == ("steps", "steps", [])
    assert "metric_for_best_model" not in usual
    assert made(desk, held=None)["eval_strategy"] == "no"
    assert made(desk, eval_strategy="no", save_strategy="no")["save_strategy"] == "no"
    assert made(desk, eval_strategy="no")["eval_strategy"] == "no"
    best = made(desk, early_stopping_steps=3)
    assert (best["metric_for_best_model"], best["greater_is_better"]) == ("loss", False)
    assert made(desk, load_best_model_at_end=True, metric_for_best_model="reward_margin")["greater_is_better"] is True
    assert not desk.said
    assert made(desk, load_best_model_at_end=True, save_steps=20, eval_steps=10)["save_steps"] == 10
    assert "saved at each validation, every 10 steps" in desk.said.pop()


def test_schedulers_get_what_they_can_not_go_without() -> None:
    def settings(kind: str, **given: str) -> dict[str, Any]:
        return scheduler_settings(spec_of(lr_scheduler_type=kind, lr_scheduler_kwargs=given), 200)

    assert settings("cosine") == {}
    assert settings("cosine_with_min_lr") == {"min_lr_rate": 0.1}
    assert settings("cosine_with_min_lr", min_lr="1e-6") == {"min_lr": 1e-6}
    assert settings("warmup_stable_decay") == {"num_decay_steps": 20}
    assert settings("warmup_stable_decay", num_decay_steps="50") == {"num_decay_steps": 50}
    assert settings("polynomial", power="2", x="True", y="-0.5") == {"power": 2, "x": True, "y": -0.5}
    with pytest.raises(UserError, match="'power', which is 'steep'") as caught:
        settings("polynomial", power="steep")
    assert caught.value.problems[0].key == "lr_scheduler_kwargs"


def test_what_a_machine_without_a_card_can_not_do(desk: FakeDesk) -> None:
    assert made(desk, optim="paged_adamw_8bit")["optim"] == "adamw_8bit"
    assert "only an NVIDIA card can page" in desk.said.pop()
    with pytest.raises(UserError, match="enable_liger_kernel is 'true', which needs a card"):
        made(desk, enable_liger_kernel=True)
    memory = spec_of(flash_attn="fa2").memory
    with pytest.raises(UserError, match="flash_attn is 'fa2', which needs a card"):
        arguments.attention(memory)
    taken = {name: arguments.attention(spec_of(flash_attn=name).memory) for name in ("auto", "disabled", "sdpa")}
    assert taken == {"auto": None, "disabled": "eager", "sdpa": "sdpa"}


def test_loader_processes_only_where_they_are_cheap(desk: FakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arguments.multiprocessing, "get_start_method", lambda: "fork")
    assert made(desk, dataloader_num_workers=2)["dataloader_num_workers"] == 2
    assert not desk.said
    monkeypatch.setattr(arguments.multiprocessing, "get_start_method", lambda: "spawn")
    assert made(desk, dataloader_num_workers=2)["dataloader_num_workers"] == 0
    assert "no cheap processes" in desk.said.pop()


def test_trackers_are_named_after_the_run(desk: FakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TENSORBOARD_LOGGING_DIR", "SWANLAB_LOG_DIR", "WANDB_PROJECT", "SWANLAB_PROJECT"):
        monkeypatch.setenv(name, "kept" if name == "SWANLAB_PROJECT" else "")
        if name != "SWANLAB_PROJECT":
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "kept")
    taken = made(desk, report_to="wandb", project="geese")
    assert (taken["report_to"], taken["run_name"], taken["project"]) == (["wandb"], "my-run", "geese")
    environment = arguments.os.environ
    assert environment["WANDB_PROJECT"] == "geese"
    assert environment["SWANLAB_PROJECT"] == "kept", "what the person has set is left alone"
    assert environment["TENSORBOARD_LOGGING_DIR"] == str(desk.run.folder / "tensorboard")
    assert made(desk, report_to="wandb", run_name="mine")["run_name"] == "mine"


def test_what_is_not_installed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preconditions, "find_spec", lambda name: None)
    for (key, value), (_, package) in preconditions.PACKAGES.items():
        full = {"finetuning_type": "full"}
        (problem,) = unmet(spec_of(**full, **{key: value}))
        assert problem.key == key
        assert f"'pip install {package}'" in str(problem.message)
    monkeypatch.setattr(preconditions, "find_spec", lambda name: object())
    assert keys(report_to="wandb, mlflow", optim="adam_mini", finetuning_type="full") == []


def test_settings_that_need_one_another() -> None:
    assert keys() == []
    assert keys(optim="badam") == ["optim"]
    assert keys(optim="badam", finetuning_type="full") == []
    assert keys(val_size=0, early_stopping_steps=2, load_best_model_at_end=True) == [
        "load_best_model_at_end",
        "early_stopping_steps",
    ]
    assert keys(val_size=0, eval_dataset="other", early_stopping_steps=2) == []
    assert keys(eval_strategy="no", lr_scheduler_type="reduce_lr_on_plateau") == ["lr_scheduler_type"]
    assert keys(save_strategy="no", load_best_model_at_end=True) == ["load_best_model_at_end"]
    streaming = {"streaming": True, "max_steps": 5, "val_size": 3}
    assert keys(**streaming) == []
    assert keys(**streaming, eval_strategy="epoch", train_sampling_strategy="group_by_length") == [
        "eval_strategy",
        "train_sampling_strategy",
    ]


def test_fields_that_another_one_switches_on() -> None:
    knobs = TrainSpec.knobs()
    for knob in knobs.values():
        if knob.ui.when:
            other = knobs[knob.ui.when[0]]
            assert set(knob.ui.when[1:]) <= set(other.choices or ("true", "false")), knob.key
    rank, flat = knobs["galore_rank"], spec_of().flat()
    assert not rank.applies(flat)
    assert rank.applies({**flat, "optim": "galore_adamw"})
    assert knobs["use_reentrant_gc"].applies({"gradient_checkpointing": True})
    assert not knobs["use_reentrant_gc"].applies({"gradient_checkpointing": False})
    assert knobs["seed"].applies({})


def test_rows_of_like_length_stand_together() -> None:
    lengths = [at * 37 % 100 for at in range(100)]
    order = LengthOrder(lengths, 4, seed=1)
    first = list(order)
    assert sorted(first) == list(range(100)) and len(order) == 100
    assert first == list(order), "the same epoch has the same order"
    batches = [[lengths[row] for row in first[at : at + 4]] for at in range(0, 100, 4)]
    assert all(max(batch) - min(batch) <= 4 for batch in batches)
    assert max(batches[0]) == 99, "the longest batch comes first"
    assert batches != sorted(batches, reverse=True), "batches themselves are mixed"
    order.set_epoch(1)
    assert list(order) != first
    assert list(LengthOrder(lengths, 4, seed=2)) != first
    assert sorted(LengthOrder(lengths[:7], 4, seed=1)) == list(range(7))
    assert sorted(LengthOrder(lengths[:3], 4, seed=1)) == list(range(3))
    assert row_length({"chosen": [1, 2, 3], "rejected": [1], "label": True}) == 3


def test_validations_are_counted_from_what_was_logged() -> None:
    assert validations_since_best([{"loss": 1.0, "step": 1}], "loss") is None
    history = [{"eval_loss": value, "step": step} for step, value in ((0, 3.0), (2, 1.5), (4, 1.6), (6, 1.5))]
    assert validations_since_best(history, "loss") == (2, 2, 1.5)
    assert validations_since_best([{**one, "loss": 9.0} for one in history[:2]], "eval_loss") == (0, 2, 1.5)
    margin = [{"eval_reward_margin": value, "step": step} for step, value in ((1, 0.1), (2, 0.4), (3, 0.2))]
    assert validations_since_best(margin, "reward_margin") == (1, 2, 0.4)


@pytest.mark.parametrize(
    ("order", "first", "wanted"),
    [
        ("ascending", None, [0, 0, 1, 1, 2, 2, 0]),
        ("descending", None, [2, 2, 1, 1, 0, 0, 2]),
        ("ascending", 2, [2, 2, 0, 0, 1, 1, 2]),
        ("fixed", 1, [1] * 7),
    ],
)
def test_whose_turn_it_is(order: str, first: int | None, wanted: list[int]) -> None:
    turns = Turns(order, 2, first, 0)
    assert [turns.block(step, 3) for step in range(7)] == wanted
    assert {Turns(order, None, first, 0).block(step, 3) for step in range(99)} == {wanted[0]}


def test_turns_by_lot_give_each_block_one_a_round() -> None:
    drawn = [Turns("random", 1, None, 5).block(step, 4) for step in range(40)]
    assert all(sorted(drawn[at : at + 4]) == [0, 1, 2, 3] for at in range(0, 40, 4))
    assert len({tuple(drawn[at : at + 4]) for at in range(0, 40, 4)}) > 3


def weights(seed: int = 0) -> list[Any]:
    import torch

    draw = torch.Generator().manual_seed(seed)
    shapes = ((6, 4), (4, 8), (5,))
    return [torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in shapes]


def learn(optimizer: Any, moved: list[Any], steps: int, start: int = 0) -> None:
    import torch

    for step in range(start, start + steps):
        for place, weight in enumerate(moved):
            draw = torch.Generator().manual_seed(100 * step + place)
            weight.grad = torch.randn(weight.shape, generator=draw) if weight.requires_grad else None
        optimizer.step()


def test_muon_and_adamw_in_one_do_what_torch_does_in_two() -> None:
    import torch

    ours, theirs = weights(), weights()
    adam = {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-8}
    groups = [
        {"params": ours[:2], "matrices": True, "weight_decay": 0.1},
        {"params": ours[2:], "matrices": False, "weight_decay": 0.1},
    ]
    learn(muon_with_adamw()(groups, adam), ours, 5)
    muon = torch.optim.Muon(theirs[:2], lr=0.01, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    learn(muon, theirs[:2], 5)
    second = torch.optim.AdamW(theirs[2:], **adam, weight_decay=0.1)
    for step in range(5):
        theirs[2].grad = torch.randn(5, generator=torch.Generator().manual_seed(100 * step + 2))
        second.step()
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, atol=1e-6)


def test_orthogonal_has_singular_values_near_one() -> None:
    import torch

    for shape in ((16, 6), (6, 16)):
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(3))
        found = torch.linalg.svdvals(orthogonal(matrix).float())
        assert found.shape == (6,) and found.min() > 0.6 and found.max() < 1.3


def test_blocks_take_turns_and_a_loaded_state_goes_on() -> None:
    import torch

    def optimizer(moved: list[Any]) -> Any:
        groups = [{"params": [weight], "weight_decay": 0.0} for weight in moved]
        return block_adamw()(groups, [[0], [1, 2]], Turns("ascending", 2, None, 0), lr=0.1)

    whole, start = weights(), weights()
    one = optimizer(whole)
    assert [weight.requires_grad for weight in whole] == [True, False, False]
    learn(one, whole, 2)
    assert not torch.equal(whole[0], start[0]) and torch.equal(whole[1], start[1])
    assert [weight.requires_grad for weight in whole] == [False, True, True]
    assert not one.state, "nothing is kept for weights whose turn is over"
    learn(one, whole, 1, start=2)
    saved = io.BytesIO()
    torch.save(one.state_dict(), saved)
    saved.seek(0)
    again = [torch.nn.Parameter(weight.detach().clone()) for weight in whole]
    two = optimizer(again)
    two.load_state_dict(torch.load(saved, weights_only=True))
    learn(one, whole, 4, start=3)
    learn(two, again, 4, start=3)
    assert all(torch.equal(mine, other) for mine, other in zip(whole, again, strict=True))


class Named:
    """A model of one layer, a head and an embedding, as far as an optimiser looks at it."""

    def __new__(cls) -> Any:
        import torch

        inner = torch.nn.ModuleDict({"q_proj": torch.nn.Linear(4, 6), "norm": torch.nn.LayerNorm(6)})
        parts = {
            "embed": torch.nn.Embedding(9, 4),
            "layers": torch.nn.ModuleList([inner]),
            "lm_head": torch.nn.Linear(6, 9),
        }
        return torch.nn.ModuleDict(parts)


def test_which_weights_an_optimiser_is_for() -> None:
    model = Named()
    decayed = ["layers.0.q_proj.weight"]
    muon = own_optimizer(OptimSection(optim="muon", weight_decay=0.1), model, decayed)
    names = {id(weight): name for name, weight in model.named_parameters()}
    matrices = [group for group in muon.param_groups if group["matrices"]]
    assert [names[id(weight)] for group in matrices for weight in group["params"]] == decayed
    assert [group["weight_decay"] for group in matrices] == [0.1]
    assert sum(len(group["params"]) for group in muon.param_groups) == len(names)
    badam = own_optimizer(OptimSection(optim="badam"), model, decayed)
    assert {names[id(weight)] for weight in model.parameters() if weight.requires_grad} == {
        name for name in names.values() if name.startswith("layers.0.")
    }
    assert len(badam.param_groups) == len(names)
    assert own_optimizer(OptimSection(optim="adamw_8bit"), model, decayed) is None
    assert transformers_name(OptimSection(optim="muon")) == "adamw_torch"
    assert transformers_name(OptimSection(optim="lion_8bit")) == "lion_8bit"


def test_a_processor_takes_adam_in_one_pass(desk: FakeDesk) -> None:
    assert made(desk)["optim"] == "adamw_torch_fused"
    assert made(desk, fast_kernels=False)["optim"] == "adamw_torch"
    assert made(desk, optim="adafactor")["optim"] == "adafactor"


@pytest.mark.parametrize("computes", [True, False])
def test_what_auto_takes_on_a_processor(monkeypatch: pytest.MonkeyPatch, computes: bool) -> None:
    monkeypatch.setattr(models, "device", lambda: "cpu")
    monkeypatch.setattr(models, "cpu_computes_bf16", lambda: computes)
    taken = {given: models.choose_precision("auto", *given) for given in ((False, False), (True, True), (True, False))}
    assert [name for name, _ in taken.values()] == (["bf16", "bf16", "fp32"] if computes else ["fp32"] * 3)
    assert [why and why.key.rsplit(".", 1)[1] for _, why in taken.values()] == (
        ["auto_cpu_bf16", "auto_cpu_half", "auto_fp32"] if computes else ["auto_fp32"] * 3
    )


def test_an_optimiser_without_anything_to_move_says_so() -> None:
    import torch

    with pytest.raises(UserError, match="none of the model's layers is trained"):
        own_optimizer(OptimSection(optim="badam"), torch.nn.Linear(2, 2), [])
