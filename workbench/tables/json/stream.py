"""JSON values one after another, in a list or not, through a window over the file. Knows no format of rows."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import orjson

from workbench.encodings import Encoding, is_marked, open_text
from workbench.tables import SHOWN, Record
from workbench.tables.json.doubles import Names
from workbench.tables.json.faults import broken, not_object, strict_decoder
from workbench.text import Text

CHUNK = 1 << 16
"""Small, since every error is placed by counting lines from the start of the window."""
LONGEST = 1 << 25
"""Characters of one row at most; what goes on for longer is taken for broken."""
BEFORE = 256
DAMAGED_HEAD = re.compile(r"\{[^{}\[\]:,]{1,60}:?\s*\[\s*(?=\{)")
WHITE = re.compile(r"\s*")
BETWEEN = re.compile(r"(?:[\s,;\ufeff]|//[^\n]*(?=\n)|/\*.*?\*/)*", re.DOTALL)
TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[{}\[\]]', re.DOTALL)
TOKEN_SINGLE = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[{}\[\]]""", re.DOTALL)
FIRST_NAME = re.compile(r"""\{\s*(["'][^"'\n]{1,80}["'])\s*:""")
TALK = frozenset({"messages", "conversations", "conversation", "history", "tools", "chosen", "rejected", "prompt",
                  "completion", "dialogue", "turns"})  # fmt: skip
"""Lists of objects that are part of a row rather than rows."""


class Say:
    cut_off = Text("line {line}: the list of rows ends without ]. Accepted: a whole file. Get it again, or add ].")
    second_list = Text(
        "line {line}: '{name}' is one more list of rows. Accepted: one a file. Put it into a file of its own."
    )


class Window:
    """The part of the file that is looked at; ``at`` is the place that was reached in it."""

    def __init__(self, source: TextIO) -> None:
        self._source = source
        self.text = ""
        self.at = 0
        self.is_end = False
        self.doubtful = False
        """Whether damaged or halved characters may have been seen."""
        self.first_name = ""
        """What the last whole row began with: so does the next."""
        self._lines = self._columns = 0

    def more(self) -> bool:
        """Read on and forget what lies well before ``at``; False at the end of the file."""
        gone = max(0, self.at - BEFORE)
        newline = self.text.rfind("\n", 0, gone)
        self._columns = gone - newline - 1 if newline >= 0 else self._columns + gone
        self._lines += self.text.count("\n", 0, gone)
        chunk = self._source.read(max(CHUNK, len(self.text) - gone))
        seam = self.text[-5:] + chunk
        self.doubtful = self.doubtful or "\\ud" in seam or "\\uD" in seam or is_marked(chunk)
        self.text, self.at, self.is_end = self.text[gone:] + chunk, self.at - gone, not chunk
        return bool(chunk)

    def skip(self) -> str:
        """Go over white space and commas; the next character, or nothing at the end."""
        while True:
            found = BETWEEN.match(self.text, self.at)
            assert found is not None
            self.at = found.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def place(self) -> tuple[int, int]:
        """Line and column of ``at`` in the file, from 1."""
        newline = self.text.rfind("\n", 0, self.at)
        column = self.at - newline if newline >= 0 else self._columns + self.at + 1
        return self._lines + self.text.count("\n", 0, self.at) + 1, column

    def decode(self, decoder: json.JSONDecoder, ahead: int = 0) -> tuple[Any, int]:
        """The value ``ahead`` of ``at``, and how far ahead it ends; ValueError or RecursionError when it is broken."""
        while True:
            try:
                value, end = decoder.raw_decode(self.text, self.at + ahead)
            except json.JSONDecodeError as error:
                whole = error.pos < len(self.text) - 16 and not error.msg.startswith("Unterminated")
                if whole or len(self.text) - self.at > LONGEST or not self.more():
                    raise
                continue
            length = end - self.at
            if end < len(self.text) or isinstance(value, dict | list | str) or not self.more():
                return value, length

    def next_sign(self, ahead: int) -> tuple[str, int]:
        """The next character beyond white space, looked for ``ahead`` of ``at``, and how far ahead it is."""
        while True:
            found = WHITE.match(self.text, self.at + ahead)
            assert found is not None
            ahead = found.end() - self.at
            if found.end() < len(self.text) or not self.more():
                return self.text[self.at + ahead : self.at + ahead + 1], ahead


def records(file: Path, encoding: Encoding) -> Iterator[Record]:
    """The rows in the order of the file, ``number`` being their place in it. After a broken one the next is found."""
    names = Names()
    decoder = strict_decoder(names)
    number, inside, wrapped, torn, found_any = 0, False, False, False, False
    with open_text(file, encoding) as opened:
        window = Window(opened)
        while char := window.skip():
            if char in "]}" or (char == "[" and (not inside or _holds_rows(window, decoder))):
                inside = char == "[" or (char == "}" and inside)
                window.at += 1
                if wrapped and not inside:
                    wrapped = False
                    for found in _after_rows(window, decoder, number):
                        number = found.number
                        yield found
                continue
            if char == "{" and not found_any and not inside and (ahead := _rows_ahead(window, decoder)):
                window.at += ahead
                inside = wrapped = True
                continue
            number += 1
            record = _next(window, decoder, names, number, encoding)
            torn, found_any = record.row is None, found_any or char == "{"
            yield record
        if inside and not torn:
            yield Record(number + 1, None, Say.cut_off(line=window.place()[0]))


