"""Sets of marked answers in which one mark is rare. Knows shares only."""

from collections import Counter
from collections.abc import Iterator

from workbench.checks import Context, Finding, Look, Seen
from workbench.text import Text

LEAST_ROWS = 10
LOW, HIGH = 0.2, 0.8


class Say:
    title = Text("Marks out of balance")
    few = Text(
        "{good} answers are marked good and {bad} bad ({percent} % good). Between 20 and 80 % is learned from best; "
        "add rows of the rarer mark, or weigh them."
    )
    none = Text("All {count} answers are marked {mark}. Learning from marks takes both; add rows of the other.")
    good = Text("good")
    bad = Text("bad")


TITLE = Say.title


def begin(context: Context) -> Look:
    return Imbalance()


class Imbalance:
    """Remembers how many of each mark there were."""

    def __init__(self) -> None:
        self._marks: Counter[bool] = Counter()

    def row(self, seen: Seen) -> Iterator[Finding]:
        if seen.sample.label is not None and seen.part == "train":
            self._marks[seen.sample.label] += 1
        yield from ()

    def end(self) -> Iterator[Finding]:
        good, bad = self._marks[True], self._marks[False]
        if good + bad < LEAST_ROWS:
            return
        share = good / (good + bad)
        if not good or not bad:
            yield Finding(0, Say.none(count=good + bad, mark=Say.good() if good else Say.bad()), "error")
        elif not LOW <= share <= HIGH:
            yield Finding(0, Say.few(good=good, bad=bad, percent=round(100 * share)))
