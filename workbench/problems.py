"""What a person can mend: which field, what was given, what is accepted, what to do. Knows no field by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.text import Message

Cause = Literal["", "memory", "disk", "driver"]
"""What ended a run, where somebody may know what would help."""


@dataclass(frozen=True)
class Problem:
    """One thing to mend. ``key`` is the flat key of the field it belongs to, or None for the whole."""

    message: Message
    key: str | None = None

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else str(self.message)


class UserError(Exception):
    """Something that the person can mend. Carries every problem found, not only the first."""

    def __init__(self, *problems: Problem | Message, key: str | None = None, cause: Cause = "") -> None:
        self.cause: Cause = cause
        self.problems: Sequence[Problem] = [p if isinstance(p, Problem) else Problem(p, key) for p in problems]
        super().__init__("\n".join(str(p) for p in self.problems))


def first_line(error: Exception) -> str:
    """The first line of what an error says, shortened; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
