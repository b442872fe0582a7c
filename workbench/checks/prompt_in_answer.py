"""Answers that say the question again first: a model that learns it does so too. Knows no file."""

from collections.abc import Iterator

from workbench.checks import Context, Finding, Look, Seen, around, changed
from workbench.text import Text

LEAST_CHARACTERS = 12


class Say:
    title = Text("Question repeated in the answer")
    equal = Text("The answer is the question again, word for word. Write an answer, or leave the row out.")
    begins = Text("The answer begins with the whole question ({length} characters). Let it begin with what is new.")


TITLE = Say.title


def begin(context: Context) -> Look:
    return PromptInAnswer()


class PromptInAnswer:
    """Remembers nothing."""

    def row(self, seen: Seen) -> Iterator[Finding]:
        question = seen.asked.strip()
        if len(question) < LEAST_CHARACTERS or not seen.answer.lstrip().startswith(question):
            return
        answer = seen.answer.strip()
        rest = answer[len(question) :]
        if not rest:
            yield Finding(seen.number, Say.equal(), remove=True, changes=around(answer, 0, len(question)))
            return
        # Only where a line ends behind it the question surely is no part of the answer's first sentence.
        ends_there = rest.lstrip(" \t\r.?!:。？！：").startswith("\n") and rest.strip()
        mend = changed(seen.row, lambda text: rest.lstrip(" \t\r\n.?!:。？！：") if text == seen.answer else text)
        said = Say.begins(length=len(question))
        yield Finding(seen.number, said, "hint", mend if ends_there else None, changes=around(answer, 0, len(question)))

    def end(self) -> Iterator[Finding]:
        yield from ()
