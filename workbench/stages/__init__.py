"""How a model learns: one file is one stage. A stage knows samples and trainers, no page, no run and no tuning method.

To add one, write ``stages/x.py`` with the members of ``Stage``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from workbench.fields import Section
from workbench.formats import Sample

Shape = Literal["dialogue"]


class StageSpec(Section):
    """What every stage's Spec is: a section with the stage's own fields and its name."""

    stage: str


@dataclass(frozen=True)
class Encoded:
    """One sample as tokens: ``labels`` equal ``input_ids`` where the model is to learn and -100 elsewhere."""

    input_ids: Sequence[int]
    labels: Sequence[int]

    @property
    def num_trained(self) -> int:
        return sum(label != -100 for label in self.labels)


Encode = Callable[[Sample, bool, bool], Encoded]
"""``encode(sample, train_on_prompt, mask_history)``: the whole conversation as tokens, nothing cut off."""


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


class Stage(Protocol):
    """The members of a stage's module."""

    Spec: type[StageSpec]
    """Its fields, with ``stage: Literal["x"] = "x"``."""
    SHAPE: Shape
    """Which kind of sample it learns from."""

    def encode(self, spec: Any, sample: Sample, encode: Encode) -> Encoded:
        """One sample as the tokens that this stage trains."""

    def trainer(self, spec: Any, parts: Parts) -> Any:
        """A transformers Trainer, ready to train."""
