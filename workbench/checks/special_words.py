"""Words that look like special tokens of a chat template, written inside a text. Knows no template by name."""

import re
from collections.abc import Iterator

from workbench.checks import Context, Finding, Look, Seen, around
from workbench.text import Text

USUAL = (
    r"<[|｜][^\s|｜<>]{2,40}[|｜]>|</?s>|\[/?INST\]|\[/?(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT)\]"
    r"|<</?SYS>>|<(?:start_of_turn|end_of_turn|bos|eos|pad|unk)>|<reserved_\d+>|\[gMASK\]|<sop>"
)
OPENINGS = "<["


class Say:
    title = Text("Look-alikes of special tokens")
    some = Text("It holds {words}. Inside a text they are learned as plain characters, never as the model's own marks.")


TITLE = Say.title


def begin(context: Context) -> Look:
    return SpecialWords(context.special_words)


class SpecialWords:
    """Remembers nothing but what to look for."""

    def __init__(self, more: frozenset[str]) -> None:
        ours = re.compile(USUAL)
        strange = sorted((word for word in more if len(word) > 2 and not ours.fullmatch(word)), key=len, reverse=True)
        self._words = re.compile("|".join([USUAL, *map(re.escape, strange)]))
        self._always = any(word[0] not in OPENINGS for word in strange)

    def row(self, seen: Seen) -> Iterator[Finding]:
        text = seen.text
        if not (self._always or "<" in text or "[" in text):
            return
        found = list(self._words.finditer(text))
        if found:
            words = ", ".join(list(dict.fromkeys(one.group() for one in found))[:5])
            yield Finding(seen.number, Say.some(words=words), changes=around(text, *found[0].span()))

    def end(self) -> Iterator[Finding]:
        yield from ()
