"""Running text: one row for each line that is not empty. Knows nothing of what the text says."""

from collections.abc import Iterator
from pathlib import Path

from workbench.encodings import bad_byte, is_marked, open_text, sniff, unmarked
from workbench.tables import SHOWN, Record
from workbench.text import Message

SUFFIXES = (".txt", ".md")


def records(file: Path) -> Iterator[Record]:
    """Each line as the column ``text``, white space at its start kept."""
    encoding = sniff(file, markup=True)
    with open_text(file, encoding) as lines:
        for number, line in enumerate(lines, 1):
            text = line.rstrip("\r\n")
            if not text.strip():
                continue
            if is_marked(text):
                clean = unmarked(text)
                yield Record(number, None, bad_byte(text, number, encoding), clean[:SHOWN], {"text": clean})
            else:
                yield Record(number, {"text": text})


def notes(file: Path) -> list[Message]:
    """Whether the encoding was guessed."""
    return sniff(file, markup=True).notes()
