"""Samples that the chosen chat template has no place for, so that no run with it learns them. Knows no template."""

from collections.abc import Iterator

from workbench.checks import Context, Finding, Look, Seen
from workbench.text import Message, Text


class Say:
    title = Text("Refused by the chat template")
    refused = Text("A run with this chat template leaves it out: {reason}")


TITLE = Say.title


def begin(context: Context) -> Look:
    return Refusals(context)


class Refusals:
    """Remembers nothing."""

    def __init__(self, context: Context) -> None:
        self._count = context.num_tokens

    def row(self, seen: Seen) -> Iterator[Finding]:
        if self._count is None or seen.part != "train":
            return
        counted = self._count(seen.sample)
        if isinstance(counted, Message):
            yield Finding(seen.number, Say.refused(reason=counted))

    def end(self) -> Iterator[Finding]:
        yield from ()
