"""Pairs as TRL takes them: a prompt, a chosen and a rejected answer, as texts or messages. Knows no files."""

from collections.abc import Mapping, Sequence

from workbench.formats import Layout, Row, Sample
from workbench.rows.pairs import preference, question
from workbench.rows.values import no_media, reader

COLUMNS: Mapping[str, str] = {
    "prompt": "prompt",
    "chosen": "chosen",
    "rejected": "rejected",
    "system": "system",
    "tools": "tools",
    "images": "images",
    "videos": "videos",
    "audios": "audios",
}
TAGS: Mapping[str, str] = {}
OTHER_PROMPT = "question"
"""What several well-known sets call the prompt."""
EXAMPLE: Row = {"prompt": "Name a prime number.", "chosen": "7", "rejected": "9"}


def matches(columns: Sequence[str]) -> bool:
    """Two answers to compare, with a prompt or repeating it."""
    names = set(columns)
    return {"chosen", "rejected"} <= names and not names & {"instruction", "messages", "conversations"}


@reader
def sample(row: Row, layout: Layout) -> Sample:
    """The pair. Without a prompt, the turns that both answers begin with are the question."""
    no_media(row, layout)
    column = layout.columns["prompt"]
    if column not in row and column == COLUMNS["prompt"] and OTHER_PROMPT in row:
        column = OTHER_PROMPT
    return preference(row, layout, question(row, column, layout.tags), column)
