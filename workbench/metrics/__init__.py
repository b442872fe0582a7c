"""How an answer is measured against the set's own one: one file is one metric. Knows two texts, no model and no run.

To add one, write ``metrics/x.py`` with the members of ``Metric``. Its name in files and on pages is that of the
module with hyphens: ``rouge_l.py`` is rouge-l. More is always better.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from workbench.text import Text


class Metric(Protocol):
    """The members of a metric's module."""

    TITLE: Text
    """What it is called, in a few words."""
    MEANING: Text
    """What it says of an answer, in one sentence."""

    def wants(self, references: Sequence[str]) -> bool:
        """Whether it says something of a set with these answers, so that it is measured when nobody chooses."""

    def score(self, answer: str, reference: str) -> float | None:
        """From 0 to 1; None where it can't be said of this pair."""


def public(module: str) -> str:
    """The name of a metric in files and on pages."""
    return module.replace("_", "-")


def fitting(metrics: Mapping[str, Any], references: Sequence[str]) -> list[str]:
    """Those that say something of a set with these answers, by the names of their modules."""
    return [name for name, metric in metrics.items() if metric.wants(references)]
