"""TRL's GRPOTrainer on questions that are tokens already, with our rewards and reference. Knows no reward by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.learning.reference import reference_of
from workbench.learning.rewards import Answer, Reward
from workbench.learning.scoring import Scorer


@dataclass(frozen=True)
class Judging:
    """How drawn answers are scored: by rules over words, by what scores tokens, and how much each counts."""

    rewards: Mapping[str, tuple[float, Reward]]
    scorer: Scorer | None = None
    scorer_weight: float = 0.0


def functions(judging: Judging, tokenizer: Any) -> tuple[list[Any], list[float]]:
    """Reward functions as trl calls them, and their weights; their names stand in the trainer's figures."""

    def by_words(reward: Reward, name: str) -> Any:
        def score(
            prompts: Sequence[Sequence[int]], completions: Sequence[str], completion_ids: Sequence[Sequence[int]],
            answer: Sequence[Sequence[int]], **named: Any,
        ) -> list[float]:  # fmt: skip
            questions = tokenizer.batch_decode(prompts, skip_special_tokens=True)
            references = tokenizer.batch_decode(answer, skip_special_tokens=True)
            rows = zip(questions, completions, references, completion_ids, strict=True)
            return reward([Answer(asked, said, right.strip(), len(ids)) for asked, said, right, ids in rows])

        score.__name__ = name
        return score

    def by_model(
        prompts: Sequence[Sequence[int]], completion_ids: Sequence[Sequence[int]], **named: Any
    ) -> list[float]:
        assert judging.scorer is not None
        return judging.scorer([[*prompt, *ids] for prompt, ids in zip(prompts, completion_ids, strict=True)])

    made = [by_words(reward, name) for name, (_, reward) in judging.rewards.items()]
    weights = [weight for weight, _ in judging.rewards.values()]
    return ([*made, by_model], [*weights, judging.scorer_weight]) if judging.scorer else (made, weights)


def group_trainer(
    saving: type[Any], judging: Judging, settings: Mapping[str, Any], beta: float, stop_ids: Sequence[int],
    given: Mapping[str, Any],
) -> Any:  # fmt: skip
    """The trainer; ``settings`` are keywords of trl's GRPOConfig, ``beta`` is the weight of the distance to the reference."""
    from trl import GRPOConfig, GRPOTrainer

    class GroupTrainer(GRPOTrainer):
        def _tokenize_prompts(self, prompts: list[list[int]]) -> tuple[list[list[int]], None, dict[str, Any]]:
            return prompts, None, {}

        def _prepare_inputs(self, batch: Any) -> Any:
            inputs = super()._prepare_inputs(batch)
            if self.model.training:
                for part in ("prompt_mask", "completion_mask"):
                    self.count(inputs[part])
            return inputs

        def prediction_step(self, *rest: Any, **named: Any) -> Any:
            """Less reward is more loss: the loss of new answers is near 0 whatever they are."""
            loss, _, _ = super().prediction_step(*rest, **named)
            return loss.new_tensor(-self._metrics["eval"]["reward"][-1]), None, None

        def log(self, logs: dict[str, float], *rest: Any, **named: Any) -> None:
            figures = self._metrics["train" if self.model.training else "eval"]
            if "completions/mean_length" in figures:
                figures["answer_tokens"] = list(figures["completions/mean_length"])
            super().log(logs, *rest, **named)

    model = given["model"]
    model.generation_config.eos_token_id = list(stop_ids)
    rewards, weights = functions(judging, given["processing_class"])
    # With a beta of its own trl would put a second adapter beside the learning one, and save it with each checkpoint.
    arguments = GRPOConfig(**given["args"], **settings, reward_weights=weights, beta=0.0, remove_unused_columns=False)
    trainer_class = type("SavingGroupTrainer", (saving, GroupTrainer), {})
    made = trainer_class(**{**given, "args": arguments}, reward_funcs=rewards)
    if beta:
        made.beta, made.ref_model = beta, reference_of(model)
    return made
