"""A set with corrections of a person as a new file: rows as cells, cells as rows, and the writing. Knows no component."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from workbench.data.datasets import Entry
from workbench.data.json_rows import json_line
from workbench.data.samples import raw_records
from workbench.text import Message, Text

Cells = Sequence[Any]


class Say:
    bad_cell = Text(
        "Row {row}, '{column}': the list or object is no JSON ({reason}). Mend it; until then nothing is saved."
    )


@dataclass(frozen=True)
class Edits:
    """What a person changed: rows by their number, rows left out, and rows of their own."""

    rows: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    out: frozenset[int] = frozenset()
    new: Sequence[Mapping[str, Any]] = ()

    def __bool__(self) -> bool:
        return bool(self.rows or self.out or self.new)


@dataclass(frozen=True)
class Sheet:
    """A page of rows as a table: number, whether it is kept, then a cell for each column."""

    columns: Sequence[str]
    originals: Mapping[int, Mapping[str, Any]]

    def cells(self, edits: Edits) -> list[list[Any]]:
        """The page with what was changed so far; rows of the person's own come last."""
        rows = [
            [str(number), number not in edits.out, *(cell(edits.rows.get(number, row), name) for name in self.columns)]
            for number, row in self.originals.items()
        ]
        return rows + [["+", True, *(cell(row, name) for name in self.columns)] for row in edits.new]

    def taken(self, cells: Sequence[Cells], edits: Edits) -> tuple[Edits, list[Message]]:
        """The edits with those of this page, and what could not be understood. A row taken off the table is left out."""
        rows, out, new, wrong = (
            dict(edits.rows),
            set(edits.out) - set(self.originals),
            list[Mapping[str, Any]](),
            list[Message](),
        )
        seen = set()
        for line in cells:
            mark, keep, values = str(line[0] or "").strip(), line[1], line[2:]
            number = int(mark) if mark.isdecimal() and int(mark) in self.originals else None
            before = self.originals[number] if number is not None else {}
            row = self._row(before, values, mark or "+", wrong)
            if number is None:
                if any(value not in ("", None) for value in row.values()):
                    new.append(row)
                continue
            seen.add(number)
            rows.pop(number, None)
            if row != before:
                rows[number] = row
            if keep in (False, "false", "False"):
                out.add(number)
        return Edits(rows, frozenset(out | (set(self.originals) - seen)), new), wrong

    def _row(self, before: Mapping[str, Any], values: Cells, mark: str, wrong: list[Message]) -> dict[str, Any]:
        row = dict(before)
        for name, value in zip(self.columns, values, strict=False):
            text = "" if value is None else str(value)
            if text == cell(before, name):
                continue
            try:
                row[name] = back(text, before.get(name))
            except json.JSONDecodeError as error:
                wrong.append(Say.bad_cell(row=mark, column=name, reason=error.msg))
        return row


def read_sheet(entry: Entry, start: int, count: int) -> Sheet:
    """A page of the set as it stands in its files; places that can't be read are not on it."""
    records = islice(raw_records(entry), start, start + count)
    originals = {number: dict(record.row) for number, record in records if record.row is not None}
    return Sheet(list(dict.fromkeys(name for row in originals.values() for name in row)), originals)


def cell(row: Mapping[str, Any], name: str) -> str:
    """A value as it is edited: text as it is, anything else as JSON, nothing as nothing."""
    value = row.get(name)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def back(text: str, before: Any) -> Any:
    """What was meant: text where text or nothing was, else JSON."""
    return text if before is None or isinstance(before, str) else json.loads(text)


def edited(entry: Entry, edits: Edits) -> Iterator[Mapping[str, Any] | None]:
    """Every row of the new version; None for a place that can't be read."""
    for number, record in raw_records(entry):
        if number not in edits.out:
            yield edits.rows.get(number, record.row)
    yield from edits.new


def write_version(entry: Entry, edits: Edits, out: Path) -> tuple[int, int]:
    """Write it as lines of JSON: how many rows it has, and how many places could not be read and are not in it."""
    rows = lost = 0
    with out.open("wb") as file:
        for row in edited(entry, edits):
            if row is None:
                lost += 1
                continue
            file.write(json_line(row) + b"\n")
            rows += 1
    return rows, lost
