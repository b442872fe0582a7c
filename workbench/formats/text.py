"""Running text to go on learning a language from: one column. Knows no files."""

from collections.abc import Mapping, Sequence

from workbench.formats import Layout, Row, Sample
from workbench.rows.values import Wrong, blank, no_media, reader, text_in
from workbench.text import Text


class Say:
    no_text = Text("No text: '{column}' is empty or missing. Accepted: text. Write it, or take the row out.")


COLUMNS: Mapping[str, str] = {"text": "text", "images": "images", "videos": "videos", "audios": "audios"}
TAGS: Mapping[str, str] = {}
EXAMPLE: Row = {"text": "Seven is a prime number."}


def matches(columns: Sequence[str]) -> bool:
    """A text and nothing that asks or answers."""
    others = {"prompt", "completion", "instruction", "output", "messages", "conversations", "chosen", "rejected"}
    return "text" in columns and not set(columns) & others


@reader
def sample(row: Row, layout: Layout) -> Sample:
    """The text as it stands."""
    no_media(row, layout)
    text = text_in(row, layout.columns["text"])
    if blank(text):
        raise Wrong(Say.no_text(column=layout.columns["text"]))
    return Sample(text=text)
