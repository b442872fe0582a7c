"""Which letters a text is written in. Knows no word of any language."""

import re

SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile("[\u3400-\u9fff\U00020000-\U0002ffff]")),
    ("cyrillic", re.compile("[\u0400-\u052f]")),
    ("arabic", re.compile("[\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]")),
    ("latin", re.compile("[A-Za-z\u00c0-\u024f]")),
)
"""Kana before Chinese characters, since Japanese has both."""
KANA_SHARE = 0.1
UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\U00020000-\U0002ffff]")
"""Characters of scripts that put no space between words."""


def script_of_text(text: str) -> str:
    """The script of most letters: zh, ja, ko, latin, cyrillic, arabic; other where there are none."""
    if text.isascii():
        return "latin" if any(map(str.isalpha, text)) else "other"
    counts = count_letters(text)
    letters = sum(counts.values())
    if not letters:
        return "other"
    if counts["ja"] > KANA_SHARE * (counts["ja"] + counts["zh"]) and counts["ja"] + counts["zh"] > letters / 2:
        return "ja"
    return max(counts, key=lambda name: counts[name])


def count_letters(text: str) -> dict[str, int]:
    """How many letters of each script it has."""
    return {name: len(pattern.findall(text)) for name, pattern in SCRIPTS}


def unspaced(text: str) -> bool:
    """Whether a word segmenter is needed to tell the text's words: it holds a Chinese or Japanese character."""
    return bool(UNSPACED.search(text))
