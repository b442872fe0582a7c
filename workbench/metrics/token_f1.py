"""Token F1 as question answering is measured: words whatever their order, Chinese by characters. Knows no set."""

import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

import regex

from workbench.likeness.words import needs_segmenting
from workbench.text import Text


class Say:
    title = Text("Token F1")
    meaning = Text("How many words answer and reference share, whatever their order, case, marks and articles.")


TITLE = Say.title
MEANING = Say.meaning
ARTICLES = regex.compile(r"\b(?:a|an|the)\b")
CHARACTER = regex.compile(r"([\p{Han}\p{Hiragana}\p{Katakana}])")


def wants(references: Sequence[str]) -> bool:
    return any(references)


def score(answer: str, reference: str) -> float:
    """F1 of shared tokens (Rajpurkar et al. 2016; for Chinese Lewis et al. 2020); two texts of none are alike."""
    by_character = needs_segmenting(answer, reference)
    ours, theirs = tokens(answer, by_character), tokens(reference, by_character)
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * (Counter(ours) & Counter(theirs)).total() / (len(ours) + len(theirs))


def tokens(text: str, by_character: bool) -> list[str]:
    """The words in small letters without punctuation; articles go too where words are told by spaces."""
    text = "".join(letter for letter in text.lower() if not _is_mark(letter))
    return (CHARACTER.sub(r" \1 ", text) if by_character else ARTICLES.sub(" ", text)).split()


def _is_mark(letter: str) -> bool:
    return letter in string.punctuation or unicodedata.category(letter).startswith("P")
