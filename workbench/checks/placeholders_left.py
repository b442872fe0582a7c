"""Names in double braces that no value fills: they would be learned as they stand. Knows no values."""

import re
from collections.abc import Iterator

from workbench.checks import Context, Finding, Look, Seen, around
from workbench.text import Text

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


class Say:
    title = Text("Placeholders without a value")
    some = Text("Nothing fills {names}. Give each a value, or they are learned as they stand.")


TITLE = Say.title


def begin(context: Context) -> Look:
    return PlaceholdersLeft()


class PlaceholdersLeft:
    """Remembers nothing."""

    def row(self, seen: Seen) -> Iterator[Finding]:
        if "{{" in seen.text and (found := PLACEHOLDER.search(seen.text)):
            names = ", ".join(list(dict.fromkeys(PLACEHOLDER.findall(seen.text)))[:8])
            yield Finding(seen.number, Say.some(names=names), changes=around(seen.text, *found.span()))

    def end(self) -> Iterator[Finding]:
        yield from ()
