"""Tables as text: cells between commas, tabs, semicolons or bars. Knows no format of rows."""

import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from workbench.encodings import Encoding, bad_byte, is_marked, open_text, sniff, unmarked
from workbench.tables import SHOWN, Record, by_names, column_names, header_notes
from workbench.text import Message, Text

SUFFIXES = (".csv", ".tsv")
DELIMITERS = (",", "\t", ";", "|")
HEAD_LINES = 200
HEAD_CHARS = 500_000
CELL_CHARS = 16_000_000
"""A quoted cell that goes on for longer is not read; where it ends, the next row begins."""
SEP = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""The line in which a spreadsheet names its delimiter."""


class Say:
    unclosed = Text(
        "line {line}: a quote opens a cell and none closes it. Accepted: a quote at both ends. Close it, or double it."
    )
    inner = Text(
        "line {line}: a quote stands inside a quoted cell. Accepted: two quotes for one inside a cell. Double it."
    )
    endless = Text(
        "lines {line} to {last}: a quote opens a cell of more than {most} million characters. Accepted: at most {most} "
        "million. Close the quote, or shorten the cell."
    )
    cells = Text("line {line}: {reason}")


class _Endless(Exception):
    """A cell goes on for longer than any cell does."""


@dataclass(frozen=True)
class Dialect:
    """How the cells of a file are told apart."""

    delimiter: str = ","
    spaced: bool = False
    """Whether a space follows each delimiter."""

    def reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """The rows of cells; csv.Error where quotes don't fit."""
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=self.spaced, strict=True)


class Lines:
    """The lines of a file with those that belong to the row being read, which can be given back."""

    def __init__(self, source: TextIO) -> None:
        self._source = source
        self._returned: deque[str] = deque()
        self.row: list[str] = []
        self.number = 0
        """How many lines were read."""
        self._chars = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._chars > CELL_CHARS:
            raise _Endless
        line = self._returned.popleft() if self._returned else next(self._source)
        self.row.append(line)
        self._chars += len(line)
        self.number += 1
        return line

    def begin(self) -> None:
        """A new row begins with the next line."""
        self.row, self._chars = [], 0

    def pass_over(self) -> None:
        """Leave the lines behind up to the one with the quote that closes the cell, or to the end of the file."""
        self._chars = 0
        for line in self:
            del self.row[1:]
            self._chars = 0
            if line.count('"') % 2:
                return

    def give_back(self, keep: int) -> None:
        """All but the first lines of the row are to be read again."""
        self._returned.extendleft(reversed(self.row[keep:]))
        self.number -= len(self.row) - keep
        del self.row[keep:]


def records(file: Path) -> Iterator[Record]:
    """The rows under the names of the header. A broken one ends with its line, whatever its quotes say."""
    csv.field_size_limit(CELL_CHARS * 2)
    encoding = sniff(file)
    dialect, preamble = _dialect(file, encoding)
    with open_text(file, encoding) as opened:
        lines = Lines(opened)
        for _ in range(preamble):
            next(lines)
        names: list[str] | None = None
        rows = dialect.reader(lines)
        while True:
            lines.begin()
            start = lines.number + 1
            try:
                cells = next(rows, None)
            except _Endless:
                yield _passed_over(lines, start)
                rows = dialect.reader(lines)
                continue
            except csv.Error:
                if names is not None:
                    yield _broken(lines, names, dialect, start)
                    continue
                lines.give_back(1)
                cells = loose_cells(lines.row[0], dialect.delimiter) or lines.row
            if cells is None:
                return
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = _names(cells)
                continue
            yield _record(start, names, cells, lines.row, dialect.delimiter, encoding)


def notes(file: Path) -> list[Message]:
    """Whether the encoding was guessed, and what is odd about the header."""
    csv.field_size_limit(CELL_CHARS * 2)
    encoding = sniff(file)
    dialect, preamble = _dialect(file, encoding)
    header = next((row for row in _head_rows(_head(file, encoding)[preamble:], dialect) if any(row)), [])
    return [*encoding.notes(), *header_notes(_trimmed(header))]


def _names(cells: Sequence[str]) -> list[str]:
    return column_names([unmarked(cell) for cell in _trimmed(cells)])


def _trimmed(cells: Sequence[str]) -> Sequence[str]:
    """The cells without empty ones at the end, as spreadsheets leave them in a header."""
    last = max((place for place, cell in enumerate(cells, 1) if cell.strip()), default=0)
    return cells[:last]


def _record(
    line: int, names: Sequence[str], cells: list[str], raw: Sequence[str], delimiter: str, encoding: Encoding
) -> Record:
    """One row of cells as a record: marks and numbers of cells are looked at."""
    if len(cells) == len(names) and all(one.isascii() or not is_marked(one) for one in raw):
        return Record(line, dict(zip(names, cells, strict=True)))
    text = "".join(raw)
    clean = unmarked(text).rstrip("\r\n")
    found = by_names(line, names, [unmarked(cell) for cell in cells], clean, delimiter)
    if is_marked(text):
        return Record(line, None, bad_byte(text, line, encoding), clean[:SHOWN], found.row or found.mend)
    return found if found.row else Record(line, None, Say.cells(line=line, reason=found.fault), found.text, found.mend)


