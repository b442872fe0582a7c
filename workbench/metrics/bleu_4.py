"""BLEU-4 of one answer through sacrebleu, by characters for Chinese and by words else. Knows no set."""

from collections.abc import Sequence

from workbench.likeness.words import needs_segmenting
from workbench.text import Text


class Say:
    title = Text("BLEU-4")
    meaning = Text("How many runs of one to four words of the answer stand in the set's own one.")


TITLE = Say.title
MEANING = Say.meaning


def wants(references: Sequence[str]) -> bool:
    return any(references)


def score(answer: str, reference: str) -> float:
    """Sentence BLEU (Papineni et al. 2002), exponential smoothing, of the order that a short answer allows."""
    from sacrebleu.metrics.bleu import BLEU

    tokenize = "zh" if needs_segmenting(answer, reference) else "13a"
    return BLEU(tokenize=tokenize, effective_order=True).sentence_score(answer, [reference]).score / 100
