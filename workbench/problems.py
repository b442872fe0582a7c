"""What a person can mend: which field, what was given, what is accepted, what to do. Knows no field by name."""

from collections.abc import Sequence
from dataclasses import dataclass

from workbench.text import Message


@dataclass(frozen=True)
class Problem:
    """One thing to mend. ``key`` is the flat key of the field it belongs to, or None for the whole."""

    message: Message
    key: str | None = None

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else str(self.message)


class UserError(Exception):
    """Something that the person can mend. Carries every problem found, not only the first."""

    def __init__(self, *problems: Problem | Message, key: str | None = None) -> None:
        self.problems: Sequence[Problem] = [p if isinstance(p, Problem) else Problem(p, key) for p in problems]
        super().__init__("\n".join(str(p) for p in self.problems))
