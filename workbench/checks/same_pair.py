"""Pairs whose better and worse answer are one: nothing can be learned from them. Knows no file."""

from collections.abc import Iterator, Sequence

from workbench.checks import Context, Finding, Look, Seen
from workbench.formats import Turn
from workbench.text import Text


class Say:
    title = Text("Pairs without a difference")
    same = Text("The better and the worse answer are the same, so the pair teaches nothing. Leave it out.")


TITLE = Say.title


def begin(context: Context) -> Look:
    return SamePair()


class SamePair:
    """Remembers nothing."""

    def row(self, seen: Seen) -> Iterator[Finding]:
        sample = seen.sample
        if sample.chosen and _said(sample.chosen) == _said(sample.rejected):
            yield Finding(seen.number, Say.same(), "error", remove=True, changes=seen.answer[:200])

    def end(self) -> Iterator[Finding]:
        yield from ()


def _said(turns: Sequence[Turn]) -> list[object]:
    return [(turn.role, turn.content.strip(), turn.reasoning.strip(), list(turn.tool_calls)) for turn in turns]
