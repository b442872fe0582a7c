"""The sharegpt format: a column of messages with from and value, tools in a column of their own. Knows no files."""

from collections.abc import Mapping, Sequence

from workbench.formats import Layout, Row, Sample
from workbench.rows.roles import SHAREGPT_TAGS
from workbench.rows.talks import talk
from workbench.rows.values import reader

COLUMNS: Mapping[str, str] = {
    "messages": "conversations",
    "system": "system",
    "tools": "tools",
    "chosen": "chosen",
    "rejected": "rejected",
    "kto_tag": "kto_tag",
    "images": "images",
    "videos": "videos",
    "audios": "audios",
}
TAGS: Mapping[str, str] = SHAREGPT_TAGS
EXAMPLE: Row = {
    "conversations": [
        {"from": "human", "value": "How warm is it in Oslo?"},
        {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Oslo"}}'},
        {"from": "observation", "value": '{"celsius": 4}'},
        {"from": "gpt", "value": "It is 4 degrees."},
    ],
    "tools": '[{"name": "weather", "description": "", "parameters": {"type": "object", "properties": {}}}]',
}


def matches(columns: Sequence[str]) -> bool:
    """Sharegpt has conversations."""
    return "conversations" in columns and "messages" not in columns


@reader
def sample(row: Row, layout: Layout) -> Sample:
    """The conversation; a turn of the function role is a call, one of the observation role its result."""
    return talk(row, layout)
