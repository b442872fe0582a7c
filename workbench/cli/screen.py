"""Where a command speaks: words to stdout, problems and warnings to stderr, in one language. Knows no command."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO

from workbench.problems import Problem
from workbench.text import Locale, Message, Text


class Say:
    warning = Text("warning: {words}")


@dataclass(frozen=True)
class Screen:
    """One language on the two streams of a terminal, which are looked up at each word."""

    locale: Locale

    @property
    def is_terminal(self) -> bool:
        """Whether a person watches, so that a line may be drawn over."""
        return sys.stdout.isatty()

    def say(self, message: Message) -> None:
        self.line(self.locale(message))

    def line(self, words: str) -> None:
        _print(words, sys.stdout)

    def lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.line(line)

    def piece(self, words: str) -> None:
        """Part of a line, shown at once."""
        _print(words, sys.stdout, end="")

    def error(self, message: Message) -> None:
        _print(self.locale(message), sys.stderr)

    def warn(self, message: Message) -> None:
        self.error(Say.warning(words=message))

    def problems(self, problems: Iterable[Problem]) -> None:
        """Each problem on a line of its own, its key first."""
        for problem in problems:
            _print(in_one_line(problem, self.locale), sys.stderr)


def in_one_line(problem: Problem, locale: Locale) -> str:
    """The problem after the key that it belongs to."""
    words = " ".join(locale(problem.message).split())
    return f"{problem.key}: {words}" if problem.key else words


def _print(words: str, stream: TextIO, end: str = "\n") -> None:
    """Print at once; a character that the terminal can't show becomes a question mark."""
    encoding = stream.encoding or "utf-8"
    print(words.encode(encoding, "replace").decode(encoding), end=end, file=stream, flush=True)
