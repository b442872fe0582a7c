"""Names that stand twice in one object, of which a parser takes the last without a word. Knows no file."""

import json
from collections.abc import Sequence
from typing import Any

from workbench.text import Message, Text


class Say:
    twice = Text("'{name}' stands in the row twice. Accepted: each name once. The last is read.")


class _Doubled(dict[str, Any]):
    """An object in which a name stands twice."""

    name = ""


class Names:
    """Watches the objects that a parser puts together."""

    def __init__(self) -> None:
        self._doubled = False

    def pairs(self, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        """For ``object_pairs_hook``: the object, marked where a name stands twice."""
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        self._doubled = True
        names = [name for name, _ in pairs]
        marked = _Doubled(found)
        marked.name = next(name for name in names if names.count(name) > 1)
        return marked

    def taken(self, row: dict[str, Any]) -> tuple[dict[str, Any], Message | None]:
        """The row without marks, and what is said of its first name that stands twice."""
        if not self._doubled:
            return row, None
        self._doubled = False
        try:
            place, plain = _place(row, ""), _plain(row)
        except RecursionError:
            return row, None
        return plain, None if place is None else Say.twice(name=place)


def twice(line: bytes | str, row: dict[str, Any]) -> Message | None:
    """What is said of a name that stands twice in a line of JSON that was read as ``row``.

    The line is parsed again only where it shows another number of names than the row has.
    """
    text = line if isinstance(line, bytes) else line.encode("utf-8", "surrogatepass")
    names = Names()
    try:
        if text.count(b'":') - text.count(b'\\":') == _num_names(row):
            return None
        found = json.loads(text, object_pairs_hook=names.pairs)
    except (ValueError, RecursionError):
        return None
    return names.taken(found)[1]


def _num_names(value: dict[str, Any] | list[Any]) -> int:
    """How many names all its objects have together. The types are asked for as is quickest: every row comes by here."""
    count, inner = (len(value), value.values()) if type(value) is dict else (0, value)
    for one in inner:
        if type(one) is dict or type(one) is list:
            count += _num_names(one)
    return count


def _place(value: Any, place: str) -> str | None:
    """Where the first such name stands, as ``messages[2].content``."""
    if isinstance(value, _Doubled):
        return f"{place}.{value.name}".lstrip(".")
    if isinstance(value, dict):
        return next((at for name, one in value.items() if (at := _place(one, f"{place}.{name}")) is not None), None)
    if isinstance(value, list):
        inside = ((one, f"{place}[{number}]") for number, one in enumerate(value, 1))
        return next((at for one, where in inside if (at := _place(one, where)) is not None), None)
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
