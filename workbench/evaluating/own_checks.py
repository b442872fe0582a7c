"""Checks that a person writes, one a line, each 0 or 1 for an answer. Knows no model and no form."""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial

from workbench.evaluating.patterns import LIMIT_S, compiled, found
from workbench.evaluating.schemas import read_schema
from workbench.likeness.words import one_line
from workbench.problems import Problem, UserError
from workbench.text import Message, Text

Verdict = Callable[[str, str], bool | None]
"""Of an answer and its reference; None where it can't be told."""

LINES = "contains TEXT, not_contains TEXT, equals TEXT, equals, regex PATTERN, number LOW..HIGH, json_schema {...}"
LONGEST_NAME = 60
MOST_CHECKS = 50
NUMBER = re.compile(r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?<!\w)(?=\.\d))(?:\.\d+)?(?:[eE][+-]?\d{1,3})?")
RANGE = re.compile(r"\s*(\S*?)\s*\.\.\s*(\S*)\s*")


class Say:
    unknown = Text("'{given}' is no check. Accepted: {known}. Begin the line with one of them.")
    empty = Text("'{check}' stands alone. Accepted: '{check}' and what it looks for, in one line. Add it.")
    no_range = Text("'{given}' is no range of numbers. Accepted: such as 1..10, 0.. or ..5. Write it so.")
    backwards = Text("The range {given} begins above its end. Accepted: the lower number first. Turn it round.")
    twice = Text("'{given}' stands there twice. Accepted: each check once. Take one out.")
    too_many = Text("{count} checks are given. Accepted: at most {most}. Take some out.")
    at_line = Text("Line {line}: {reason}")
    slow = Text(
        "'{check}' took longer than {seconds} s on {count} answers, which do not count for it. A simpler pattern helps."
    )


@dataclass(frozen=True)
class OwnCheck:
    """One line, ready to hold answers against."""

    name: str
    """The line itself, shortened, and no other check's."""
    holds: Verdict

    def score(self, answer: str, reference: str = "") -> float | None:
        """1 where the answer is as the line says, else 0; None where a pattern takes too long to tell."""
        held = self.holds(answer, reference)
        return None if held is None else float(held)

    def slow(self, count: int) -> Message:
        """What to say when so many answers could not be told."""
        return Say.slow(check=self.name, seconds=LIMIT_S, count=count)


def parse(lines: str | Sequence[str], key: str | None = None) -> list[OwnCheck]:
    """The checks of the lines; empty ones and those that begin with # are passed over. UserError with every mistake,
    for the field of that key."""
    checks, problems, seen = list[OwnCheck](), list[Problem](), set[str]()
    for number, given in enumerate(lines.splitlines() if isinstance(lines, str) else lines, 1):
        line = given.strip()
        if not line or line.startswith("#"):
            continue
        try:
            if line in seen:
                raise UserError(Say.twice(given=_short(line)))
            seen.add(line)
            checks.append(OwnCheck(_name(line, checks), check_of(line)))
        except UserError as error:
            problems += [Problem(Say.at_line(line=number, reason=one.message), key) for one in error.problems]
    if len(checks) > MOST_CHECKS:
        problems.append(Problem(Say.too_many(count=len(checks), most=MOST_CHECKS), key))
    if problems:
        raise UserError(*problems)
    return checks


def check_of(line: str) -> Verdict:
    """What one line says; UserError where that is nothing."""
    word, _, given = line.partition(" ")
    given = given.strip()
    if word not in KINDS:
        raise UserError(Say.unknown(given=_short(line), known=LINES))
    if not given and word != "equals":
        raise UserError(Say.empty(check=word))
    return KINDS[word](given)


def _contains(given: str) -> Verdict:
    wanted = folded(given)
    return lambda answer, reference: wanted in folded(answer)


def _not_contains(given: str) -> Verdict:
    unwanted = folded(given)
    return lambda answer, reference: unwanted not in folded(answer)


def _equals(given: str) -> Verdict:
    """The text given, or without one the set's own answer."""
    return lambda answer, reference: one_line(answer) == one_line(given or reference)


def _regex(given: str) -> Verdict:
    ready = compiled(given)
    return lambda answer, reference: found(ready, answer)


def _json_schema(given: str) -> Verdict:
    rules = read_schema(given)

    def holds(answer: str, reference: str) -> bool | None:
        with suppress(ValueError, RecursionError):
            return rules.hold(json.loads(answer, parse_constant=_no_number))
        return False

    return holds


def _no_number(name: str) -> float:
    raise ValueError(name)


def _number(given: str) -> Verdict:
    ends = RANGE.fullmatch(given)
    if not ends or not (ends[1] or ends[2]):
        raise UserError(Say.no_range(given=given))
    try:
        low, high = (Decimal(end) if end else None for end in ends.groups())
    except InvalidOperation as error:
        raise UserError(Say.no_range(given=given)) from error
    if any(end is not None and not end.is_finite() for end in (low, high)):
        raise UserError(Say.no_range(given=given))
    if low is not None and high is not None and low > high:
        raise UserError(Say.backwards(given=given))
    return partial(_within, low, high)


def _within(low: Decimal | None, high: Decimal | None, answer: str, reference: str) -> bool:
    number = first_number(answer)
    return number is not None and (low is None or number >= low) and (high is None or number <= high)


KINDS: Mapping[str, Callable[[str], Verdict]] = {
    "contains": _contains,
    "not_contains": _not_contains,
    "equals": _equals,
    "regex": _regex,
    "number": _number,
    "json_schema": _json_schema,
}


def folded(text: str) -> str:
    """The text without regard to case, width and white space."""
    return one_line(unicodedata.normalize("NFKC", text).casefold())


def first_number(text: str) -> Decimal | None:
    """The first number that the text says in digits: 1,200 and 1.5 and -3 and 2e3."""
    text = unicodedata.normalize("NFKC", text).replace("\u2212", "-")
    match = NUMBER.search(text)
    if match is None:
        return None
    before = text[: match.start()]
    negative = before.endswith("-") and not before[-2:-1].isalnum()  # 3-5 is a hyphen
    with suppress(InvalidOperation):
        return Decimal(match[0].replace(",", "")) * (-1 if negative else 1)
    return None


def _short(line: str) -> str:
    return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…"


def _name(line: str, others: Sequence[OwnCheck]) -> str:
    """The line as a name of its own."""
    taken = sum(one.name.partition(" #")[0] == _short(line) for one in others)
    return f"{_short(line)} #{taken + 1}" if taken else _short(line)
