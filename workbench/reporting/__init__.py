"""The report card: what was measured of a finished run, and what a person who knows would say of it. Knows no engine.

One file is one part: learned, kept, memorised, form. ``judge(figures)`` turns figures into a light, a sentence, facts,
evidence and advice, all as messages, so that a report can be read in any language.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any, Literal, Protocol

from workbench.text import Message, Text

Light = Literal["green", "amber", "red", "grey"]
"""grey: it could not be measured."""
PARTS = ("learned", "kept", "memorised", "form")
REPORT, READABLE = "report.json", "report.md"


class Say:
    learned = Text("Learned")
    kept = Text("Kept")
    memorised = Text("Memorised")
    form = Text("Form")
    green = Text("good")
    amber = Text("look closer")
    red = Text("a problem")
    grey = Text("not measured")


TITLES: Mapping[str, Text] = {"learned": Say.learned, "kept": Say.kept, "memorised": Say.memorised, "form": Say.form}
LIGHTS: Mapping[Light, Text] = {"green": Say.green, "amber": Say.amber, "red": Say.red, "grey": Say.grey}


@dataclass(frozen=True)
class Shown:
    """One answer as evidence: what was asked, what the set says, what base and tuned said."""

    kind: str
    """held, identity, continued, train, rephrased, everyday: why it was asked."""
    prompt: str
    reference: str
    base: str
    tuned: str
    finish: str = "stop"
    """How the tuned model's answer ended."""
    language: str = ""
    """en or zh, of the question."""


@dataclass(frozen=True)
class Pair:
    """The same measured on base and tuned, question by question."""

    base: Sequence[float] = ()
    tuned: Sequence[float] = ()

    def __len__(self) -> int:
        return len(self.tuned)

    @property
    def means(self) -> tuple[float, float]:
        """Of base and of tuned; 0 where nothing was measured."""
        return (fmean(self.base), fmean(self.tuned)) if self.tuned else (0.0, 0.0)


@dataclass(frozen=True)
class Recipe:
    """What the run was told, as far as advice speaks of it. ``epochs`` and ``steps``: those it went through."""

    learning_rate: float
    epochs: float
    rows: int
    steps: int
    finetuning_type: str
    lora_rank: int | None = None
    template: str = "auto"
    likely: bool = True
    """Whether the stage makes the set's answers likelier; others follow a reward or a preference."""


@dataclass(frozen=True)
class Figures:
    """Everything that was measured. Losses are nats a token, scores shares of 1."""

    recipe: Recipe
    held_loss: Pair = Pair()
    """Of rows held out, one number a row."""
    train_loss: Pair = Pair()
    """Of rows that were learned."""
    general_loss: Pair = Pair()
    """Of paragraphs of plain prose."""
    held_score: Pair = Pair()
    """How like the set's own answers those to held-out questions are (ROUGE-L)."""
    held_fields: Pair = Pair()
    """Of a set whose answers are JSON: how many of its fields are right in answers to held-out questions (F1)."""
    train_score: Pair = Pair()
    rephrased_score: Pair = Pair()
    """Likewise for questions of learned rows, as they stand and in other words."""
    name: str = ""
    """Who the set teaches the model to be; empty when it teaches nothing of the kind."""
    named: Pair = Pair()
    """1 where an answer to 'who are you', asked in ways that are not in the set, says that name."""
    suite: Mapping[str, Pair] = field(default_factory=dict)
    """By category 1 for a right answer, 0 for a wrong one."""
    continued: Pair = Pair()
    """1 where the second half of a learned answer came word for word; rows that have a near twin are not counted."""
    twins: int = 0
    """Rows left out of ``continued`` since others are nearly the same."""
    own: Mapping[str, float] = field(default_factory=dict)
    """What the run itself measured last on rows held out, under the stage's names."""
    shown: Sequence[Shown] = ()


@dataclass(frozen=True)
class Part:
    """What is said of one side of the run."""

    name: str
    light: Light
    verdict: Message
    facts: Sequence[Message] = ()
    advice: Sequence[Message] = ()
    evidence: Sequence[Shown] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "light": self.light,
            "verdict": self.verdict.to_json(),
            "facts": [one.to_json() for one in self.facts],
            "advice": [one.to_json() for one in self.advice],
            "evidence": [asdict(one) for one in self.evidence],
        }

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> "Part":
        return cls(
            held["name"],
            held["light"],
            Message.from_json(held["verdict"]),
            [Message.from_json(one) for one in held["facts"]],
            [Message.from_json(one) for one in held["advice"]],
            [Shown(**one) for one in held["evidence"]],
        )


class Judge(Protocol):
    """The members of a part's module."""

    def judge(self, figures: Figures) -> Part:
        """What a person who knows would say."""
