"""Supervised fine-tuning: learn the answers of a conversation. Knows nothing of where the conversations come from."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from workbench.fields import Ui
from workbench.formats import Sample, Shape
from workbench.learning.packing import packed
from workbench.problems import Problem, UserError
from workbench.stages import Encoded, Learn, PackingSpec, Parts, Script
from workbench.text import Text

SHAPES: Sequence[Shape] = ("dialogue",)


class Say:
    accuracy = Text("Words foretold")
    not_apart = Text(
        "'Keep packed rows apart' is on, and learned places before the text can't stand before each row of a packed one. "
        "Accepted: off, or another method. Turn it off or choose lora."
    )
    both = Text(
        "'Learn the prompt too' and 'Only the last answer' are both on. Accepted: one of them. Turn one of them off."
    )


class Spec(PackingSpec):
    """Supervised fine-tuning"""

    LIKELIHOODS: ClassVar[bool] = True
    METRICS: ClassVar[Mapping[str, Text]] = {"mean_token_accuracy": Say.accuracy}

    stage: Literal["sft"] = "sft"
    train_on_prompt: Annotated[bool, Ui("Learn the prompt too")] = False
    """Learn the questions as well as the answers. Usual: off, so that only answers are learned."""
    mask_history: Annotated[bool, Ui("Only the last answer")] = False
    """In conversations of several turns learn only the last answer. Usual: off, so that every answer is learned."""
    neat_packing: Annotated[bool, Ui("Keep packed rows apart")] = False
    """Pack, and let rows that share one not see each other, so that each is learned as if it stood alone."""

    @property
    def packs(self) -> bool:
        return bool(self.packing) or self.neat_packing

    def problems(self) -> list[Problem]:
        return [Problem(Say.both(), "mask_history")] if self.train_on_prompt and self.mask_history else []

    def arranged(self, rows: Any, cutoff_len: int) -> Any:
        return packed(rows, cutoff_len, self.neat_packing) if self.packs else rows


def scripts(spec: Spec, sample: Sample) -> Sequence[Script]:
    """The conversation; its answers with their end-of-turn tokens are learned."""
    learn: Learn = "everything" if spec.train_on_prompt else "last" if spec.mask_history else "answers"
    return [Script(sample.turns, sample.tools, learn=learn)]


def columns(spec: Spec, encoded: Sequence[Encoded]) -> Mapping[str, Sequence[int | float] | None]:
    """Tokens, labels, and weights where an answer counts more or less than others."""
    (row,) = encoded
    return {"input_ids": row.input_ids, "labels": row.labels, "loss_weights": row.weights}


def trainer(spec: Spec, parts: Parts) -> Any:
    """TRL's SFTTrainer on rows that are tokens already."""
    from trl import SFTConfig, SFTTrainer

    from workbench.learning.batches import apart
    from workbench.learning.token_loss import TokenLoss, with_weights
    from workbench.learning.validating import ByToken

    mixed_in: list[type[Any]] = [TokenLoss]
    given = parts.given()
    if spec.neat_packing:
        _check_apart(parts.model)
        given["data_collator"] = lambda rows: apart(rows, parts.tokenizer.pad_token_id)
        mixed_in.insert(0, Apart)
    trainer_class = type("SavingSFTTrainer", (parts.saving, *mixed_in, ByToken, SFTTrainer), {})
    arguments = SFTConfig(
        **given["args"],
        max_length=None,
        packing=False,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    made = trainer_class(**{**given, "args": arguments})
    if "loss_weights" in next(iter(parts.train_rows)):
        made.data_collator = with_weights(made.data_collator)
    return made


def _check_apart(model: Any) -> None:
    """UserError where peft puts places before a text and so ignores positions."""
    from peft import PeftModel

    if isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning:
        raise UserError(Say.not_apart(), key="neat_packing")


class Apart:
    """Mixed in before the trainer: the attention mask has counted the tokens and would hide where a row begins."""

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **named: Any) -> Any:
        inputs = {name: values for name, values in inputs.items() if name != "attention_mask"}
        return super().compute_loss(model, inputs, *rest, **named)  # type: ignore[misc]
