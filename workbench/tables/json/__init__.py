"""JSON: a list of objects, an object that holds that list, or one object a line. Knows no format of rows."""

from collections.abc import Iterator
from pathlib import Path

from workbench.encodings import sniff
from workbench.tables import Record
from workbench.tables.json import lines, stream
from workbench.text import Message

SUFFIXES = (".json", ".jsonl", ".ndjson")


def records(file: Path) -> Iterator[Record]:
    """The rows; which of the ways of writing them it is, the file says, not its ending."""
    encoding = sniff(file)
    way = lines.records if lines.are_lines(file, encoding) else stream.records
    yield from way(file, encoding)


def notes(file: Path) -> list[Message]:
    """Whether the encoding was guessed."""
    return sniff(file).notes()
