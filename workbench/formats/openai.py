"""The format of OpenAI's chat API: a column of messages with role and content, calls and results. Knows no files."""

from collections.abc import Mapping, Sequence

from workbench.formats import Layout, Row, Sample
from workbench.rows.roles import OPENAI_TAGS
from workbench.rows.talks import talk
from workbench.rows.values import reader

COLUMNS: Mapping[str, str] = {
    "messages": "messages",
    "system": "system",
    "tools": "tools",
    "chosen": "chosen",
    "rejected": "rejected",
    "kto_tag": "kto_tag",
    "images": "images",
    "videos": "videos",
    "audios": "audios",
}
TAGS: Mapping[str, str] = OPENAI_TAGS
EXAMPLE: Row = {
    "messages": [
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": "What is the capital of Norway?"},
        {"role": "assistant", "content": "Oslo."},
    ]
}


def matches(columns: Sequence[str]) -> bool:
    """OpenAI's format has messages."""
    return "messages" in columns


@reader
def sample(row: Row, layout: Layout) -> Sample:
    """The conversation; contents may be parts, and a message may say how much it counts."""
    return talk(row, layout)
