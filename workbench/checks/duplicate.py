"""The same sample more than once: it counts as often in training. Knows a row only by a number made of it."""

from collections.abc import Iterator

from workbench.checks import KEY_BITS, Context, Finding, Look, Seen
from workbench.text import Text


class Say:
    title = Text("Duplicates")
    same = Text("It is the same as row {first}, so it would count twice. Leave one of them out.")


TITLE = Say.title


def begin(context: Context) -> Look:
    return Duplicate()


class Duplicate:
    """Remembers where each sample stood first."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}

    def row(self, seen: Seen) -> Iterator[Finding]:
        if seen.part == "train":
            first = self._first.setdefault(exact_key(seen), seen.number)
            if first != seen.number:
                yield Finding(seen.number, Say.same(first=first), remove=True)

    def end(self) -> Iterator[Finding]:
        yield from ()


def exact_key(seen: Seen) -> int:
    """A number that is the same for the same sample only."""
    sample = seen.sample
    tools = str(sample.tools) if sample.tools else ""
    weights = tuple(turn.weight for turn in (*sample.turns, *sample.chosen, *sample.rejected))
    return hash((seen.text, seen.answer, sample.label, weights, len(sample.turns), tools)) & KEY_BITS
