"""Field-level F1 of JSON: which values stand in their places. Knows no schema."""

from collections.abc import Sequence

from workbench.likeness.json_values import fields_f1, find, mostly, read
from workbench.text import Text


class Say:
    title = Text("Fields of JSON")
    meaning = Text(
        "How many fields of answer and reference hold the same; words around the JSON do not count against it."
    )


TITLE = Say.title
MEANING = Say.meaning


def wants(references: Sequence[str]) -> bool:
    return mostly(references)


def score(answer: str, reference: str) -> float | None:
    """F1 of fields with equal values; 0 without JSON in the answer, None without it in the reference."""
    wanted = read(reference)
    if wanted is None:
        return None
    given = find(answer, wanted)
    return 0.0 if given is None else fields_f1(given, wanted)
