"""Group relative policy optimisation: several answers to one question, the better of them made likelier. Knows no pairs."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from workbench.fields import Ui
from workbench.formats import Sample, Shape
from workbench.learning.rewards import Reward, contains, each, judged, length, matching, read_schema, same, valid_json
from workbench.learning.rollouts import split
from workbench.learning.scoring import named_problems
from workbench.problems import Problem, UserError
from workbench.stages import Encoded, Parts, RolloutSpec, Script
from workbench.text import Text

SHAPES: Sequence[Shape] = ("dialogue",)
Weight = Annotated[float, Field(ge=-100, le=100)]


class Say:
    reward = Text("Mean reward")
    spread = Text("Spread of rewards")
    distance = Text("Distance from the reference")
    length = Text("Tokens of an answer")
    none = Text("No reward counts. Accepted: a weight other than 0 for at least one. Set 'Says the right answer' to 1.")
    groups = Text(
        "{given} answers to a question don't divide the {batch} answers of a step. Accepted: {batch} or a part of it, at "
        "least 2. Change 'Answers a question', 'Batch size' or 'Accumulation'."
    )
    judge = Text(
        "Judge's address is '{given}'. Accepted: http://... or https://... Enter, for example, http://127.0.0.1:8000/v1."
    )
    few = Text("{given} rows are fewer than the {wanted} questions of a step. Accepted: more rows, or a smaller batch.")


class Spec(RolloutSpec):
    """Reinforcement by rules"""

    METRICS: ClassVar[Mapping[str, Text]] = {
        "reward": Say.reward,
        "reward_std": Say.spread,
        "kl": Say.distance,
        "answer_tokens": Say.length,
    }

    stage: Literal["grpo"] = "grpo"
    num_generations: Annotated[int, Field(ge=2, le=1024), Ui("Answers a question")] = 4
    """How many answers are drawn to each question and compared with each other. Usual: 4 to 16."""
    beta: Annotated[float, Field(ge=0, le=10), Ui("Weight of the distance")] = 0.0
    """How much distance from the reference costs. Usual: 0 to 0.04; 0 needs no reference."""
    epsilon: Annotated[float, Field(gt=0, lt=1), Ui("Clipping of a step")] = 0.2
    """How far a word's probability may move while its answer is learned from. Usual: 0.2."""
    reward_equals: Annotated[Weight, Ui("Says the right answer")] = 1.0
    """Weight of: the answer is the one in the row, capital letters and white space apart. 0: not used."""
    reward_contains: Annotated[Weight, Ui("Contains the right answer")] = 0.0
    """Weight of: the row's answer stands somewhere in it. 0: not used."""
    reward_regex: Annotated[Weight, Ui("Matches the pattern")] = 0.0
    """Weight of: the pattern below is found in it. 0: not used."""
    reward_pattern: Annotated[str, Ui("Pattern")] = ""
    """The regular expression that is looked for, such as ^\\d+$ for a number alone."""
    reward_json: Annotated[Weight, Ui("Is JSON")] = 0.0
    """Weight of: the answer is JSON that the schema below allows; half of it for JSON that it does not. 0: not used."""
    reward_schema: Annotated[str, Ui("JSON schema")] = ""
    """What the JSON must look like, in JSON Schema. Empty: any JSON."""
    reward_length: Annotated[Weight, Ui("Has the length")] = 0.0
    """Weight of: the answer has about as many tokens as the field below says. 0: not used."""
    reward_tokens: Annotated[int, Field(ge=1, le=131_072), Ui("Wanted tokens")] = 64
    """How many tokens a good answer has. Usual: 16 to 512."""
    reward_judge: Annotated[Weight, Ui("Judge's mark")] = 0.0
    """Weight of the mark, 0 to 10, that another model gives. 0: not used."""
    judge_url: Annotated[str, Ui("Judge's address")] = ""
    """An OpenAI-compatible server, such as http://127.0.0.1:8000/v1. A key is taken from the variable JUDGE_API_KEY."""
    judge_model: Annotated[str, Ui("Judge's model")] = ""
    """The name of the judging model on that server."""
    judge_instruction: Annotated[str, Ui("What the judge is told")] = (
        "Mark the answer from 0 (useless) to 10 (perfect). Write the number alone."
    )
    """How to mark; question, right answer and answer follow. Usual: what matters to you, in one or two sentences."""
    reward_score: Annotated[Weight, Ui("Score of the reward model")] = 0.0
    """Weight of the score that the reward model gives. 0: not used."""

    @property
    def times(self) -> int:
        return self.num_generations

    @property
    def reference_passes(self) -> int:
        return 1 if self.beta else 0

    def problems(self) -> list[Problem]:
        weights = (self.reward_equals, self.reward_contains, self.reward_regex, self.reward_json, self.reward_length,
                   self.reward_judge, self.reward_score)  # fmt: skip
        if not any(weights):
            return [Problem(Say.none(), "reward_equals")]
        found = named_problems(self.reward_model, self.reward_model_type) if self.reward_score else []
        if self.reward_judge and not self.judge_url.startswith(("http://", "https://")):
            found.append(Problem(Say.judge(given=self.judge_url), "judge_url"))
        for weight, check in ((self.reward_regex, lambda: matching(self.reward_pattern)),
                              (self.reward_json, lambda: read_schema(self.reward_schema))):  # fmt: skip
            try:
                if weight:
                    check()
            except UserError as error:
                found += error.problems
        return found

    def rewards(self) -> dict[str, tuple[float, Reward]]:
        """What was chosen by rules and judge, by name: weight and function."""
        import os

        key = os.environ.get("JUDGE_API_KEY", "")
        every: dict[str, tuple[float, Reward]] = {
            "equals": (self.reward_equals, each(same)),
            "contains": (self.reward_contains, each(contains)),
            "pattern": (self.reward_regex, matching(self.reward_pattern if self.reward_regex else "")),
            "json": (self.reward_json, valid_json(self.reward_schema if self.reward_json else "")),
            "length": (self.reward_length, length(self.reward_tokens)),
            "judge": (self.reward_judge, judged(self.judge_url, self.judge_model, self.judge_instruction, key)),
        }
        return {name: chosen for name, chosen in every.items() if chosen[0]}


