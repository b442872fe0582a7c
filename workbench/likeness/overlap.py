"""ROUGE of two texts through rouge-score, with words of any language. Knows no set and no model."""

from dataclasses import dataclass
from typing import Literal

from workbench.likeness.words import Cut, cut_for

Kind = Literal["rouge1", "rouge2", "rougeL"]


@dataclass(frozen=True)
class Words:
    """A tokenizer as rouge-score asks for one."""

    tokenize: Cut


def rouge(kind: Kind, answer: str, reference: str) -> float:
    """F1 of shared words, pairs of words, or the longest common subsequence, from 0 to 1 (Lin 2004)."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind], tokenizer=Words(cut_for(answer, reference)))
    return float(scorer.score(reference, answer)[kind].fmeasure)
