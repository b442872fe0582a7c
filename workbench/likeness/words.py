"""The words of a text, with or without spaces between them. Knows nothing of what they are counted for.

Chinese and Japanese are cut by jieba, whose dictionary is read into memory without its usual cache: that is a file of
one name in the folder for temporary files, which anybody on the machine could have laid there.
"""

import re
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import regex

from workbench.lettering import unspaced

WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{M}\p{N}]*")
"""On ASCII it finds what rouge-score's own tokenizer does; unlike that it knows other letters."""
LETTER = regex.compile(r"\p{L}")
SPACES = re.compile(r"\s+")

Cut = Callable[[str], list[str]]


def cut_for(answer: str, reference: str) -> Cut:
    """How both texts of a pair are cut into words. The reference decides, so that all answers to it are cut alike;
    where it has no letters, the answer does."""
    return segmented if needs_segmenting(answer, reference) else spaced


def needs_segmenting(answer: str, reference: str) -> bool:
    """Whether the pair is in a script without spaces between words."""
    return unspaced(reference if LETTER.search(reference) else reference + answer)


def spaced(text: str) -> list[str]:
    """Runs of letters and digits, in small letters."""
    return WORD.findall(text.lower())


def segmented(text: str) -> list[str]:
    """What jieba takes for words, marks among them, as rouge-chinese is given them; case stays."""
    return [word for word in _segmenter().lcut(text) if word.strip()]


@cache
def _segmenter() -> Any:
    """A segmenter with jieba's own dictionary; about a second, once a process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jieba's source has escapes that newer Pythons warn of
        import jieba

        cutter = jieba.Tokenizer()
        cutter.FREQ, cutter.total = cutter.gen_pfdict(cutter.get_dict_file())
    cutter.initialized = True
    return cutter


def one_line(text: str) -> str:
    """The text with every run of white space made one space, and none at its ends."""
    return SPACES.sub(" ", text).strip()
