"""What a stage computes in a fast or a new way is what is computed in a plain or a known way, on the tiny model."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from workbench import stages
from workbench.learning.reference import log_probs, reference_of
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.specs import TrainSpec, read_flat
from workbench.stages import Parts

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")]


class Plain:
    """In the place of what saves: a trainer of these tests saves nothing."""

    def count(self, mask: Any) -> None:
        """Nobody asks."""


@pytest.fixture(scope="module")
def base(tiny_model: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def adapted(base: Any, begin: bool = False) -> Any:
    """A copy of the base with an adapter, which has learned something unless it is at its beginning."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    model = get_peft_model(copy.deepcopy(base), LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear"))
    for name, weight in model.named_parameters():
        if "lora_B" in name and not begin:
            torch.nn.init.normal_(weight, std=0.1)
    return model


def trainer_of(
    stage: str, flat: Mapping[str, Any], model: Any, tokenizer: Any, rows: Sequence[Any], folder: Path
) -> Any:
    """The stage's trainer of the rows, arranged as its spec says."""
    from datasets import Dataset

    spec = read_flat(TrainSpec, {"stage": stage, **flat}).unwrap().stage
    arranged = spec.arranged(Dataset.from_list(list(rows)), 64)
    arguments = {
        "output_dir": str(folder), "use_cpu": True, "bf16": False, "report_to": [], "activation_checkpointing": False,
        "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "max_steps": 1, "disable_tqdm": True,
    }  # fmt: skip
    parts = Parts(model, tokenizer, arranged, None, arguments, [], Plain)
    return plugins(stages)[stage].trainer(spec, parts)


def one_batch(trainer: Any, count: int) -> dict[str, Any]:
    batch: dict[str, Any] = trainer.data_collator([trainer.train_dataset[at] for at in range(count)])
    return batch


def row(begin: int, length: int, learned: int) -> dict[str, list[int]]:
    ids = [3 + (begin * 31 + at * 17) % 250 for at in range(length)]
    return {"input_ids": ids, "labels": [-100] * (length - learned) + ids[length - learned :]}


ROWS = [row(at, 9 + 5 * at, 4 + at) for at in range(6)]
WEIGHTED = [{**one, "loss_weights": [0.25 * (1 + at % 3)] * len(one["input_ids"])} for at, one in enumerate(ROWS)]


