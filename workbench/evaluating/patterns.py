"""Regular expressions that a person wrote, bounded in time and memory. Knows nothing of what they look for."""

import re
import warnings
from typing import Any

import regex

from workbench.problems import UserError
from workbench.text import Text

LIMIT_S = 0.2
MOST_CHARACTERS = 1_000
MOST_COPIES = 10_000
"""A group that is to be found so often is copied that often when the pattern is made ready, and groups in groups
multiply: three nested counts of 1,000 fill any memory."""
COUNT = re.compile(r"\{(\d*)(?:,(\d*))?\}")


class Say:
    wrong = Text("The pattern '{given}' can't be read: {reason}. Accepted: a regular expression, as Python's. Mend it.")
    long = Text("The pattern has {count} characters. Accepted: at most {most}. Make it shorter.")
    heavy = Text(
        "The pattern '{given}' repeats parts {count} times in all. Accepted: at most {most}. Use smaller counts, + or *."
    )


def compiled(pattern: str) -> Any:
    """The pattern ready for ``found``; UserError where it can't be used."""
    if len(pattern) > MOST_CHARACTERS:
        raise UserError(Say.long(count=len(pattern), most=MOST_CHARACTERS))
    if (count := copies(pattern)) > MOST_COPIES:
        raise UserError(Say.heavy(given=pattern, count=count, most=MOST_COPIES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return regex.compile(pattern)
        except (regex.error, ValueError, OverflowError, RecursionError) as error:
            raise UserError(Say.wrong(given=pattern, reason=str(error))) from error


def found(ready: Any, text: str) -> bool | None:
    """Whether the text holds a match; None where looking took longer than a fifth of a second."""
    try:
        return ready.search(text, timeout=LIMIT_S) is not None
    except TimeoutError:
        return None


def copies(pattern: str) -> int:
    """The size of the pattern with every counted repeat written out, each in those around it."""
    sizes, last, place = [0], 0, 0
    while place < len(pattern):
        letter, count = pattern[place], COUNT.match(pattern, place)
        if count:
            times = max((int(number) for number in count.groups() if number), default=1)
            sizes[-1] += last * max(0, times - 1)
            last *= times
        elif letter == "(":
            sizes.append(0)
        elif letter == ")" and len(sizes) > 1:
            last = sizes.pop() + 1
            sizes[-1] += last
        elif letter not in "*+?|":
            sizes[-1] += 1
            last = 1
        place = count.end() if count else _after(pattern, place)
    return sum(sizes)


def _after(pattern: str, place: int) -> int:
    """Where the next part begins: after an escape or a set of characters as a whole."""
    if pattern[place] == "\\":
        return place + 2
    if pattern[place] != "[":
        return place + 1
    place += 3 if pattern[place + 1 : place + 2] == "^" else 2
    while place < len(pattern) and pattern[place] != "]":
        place += 2 if pattern[place] == "\\" else 1
    return place + 1
