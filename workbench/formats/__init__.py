"""How a dataset is written: one file is one format. Knows rows, no files, no templates and no models.

To add one, write ``formats/x.py`` with the members of ``Format``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from workbench.text import Message

Role = Literal["system", "user", "assistant", "tool"]
Shape = Literal["dialogue", "preference", "label", "text"]
"""What a sample can teach: answers, the better of two answers, answers marked good or bad, or running text."""
Row = Mapping[str, Any]
COLUMN_NAMES = (
    "prompt", "query", "response", "history", "system", "tools", "messages", "chosen", "rejected", "kto_tag", "text",
    "completion", "reasoning", "images", "videos", "audios",
)  # fmt: skip
"""Our names for columns, as ``columns`` of dataset_info.json takes them."""
TAG_NAMES = (
    "role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag"
)  # fmt: skip
"""Our names for the keys and roles of messages, as ``tags`` of dataset_info.json takes them."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One function that the assistant calls."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: Role
    content: str
    reasoning: str = ""
    """What the assistant thought before it answered."""
    tool_calls: Sequence[ToolCall] = ()
    weight: float = 1.0
    """How much an answer counts in the loss; 0: it is read and not learned."""

    def message(self) -> dict[str, Any]:
        """As chat templates take it: the standard keys, those of thoughts and calls only where there are some."""
        said: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.reasoning:
            said["reasoning_content"] = self.reasoning
        if self.tool_calls:
            said["tool_calls"] = [
                {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
                for call in self.tool_calls
            ]
        return said


@dataclass(frozen=True, slots=True)
class Sample:
    """What one row teaches.

    dialogue: ``turns`` is a whole conversation that ends with an answer. preference: ``turns`` is the conversation up
    to the question, ``chosen`` and ``rejected`` are what may follow. label: a whole conversation whose last answer is
    good or bad by ``label``. text: ``text`` alone.
    """

    turns: Sequence[Turn] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    """JSON schemas of the functions on offer, in the form ``{"type": "function", "function": {...}}``."""
    chosen: Sequence[Turn] = ()
    rejected: Sequence[Turn] = ()
    label: bool | None = None
    text: str | None = None

    @property
    def shape(self) -> Shape:
        if self.text is not None:
            return "text"
        if self.chosen:
            return "preference"
        return "dialogue" if self.label is None else "label"

    def messages(self) -> list[dict[str, Any]]:
        """The conversation as chat templates take it."""
        return [turn.message() for turn in self.turns]


@dataclass(frozen=True)
class Fault:
    """Why a row can't be read as it stands, and the row as it could be."""

    reason: Message
    mend: Row | None = None
    """The whole row put right; None when only a person can tell how."""
    safe: bool = False
    """The mend changes nothing of what is taught (a number for its digits, a role by another name): reading applies it
    and says so. An unsafe one is only proposed, and the row is left out until somebody accepts it."""


@dataclass(frozen=True)
class Layout:
    """How the columns and roles of one set are called, as its entry in dataset_info.json says."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Our name for a column to the file's."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Our name for a key or role of a message to the file's."""
    ranking: bool = False
    """The rows hold a better and a worse answer."""


class Format(Protocol):
    """The members of a format's module."""

    COLUMNS: Mapping[str, str]
    """The columns it can read and what they are called unless dataset_info.json says otherwise."""
    TAGS: Mapping[str, str]
    """The keys and roles of messages likewise; empty for a format without messages."""
    EXAMPLE: Row
    """A row of this format and of no other."""

    def matches(self, columns: Sequence[str]) -> bool:
        """Whether a file with these columns is of this format when nobody says what it is."""

    def sample(self, row: Row, layout: Layout) -> Sample | Fault:
        """The row as a sample, or why it is none. Every name of COLUMNS and TAGS is in the layout."""
