"""What is said of a place in a JSON file where no row can be read, and the row that was probably meant."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from workbench.encodings import Encoding, bad_byte, is_marked, unmarked
from workbench.fields import plain
from workbench.tables import SHOWN, Record
from workbench.tables.json import tolerant
from workbench.tables.json.doubles import Names
from workbench.text import Message, Text, verbatim


class Say:
    broken = Text("line {line}, column {column}: {reason} Accepted: a JSON object for each row. Mend that place.")
    not_object = Text("line {line}: it is {given}, not a JSON object. Accepted: an object with columns. Mend that row.")
    half = Text("line {line}: a \\u escape stands for half a character. Accepted: whole characters. Mend that text.")
    not_finite = Text("line {line}: a number is too large. Accepted: finite numbers. Mend that number.")
    value = Text("A value is missing or none of JSON.")
    name = Text("A name in double quotes is missing.")
    comma = Text("A comma or a closing bracket is missing.")
    colon = Text("A colon is missing.")
    extra = Text("Something stands behind the end of the object.")
    deep = Text("Brackets are nested too deeply.")
    list_of = Text("a list")
    text_of = Text("the text '{text}'")


REASONS: Mapping[str, Text] = {
    "Expecting value": Say.value,
    "Expecting property name": Say.name,
    "Illegal trailing comma": Say.name,
    "Expecting ','": Say.comma,
    "Expecting ':'": Say.colon,
    "Unterminated": tolerant.Say.unclosed,
    "Invalid control": tolerant.Say.control,
    "Invalid \\": tolerant.Say.bad_escape,
    "Extra data": Say.extra,
}
"""What Python's parser says begins like this."""
CONSTANT = re.compile(r"-?\b(?:NaN|Infinity)\b")


def strict_decoder(names: Names | None = None) -> json.JSONDecoder:
    """A decoder that refuses numbers that aren't finite, with a ValueError; ``names`` watches for those that stand twice."""
    pairs = names.pairs if names else None
    return json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, object_pairs_hook=pairs)


def _refuse(word: str) -> None:
    raise ValueError(word)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits)
    return number


def broken(number: int, text: str, line: int, column: int, encoding: Encoding) -> Record:
    """The record of a place that begins at ``line`` and ``column``: what is wrong there, and what was meant."""
    clean = unmarked(text) if is_marked(text) else text
    shown = clean.strip()[:SHOWN]
    if clean is not text:
        return Record(number, None, bad_byte(text, line, encoding), shown, meant(clean))
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return _unparsed(number, text, _at(text, error.pos, line, column), error, shown)
    except ValueError:  # a number of thousands of digits
        return Record(number, None, Say.not_finite(line=line), shown)
    except RecursionError:
        return Record(number, None, Say.broken(line=line, column=column, reason=Say.deep()), shown)
    if not isinstance(value, dict):
        mend = meant(value) if isinstance(value, str) else None
        return Record(number, None, Say.not_object(line=line, given=_given(value)), shown, mend)
    whole = whole_value(value)
    if repr(whole) == repr(value):
        return Record(number, value)
    mend, slips = _meant(text)
    if slips:
        found = CONSTANT.search(text)
        line, column = _at(text, found.start() if found else 0, line, column)
        return Record(number, None, Say.broken(line=line, column=column, reason=slips[0]), shown, mend)
    say = Say.half if _has_half(value) else Say.not_finite
    return Record(number, None, say(line=line), shown, whole)


def not_object(number: int, value: Any, text: str, line: int) -> Record:
    """The record of a value that is no row."""
    mend = meant(value) if isinstance(value, str) else None
    return Record(number, None, Say.not_object(line=line, given=_given(value)), text[:SHOWN], mend)


def meant(text: str) -> dict[str, Any] | None:
    """The row that a text probably stands for."""
    return _meant(text)[0]


def whole_value(value: Any) -> Any:
    """The value without half characters and without numbers that aren't finite."""
    if isinstance(value, str):
        return unmarked(value) if is_marked(value) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [whole_value(item) for item in value]
    if isinstance(value, dict):
        return {whole_value(name): whole_value(item) for name, item in value.items()}
    return value


def _has_half(value: Any) -> bool:
    return is_marked(json.dumps(value, ensure_ascii=False))


def _meant(text: str) -> tuple[dict[str, Any] | None, list[Message]]:
    if "{" not in text:
        return None, []
    try:
        value, slips = tolerant.parse(text)
    except ValueError:
        return None, []
    return (whole_value(value), slips) if isinstance(value, dict) and value else (None, slips)


def _unparsed(number: int, text: str, place: tuple[int, int], error: json.JSONDecodeError, shown: str) -> Record:
    mend, slips = _meant(text)
    reason = next((said for start, said in REASONS.items() if error.msg.startswith(start)), Say.value)()
    said = Say.broken(line=place[0], column=place[1], reason=slips[0] if slips and mend else reason)
    return Record(number, None, said, shown, mend)


def _at(text: str, at: int, line: int, column: int) -> tuple[int, int]:
    """Line and column in the file of a place in a text that begins at ``line`` and ``column``."""
    newlines = text.count("\n", 0, at)
    return line + newlines, at - text.rfind("\n", 0, at) + (0 if newlines else column - 1)


def _given(value: Any) -> Message:
    if isinstance(value, str):
        return Say.text_of(text=plain(value))
    return Say.list_of() if isinstance(value, list) else verbatim(plain(value) or "null")
