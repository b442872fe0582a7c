"""How a model learns: one file is one stage. A stage knows samples and trainers, no page, no run and no tuning method.

To add one, write ``stages/x.py`` with the members of ``Stage``. What a job or a page must know of a stage beside that are
class variables and methods of its Spec; most stages leave them as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field

from workbench.dividing import WAYS, Way
from workbench.fields import Section, Ui
from workbench.formats import Sample, Shape, Turn
from workbench.learning.scoring import RewardKind
from workbench.problems import Problem
from workbench.text import Text

Learn = Literal["answers", "last", "everything", "nothing"]
Head = Literal["words", "score"]
UNTRAINED = -100
"""The label of a token that is read and not learned, as torch's cross entropy ignores it."""


class StageSpec(Section):
    """What every stage's Spec is: a section with the stage's own fields and its name."""

    HEAD: ClassVar[Head] = "words"
    """What the model says of a text: which word comes next, or one number for the whole."""
    METRICS: ClassVar[Mapping[str, Text]] = {}
    """What the trainer logs beside the loss, by its name in the logs, and how it is called; the telling one first."""
    LIKELIHOODS: ClassVar[bool] = False
    """Whether its loss needs nothing of the model but how likely the right words are, and whether each was the likeliest."""
    COMPARES: ClassVar[bool] = False
    """Whether the loss of a row depends on which others are in its batch, so that smaller batches are not the same."""
    SHARED: ClassVar[Sequence[Way]] = tuple(WAYS)
    """Ways in which several processes can share the learning."""

    stage: str

    @property
    def times(self) -> int:
        """How often a row is learned from in one epoch."""
        return 1

    @property
    def packs(self) -> bool:
        """Whether ``arranged`` makes other rows of several, so that their number is not that of the sets' rows."""
        return False

    @property
    def reference_passes(self) -> int:
        """Passes forward that each batch takes beside the learning one for the sake of a reference, which is the model as it
        was before it learned; 0: there is none."""
        return 0

    def problems(self) -> list[Problem]:
        """What does not fit together among the stage's fields."""
        return []

    def arranged(self, rows: Any, cutoff_len: int) -> Any:
        """The rows as the trainer takes them, such as several in one; made lazily where that costs memory."""
        return rows


class PackingSpec(StageSpec):
    """The fields of stages that can put several rows into one."""

    packing: Annotated[bool | None, Ui("Packing")] = None
    """Put several short rows into one of the cutoff length, so that no padding is computed. Empty: on in pt, else off."""


class PreferenceSpec(StageSpec):
    """The fields of stages that learn from better and worse answers."""

    pref_beta: Annotated[float, Field(gt=0, le=100), Ui("Beta")] = 0.1
    """How strongly the model is held near its reference: more lets it change less. Usual: 0.01 to 0.5; simpo: 2."""
    pref_ftx: Annotated[float, Field(ge=0, le=100), Ui("Weight of plain learning")] = 0.0
    """How much ordinary learning of the better answers is added to the loss. Usual: 0 to 1."""


class RolloutSpec(StageSpec):
    """The fields of stages that learn from answers of the model's own."""

    SHARED: ClassVar[Sequence[Way]] = ("ddp",)

    max_completion_length: Annotated[int, Field(ge=1, le=131_072), Ui("Longest drawn answer")] = 256
    """Most tokens of an answer that the model draws to learn from. Usual: 64 to 1024."""
    rollout_temperature: Annotated[float, Field(gt=0, le=5), Ui("Temperature of drawn answers")] = 1.0
    """How freely those answers are drawn; with too little all are alike and nothing is learned. Usual: 0.7 to 1.2."""
    reward_model: Annotated[str, Ui("Reward model")] = ""
    """What scores answers: a run of the stage rm, a folder with a whole model, or the URL of a server."""
    reward_model_type: Annotated[RewardKind, Ui("Kind of reward model")] = "lora"
    """lora: an rm run on the same base; full: a whole model; api: a server that answers with scores."""


@dataclass(frozen=True, slots=True)
class Script:
    """One text that a sample becomes, and which of its tokens are to be learned."""

    turns: Sequence[Turn] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    text: str | None = None
    """Running text instead of turns; the tokenizer's end token closes it."""
    learn: Learn = "answers"
    whole: bool = False
    """Nothing is cut off at cutoff_len: the stage cuts rows into blocks itself."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One script as tokens: ``labels`` equal ``input_ids`` where the model is to learn and -100 elsewhere."""

    input_ids: Sequence[int]
    labels: Sequence[int]
    weights: Sequence[float] | None = None
    """How much each token counts in the loss; None: all alike."""

    @property
    def num_trained(self) -> int:
        return sum(label != UNTRAINED for label in self.labels)


@dataclass(frozen=True)
class Parts:
    """All that a stage needs to build its trainer. ``arguments`` are keywords of transformers' TrainingArguments."""

    model: Any
    tokenizer: Any
    train_rows: Any
    eval_rows: Any | None
    arguments: Mapping[str, Any]
    callbacks: Sequence[Any]
    saving: type[Any]
    """Mixed in before the trainer's own class: it writes checkpoints beside their final names, then renames them."""
    stop_ids: Sequence[int] = ()
    """Tokens that end an answer."""
    find: Callable[[str], Path | None] = Path
    """The folder of a run or model that a person named."""

    def given(self) -> dict[str, Any]:
        """What every trainer is given, by the names of transformers; ``args`` are still keywords."""
        return {
            "model": self.model,
            "args": dict(self.arguments),
            "train_dataset": self.train_rows,
            "eval_dataset": self.eval_rows,
            "processing_class": self.tokenizer,
            "callbacks": list(self.callbacks),
        }


class Stage(Protocol):
    """The members of a stage's module."""

    Spec: type[StageSpec]
    """Its fields, with ``stage: Literal["x"] = "x"``."""
    SHAPES: Sequence[Shape]
    """Which kinds of sample it learns from, the usual one first."""

    def scripts(self, spec: Any, sample: Sample) -> Sequence[Script]:
        """The texts that one sample becomes, as many for every sample."""

    def columns(self, spec: Any, encoded: Sequence[Encoded]) -> Mapping[str, Sequence[int | float] | None]:
        """One row, made of the sample's scripts as tokens within cutoff_len; the same names each time."""

    def trainer(self, spec: Any, parts: Parts) -> Any:
        """A transformers Trainer, ready to train."""
