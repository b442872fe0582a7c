"""Pretraining: go on learning from running text. Knows no questions and no answers."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from workbench.formats import Sample, Shape
from workbench.learning.packing import cut_into_blocks
from workbench.stages import Encoded, PackingSpec, Parts, Script
from workbench.text import Text

SHAPES: Sequence[Shape] = ("text", "dialogue")
BETWEEN_TURNS = "\n\n"


class Say:
    perplexity = Text("Perplexity")
    accuracy = Text("Words foretold")


class Spec(PackingSpec):
    """Pretraining"""

    LIKELIHOODS: ClassVar[bool] = True
    METRICS: ClassVar[Mapping[str, Text]] = {"perplexity": Say.perplexity, "mean_token_accuracy": Say.accuracy}

    stage: Literal["pt"] = "pt"

    @property
    def in_blocks(self) -> bool:
        """Whether all texts become one long text, cut into blocks."""
        return self.packing is not False

    @property
    def packs(self) -> bool:
        return self.in_blocks

    def arranged(self, rows: Any, cutoff_len: int) -> Any:
        return cut_into_blocks(rows, cutoff_len) if self.in_blocks else rows


def scripts(spec: Spec, sample: Sample) -> Sequence[Script]:
    """The text, closed by the tokenizer's end token; of a conversation what was said, a blank line between turns."""
    text = sample.text if sample.text is not None else BETWEEN_TURNS.join(turn.content for turn in sample.turns)
    return [Script(text=text, whole=spec.in_blocks)]


def columns(spec: Spec, encoded: Sequence[Encoded]) -> Mapping[str, Sequence[int | float] | None]:
    """Tokens and labels."""
    (row,) = encoded
    return {"input_ids": row.input_ids, "labels": row.labels}


def trainer(spec: Spec, parts: Parts) -> Any:
    """TRL's SFTTrainer on blocks of tokens, which says the perplexity as well: e to the loss."""
    from trl import SFTConfig, SFTTrainer

    from workbench.learning.figures import PerplexityTrainer
    from workbench.learning.token_loss import TokenLoss
    from workbench.learning.validating import ByToken

    trainer_class = type("SavingTextTrainer", (parts.saving, PerplexityTrainer, TokenLoss, ByToken, SFTTrainer), {})
    given = parts.given()
    arguments = SFTConfig(
        **given["args"],
        max_length=None,
        packing=False,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return trainer_class(**{**given, "args": arguments})
