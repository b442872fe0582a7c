"""The values of a JSON text under their paths, in a form that can be compared. Knows no schema."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from workbench.likeness.words import one_line

START = re.compile(r"[{\[]")
NUMBER = re.compile(r"[+-]?(?:0|[1-9]\d*|[1-9]\d{0,2}(?:,\d{3})+)(?:\.\d+)?")
"""Leading zeros make it a name, such as a telephone number."""
MOST_STARTS = 50
UNREADABLE = (ValueError, RecursionError)

Field = tuple[str, object]


def read(text: str) -> Any:
    """The object or list that the text is; None where it is anything else, or no JSON."""
    try:
        value = json.loads(text, parse_constant=_no_number)
    except UNREADABLE:
        return None
    return value if isinstance(value, dict | list) else None


def find(text: str, like: Any) -> Any:
    """The first object, or list, as ``like`` is one, with or without words and a fence around it; None where there
    is none."""
    value = read(text)
    if type(value) is type(like):
        return value
    decoder = json.JSONDecoder(parse_constant=_no_number)
    for found, _ in zip(START.finditer(text), range(MOST_STARTS), strict=False):
        with suppress(*UNREADABLE):
            value, _end = decoder.raw_decode(text, found.start())
            if type(value) is type(like):
                return value
    return None


def _no_number(name: str) -> Any:
    raise ValueError(name)


def fields(value: Any) -> Counter[Field]:
    """Every value with its path, and how often. The order of a list does not count; an empty one is a value itself."""
    return Counter(_fields(value, ""))


def _fields(value: Any, path: str) -> Iterator[Field]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _fields(inner, f"{path}.{one_line(key)}")
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _fields(inner, f"{path}[]")
    else:
        yield path, comparable(value)


def comparable(value: Any) -> object:
    """Equal for values that say the same: 2 and 2.0 and "2", "1,200" and 1200, texts but for spaces and width."""
    if isinstance(value, bool) or value is None or isinstance(value, dict | list):
        return json.dumps(value), type(value).__name__
    text = str(value) if isinstance(value, int | float) else one_line(unicodedata.normalize("NFKC", value))
    if isinstance(value, int | float) or NUMBER.fullmatch(text):
        with suppress(InvalidOperation):
            return Decimal(text.replace(",", ""))
    return text


def fields_f1(answer: Any, reference: Any) -> float:
    """Twice the shared fields over all fields of both, from 0 to 1."""
    ours, theirs = fields(answer), fields(reference)
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def mostly(texts: Sequence[str]) -> bool:
    """Whether more than half of the texts are JSON objects or lists."""
    return sum(read(text) is not None for text in texts) * 2 > len(texts)
