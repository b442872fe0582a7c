"""Answers that say nothing: white space, or the word that a table wrote for a missing value. Knows no file."""

from collections.abc import Iterator

from workbench.checks import Context, Finding, Look, Seen
from workbench.fields import plain
from workbench.formats import Turn
from workbench.text import Text

MISSING = frozenset(["n/a", "#n/a", "na", "nan", "null", "nil", "<na>", "undefined", "...", "…", "……", "。。。", "--"])
"""What tables and scripts write where a value is missing."""
PERHAPS = frozenset(["none", "none.", "无", "todo", "tbd", "待补充"])
"""Words that may also be a right answer."""
LONGEST = 40


class Say:
    title = Text("Empty answers")
    nothing = Text("An answer is only white space. Write it, or leave the row out.")
    missing = Text("The answer is '{given}', as tables write for a missing value. Write it, or leave the row out.")
    perhaps = Text("The answer is only '{given}'. Look whether it is meant.")


TITLE = Say.title


def begin(context: Context) -> Look:
    return EmptyAnswer()


class EmptyAnswer:
    """Remembers nothing."""

    def row(self, seen: Seen) -> Iterator[Finding]:
        sample = seen.sample
        for turn in (*sample.turns, *sample.chosen, *sample.rejected):
            if turn.role != "assistant" or len(turn.content) > LONGEST or turn.tool_calls or not turn.weight:
                continue
            found = _finding(seen.number, turn)
            if found:
                yield found
                return

    def end(self) -> Iterator[Finding]:
        yield from ()


def _finding(number: int, turn: Turn) -> Finding | None:
    words = turn.content.strip().casefold()
    if not words:
        return Finding(number, Say.nothing(), "error", remove=True)
    if words in MISSING:
        return Finding(number, Say.missing(given=plain(words)), remove=True, changes=turn.content.strip())
    if words in PERHAPS:
        return Finding(number, Say.perhaps(given=plain(words)), "hint", changes=turn.content.strip())
    return None
