"""Valid JSON: the whole answer can be read as a program would read it. Knows no schema."""

from collections.abc import Sequence

from workbench.likeness.json_values import mostly, read
from workbench.text import Text


class Say:
    title = Text("Valid JSON")
    meaning = Text("The share of answers that are JSON as they stand, without a word or a fence around it.")


TITLE = Say.title
MEANING = Say.meaning


def wants(references: Sequence[str]) -> bool:
    return mostly(references)


def score(answer: str, reference: str) -> float | None:
    """1 or 0; None where the reference is no JSON itself."""
    wanted = read(reference)
    return None if wanted is None else float(type(read(answer)) is type(wanted))