def _next(window: Window, decoder: json.JSONDecoder, names: Names, number: int, encoding: Encoding) -> Record:
    """The record at the window's place, which moves behind it."""
    try:
        value, length = window.decode(decoder)
    except (ValueError, RecursionError):
        return _broken(window, number, encoding)
    text = window.text[window.at : window.at + length] if window.doubtful or not isinstance(value, dict) else ""
    line, column = window.place() if text else (0, 0)
    window.at += length
    if not isinstance(value, dict):
        return not_object(number, value, text, line)
    window.first_name = next(iter(value), "")
    value, said = names.taken(value)
    return Record(number, value, said) if not text or _is_whole(value) else broken(number, text, line, column, encoding)


def _is_whole(row: dict[str, Any]) -> bool:
    """Whether no text of the row holds half a character."""
    try:
        orjson.dumps(row, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return False
    return True


def _broken(window: Window, number: int, encoding: Encoding) -> Record:
    """The record of a broken row; the window moves to where the next one begins."""
    line, column = window.place()
    while True:
        end = _end(window.text, window.at, window.first_name)
        if end < len(window.text) or end - window.at > LONGEST or not window.more():
            break
    end = min(end, len(window.text))  # at the end of the file the window has moved
    text = window.text[window.at : end]
    window.at = end
    return broken(number, text.rstrip(" \t\r\n,"), line, column, encoding)


def _end(text: str, at: int, first_name: str) -> int:
    """Where a broken row ends: its brackets say so, unless a row clearly begins before."""
    start = text.rfind("\n", 0, at) + 1
    indent = text[start:at] if not text[start:at].strip() else None
    named = FIRST_NAME.match(text, at)
    begins = [rf"\n{indent}(?=\{{)"] if indent is not None else []
    names = [re.escape(named[1])] if named else []
    names += [re.escape(json.dumps(name, ensure_ascii=False)) for name in [first_name] if name]
    begins += [rf"[,\s]\s*(?=\{{\s*{name}\s*:)" for name in names]
    begins += [r"[,=(:\s]\s*(?=[\[{])", r"\s*(?=\])"] if text[at] != "{" else []
    found = re.compile("|".join(begins)).search(text, at + 1) if begins else None
    closed = _closing(text, at, found.start() + 1 if found else len(text)) if text[at] == "{" else None
    if closed is not None:
        return closed
    return found.end() if found else len(text)


def _closing(text: str, at: int, limit: int) -> int | None:
    """Where the bracket at ``at`` is closed, or a bracket around it is, up to ``limit``."""
    token = TOKEN_SINGLE if re.match(r"\{\s*'", text[at : at + 100]) else TOKEN
    opened: list[str] = []
    for found in token.finditer(text, at, limit):
        sign = found[0]
        if sign in "{[":
            opened.append("}" if sign == "{" else "]")
        elif sign in "}]":
            if sign not in opened:
                return found.start()
            while opened.pop() != sign:
                pass
            if not opened:
                return found.end()
    return None


def _rows_ahead(window: Window, decoder: json.JSONDecoder) -> int:
    """How far ahead the rows begin when the object here holds a list of them; 0 when it is a row itself."""
    ahead = 1
    while True:
        sign, ahead = window.next_sign(ahead)
        if sign == ",":
            ahead += 1
            continue
        if sign != '"':
            return _damaged_head(window, decoder)
        try:
            name, ahead = window.decode(decoder, ahead)
            sign, ahead = window.next_sign(ahead)
            if sign != ":":
                return _damaged_head(window, decoder)
            sign, ahead = window.next_sign(ahead + 1)
            if sign == "[" and name not in TALK:
                sign, first = window.next_sign(ahead + 1)
                if sign == "{" and _begins_row(window, decoder, first):
                    return ahead + 1
            _, ahead = window.decode(decoder, ahead)
        except (ValueError, RecursionError):
            return _damaged_head(window, decoder)


def _damaged_head(window: Window, decoder: json.JSONDecoder) -> int:
    """The same where something is wrong with the name of the list, which is no reason to lose the rows."""
    found = DAMAGED_HEAD.match(window.text, window.at)
    if found is None or any(name in found[0] for name in TALK):
        return 0
    ahead = found.end() - window.at
    return ahead if _begins_row(window, decoder, ahead) else 0


def _holds_rows(window: Window, decoder: json.JSONDecoder) -> bool:
    """Whether the list here, inside the list of rows, is rows after a bracket too many rather than a row's messages."""
    sign, ahead = window.next_sign(1)
    return sign == "{" and _begins_row(window, decoder, ahead)


def _begins_row(window: Window, decoder: json.JSONDecoder, ahead: int) -> bool:
    """Whether the object there looks like a row rather than like a message; a broken one does."""
    try:
        first, _ = window.decode(decoder, ahead)
    except (ValueError, RecursionError):
        return True
    return not {"role", "from"} & set(first)


def _after_rows(window: Window, decoder: json.JSONDecoder, number: int) -> Iterator[Record]:
    """What an object holds after its list of rows: another such list is not read, which is said."""
    while window.skip() == '"':
        line, _ = window.place()
        try:
            name, length = window.decode(decoder)
            sign, ahead = window.next_sign(length)
            _, ahead = window.next_sign(ahead + (sign == ":"))
            value, ahead = window.decode(decoder, ahead)
        except (ValueError, RecursionError):
            return
        if isinstance(value, list) and value and isinstance(value[0], dict):
            number += 1
            yield Record(
                number, None, Say.second_list(line=line, name=name), window.text[window.at : window.at + SHOWN]
            )
        window.at += ahead
    if window.skip() == "}":
        window.at += 1
