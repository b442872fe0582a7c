"""Text that was read in a wrong encoding, such as a UTF-8 file taken for Latin-1 or GBK. Knows no file."""

import re
from collections.abc import Iterator

from workbench.checks import Context, Finding, Look, Seen, around, changed
from workbench.text import Text

LATIN = re.compile(
    "[\u00c2-\u00f4][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
)
"""A first and a second byte of UTF-8, each shown as a letter of Latin-1 or Windows-1252."""
OTHER = re.compile("[锛銆鐨锟烫屯\ufffd]")
CHINESE = re.compile("[锛銆鐨][\u0080-\uffff]")
"""How comma, full stop and the commonest word of Chinese look when UTF-8 was taken for GBK."""
LOST = re.compile("\ufffd|锟斤拷?|烫烫烫|屯屯屯")
FEWEST = 3


class Say:
    title = Text("Wrong encoding")
    wrong = Text("'{given}' was read in a wrong encoding; it probably is '{meant}'. Put it right.")
    unclear = Text("'{given}' was probably read in a wrong encoding. Take the row from its source again.")
    lost = Text("{count} characters were lost by an earlier conversion. Take the row from its source again.")


TITLE = Say.title


def begin(context: Context) -> Look:
    return Mojibake()


class Mojibake:
    """Remembers nothing."""

    def row(self, seen: Seen) -> Iterator[Finding]:
        text = seen.text
        if text.isascii() or not (found := suspect(text)):
            return
        mend = changed(seen.row, repaired)
        if mend is not None:
            given, meant = _difference(text, repaired(text))
            yield Finding(seen.number, Say.wrong(given=given, meant=meant), mend=mend, changes=given)
        elif len(CHINESE.findall(text)) >= FEWEST:
            place = around(text, *found.span(), 60)
            yield Finding(seen.number, Say.unclear(given=place), changes=place)
        lost = LOST.findall(text)
        if lost:
            start, end = next(LOST.finditer(text)).span()
            yield Finding(seen.number, Say.lost(count=len(lost)), changes=around(text, start, end))

    def end(self) -> Iterator[Finding]:
        yield from ()


def suspect(text: str) -> re.Match[str] | None:
    """The first place that looks odd; two questions are faster than one of both."""
    return LATIN.search(text) or OTHER.search(text)


def repaired(text: str) -> str:
    """The text as it was written, as far as that can be told for sure."""
    if text.isascii() or not suspect(text):
        return text
    if LATIN.search(text):
        import ftfy

        text = ftfy.fix_encoding(text)
    if CHINESE.search(text):
        lines = text.split("\n")
        text = "\n".join([_from_gbk(line) for line in lines])
    return text


def _difference(given: str, meant: str) -> tuple[str, str]:
    """The first place where two texts differ, in each, with a few characters before it."""
    first = next((at for at, (one, other) in enumerate(zip(given, meant, strict=False)) if one != other), 0)
    start = max(0, first - 15)
    return " ".join(given[start : first + 25].split()), " ".join(meant[start : first + 20].split())


def _from_gbk(line: str) -> str:
    """UTF-8 that was taken for GBK read as UTF-8; true Chinese in GBK is hardly ever valid UTF-8."""
    try:
        meant = line.encode("gb18030").decode("utf-8")
    except UnicodeError:
        return line
    return meant if CHINESE.search(line) else line
