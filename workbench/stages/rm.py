"""Reward modelling: learn to give the better of two answers the higher number. Knows no stage that uses the number."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from workbench.formats import Sample, Shape
from workbench.stages import Encoded, Head, Parts, Script, StageSpec
from workbench.text import Text

SHAPES: Sequence[Shape] = ("preference",)


class Say:
    accuracy = Text("Pairs in the right order")
    margin = Text("Score margin")
    mean = Text("Mean score")


class Spec(StageSpec):
    """Reward modelling"""

    HEAD: ClassVar[Head] = "score"
    METRICS: ClassVar[Mapping[str, Text]] = {
        "accuracy": Say.accuracy,
        "margin": Say.margin,
        "mean_reward": Say.mean,
    }

    stage: Literal["rm"] = "rm"


def scripts(spec: Spec, sample: Sample) -> Sequence[Script]:
    """The conversation with the better answer and with the worse one; a row without one of them left teaches nothing."""
    answers = (sample.chosen, sample.rejected)
    return [Script([*sample.turns, *answer], sample.tools, learn="last") for answer in answers]


def columns(spec: Spec, encoded: Sequence[Encoded]) -> Mapping[str, Sequence[int | float] | None]:
    """Tokens of both texts; the score of a text is read at its last token."""
    chosen, rejected = encoded
    return {"chosen_ids": chosen.input_ids, "rejected_ids": rejected.input_ids}


def trainer(spec: Spec, parts: Parts) -> Any:
    """TRL's RewardTrainer: -log s(score of the better - score of the worse), arXiv 2203.02155, eq. 1."""
    from torch.nn.functional import logsigmoid
    from trl import RewardConfig, RewardTrainer

    from workbench.learning.figures import MeasuringTrainer

    class PairScoreTrainer(MeasuringTrainer, RewardTrainer):
        """With figures that don't need as many rows in each process."""

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            outputs = model(**inputs, use_cache=False)
            chosen, rejected = outputs.logits.squeeze(-1).chunk(2)
            self.measure(accuracy=chosen > rejected, margin=chosen - rejected, mean_reward=outputs.logits)
            loss = -logsigmoid(chosen - rejected).mean()
            return (loss, outputs) if return_outputs else loss

    trainer_class = type("SavingRewardTrainer", (parts.saving, PairScoreTrainer), {})
    given = parts.given()
    return trainer_class(
        **{**given, "args": RewardConfig(**given["args"], max_length=None, remove_unused_columns=False)}
    )
