"""A trainer of proximal policy optimisation on transformers' Trainer. Knows no reward model, only what scores texts.

One model learns and draws; a head of one number beside it guesses what is still to come (the value); the model without
its adapter is the reference. Each batch of questions comes ``passes`` times: the first time it is answered, scored and
learned from, then learned from again, the answers' old probabilities held.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.learning.batches import stacked
from workbench.learning.policy import (
    KlControl,
    Moments,
    PolicySettings,
    advantages_and_returns,
    masked_mean,
    policy_loss,
    token_rewards,
    value_loss,
    whitened,
)
from workbench.learning.reference import log_probs, reference_of
from workbench.learning.rollouts import Drawing, Repeated, answered, draw
from workbench.learning.scoring import Scorer

UNTRAINED = -100
KEPT = "ppo.pt"
"""In each checkpoint: the value head, the answers still to be learned from, and what the formulas remember."""


@dataclass(frozen=True)
class PolicyPlan:
    """All that a run of PPO is told."""

    score: Scorer
    drawing: Drawing
    buffer: int = 1
    passes: int = 4
    kl_target: float = 6.0
    score_norm: bool = False
    whiten_rewards: bool = False
    settings: PolicySettings = PolicySettings()


def policy_trainer(saving: type[Any], plan: PolicyPlan, given: Mapping[str, Any]) -> Any:
    """The trainer; ``given`` are the arguments that all trainers share, its model an ordinary language model."""
    from transformers import Trainer, TrainingArguments
    from trl.trainer.utils import add_fused_lm_head, disable_dropout_in_model

    model = given["model"]
    disable_dropout_in_model(model)
    add_fused_lm_head(model.get_base_model() if _is_adapted(model) else model, temperature=plan.drawing.temperature)
    arguments = TrainingArguments(**given["args"], remove_unused_columns=False, label_names=["input_ids"])
    collate = lambda rows: questions_of(rows, plan.drawing.pad_id)  # noqa: E731
    trainer_class = type("SavingPolicyTrainer", (saving, PolicyTrainer, Trainer), {})
    return trainer_class(plan, reference_of(model), **{**given, "args": arguments}, data_collator=collate)


def questions_of(rows: Sequence[Mapping[str, Sequence[int]]], pad_id: int) -> dict[str, Any]:
    """Questions as tensors, padded on the left as a model must have them to answer."""
    questions = [row["input_ids"] for row in rows]
    mask = stacked([[1] * len(question) for question in questions], 0, left=True)
    return {"input_ids": stacked(questions, pad_id, left=True), "question_mask": mask}


def _is_adapted(model: Any) -> bool:
    from peft import PeftModel

    return isinstance(model, PeftModel)


@contextmanager
def last_hidden(model: Any) -> Iterator[list[Any]]:
    """Collects the last hidden states of each forward pass inside, shape (rows, length, width)."""
    found: list[Any] = []
    backbone = (model.get_base_model() if _is_adapted(model) else model).base_model
    hook = backbone.register_forward_hook(lambda part, inputs, output: found.append(output.last_hidden_state))
    try:
        yield found
    finally:
        hook.remove()


def _forgetting(head: Any) -> Any:
    """The trainer forgets the gradients of the model alone after a step; the value head is none of its weights."""
    from transformers import TrainerCallback

    class Forgetting(TrainerCallback):
        def on_step_begin(self, *rest: Any, **named: Any) -> None:
            head.zero_grad()

    return Forgetting()


class PolicyTrainer:
    """Mixed in before transformers' Trainer; the saving mixin before it gives ``count``."""

    model: Any
    args: Any
    accelerator: Any
    train_dataset: Any
    data_collator: Any
    state: Any
    _train_batch_size: int
    add_callback: Any
    count: Any
    _prepare_inputs: Any

    def __init__(self, plan: PolicyPlan, reference: Any, **given: Any) -> None:
        import torch

        super().__init__(**given)
        self.model_accepts_loss_kwargs = False
        self.can_return_loss = True
        self.plan = plan
        self.reference = reference
        width = self.model.config.get_text_config().hidden_size
        self.value_head = torch.nn.Linear(width, 1).to(self.args.device)
        torch.nn.init.zeros_(self.value_head.weight)
        torch.nn.init.zeros_(self.value_head.bias)
        self.add_callback(_forgetting(self.value_head))
        self.control = KlControl(plan.settings.kl_start, plan.kl_target, plan.settings.kl_horizon)
        self.moments = Moments()
        self.waiting: list[dict[str, Any]] = []
        self.figures: dict[str, dict[str, list[float]]] = {"": {}, "eval_": {}}

    # Questions

    def get_train_dataloader(self) -> Any:
        import torch

        # Each micro-batch comes back after all of its buffer, so that experience is met in the order it was made.
        buffer = self.plan.buffer * self.args.gradient_accumulation_steps
        batches = Repeated(len(self.train_dataset), self._train_batch_size, buffer, self.plan.passes, self.args.seed)
        loader = torch.utils.data.DataLoader(self.train_dataset, batch_sampler=batches, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)

    def create_optimizer(self, *rest: Any) -> Any:
        optimizer = super().create_optimizer(*rest)  # type: ignore[misc]
        optimizer.add_param_group({"params": list(self.value_head.parameters()), "weight_decay": 0.0})
        return optimizer

    # Experience

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **named: Any) -> Any:
        made, seen = self.experience_of(model, inputs)
        return self.loss_of(made, seen or self.seen(model, made))

    def experience_of(self, model: Any, inputs: dict[str, Any]) -> tuple[dict[str, Any], tuple[Any, Any] | None]:
        """New answers to the questions with what the model now sees in them, or those made when they came before."""
        question = inputs["input_ids"]
        for at, known in enumerate(self.waiting):
            if known["question"].shape == question.shape and bool((known["question"] == question).all()):
                known["passes"] -= 1
                return (self.waiting.pop(at) if not known["passes"] else known), None
        fresh, seen = self.made(model, inputs)
        made = {**fresh, "question": question, "passes": self.plan.passes - 1}
        if made["passes"]:
            self.waiting.append(made)
        return made, seen

    def made(self, model: Any, inputs: dict[str, Any]) -> tuple[dict[str, Any], tuple[Any, Any]]:
        """Answers, drawn and scored, with the advantage of each token; and what ``seen`` says, to learn from at once."""
        import torch

        plan, settings = self.plan, self.plan.settings
        batch, scores = self.scored(model, inputs)
        learned = (batch["labels"][:, 1:] != UNTRAINED).float()
        seen = self.seen(model, batch)
        old, values = (each.detach() for each in seen)
        with torch.no_grad(), self.accelerator.autocast():
            reference = log_probs(self.reference, batch)
        distance = ((old - reference) * learned).sum(1).mean().item()
        self.figure("", reward=scores.mean().item(), kl=distance, answer_tokens=learned.sum(1).mean().item())
        if plan.score_norm:
            scores = self.moments.normalised(scores)
        rewards = token_rewards(scores, old, reference, learned, self.control.weight)
        if plan.whiten_rewards:
            rewards = whitened(rewards, learned, keep_mean=True) * learned
        advantages, returns = advantages_and_returns(rewards, values, learned, settings)
        self.control.update(distance, len(scores))
        advantages = whitened(advantages, learned)
        return {**batch, "old": old, "values": values, "advantages": advantages, "returns": returns}, seen

    def scored(self, model: Any, inputs: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """The questions with drawn answers as one batch, and a score for each."""
        import torch

        unwrapped = self.accelerator.unwrap_model(model)
        pairs = zip(inputs["input_ids"], inputs["question_mask"].bool(), strict=True)
        questions = [row[mask].tolist() for row, mask in pairs]
        answers = draw(unwrapped, questions, self.plan.drawing)
        texts = [[*question, *answer] for question, answer in zip(questions, answers, strict=True)]
        batch = answered(questions, answers, self.plan.drawing.pad_id)
        scores = torch.tensor(self.plan.score(texts), device=self.args.device)
        return {name: values.to(self.args.device) for name, values in batch.items()}, scores

    def seen(self, model: Any, batch: dict[str, Any]) -> tuple[Any, Any]:
        """log p and value of each token, 0 elsewhere; the value is what is guessed before the token is known."""
        with last_hidden(self.accelerator.unwrap_model(model)) as found:
            logs = log_probs(model, batch)
        hidden = found[-1][:, -batch["input_ids"].shape[1] :][:, :-1]
        values = self.value_head(hidden.to(self.value_head.weight.dtype)).squeeze(-1)
        return logs, values * (batch["labels"][:, 1:] != UNTRAINED)

    def loss_of(self, made: dict[str, Any], seen: tuple[Any, Any]) -> Any:
        """The clipped surrogate and the error of the values, on answers that may be older than the model."""
        settings = self.plan.settings
        self.count(made["attention_mask"])
        learned = (made["labels"][:, 1:] != UNTRAINED).float()
        logs, values = seen
        moved = policy_loss(logs, made["old"], made["advantages"], learned, settings.clip)
        guessed = value_loss(values, made["values"], made["returns"], learned, settings.clip_value)
        return moved + settings.value_weight * guessed

    def prediction_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **named: Any) -> Any:
        """The rows held out are answered and scored; less reward is more loss."""
        import torch

        inputs = self._prepare_inputs(inputs)
        batch, scores = self.scored(model, inputs)
        learned = (batch["labels"][:, 1:] != UNTRAINED).float()
        with torch.no_grad(), self.accelerator.autocast():
            moved = log_probs(model, batch) - log_probs(self.reference, batch)
        tokens = learned.sum(1)
        distance = masked_mean(moved, learned) * tokens.mean()
        self.figure("eval_", reward=scores.mean().item(), kl=distance.item(), answer_tokens=tokens.mean().item())
        return -scores.mean(), None, None

    # What is said and kept

    def figure(self, prefix: str, **values: float) -> None:
        for name, value in values.items():
            self.figures[prefix].setdefault(name, []).append(value)

    def log(self, logs: dict[str, float], *rest: Any, **named: Any) -> None:
        prefix = "eval_" if "eval_loss" in logs else ""
        if prefix or "loss" in logs:
            logs.update({f"{prefix}{name}": sum(all_) / len(all_) for name, all_ in self.figures[prefix].items()})
            self.figures[prefix].clear()
        super().log(logs, *rest, **named)  # type: ignore[misc]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        import torch

        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        kept = {
            "value_head": self.value_head.state_dict(),
            "kl_weight": self.control.weight,
            "moments": vars(self.moments),
            "waiting": self.waiting,
        }
        torch.save(kept, Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}" / KEPT)

    def _load_from_checkpoint(self, checkpoint: str, *rest: Any, **named: Any) -> None:
        import torch

        super()._load_from_checkpoint(checkpoint, *rest, **named)  # type: ignore[misc]
        kept = torch.load(Path(checkpoint) / KEPT, map_location=self.args.device, weights_only=True)
        self.value_head.load_state_dict(kept["value_head"])
        self.control.weight, self.moments = kept["kl_weight"], Moments(**kept["moments"])
        self.waiting = kept["waiting"]
