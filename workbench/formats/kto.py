"""Answers marked good or bad as TRL takes them: prompt, completion and label. Knows no files."""

from collections.abc import Mapping, Sequence

from workbench.formats import Layout, Row, Sample
from workbench.rows.pairs import following, joined, question, with_system
from workbench.rows.tools import tools_in
from workbench.rows.values import label_in, no_media, reader

COLUMNS: Mapping[str, str] = {
    "prompt": "prompt",
    "completion": "completion",
    "kto_tag": "label",
    "system": "system",
    "tools": "tools",
    "images": "images",
    "videos": "videos",
    "audios": "audios",
}
TAGS: Mapping[str, str] = {}
EXAMPLE: Row = {"prompt": "Name a prime number.", "completion": "9", "label": False}


def matches(columns: Sequence[str]) -> bool:
    """A completion with a label."""
    names = set(columns)
    others = {"instruction", "messages", "conversations", "chosen", "rejected"}
    return {"completion", "label"} <= names and not names & others


@reader
def sample(row: Row, layout: Layout) -> Sample:
    """The conversation with its label; a completion of messages may hold the whole of it."""
    names = layout.columns
    no_media(row, layout)
    column = names.get("response") or names["completion"]
    asked = question(row, names["prompt"], layout.tags)
    turns = joined(asked, following(row, column, layout.tags), column, names["prompt"])
    label = label_in(row, names["kto_tag"])
    return Sample(with_system(row, layout, turns), tools_in(row, names["tools"]), label=label)
