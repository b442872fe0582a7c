"""BLEU-4 and ROUGE as LLaMA-Factory reckons them, for files that carry its names. Knows two texts and no files.

They differ from our metrics of the same names: BLEU counts characters in every language (NLTK's smoothing method 3), ROUGE
jieba's words in every language, each word once however often it stands there. All are from 0 to 100, with four decimals.
"""

import math
from collections.abc import Mapping, Sequence

from workbench.likeness.words import segmented

NAMES = ("bleu-4", "rouge-1", "rouge-2", "rouge-l")


def figures(pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """The means over answers with their references, under the names of predict_results.json; nothing for no pair."""
    each = [figures_of(answer, reference) for answer, reference in pairs]
    means = {name: math.fsum(one[name] for one in each) / len(each) for name in NAMES} if each else {}
    return {f"predict_{name}": round(mean, 4) for name, mean in means.items()}


def figures_of(answer: str, reference: str) -> Mapping[str, float]:
    """The four of one answer; all 0 where either text is empty."""
    ours, theirs = segmented(answer), segmented(reference)
    if not ours or not theirs:
        return dict.fromkeys(NAMES, 0.0)
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rouge_chinese import Rouge

    smoothed = SmoothingFunction().method3
    bleu = sentence_bleu([list(reference)], list(answer), smoothing_function=smoothed)
    shared = Rouge().get_scores(" ".join(ours), " ".join(theirs))[0]
    shares = {"bleu-4": float(bleu), **{name: shared[name]["f"] for name in NAMES[1:]}}
    return {name: round(100 * share, 4) for name, share in shares.items()}
