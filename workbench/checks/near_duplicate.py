"""Samples that differ in case, white space, punctuation or the width of characters only. Knows a row by a number."""

import re
import unicodedata
from collections.abc import Iterator

from workbench.checks import KEY_BITS, Context, Finding, Look, Seen
from workbench.text import Text

NOT_WORDS = b" \t\r\n.,;:!?'\"`"
"""Signs such as + - < ( are not among them: in formulas and programs they make the difference."""
WIDE_MARKS = "，。！？、：；“”‘’（）《》【】—…·～\u3000\u00a0"
WIDE_BLOCK = b"\xef\xbc"
"""With which UTF-8 writes the wide digits and most wide letters."""
IN_NUMBERS = re.compile(r"([0-9０-９])([\s.,:;，。、：；．·]+)(?=[0-9０-９])")
"""1.5 is not 15, 12:30 is not 1230, and 1 2 is not 12."""
INDENT = re.compile(r"\n(\t[\t ]*|  [\t ]*)(?=[^\s])")
"""In a program what stands before a line can be its meaning; one space more is a slip."""
KEPT = {ord(mark): 0x01 + place for place, mark in enumerate(".,:; \t")}
"""Signs that no text should hold, for marks that are to stay."""
LEAST_CHARACTERS = 8
FIRST_BITS = (1 << 20) - 1


class Say:
    title = Text("Near-duplicates")
    alike = Text("Apart from case, white space, punctuation and width it is the same as row {first}. Is one enough?")


TITLE = Say.title


def begin(context: Context) -> Look:
    return NearDuplicate()


class NearDuplicate:
    """Remembers where words in their order stood first, with a few bits that tell exact copies from near ones."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}

    def row(self, seen: Seen) -> Iterator[Finding]:
        if seen.part != "train":
            return
        words = normalised(seen.text)
        if len(words) < LEAST_CHARACTERS:
            return
        exact = hash(seen.text) & FIRST_BITS
        key = hash((words, seen.sample.label)) & KEY_BITS
        kept = self._first.setdefault(key, seen.number << 20 | exact)
        if kept & FIRST_BITS != exact and kept >> 20 != seen.number:
            # No proposal: case and marks can be just what a row teaches ("polish" and "Polish").
            yield Finding(seen.number, Say.alike(first=kept >> 20), "hint")

    def end(self) -> Iterator[Finding]:
        yield from ()


def normalised(text: str) -> bytes:
    """The text in small letters and usual width without spaces and the usual punctuation, but for those in numbers
    and before lines."""
    text = IN_NUMBERS.sub(_marks, text.lower())
    if "\n  " in text or "\n\t" in text:
        text = INDENT.sub(lambda found: found[1].translate(KEPT), text)
    if not text.isascii():
        for mark in WIDE_MARKS:
            text = text.replace(mark, "")
    words = text.encode("utf-8", "surrogatepass").translate(None, NOT_WORDS)
    if WIDE_BLOCK in words:
        narrow = unicodedata.normalize("NFKC", words.decode("utf-8", "surrogatepass")).lower()
        words = narrow.encode("utf-8", "surrogatepass").translate(None, NOT_WORDS)
    return words


def _marks(found: re.Match[str]) -> str:
    """A digit and the marks between it and the next one, without the spaces around them; one space where nothing else stands."""
    marks = "".join(unicodedata.normalize("NFKC", found[2]).replace("。", ".").replace("、", ",").split())
    return found[1] + (marks or " ").translate(KEPT)
