"""Proximal policy optimisation: draw answers, have a reward model score them, make good ones likelier. Knows no pairs."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from workbench.dividing import Way
from workbench.fields import Ui
from workbench.formats import Sample, Shape
from workbench.learning.rollouts import Drawing, split
from workbench.learning.scoring import named_problems
from workbench.problems import Problem, UserError
from workbench.stages import Encoded, Parts, RolloutSpec, Script
from workbench.text import Text

SHAPES: Sequence[Shape] = ("dialogue",)


class Say:
    reward = Text("Mean reward")
    distance = Text("Distance from the reference")
    length = Text("Tokens of an answer")
    stream = Text("PPO learns several times from one question, which a stream does not allow. Turn 'Streaming' off.")


class Spec(RolloutSpec):
    """Reinforcement by a reward model"""

    SHARED: ClassVar[Sequence[Way]] = ()
    METRICS: ClassVar[Mapping[str, Text]] = {"reward": Say.reward, "kl": Say.distance, "answer_tokens": Say.length}

    stage: Literal["ppo"] = "ppo"
    ppo_buffer_size: Annotated[int, Field(ge=1, le=1024), Ui("Steps a buffer")] = 1
    """How many optimiser steps' worth of answers is drawn before any is learned from again. Usual: 1 to 4."""
    ppo_epochs: Annotated[int, Field(ge=1, le=100), Ui("Passes over drawn answers")] = 4
    """How often each drawn answer is learned from. More learns faster and less steadily. Usual: 1 to 4."""
    ppo_score_norm: Annotated[bool, Ui("Normalise scores")] = False
    """Shift and scale scores by the mean and spread of all so far. Useful when a reward model's scores are large."""
    ppo_target: Annotated[float, Field(gt=0, le=1000), Ui("Target distance")] = 6.0
    """How far answers may move from the reference, in nats an answer; what it costs follows by itself. Usual: 3 to 10."""
    ppo_whiten_rewards: Annotated[bool, Ui("Whiten rewards")] = False
    """Give the rewards of a batch's tokens spread 1 before advantages are computed."""

    @property
    def times(self) -> int:
        return self.ppo_epochs

    @property
    def reference_passes(self) -> int:
        return 1

    def problems(self) -> list[Problem]:
        return named_problems(self.reward_model, self.reward_model_type)


def scripts(spec: Spec, sample: Sample) -> Sequence[Script]:
    """The conversation up to its last answer is asked; the answer itself is not used."""
    return [Script(sample.turns, sample.tools, learn="last")]


def columns(spec: Spec, encoded: Sequence[Encoded]) -> Mapping[str, Sequence[int | float] | None]:
    """Tokens of the question, with what comes before an answer."""
    (row,) = encoded
    question = split(row.input_ids, row.labels)["prompt"]
    return {"input_ids": question}


def trainer(spec: Spec, parts: Parts) -> Any:
    """A trainer of our own on transformers' Trainer: trl has none any more."""
    from datasets import IterableDataset

    from workbench.learning.ppo import PolicyPlan, policy_trainer
    from workbench.learning.scoring import Near, scorer

    if isinstance(parts.train_rows, IterableDataset):
        raise UserError(Say.stream(), key="streaming")
    tokenizer = parts.tokenizer
    plan = PolicyPlan(
        score=scorer(spec.reward_model, spec.reward_model_type, Near(parts.model, tokenizer, parts.find)),
        drawing=Drawing(
            spec.max_completion_length,
            spec.rollout_temperature,
            parts.stop_ids or [tokenizer.eos_token_id],
            tokenizer.pad_token_id,
        ),
        buffer=spec.ppo_buffer_size,
        passes=spec.ppo_epochs,
        kl_target=spec.ppo_target,
        score_norm=spec.ppo_score_norm,
        whiten_rewards=spec.ppo_whiten_rewards,
    )
    return policy_trainer(parts.saving, plan, parts.given())
