"""What can be done from a terminal: one file is one command, named like it. A command knows specs and runs, no page.

To add one, write ``commands/x.py`` with the members of ``Command``.
"""

import importlib
from collections.abc import Iterator, Sequence
from typing import Protocol, cast

from workbench.cli.screen import Screen
from workbench.text import Locale, Message
from workbench.workspace import Workspace


class Command(Protocol):
    """The members of a command's module."""

    def title(self) -> Message:
        """What it does, in one line."""

    def help(self, locale: Locale) -> Iterator[str]:
        """The lines of its --help."""

    def run(self, words: Sequence[str], workspace: Workspace, screen: Screen) -> int:
        """Do it with the words behind its name; the exit code. Raises UserError for what the person can mend."""


def command(name: str) -> Command:
    """The command of that name; only its module is imported, so that each starts fast."""
    return cast(Command, importlib.import_module(f"{__name__}.{name}"))
