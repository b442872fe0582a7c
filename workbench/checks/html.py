"""Scripts inside a text: harmless here, and learned like any other words. Knows no browser."""

import re
from collections.abc import Iterator

from workbench.checks import Context, Finding, Look, Seen, around
from workbench.text import Text

SCRIPT = re.compile(
    r"<(?:script|iframe|object|embed)\b|<[a-z]+\s[^<>]{0,200}?\bon[a-z]{3,20}\s*=\s*[^\s{]", re.IGNORECASE
)


class Say:
    title = Text("Scripts in the text")
    some = Text("It holds a piece of a web page that would run there. Here it is shown as text and learned as text.")


TITLE = Say.title


def begin(context: Context) -> Look:
    return Html()


class Html:
    """Remembers nothing."""

    def row(self, seen: Seen) -> Iterator[Finding]:
        if "<" in seen.text and (found := SCRIPT.search(seen.text)):
            yield Finding(seen.number, Say.some(), "hint", changes=around(seen.text, *found.span()))

    def end(self) -> Iterator[Finding]:
        yield from ()
