"""One question with several answers, or one answer marked both ways. Knows a row only by numbers made of it."""

from collections.abc import Iterator

from workbench.checks import KEY_BITS, Context, Finding, Look, Seen
from workbench.text import Text

ANSWER_BITS = (1 << 20) - 1


class Say:
    title = Text("Repeated questions")
    answers = Text("Row {first} asks the same and is answered differently. Keep both only if both answers are right.")
    marked = Text("Row {first} is the same answer to the same question, marked the other way. Mend one of the marks.")


TITLE = Say.title


def begin(context: Context) -> Look:
    return RepeatedPrompt()


class RepeatedPrompt:
    """Remembers where each question stood first, with a few bits of its answer."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}

    def row(self, seen: Seen) -> Iterator[Finding]:
        shape = seen.sample.shape
        if seen.part != "train" or not seen.before or shape not in ("dialogue", "label"):
            return
        if shape == "label":
            # Several marked answers to one question are the rule; only marks that contradict each other are odd.
            key, answer = hash((seen.before, seen.text)), int(seen.sample.label or False)
        else:
            key, answer = hash(seen.before), hash(seen.text) & ANSWER_BITS
        kept = self._first.setdefault(key & KEY_BITS, seen.number << 20 | answer)
        if kept & ANSWER_BITS != answer and kept >> 20 != seen.number:
            if shape == "label":
                yield Finding(seen.number, Say.marked(first=kept >> 20))
            else:
                yield Finding(seen.number, Say.answers(first=kept >> 20), "hint")

    def end(self) -> Iterator[Finding]:
        yield from ()
