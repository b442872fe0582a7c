"""A JSON object with comments as text: one entry put in, renamed or taken out, every other byte as it was.

Knows no file and no dataset.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from workbench.data.datasets import COMMENT, without_comments

SPACE = re.compile(r"[ \t\r\n]*")
SURROGATE = re.compile("[\ud800-\udfff]")
BOM = "\ufeff"


@dataclass(frozen=True)
class Member:
    """Where one name with its value stands: the name from ``at`` to ``name_end``, the value from ``start`` to ``end``."""

    name: str
    at: int
    name_end: int
    start: int
    end: int


@dataclass(frozen=True)
class Entries:
    """The text of one JSON object. Each change gives a new text."""

    text: str

    @cached_property
    def _bare(self) -> str:
        bare = without_comments(self.text)
        return " " + bare[1:] if bare.startswith(BOM) else bare

    @cached_property
    def data(self) -> dict[str, Any]:
        """What it says. JSONDecodeError for a text that is no JSON, TypeError for JSON that is no object."""
        data = json.loads(self._bare)
        if not isinstance(data, dict):
            raise TypeError(type(data).__name__)
        return data

    @cached_property
    def members(self) -> list[Member]:
        """In their order; a name that stands twice is here twice."""
        assert self.data is not None, "checked to be an object"
        decoder, found = json.JSONDecoder(), []
        at = self._after_space(self._bare.index("{") + 1)
        while self._bare[at] != "}":
            name, name_end = decoder.raw_decode(self._bare, at)
            start = self._after_space(self._after_space(name_end) + 1)
            end = decoder.raw_decode(self._bare, start)[1]
            found.append(Member(name, at, name_end, start, end))
            at = self._after_space(end)
            if self._bare[at] == ",":
                at = self._after_space(at + 1)
        return found

    def doubles(self) -> list[str]:
        """The names that stand there more than once."""
        names = [member.name for member in self.members]
        return sorted({name for name in names if names.count(name) > 1})

    def put(self, name: str, value: Mapping[str, Any]) -> str:
        """With this value in place of the old one, or as the last entry."""
        old = self._find(name)
        if old:
            notes = [part.rstrip() for part in COMMENT.findall(self.text, old.start, old.end) if part[0] != '"']
            text = self.text[: old.start] + self._written(value, notes) + self.text[old.end :]
        else:
            text = self._appended(f"{_quoted(name)}: {self._written(value)}")
        return self._checked(text, {**self.data, name: value})

    def rename(self, old: str, new: str) -> str:
        """With another name at the same place."""
        member = self._find(old)
        assert member
        text = self.text[: member.at] + _quoted(new) + self.text[member.name_end :]
        return self._checked(text, {new if name == old else name: value for name, value in self.data.items()})

    def drop(self, name: str) -> str:
        """Without that entry; comments around it stay."""
        member = self._find(name)
        assert member
        place = self.members.index(member)
        head, tail = self.text[: member.at], self.text[member.end :]
        if place + 1 < len(self.members):
            comma = self._after_space(member.end)
            tail = (self.text[member.end : comma] + self.text[comma + 1 :]).lstrip(" \t\r\n")
        else:
            if place:
                comma = self._after_space(self.members[place - 1].end)
                head = head[:comma] + head[comma + 1 :]
            # A line comment before it still needs the end of its line.
            head = head.rstrip(" \t\r\n") if tail.lstrip(" \t\r")[0] == "\n" else head
        return self._checked(head + tail, {key: value for key, value in self.data.items() if key != name})

    def _find(self, name: str) -> Member | None:
        return next((member for member in self.members if member.name == name), None)

    def _after_space(self, at: int) -> int:
        found = SPACE.match(self._bare, at)
        assert found
        return found.end()

    @property
    def _newline(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"

    @cached_property
    def _indent(self) -> str | None:
        """What stands before each name on its line; None when the whole object stands on one line."""
        opening = self._bare.index("{") + 1
        if not self.members:
            return "  "
        line = self._bare[opening : self.members[0].at]
        return line.rpartition("\n")[2] if "\n" in line else None

    def _written(self, value: Mapping[str, Any], notes: list[str] | None = None) -> str:
        """The value as the file would write it, with the comments that stood in the old one."""
        indent = self._indent
        if indent is None and not notes:
            return _dumped(value, None)
        lines = _dumped(value, indent or "  ").split("\n")
        lines[1:1] = [(indent or "  ") + note for note in notes or []]
        return (self._newline + (indent or "")).join(lines)

    def _appended(self, entry: str) -> str:
        opening = self._bare.index("{") + 1
        end = self.members[-1].end if self.members else opening
        close = self._after_space(end)
        between, tail = self.text[end:close], self.text[close:]
        head = self.text[:end] + ("," if self.members else "") + between.rstrip(" \t\r\n")
        if self._indent is None and "\n" not in between:
            return f"{head} {entry}{tail}"
        space = between[len(between.rstrip(" \t\r\n")) :]
        last = space if "\n" in space else self._newline
        indent = "  " if self._indent is None else self._indent
        return f"{head}{self._newline}{indent}{entry}{last}{tail}"

    def _checked(self, text: str, wanted: Mapping[str, Any]) -> str:
        assert json.dumps(Entries(text).data) == json.dumps(wanted), "the text says something else than was meant"
        return text


def _quoted(name: str) -> str:
    return _dumped(name, None)


def _dumped(value: Any, indent: str | None) -> str:
    """JSON in which only halves of characters, which no file can hold, are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
