"""Prompt and completion as TRL takes them, as texts or messages. Knows no files."""

from collections.abc import Mapping, Sequence

from workbench.formats import Layout, Row, Sample
from workbench.rows.pairs import following, joined, question, with_system
from workbench.rows.tools import tools_in
from workbench.rows.values import no_media, reader

COLUMNS: Mapping[str, str] = {
    "prompt": "prompt",
    "completion": "completion",
    "reasoning": "reasoning",
    "system": "system",
    "tools": "tools",
    "images": "images",
    "videos": "videos",
    "audios": "audios",
}
TAGS: Mapping[str, str] = {}
EXAMPLE: Row = {"prompt": "Name a prime number.", "completion": "7"}


def matches(columns: Sequence[str]) -> bool:
    """A prompt and its completion without a label."""
    names = set(columns)
    others = {"label", "instruction", "messages", "conversations", "chosen", "rejected"}
    return {"prompt", "completion"} <= names and not names & others


@reader
def sample(row: Row, layout: Layout) -> Sample:
    """The prompt and what follows it; a completion of messages may hold the whole conversation."""
    names = layout.columns
    no_media(row, layout)
    column = names.get("response") or names["completion"]
    asked = question(row, names["prompt"], layout.tags)
    said = following(row, column, layout.tags, names["reasoning"])
    turns = joined(asked, said, column, names["prompt"])
    return Sample(with_system(row, layout, turns), tools_in(row, names["tools"]))
