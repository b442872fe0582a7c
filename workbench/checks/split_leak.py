"""Questions that stand in training and validation alike, so that the validation loss flatters. Knows no file."""

from collections.abc import Iterator

from workbench.checks import KEY_BITS, Context, Finding, Look, Seen
from workbench.text import Text


class Say:
    title = Text("Training and validation overlap")
    same = Text("Row {held} of the validation data asks the same, so its loss would look too good. Leave one out.")


TITLE = Say.title


def begin(context: Context) -> Look:
    return SplitLeak()


class SplitLeak:
    """Remembers the questions of the validation rows."""

    def __init__(self) -> None:
        self._held: dict[int, int] = {}

    def row(self, seen: Seen) -> Iterator[Finding]:
        if seen.part == "validation":
            self._held.setdefault(_key(seen), seen.number)
        elif self._held and (held := self._held.get(_key(seen))):
            yield Finding(seen.number, Say.same(held=held), remove=True)

    def end(self) -> Iterator[Finding]:
        yield from ()


def _key(seen: Seen) -> int:
    """Of the question; running text has none, so all of it counts."""
    return hash(seen.before or seen.text) & KEY_BITS
