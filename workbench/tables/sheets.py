"""Workbooks of spreadsheets: the first sheet that holds rows. Knows no format of rows."""

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from workbench.problems import UserError
from workbench.tables import Record, by_names, column_names, header_notes
from workbench.text import Message, Text

SUFFIXES = (".xlsx", ".xls", ".ods")


class Say:
    unreadable = Text("file '{file}' can't be read: {reason}. Accepted: a workbook (.xlsx, .xls, .ods). Save it again.")
    locked = Text("file '{file}' has a password. Accepted: a workbook without one. Save it without the password.")
    others = Text("Sheet '{name}' is read. Not read: {others}. Save each of these to a file of its own to use it.")
    row = Text("row {row} of sheet '{sheet}': {reason}")


def records(file: Path) -> Iterator[Record]:
    """The rows below the first one that is not empty, which names the columns; ``number`` as the program shows it."""
    filled = _filled_sheets(file)
    if not filled:
        return
    name, rows = filled[0]
    (_, header), *rest = rows
    names = column_names([_as_name(cell) for cell in _trimmed(header)])
    for number, cells in rest:
        values = [_value(cell) for cell in cells]
        text = "\t".join("" if value is None else str(value) for value in values)
        found = by_names(number, names, values, text)
        if found.fault:
            found = Record(number, None, Say.row(row=number, sheet=name, reason=found.fault), found.text, found.mend)
        yield found


def notes(file: Path) -> list[Message]:
    """Which sheets are not read, and what is odd about the header."""
    filled = _filled_sheets(file)
    if not filled:
        return []
    (name, rows), *others = filled
    said = [Say.others(name=name, others=", ".join(other for other, _ in others))] if others else []
    return [*said, *header_notes([_as_name(cell) for cell in _trimmed(rows[0][1])])]


def _filled_sheets(file: Path) -> list[tuple[str, list[tuple[int, list[Any]]]]]:
    """The sheets with a row that is not empty: name, and such rows with their numbers from 1."""
    import python_calamine as calamine

    try:
        with calamine.CalamineWorkbook.from_path(file) as book:
            found = []
            for sheet in book.sheets_metadata:
                if sheet.typ == calamine.SheetTypeEnum.WorkSheet:
                    rows = book.get_sheet_by_name(sheet.name).to_python(skip_empty_area=False)
                    filled = [(number, row) for number, row in enumerate(rows, 1) if any(cell != "" for cell in row)]
                    if filled:
                        found.append((sheet.name, filled))
            return found
    except calamine.PasswordError:
        raise UserError(Say.locked(file=file.name)) from None
    except (calamine.CalamineError, OSError) as error:
        raise UserError(Say.unreadable(file=file.name, reason=str(error).strip().rstrip("."))) from None


def _trimmed(cells: Sequence[Any]) -> Sequence[Any]:
    """The cells up to the last that is not empty."""
    last = max((place for place, cell in enumerate(cells, 1) if cell != ""), default=0)
    return cells[:last]


def _as_name(cell: Any) -> str:
    return str(_value(cell) if cell != "" else "")


def _value(cell: Any) -> Any:
    """A cell as JSON knows it: whole numbers without a fraction, times as ISO text, None for an empty one."""
    match cell:
        case "":
            return None
        case bool() | str():
            return cell
        case float():
            return int(cell) if cell.is_integer() else cell
        case datetime.datetime() if cell.time() == datetime.time():
            return cell.date().isoformat()
        case datetime.date() | datetime.time():
            return cell.isoformat()
        case datetime.timedelta():
            return str(cell)
    return cell
