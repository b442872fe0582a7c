"""KTO: learn from single answers that are marked good or bad (arXiv 2402.01306). Knows no pairs and no reward model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from workbench.fields import Ui
from workbench.formats import Sample, Shape
from workbench.learning.mismatch import mismatched
from workbench.stages import Encoded, Parts, PreferenceSpec, Script
from workbench.text import Text

SHAPES: Sequence[Shape] = ("label",)
BAD = -1.0
"""The weight of a bad answer on its way through the encoder, which hands on weights other than 1."""


class Say:
    margin = Text("Good above bad")
    good = Text("Reward of good answers")
    bad = Text("Reward of bad answers")
    level = Text("Distance from the reference")


class Spec(PreferenceSpec):
    """KTO"""

    LIKELIHOODS: ClassVar[bool] = True
    METRICS: ClassVar[Mapping[str, Text]] = {
        "reward_margin": Say.margin,
        "reward_chosen": Say.good,
        "reward_rejected": Say.bad,
        "kl": Say.level,
    }

    COMPARES: ClassVar[bool] = True

    stage: Literal["kto"] = "kto"
    kto_chosen_weight: Annotated[float, Field(ge=0, le=1000), Ui("Weight of good answers")] = 1.0
    """How much good answers count. With fewer good ones than bad raise it until weight x number are alike."""
    kto_rejected_weight: Annotated[float, Field(ge=0, le=1000), Ui("Weight of bad answers")] = 1.0
    """How much bad answers count. With fewer bad ones than good raise it until weight x number are alike."""

    @property
    def reference_passes(self) -> int:
        """The reference over the answers and over mismatched ones, and the model over these, too."""
        return 3

    def arranged(self, rows: Any, cutoff_len: int) -> Any:
        return mismatched(rows, cutoff_len)


def scripts(spec: Spec, sample: Sample) -> Sequence[Script]:
    """The conversation, whose last answer is good or bad."""
    last = replace(sample.turns[-1], weight=1.0 if sample.label else BAD)
    return [Script([*sample.turns[:-1], last], sample.tools, learn="last")]


def columns(spec: Spec, encoded: Sequence[Encoded]) -> Mapping[str, Sequence[int | float] | None]:
    """Tokens, labels, and 1 for a good answer, 0 for a bad one."""
    (row,) = encoded
    return {"input_ids": row.input_ids, "labels": row.labels, "good": [int(row.weights is None)]}


def trainer(spec: Spec, parts: Parts) -> Any:
    """TRL's KTOTrainer on rows that are tokens already."""
    from workbench.learning.mismatch import batch
    from workbench.learning.preferring import mark_trainer

    weights = (spec.kto_chosen_weight, spec.kto_rejected_weight)
    given = {**parts.given(), "data_collator": lambda rows: batch(rows, parts.tokenizer.pad_token_id)}
    return mark_trainer(parts.saving, spec.pref_beta, weights, spec.pref_ftx, given)
