"""What can be wrong with a dataset: one file is one check. Knows samples and rows, no files and no page.

To add one, write ``checks/x.py`` with the members of ``Check``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from workbench.formats import Row, Sample, Turn
from workbench.text import Message, Text

Weight = Literal["error", "warning", "hint"]
"""error: the row can't be learned from or does harm; warning: it probably does; hint: a person should look."""
Part = Literal["train", "validation"]

KEY_BITS = (1 << 60) - 1
"""Integers of 60 bits take the least memory of those that hardly ever meet by chance."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One row as a check looks at it. The rows of validation sets come first; nothing is said of them."""

    number: int
    row: Row
    sample: Sample
    part: Part
    asked: str
    """The last question."""
    answer: str
    """The last answer: of a pair the better one; of running text nothing."""
    before: str
    """All that stands before the last answer."""
    text: str
    """Every word of the sample."""


def look_at(number: int, row: Row, sample: Sample, part: Part = "train") -> Seen:
    """The row with its words laid out, which is done once for all checks."""
    if sample.text is not None:
        return Seen(number, row, sample, part, "", "", "", sample.text)
    turns, last = sample.turns, len(sample.turns)
    if sample.chosen:
        answer = sample.chosen[-1].content
        rest = [*(_words(turn) for turn in sample.chosen), *(_words(turn) for turn in sample.rejected)]
    else:
        while last and turns[last - 1].role != "assistant":
            last -= 1
        last -= 1
        answer = turns[last].content if last >= 0 else ""
        rest = [_words(turn) for turn in turns[last:]] if last >= 0 else []
    before = "\n".join([_words(turn) for turn in turns[: max(0, last)]])
    asked = next((turn.content for turn in reversed(turns[: max(0, last)]) if turn.role == "user"), "")
    return Seen(number, row, sample, part, asked, answer, before, "\n".join([before, *rest]))


def _words(turn: Turn) -> str:
    if not (turn.reasoning or turn.tool_calls):
        return turn.content
    calls = [f"{call.name} {call.arguments}" for call in turn.tool_calls]
    return "\n".join(part for part in (turn.reasoning, turn.content, *calls) if part)


def changed(row: Row, change: Callable[[str], str]) -> Row | None:
    """The row with every text in it changed, however deep it stands; None when that changes nothing."""
    new: Row = {key: _deep(value, change) for key, value in row.items()}
    return None if new == row else new


def _deep(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_deep(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _deep(item, change) for key, item in value.items()}
    return value


def around(text: str, start: int, end: int, width: int = 200) -> str:
    """The place in the text with some words on both sides, in one line."""
    room = max(0, width - (end - start)) // 2
    return " ".join(text[max(0, start - room) : end + room].split())[:width]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check says of one row; row 0 stands for the whole set."""

    number: int
    reason: Message
    weight: Weight = "warning"
    mend: Row | None = None
    """The row put right; None when only a person can tell how."""
    remove: bool = False
    """Proposes to leave the row out."""
    changes: str = ""
    """The place in words or text that the reason is about, at most 200 characters."""


@dataclass(frozen=True)
class Context:
    """What checks may ask about: how long a sample is for the chosen model, and where it would be cut."""

    cutoff_len: int = 0
    num_tokens: Callable[[Sample], int | Message] | None = None
    """Tokens of a sample under the chosen model and template, or why the template has no place for it; None when no
    model is chosen."""
    special_words: frozenset[str] = frozenset()
    """Texts that are special tokens of the chosen model or of well-known ones."""


class Look(Protocol):
    """One check at work on one set. It may remember little things of each row, never the row.

    A row that is being mended comes again under its number, so a row must not be compared with itself.
    """

    def row(self, seen: Seen) -> Iterator[Finding]:
        """What is wrong with the next row."""

    def end(self) -> Iterator[Finding]:
        """What can be told only at the end."""


class Check(Protocol):
    """The members of a check's module."""

    TITLE: Text
    """What it looks for, in a few words."""

    def begin(self, context: Context) -> Look:
        """A new look at a set."""
