"""How rows lie in a file: one file is one kind of table. Knows no dataset and no format of rows.

To add one, write ``tables/x.py`` with the members of ``Table``.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.text import Message, Text

SHOWN = 2_000
PACKED = frozenset({".gz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar", ".tgz"})


class Say:
    suffix = Text("file '{file}' is no table that can be read. Accepted: {accepted}. Save its rows as one of these.")
    packed = Text("file '{file}' is packed. Accepted: {accepted}. Unpack it and name the file inside.")
    twice = Text("the header names the column '{name}' twice. Accepted: each name once. Rename one of them.")
    unnamed = Text("Column {place} has no name; it is called '{name}'. Give it a name in the header.")
    long_name = Text("The header holds a text of {count} characters. If it is a row, put a line with names above it.")
    too_few = Text("Cells: {given}. Accepted: {wanted}, as in the header. Add what is missing.")
    too_many = Text("Cells: {given}. Accepted: {wanted}, as in the header. Quote a text that has '{delimiter}' in it.")
    beyond = Text("Cells: {given}. Accepted: {wanted}, as in the header. Name the columns beyond it, or empty them.")


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a file, or a place where a row should be and can't be read."""

    number: int
    """Its place in the file, from 1: the line of a file of lines, else the row."""
    row: Mapping[str, Any] | None
    fault: Message | None = None
    """Why there is no row, or what had to be put right to read it."""
    text: str = ""
    """A place that can't be read, as it stands (at most 2,000 characters)."""
    mend: Mapping[str, Any] | None = None
    """The row that was probably meant, where there is none."""


class Table(Protocol):
    """The members of a table's module."""

    SUFFIXES: Sequence[str]
    """Endings of the files that it reads, in lower case with the dot."""

    def records(self, file: Path) -> Iterator[Record]:
        """The rows one by one, never the whole file in memory where its kind allows it.

        UserError, without a key, when the file as a whole can't be read: what it is, what is accepted, what to do.
        """

    def notes(self, file: Path) -> list[Message]:
        """What a person should know of the file as a whole: an encoding that was guessed, sheets that are not read.

        UserError as with records.
        """


@cache
def _by_suffix() -> Mapping[str, Table]:
    tables = plugins(sys.modules[__name__]).values()
    return {suffix: cast(Table, table) for table in tables for suffix in table.SUFFIXES}


def suffixes() -> tuple[str, ...]:
    """The endings of all files that can be read, in alphabetical order."""
    return tuple(sorted(_by_suffix()))


def table_for(file: Path) -> Table:
    """The table that reads the file, judged by its ending; UserError that names the accepted ones."""
    suffix = file.suffix.lower()
    if suffix not in _by_suffix():
        say = Say.packed if suffix in PACKED else Say.suffix
        raise UserError(say(file=file.name, accepted=", ".join(suffixes())))
    return _by_suffix()[suffix]


def known_rows(file: Path) -> int | None:
    """How many rows a file says it has, where its kind says so (``count`` of its table); None where only reading tells."""
    count = getattr(table_for(file), "count", None)
    return count(file) if count else None


def column_names(cells: Sequence[str]) -> list[str]:
    """The names in a header, one made up for a cell without; UserError when two are alike."""
    names = [cell.strip() or f"column_{place}" for place, cell in enumerate(cells, 1)]
    for name in names:
        if names.count(name) > 1:
            raise UserError(Say.twice(name=name))
    return names


def header_notes(cells: Sequence[str]) -> list[Message]:
    """What is odd about a header."""
    notes = [Say.unnamed(place=n, name=f"column_{n}") for n, cell in enumerate(cells, 1) if not cell.strip()]
    longest = max((len(cell) for cell in cells), default=0)
    return [*notes, Say.long_name(count=longest)] if longest > 100 else notes


def by_names(number: int, names: Sequence[str], cells: Sequence[Any], text: str, delimiter: str = "") -> Record:
    """A row of cells under the names of a header; empty cells beyond the header don't count.

    ``delimiter``: what stands between cells, where a text may be split that lacks quotes.
    """
    surplus = cells[len(names) :]
    if len(cells) < len(names):
        missing = [""] * (len(names) - len(cells))
        said = Say.too_few(given=len(cells), wanted=len(names))
        return Record(number, None, said, text[:SHOWN], dict(zip(names, [*cells, *missing], strict=True)))
    if any(cell not in ("", None) for cell in surplus):
        last = delimiter.join(str(cell) for cell in cells[len(names) - 1 :]) if delimiter else cells[len(names) - 1]
        sign = {"\t": "TAB"}.get(delimiter, delimiter)
        counts = {"given": len(cells), "wanted": len(names)}
        said = Say.too_many(**counts, delimiter=sign) if delimiter else Say.beyond(**counts)
        mend = dict(zip(names, [*cells[: len(names) - 1], last], strict=True))
        return Record(number, None, said, text[:SHOWN], mend)
    return Record(number, dict(zip(names, cells, strict=False)))
