"""One JSON object a line. A broken line takes no other with it. Knows no format of rows."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from workbench.encodings import MARKED, Encoding, open_bytes, open_text
from workbench.tables import Record
from workbench.tables.json.doubles import Names, twice
from workbench.tables.json.faults import broken, not_object, strict_decoder
from workbench.text import Message

LINES_A_ROW = 200
"""An object that was broken over more lines is not put together again."""
LIMIT = 4_000_000
LOOKED_AT = 20
BIG = re.compile(r"\d{19}")
BIG_BYTES = re.compile(rb"\d{19}")
"""A run of digits that may be a whole number beyond 64 bits, which only Python's own parser keeps exact."""


def records(file: Path, encoding: Encoding) -> Iterator[Record]:
    """The rows, ``number`` being the line; lines that hold nothing or only brackets of a list are no rows."""
    opened = open_bytes(file, encoding) if encoding.name == "utf-8" else open_text(file, encoding)
    with opened as source:
        lines: Iterator[Any] = iter(source)
        number = 0
        held: Any = None
        while (line := held or next(lines, None)) is not None:
            number, held = number + 1, None
            try:
                row = _exact(line, orjson.loads(line))
            except orjson.JSONDecodeError:
                text = _text(line).rstrip("\r\n")
                follow, held = _rest(text, lines)
                yield from _unread(number, text, follow, encoding)
                number += len(follow)
                continue
            if type(row) is dict:
                yield Record(number, row, twice(line, row))
            else:
                yield not_object(number, row, _text(line).strip(), number)


def _exact(line: bytes | str, row: Any) -> Any:
    """The row with every digit of its whole numbers."""
    if not (BIG_BYTES.search(line) if isinstance(line, bytes) else BIG.search(line)):
        return row
    try:
        return strict_decoder().decode(_text(line).removeprefix("\ufeff").strip())
    except (ValueError, RecursionError):  # more digits or brackets than Python takes
        return row


def _text(line: bytes | str) -> str:
    return line if isinstance(line, str) else line.decode("utf-8", MARKED)


def _rest(text: str, lines: Iterator[Any]) -> tuple[list[str], Any]:
    """The lines that a broken row goes on with, and the one after, which is still to be read."""
    follow: list[str] = []
    if not text.lstrip().startswith("{") or _pieces(text):
        return follow, None
    for line in lines:
        more = _text(line)
        if len(follow) == LINES_A_ROW or more.lstrip()[:1] in ("{", "[", "]"):
            return follow, line
        follow.append(more.rstrip("\r\n"))
    return follow, None


def _unread(number: int, text: str, follow: list[str], encoding: Encoding) -> Iterator[Record]:
    """What a line that is no JSON value holds: nothing, a row with a comma behind it, several rows, a broken one."""
    text = text.removeprefix("\ufeff")
    if text.strip().strip("[],"):
        rows = _pieces("\n".join([text, *follow]).rstrip())
        if rows:
            yield from (Record(number, row, said) for row, said in rows)
            return
        while follow and not follow[-1].strip():
            follow = follow[:-1]
        start = len(text) - len(text.lstrip())
        yield broken(number, "\n".join([text, *follow]).strip(" \t\r\n,"), number, start + 1, encoding)


def _pieces(text: str) -> list[tuple[dict[str, Any], Message | None]]:
    """The objects that the text consists of, with commas or nothing between them; none when something is broken."""
    found: list[tuple[dict[str, Any], Message | None]] = []
    names, at = Names(), 0
    decoder = strict_decoder(names)
    while at < len(text):
        at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n,"))
        if at < len(text):
            try:
                row, at = decoder.raw_decode(text, at)
                orjson.dumps(row)
            except (ValueError, TypeError, RecursionError):
                return []
            if not isinstance(row, dict):
                return []
            found.append(names.taken(row))
    return found


def are_lines(file: Path, encoding: Encoding) -> bool:
    """Whether the file holds an object a line, whatever its ending says."""
    with open_text(file, encoding) as opened:
        first = ""
        while not first.strip():
            first = opened.readline(LIMIT)
            if not first:
                return False
        if len(first) == LIMIT or not first.lstrip().startswith("{"):
            return file.suffix.lower() != ".json" and first.lstrip()[0] != "["
        alone = True
        for _ in range(LOOKED_AT):
            line = opened.readline(LIMIT)
            if line.strip():
                alone = False
                if _is_row(line) and not first.rstrip().endswith(("[", "{", ",")):
                    return True
        return _is_row(first.rstrip().rstrip(",")) and not alone


def _is_row(line: str) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False
