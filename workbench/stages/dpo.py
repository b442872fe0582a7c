"""Direct preference optimisation and its kin: learn from pairs of a better and a worse answer. Knows no reward model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from workbench.fields import Ui
from workbench.formats import Sample, Shape, Turn
from workbench.learning.preference import WITHOUT_REFERENCE, PairLoss, PairSettings
from workbench.problems import Problem
from workbench.stages import Encoded, Parts, PreferenceSpec, Script
from workbench.text import Text

SHAPES: Sequence[Shape] = ("preference",)


class Say:
    margin = Text("Reward margin")
    accuracy = Text("Pairs told apart")
    chosen = Text("Reward of better answers")
    rejected = Text("Reward of worse answers")
    smoothing = Text(
        "Label smoothing is {given} with the loss {loss}. Accepted: 0, or the loss sigmoid. Set it to 0 or choose sigmoid."
    )


class Spec(PreferenceSpec):
    """Preference optimisation"""

    LIKELIHOODS: ClassVar[bool] = True
    METRICS: ClassVar[Mapping[str, Text]] = {
        "reward_margin": Say.margin,
        "reward_accuracy": Say.accuracy,
        "reward_chosen": Say.chosen,
        "reward_rejected": Say.rejected,
    }

    stage: Literal["dpo"] = "dpo"
    pref_loss: Annotated[PairLoss, Ui("Preference loss")] = "sigmoid"
    """The formula. sigmoid: DPO; hinge: SLiC; ipo; kto_pair; orpo and simpo do without a reference model."""
    simpo_gamma: Annotated[float, Field(ge=0, le=100), Ui("SimPO margin")] = 0.5
    """For simpo: by how much the better answer is to lead. Usual: 0.3 to 1.6."""
    dpo_label_smoothing: Annotated[float, Field(ge=0, lt=0.5), Ui("Label smoothing")] = 0.0
    """For sigmoid: the share of pairs that you think are the wrong way round. Usual: 0 to 0.2."""
    ld_alpha: Annotated[float | None, Field(ge=0, le=1), Ui("Length weight")] = None
    """How much counts what the longer answer of a pair has beyond the shorter one. Less prefers long answers less.
    Empty: all of it."""

    @property
    def reference_passes(self) -> int:
        return 0 if self.pref_loss in WITHOUT_REFERENCE else 1

    def problems(self) -> list[Problem]:
        if self.dpo_label_smoothing and self.pref_loss != "sigmoid":
            said = Say.smoothing(given=self.dpo_label_smoothing, loss=self.pref_loss)
            return [Problem(said, "dpo_label_smoothing")]
        return []


def scripts(spec: Spec, sample: Sample) -> Sequence[Script]:
    """The conversation with the better answer and with the worse one; the answers alone are learned."""
    return [_script(sample, sample.chosen), _script(sample, sample.rejected)]


def _script(sample: Sample, answer: Sequence[Turn]) -> Script:
    """Of several turns each answer counts; those before the question don't, and where one answers, old turns may go."""
    if sum(turn.role == "assistant" for turn in answer) == 1:
        return Script([*sample.turns, *answer], sample.tools, learn="last")
    return Script([*(replace(turn, weight=0.0) for turn in sample.turns), *answer], sample.tools)


def columns(spec: Spec, encoded: Sequence[Encoded]) -> Mapping[str, Sequence[int | float] | None]:
    """Tokens and labels of both texts."""
    chosen, rejected = encoded
    return {
        "chosen_ids": chosen.input_ids,
        "chosen_labels": chosen.labels,
        "rejected_ids": rejected.input_ids,
        "rejected_labels": rejected.labels,
    }


def trainer(spec: Spec, parts: Parts) -> Any:
    """TRL's DPOTrainer on rows that are tokens already, with the loss of the spec."""
    from workbench.learning.batches import pairs
    from workbench.learning.preferring import pair_trainer

    settings = PairSettings(spec.pref_loss, spec.pref_beta, spec.dpo_label_smoothing, spec.simpo_gamma)
    given = {**parts.given(), "data_collator": lambda rows: pairs(rows, parts.tokenizer.pad_token_id)}
    return pair_trainer(parts.saving, settings, spec.ld_alpha, spec.pref_ftx, given)