def _passed_over(lines: Lines, start: int) -> Record:
    """The stretch of a cell without an end; none of its lines is a row."""
    shown = unmarked("".join(lines.row[:1])[:SHOWN]).rstrip("\r\n")
    lines.pass_over()
    return Record(start, None, Say.endless(line=start, last=lines.number, most=CELL_CHARS // 10**6), shown)


def _broken(lines: Lines, names: Sequence[str], dialect: Dialect, start: int) -> Record:
    """A row whose quotes don't fit. Its first line alone is taken for it, the others are read again."""
    whole = "".join(lines.row)
    cells = loose_cells(whole, dialect.delimiter)
    said = Say.inner(line=start)
    alone = any(_is_row(line, dialect, len(names)) for line in lines.row[1:20])
    if cells is None or len(cells) != len(names) or alone:
        lines.give_back(1)
        cells = loose_cells(lines.row[0], dialect.delimiter)
        said = Say.unclosed(line=start) if lines.row[0].count('"') % 2 else said
    text = unmarked("".join(lines.row)).rstrip("\r\n")
    if cells is None:
        cells = [_unpaired(cell) for cell in lines.row[0].rstrip("\r\n").split(dialect.delimiter)]
    mend = None
    if len(cells) == len(names):
        mend = dict(zip(names, (unmarked(cell) for cell in cells), strict=True))
    return Record(start, None, said, text[:SHOWN], mend)


def _unpaired(cell: str) -> str:
    """The cell without the one quote at its start or end that has no partner."""
    if cell.count('"') % 2 == 0:
        return cell
    return cell[1:] if cell.startswith('"') else cell.removesuffix('"')


def _is_row(line: str, dialect: Dialect, width: int) -> bool:
    """Whether the line alone is a row as wide as the header."""
    try:
        return len(next(dialect.reader(iter([line])), [])) == width
    except csv.Error:
        return False


def loose_cells(text: str, delimiter: str) -> list[str] | None:
    """The cells of a row where only a quote before a delimiter or the end closes one; None when one stays open."""
    text = text.rstrip("\r\n")
    cells, at = list[str](), 0
    closing = re.compile(rf'(?<!")(?:"")*"\s*(?={re.escape(delimiter)}|\Z)')
    while True:
        if text.startswith('"', at):
            found = closing.search(text, at + 1)
            if found is None and not text.startswith('""', at):
                return None
            end = found.end() if found else at + 2
            cells.append(text[at + 1 : text.rindex('"', at, end)].replace('""', '"'))
        else:
            end = text.find(delimiter, at)
            end = len(text) if end < 0 else end
            cells.append(text[at:end])
        if end >= len(text):
            return cells
        at = end + 1


def _head(file: Path, encoding: Encoding) -> list[str]:
    with open_text(file, encoding) as opened:
        text = opened.read(HEAD_CHARS)
    lines = list(io.StringIO(text, newline=""))[:HEAD_LINES]
    return lines if len(lines) < 2 or len(text) < HEAD_CHARS else lines[:-1]


def _dialect(file: Path, encoding: Encoding) -> tuple[Dialect, int]:
    """How cells are told apart, and how many lines before the header say so."""
    head = _head(file, encoding)
    named = SEP.fullmatch(head[0].strip("\r\n")) if head else None
    if named:
        return Dialect(named[1]), 1
    ordered = sorted(DELIMITERS, key=lambda one: (one == "\t") != (file.suffix.lower() == ".tsv"))
    text = "".join(head)
    tried = [Dialect(one) for one in ordered]
    for one in ordered:
        if f'{one} "' in text:
            tried.insert(0 if f'"{one} "' in text else len(tried), Dialect(one, spaced=True))
    return max(tried, key=lambda one: _fit(head, one)), 0


def _fit(head: Sequence[str], dialect: Dialect) -> float:
    """How well a dialect fits: the share of rows as wide as the header, above all when that has several cells."""
    rows = _head_rows(head, dialect)
    width = len(_trimmed(rows[0])) if rows else 0
    if width < 2:
        return 0.0
    alike = sum(len(_trimmed(row)) <= width <= len(row) for row in rows)
    named = all(cell.strip() and len(cell) < 60 for cell in rows[0][:width])
    return alike / len(rows) + 0.5 * named + 0.01 * min(width, 10)


def _head_rows(head: Sequence[str], dialect: Dialect) -> list[list[str]]:
    """The rows of the first lines, as far as their quotes fit."""
    found = list[list[str]]()
    rows = dialect.reader(iter(head))
    while True:
        try:
            row = next(rows, None)
        except csv.Error:
            continue
        if row is None:
            return found
        if row:
            found.append(row)
