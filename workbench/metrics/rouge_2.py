"""ROUGE-2 of pairs of words; Chinese is cut into words first. Knows no set."""

from collections.abc import Sequence

from workbench.likeness.overlap import rouge
from workbench.text import Text


class Say:
    title = Text("ROUGE-2")
    meaning = Text("How many pairs of neighbouring words answer and reference share.")


TITLE = Say.title
MEANING = Say.meaning


def wants(references: Sequence[str]) -> bool:
    return any(references)


def score(answer: str, reference: str) -> float:
    """F1 of shared pairs of words; 0 where a text has but one."""
    return rouge("rouge2", answer, reference)