@pytest.mark.parametrize("rows", [ROWS, WEIGHTED], ids=["even", "weighted"])
def test_packed_rows_that_stand_apart_are_learned_like_rows_alone(
    base: Any, tokenizer: Any, rows: Sequence[Any], tmp_path: Path
) -> None:
    import torch

    neat = trainer_of("sft", {"neat_packing": True}, adapted(base), tokenizer, rows, tmp_path)
    alone = trainer_of("sft", {}, adapted(base), tokenizer, rows, tmp_path)
    across = trainer_of("sft", {"packing": True}, adapted(base), tokenizer, rows, tmp_path)
    assert len(neat.train_dataset) < len(alone.train_dataset) == len(rows)
    losses = []
    for trainer in (neat, alone, across):
        trainer.model.eval()
        with torch.no_grad():
            batch = one_batch(trainer, len(trainer.train_dataset))
            losses.append(trainer.compute_loss(trainer.model, batch, num_items_in_batch=torch.tensor(10)).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert abs(losses[2] - losses[1]) > 1e-3


def pair(at: int) -> dict[str, list[int]]:
    chosen, rejected = row(at, 12 + at, 5), row(at, 10 + 2 * at, 3 + at)
    return {
        "chosen_ids": chosen["input_ids"], "chosen_labels": chosen["labels"],
        "rejected_ids": rejected["input_ids"], "rejected_labels": rejected["labels"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "flat",
    [
        {"pref_loss": "sigmoid"},
        {"pref_loss": "hinge"},
        {"pref_loss": "ipo"},
        {"pref_loss": "sigmoid", "ld_alpha": 0.3},
    ],
    ids=str,
)
def test_losses_of_pairs_are_those_of_trl(base: Any, tokenizer: Any, flat: dict[str, Any], tmp_path: Path) -> None:
    import torch
    from trl import DPOTrainer

    trainer = trainer_of("dpo", flat, adapted(base), tokenizer, [pair(at) for at in range(4)], tmp_path)
    batch = one_batch(trainer, 4)
    trainer.loss_types, trainer.ld_alpha = [flat["pref_loss"]], flat.get("ld_alpha")
    known = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        ours = trainer.compute_loss(trainer.model, batch)
        theirs = DPOTrainer._compute_loss(
            trainer, trainer.model, {**known, "completion_mask": (batch["labels"] != -100).long()}, False
        )
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    if flat["pref_loss"] != "ipo":  # trl says the margin of sums there, though its loss is one of means
        figures = trainer._metrics["train"]
        assert figures["rewards/margins"][0] == pytest.approx(figures["reward_margin"][0].item(), rel=1e-4)


def test_losses_of_marks_are_those_of_trl(base: Any, tokenizer: Any, tmp_path: Path) -> None:
    import torch
    from trl import KTOTrainer

    rows = [{**row(at, 12 + at, 5), "good": [at % 2]} for at in range(4)]
    flat = {"kto_chosen_weight": 2.0, "kto_rejected_weight": 0.5}
    trainer = trainer_of("kto", flat, adapted(base), tokenizer, rows, tmp_path)
    batch = one_batch(trainer, 4)
    theirs = {
        "input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "label": batch["good"],
        "completion_mask": (batch["labels"] != -100).long(), "KL_input_ids": batch["kl_input_ids"],
        "KL_attention_mask": batch["kl_attention_mask"], "KL_completion_mask": (batch["kl_labels"] != -100).long(),
    }  # fmt: skip
    trainer.loss_type, trainer.calculate_KL = "kto", True
    trainer.desirable_weight, trainer.undesirable_weight = 2.0, 0.5
    with torch.no_grad():
        ours = trainer.compute_loss(trainer.model, batch)
        assert ours.item() == pytest.approx(
            KTOTrainer._compute_loss(trainer, trainer.model, theirs, False).item(), rel=1e-5
        )


@pytest.mark.parametrize("kind", ["fresh", "trained", "pissa", "prefix", "prompt", "ia3", "full"])
def test_the_reference_stays_as_the_model_began(base: Any, kind: str) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from trl.trainer.utils import add_fused_lm_head

    ids = torch.tensor([[5, 6, 7, 8]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    torch.manual_seed(1)
    pissa = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear", init_lora_weights="pissa")
    model = {
        "fresh": lambda: adapted(base, begin=True),
        "trained": lambda: adapted(base),
        "pissa": lambda: get_peft_model(copy.deepcopy(base), pissa),
    }.get(kind, lambda: learners(base)[kind])()
    add_fused_lm_head(model if kind == "full" else model.get_base_model())
    reference = reference_of(model)
    began = log_probs(model, batch).detach()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.1)
    now = log_probs(model, batch)
    assert not torch.allclose(now, began, atol=1e-3)
    with torch.no_grad():
        assert torch.allclose(log_probs(reference, batch), began, atol=2e-5)
    now.sum().backward()
    again = log_probs(model, batch)
    assert torch.equal(again, now)
    gradients = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    model.zero_grad()
    again.sum().backward()
    plain = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert gradients and all(torch.equal(*pair) for pair in zip(gradients, plain, strict=True))
    assert not list(reference.parameters())


def learners(base: Any) -> dict[str, Any]:
    """Models that learn in unlike ways: all weights, places before the text, and scales."""
    from peft import IA3Config, PrefixTuningConfig, PromptTuningConfig, get_peft_model

    kinds = {
        "prefix": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        "prompt": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        "ia3": IA3Config(task_type="CAUSAL_LM"),
    }
    made = {name: get_peft_model(copy.deepcopy(base), config) for name, config in kinds.items()}
    return {**made, "full": copy.deepcopy(base)}


def test_rows_can_not_stand_apart_behind_learned_places(base: Any, tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        trainer_of("sft", {"neat_packing": True}, learners(base)["prompt"], tokenizer, ROWS, tmp_path)
    assert refused.value.problems[0].key == "neat_packing"


@pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning")  # peft, whenever it draws
@pytest.mark.parametrize("kind", ["prefix", "prompt", "ia3", "full"])
@pytest.mark.parametrize("stage", ["dpo", "kto", "ppo", "grpo"])
def test_a_stage_learns_whatever_moves(base: Any, tokenizer: Any, stage: str, kind: str, tmp_path: Path) -> None:
    import torch

    model = learners(base)[kind]
    rows: Mapping[str, list[Any]] = {
        "dpo": [pair(at) for at in range(4)],
        "kto": [{**row(at, 12 + at, 5), "good": [at % 2]} for at in range(4)],
        "ppo": [{"input_ids": row(at, 9 + at, 1)["input_ids"]} for at in range(4)],
        "grpo": [{"prompt": row(at, 9 + at, 1)["input_ids"], "answer": [7, 8]} for at in range(4)],
    }
    flat = {
        "grpo": {
            "beta": 0.1,
            "reward_equals": 0,
            "reward_regex": 1,
            "reward_pattern": "[aeiou]",
            "max_completion_length": 6,
        },
        "ppo": {"reward_model_type": "api", "reward_model": "http://127.0.0.1:9", "max_completion_length": 6},
    }
    trainer = trainer_of(stage, flat.get(stage, {}), model, tokenizer, rows[stage], tmp_path)
    if stage == "ppo":
        object.__setattr__(trainer.plan, "score", lambda texts: [float(len(text)) for text in texts])
    before = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    trainer.args.learning_rate, trainer.args.max_steps = 0.01, 2
    trainer.train()
    moved = [not torch.equal(before[name], weight) for name, weight in model.named_parameters() if name in before]
    assert any(moved)
    assert all(torch.isfinite(weight).all() for weight in model.parameters())
