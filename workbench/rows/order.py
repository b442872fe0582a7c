"""Who may speak when: the one place that says which orders of turns can be learned. Knows roles, no texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.formats import Role

Part = Literal["whole", "question", "answer"]
"""A whole conversation, one up to the question, or what follows a question."""

FOLLOWS: Mapping[Role, Sequence[Role]] = {
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("tool", "assistant"),
}
"""Who may speak after whom. A call may stay without a result, and a result may follow a call that is plain text."""
FIRST: Mapping[Part, Role] = {"whole": "user", "question": "user", "answer": "assistant"}
LAST: Mapping[Part, Sequence[Role]] = {"whole": ("assistant",), "question": ("user", "tool"), "answer": ("assistant",)}


@dataclass(frozen=True, slots=True)
class Misplaced:
    """The first turn that can't stand where it stands."""

    kind: Literal["empty", "system", "first", "twice", "follows", "last"]
    at: int


def misplaced(roles: Sequence[Role], part: Part = "whole") -> Misplaced | None:
    """What is wrong with the order of these roles; None when it can be learned. A system turn may lead the first two
    parts."""
    start = 1 if roles and roles[0] == "system" and part != "answer" else 0
    if len(roles) == start:
        return Misplaced("empty", start)
    before = roles[start]
    if before != FIRST[part]:
        return Misplaced("system" if before == "system" else "first", start)
    for at in range(start + 1, len(roles)):
        role = roles[at]
        if role not in FOLLOWS[before]:
            return Misplaced("system" if role == "system" else "twice" if role == before else "follows", at)
        before = role
    return None if before in LAST[part] else Misplaced("last", len(roles) - 1)
