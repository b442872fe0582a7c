"""How a dataset is written: one file is one format. Knows rows, no files, no templates and no models.

To add one, write ``formats/x.py`` with the members of ``Format``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from workbench.text import Message

Role = Literal["system", "user", "assistant"]
Row = Mapping[str, Any]
Columns = Mapping[str, str]
"""What the columns of a file are called: our name to the file's, as ``columns`` of dataset_info.json says it."""


@dataclass(frozen=True)
class Turn:
    """One message of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Sample:
    """One conversation to learn from: an optional system turn, then user and assistant in turns, an answer last."""

    turns: Sequence[Turn]

    def messages(self) -> list[dict[str, str]]:
        """As chat templates take it."""
        return [{"role": turn.role, "content": turn.content} for turn in self.turns]


@dataclass(frozen=True)
class Excluded:
    """A row that can't be learned from, and why."""

    reason: Message


class Format(Protocol):
    """The members of a format's module."""

    COLUMNS: Columns
    """The columns it reads and what they are called unless dataset_info.json says otherwise."""
    EXAMPLE: Row
    """A row of this format and of no other."""

    def matches(self, columns: Sequence[str]) -> bool:
        """Whether a file with these columns is of this format."""

    def sample(self, row: Row, columns: Columns) -> Sample | Excluded:
        """The row as a sample, or why it is none."""
