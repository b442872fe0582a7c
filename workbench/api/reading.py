"""An answer that grows, taken apart into thought, words and calls. Knows no HTTP and no engine.

What may be the beginning of a mark is held back until it is clear; what turns out to be none is shown as it stands.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workbench.api.shapes import Call, CallShape, Found, NoCall, Tools

BETWEEN = " \t\r\n;,"
"""What stands between calls."""
THINK, THOUGHT = "<think>", "</think>"


@dataclass(frozen=True)
class Words:
    """A part of what is said."""

    text: str


@dataclass(frozen=True)
class Thought:
    """A part of what is thought before it."""

    text: str


Part = Words | Thought | Call


class Reader:
    """Takes one answer apart. ``opened``: the prompt has begun a thought already; ``one``: the first call is enough."""

    def __init__(
        self, shapes: Sequence[CallShape] = (), tools: Tools = (), opened: bool = False, one: bool = False
    ) -> None:
        self._thoughts = _Thoughts(opened)
        self._calls = _Calls(shapes, tools, one)

    @property
    def called(self) -> bool:
        """Whether a call was read."""
        return self._calls.count > 0

    def add(self, text: str, ended: bool = False) -> list[Part]:
        """The parts that are clear after ``text`` has come; all that is left when nothing more comes."""
        thought, said = self._thoughts.split(text, ended)
        return [*([Thought(thought)] if thought else []), *self._calls.read(said, ended)]


class _Thoughts:
    """Thought and answer apart, without the line ends between them."""

    def __init__(self, opened: bool) -> None:
        self._state = "thinking" if opened else "beginning"
        self._held = ""
        self._begun = False

    def split(self, text: str, ended: bool) -> tuple[str, str]:
        """What of the thought and of the answer is clear now."""
        self._held += text
        if self._state == "beginning":
            self._begin(ended)
        thought = self._think(ended) if self._state == "thinking" else ""
        if self._state == "thought":
            self._held = self._held.lstrip("\n")
            self._state = "saying" if self._held else "thought"
        if self._state != "saying":
            return thought, ""
        said, self._held = self._held, ""
        return thought, said

    def _begin(self, ended: bool) -> None:
        words = self._held.lstrip()
        if words.startswith(THINK):
            self._state, self._held = "thinking", words.removeprefix(THINK)
        elif ended or not THINK.startswith(words):
            self._state = "saying"

    def _think(self, ended: bool) -> str:
        if not self._begun:
            self._held = self._held.lstrip("\n")
        end = self._held.find(THOUGHT)
        if end >= 0:
            thought, self._held = self._held[:end].rstrip("\n"), self._held[end + len(THOUGHT) :]
            self._state = "thought"
        else:
            clear = len(self._held) if ended else len(self._held) - _beginning(self._held, [THOUGHT])
            thought = self._held[:clear] if ended else self._held[:clear].rstrip("\n")
            self._held = self._held[len(thought) :]
        self._begun |= bool(thought)
        return thought


class _Calls:
    """Words and calls apart, without the white space between them."""

    def __init__(self, shapes: Sequence[CallShape], tools: Tools, one: bool) -> None:
        self.count = 0
        self._tools, self._one = tools, one
        self._marks = [(mark, shape) for shape in shapes for mark in shape.marks(tools)] if tools else []
        self._held = ""
        self._after = False
        """Nothing has been said since the last call."""

    def read(self, text: str, ended: bool) -> Iterator[Words | Call]:
        """What is clear now."""
        if not self._marks:
            yield from _words(text)
            return
        self._held = (self._held + text).lstrip(BETWEEN) if self._after else self._held + text
        start = 0
        while not (self._one and self.count) and (found := self._next(start)):
            at, shape = found
            try:
                calls = shape.read(self._held[at:], self._tools, ended)
            except NoCall:
                start = at + 1
                continue
            yield from self._shown(at)
            if calls is None:
                return
            yield from self._take(calls)
            start = 0
        yield from self._rest(start, ended)

    def _next(self, start: int) -> tuple[int, CallShape] | None:
        """Where the next call may begin, by a whole mark."""
        places = [(at, shape) for mark, shape in self._marks if (at := self._held.find(mark, start)) >= 0]
        return min(places, key=lambda place: place[0], default=None)

    def _take(self, found: Found) -> Iterator[Call]:
        self._held, self._after = self._held.lstrip()[found.length :].lstrip(BETWEEN), True
        calls = found.calls[:1] if self._one else found.calls
        self.count += len(calls)
        yield from calls

    def _rest(self, start: int, ended: bool) -> Iterator[Words]:
        if self._one and self.count:
            self._held = ""
        elif ended:
            yield from _words(self._held.rstrip() if self.count else self._held)
            self._held = ""
        else:
            yield from self._shown(max(start, len(self._held) - _beginning(self._held, [mark for mark, _ in self._marks])))

    def _shown(self, end: int) -> Iterator[Words]:
        """The words up to a place; white space before it stays, since a call may follow."""
        words = self._held[:end].rstrip()
        self._held = self._held[len(words) :]
        self._after &= not words
        yield from _words(words)


def _words(text: str) -> Iterator[Words]:
    if text:
        yield Words(text)


def _beginning(text: str, marks: Sequence[str]) -> int:
    """Characters at the end that may be the beginning of a mark."""
    longest = max(len(mark) for mark in marks) - 1
    sizes = range(min(longest, len(text)), 0, -1)
    return next((size for size in sizes if any(mark.startswith(text[-size:]) for mark in marks)), 0)
