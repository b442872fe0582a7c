"""Characters that nobody sees: control codes, stray joiners and marks, halves of characters. Knows no file.

Joiners inside emoji and scripts that need them, and direction marks in right-to-left text, are right as they are.
"""

import re
from collections.abc import Iterator, Mapping

from workbench.checks import Context, Finding, Look, Seen, around, changed
from workbench.text import Text

JUNK = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f\u00ad\u2060-\u2064\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
    # Behind letters of Latin-1 they are bytes of a wrong encoding, which has a check of its own.
    "|(?<![\u0080-\u00ff\u0152-\u2122])[\u0080-\u0084\u0086-\u009f]"
    # Thai, Lao, Burmese and Khmer end words with it.
    "|(?<![\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff])\u200b"
    "|(?<![^\x00-\x7f\u200b-\u200d\u3000-\u9fff\uff00-\uffef])[\u200c\u200d]"
)
FORMULA = re.compile(
    "\x0c(?=rac|orall|lat)|\x08(?=eta|egin|inom|oldsymbol|mod|ullet|ar\\{|f\\{)|\x0b(?=ec|ar|ert|dots)|\x07(?=lpha|pprox|ngle)"
)
"""The first letter of a formula's word such as \\frac, taken for an escape with its backslash."""
LETTERS: Mapping[str, str] = {"\x0c": "\\f", "\x08": "\\b", "\x0b": "\\v", "\x07": "\\a"}
BREAKS = re.compile("[\x0b\x0c]")
DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
FLAG_TAGS = re.compile("[\U000e0000-\U000e007f]")
FLAG = "\U0001f3f4"


class Say:
    title = Text("Invisible characters")
    some = Text("{count} characters can't be seen ({codes}). They would be learned; take them out.")


TITLE = Say.title


def begin(context: Context) -> Look:
    return ControlCharacters()


class ControlCharacters:
    """Remembers nothing."""

    def row(self, seen: Seen) -> Iterator[Finding]:
        text = seen.text
        # Nearly every row ends here, and this is the fastest question that Python can ask of a text.
        if text.replace("\n", "").isprintable():
            return
        junk = invisible(text)
        if not junk:
            return
        codes = ", ".join(f"U+{ord(one):04X}" for one in dict.fromkeys(found.group() for found in junk))
        start, end = junk[0].span()
        shown = JUNK.sub(lambda found: f"[U+{ord(found.group()):04X}]", around(text, start, end, 120))
        mend = changed(seen.row, cleaned)
        yield Finding(seen.number, Say.some(count=len(junk), codes=codes[:80]), mend=mend, changes=shown[:200])

    def end(self) -> Iterator[Finding]:
        yield from ()


def _patterns(text: str) -> list[re.Pattern[str]]:
    patterns = [JUNK, BREAKS]
    if not RIGHT_TO_LEFT.search(text):
        patterns.append(DIRECTIONS)
    if FLAG not in text:
        patterns.append(FLAG_TAGS)
    return patterns


def invisible(text: str) -> list[re.Match[str]]:
    """The places of all of them."""
    return [found for pattern in _patterns(text) for found in pattern.finditer(text)]


def cleaned(text: str) -> str:
    """The text without them; a vertical tab or form feed becomes a line break, and a formula gets its backslash back."""
    if text.isprintable():
        return text
    text = FORMULA.sub(lambda found: LETTERS[found.group()], text)
    for pattern in _patterns(text):
        text = pattern.sub("\n" if pattern is BREAKS else "", text)
    return text