def scripts(spec: Spec, sample: Sample) -> Sequence[Script]:
    """The conversation up to its last answer is asked; the answer is what rewards compare with."""
    return [Script(sample.turns, sample.tools, learn="last")]


def columns(spec: Spec, encoded: Sequence[Encoded]) -> Mapping[str, Sequence[int | float] | None]:
    """Tokens of the question and of the right answer."""
    (row,) = encoded
    return split(row.input_ids, row.labels)


def trainer(spec: Spec, parts: Parts) -> Any:
    """TRL's GRPOTrainer (arXiv 2402.03300) on rows that are tokens already."""
    from workbench.learning.groups import Judging, group_trainer
    from workbench.learning.scoring import Near, scorer

    _check_groups(spec, parts)
    near = Near(parts.model, parts.tokenizer, parts.find)
    scored = scorer(spec.reward_model, spec.reward_model_type, near) if spec.reward_score else None
    settings = {
        "num_generations": spec.num_generations,
        "num_generations_eval": 1,
        "max_completion_length": spec.max_completion_length,
        "temperature": spec.rollout_temperature,
        "epsilon": spec.epsilon,
    }
    judging = Judging(spec.rewards(), scored, spec.reward_score)
    stop_ids = parts.stop_ids or [parts.tokenizer.eos_token_id]
    return group_trainer(parts.saving, judging, settings, spec.beta, stop_ids, parts.given())


def _check_groups(spec: Spec, parts: Parts) -> None:
    """UserError where a step's answers are no whole groups, or there are too few questions for one step."""
    batch = parts.arguments["per_device_train_batch_size"] * parts.arguments["gradient_accumulation_steps"]
    if batch % spec.num_generations:
        raise UserError(Say.groups(given=spec.num_generations, batch=batch), key="num_generations")
    wanted = batch // spec.num_generations
    from datasets import IterableDataset

    if not isinstance(parts.train_rows, IterableDataset) and len(parts.train_rows) < wanted:
        raise UserError(Say.few(given=len(parts.train_rows), wanted=wanted), key="per_device_train_batch_size")
