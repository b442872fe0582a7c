"""Supervised fine-tuning: learn the answers of a conversation. Knows nothing of where the conversations come from."""

from typing import Annotated, Any, Literal

from workbench.fields import Ui
from workbench.formats import Sample
from workbench.stages import Encode, Encoded, Parts, Shape, StageSpec

SHAPE: Shape = "dialogue"


class Spec(StageSpec):
    """Supervised fine-tuning"""

    stage: Literal["sft"] = "sft"
    train_on_prompt: Annotated[bool, Ui("Learn the prompt too")] = False
    """Learn the questions as well as the answers. Usual: off, so that only answers are learned."""
    mask_history: Annotated[bool, Ui("Only the last answer")] = False
    """In conversations of several turns learn only the last answer. Usual: off, so that every answer is learned."""


def encode(spec: Spec, sample: Sample, encode: Encode) -> Encoded:
    """The conversation as tokens; the answers with their end-of-turn tokens are trained."""
    return encode(sample, spec.train_on_prompt, spec.mask_history)


def trainer(spec: Spec, parts: Parts) -> Any:
    """TRL's SFTTrainer on rows that are tokens already; its loss computes logits only where something is trained."""
    from trl import SFTConfig, SFTTrainer

    trainer_class = type("SavingSFTTrainer", (parts.saving, SFTTrainer), {})
    arguments = SFTConfig(
        **parts.arguments, max_length=None, packing=False, dataset_kwargs={"skip_prepare_dataset": True}
    )
    return trainer_class(
        model=parts.model,
        args=arguments,
        train_dataset=parts.train_rows,
        eval_dataset=parts.eval_rows,
        processing_class=parts.tokenizer,
        callbacks=list(parts.callbacks),
    )
