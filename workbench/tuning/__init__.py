"""Which weights move: one file is one tuning method. Knows models, no data, no page and no run.

To add one, write ``tuning/x.py`` with the members of ``Tuning``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from workbench.fields import Section


class TuningSpec(Section):
    """What every tuning method's Spec is: a section with the method's own fields and its name."""

    finetuning_type: str


class Tuning(Protocol):
    """The members of a tuning method's module."""

    Spec: type[TuningSpec]
    """Its fields, with ``finetuning_type: Literal["x"] = "x"``."""

    def apply(self, model: Any, spec: Any, adapters: Sequence[Path]) -> Any:
        """The model with exactly the promised weights trainable, going on from the adapters if there are any."""
