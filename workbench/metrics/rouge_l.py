"""ROUGE-L of words in their order; Chinese is cut into words first. Knows no set."""

from collections.abc import Sequence

from workbench.likeness.overlap import rouge
from workbench.text import Text


class Say:
    title = Text("ROUGE-L")
    meaning = Text(
        "How long the row of words is that answer and reference share in the same order, with others between."
    )


TITLE = Say.title
MEANING = Say.meaning


def wants(references: Sequence[str]) -> bool:
    return any(references)


def score(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence of words."""
    return rouge("rougeL", answer, reference)
