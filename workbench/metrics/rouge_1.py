"""ROUGE-1 of words; Chinese is cut into words first. Knows no set."""

from collections.abc import Sequence

from workbench.likeness.overlap import rouge
from workbench.text import Text


class Say:
    title = Text("ROUGE-1")
    meaning = Text("How many words answer and reference share.")


TITLE = Say.title
MEANING = Say.meaning


def wants(references: Sequence[str]) -> bool:
    return any(references)


def score(answer: str, reference: str) -> float:
    """F1 of shared words."""
    return rouge("rouge1", answer, reference)
