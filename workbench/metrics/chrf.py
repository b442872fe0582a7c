"""chrF of one answer through sacrebleu. Knows no words, so it is the same for every language."""

from collections.abc import Sequence

from workbench.text import Text


class Say:
    title = Text("chrF")
    meaning = Text(
        "How many runs of one to six characters answer and reference share; forgiving of endings and spellings."
    )


TITLE = Say.title
MEANING = Say.meaning


def wants(references: Sequence[str]) -> bool:
    return any(references)


def score(answer: str, reference: str) -> float:
    """F2 of runs of up to six characters without white space (Popovic 2015)."""
    from sacrebleu.metrics.chrf import CHRF

    return CHRF().sentence_score(answer, [reference]).score / 100
