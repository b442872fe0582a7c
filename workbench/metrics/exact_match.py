"""Exact match: the answer is the reference, but for white space. Knows no language."""

from collections.abc import Sequence

from workbench.likeness.words import one_line
from workbench.text import Text


class Say:
    title = Text("Exact match")
    meaning = Text("The share of answers that are the set's own answer, letter by letter, apart from white space.")


TITLE = Say.title
MEANING = Say.meaning


def wants(references: Sequence[str]) -> bool:
    return any(references)


def score(answer: str, reference: str) -> float:
    """1 or 0."""
    return float(one_line(answer) == one_line(reference))
