"""How progress looks: a bar with lines above it on a terminal, plain lines in a pipe or a file. Knows no run."""

import sys
import time
from typing import Any, Protocol

from tqdm import tqdm

from workbench.cli.screen import Screen
from workbench.wording import counted

BAR = "{desc} |{bar}| {n_fmt}{unit} / {total_fmt}{unit}{postfix}"
LINES_A_COUNT = 20
SILENCE_S = 30.0


class Display(Protocol):
    """Lines, and one count that moves."""

    def line(self, words: str) -> None:
        """One whole line that stays."""

    def count(self, label: str, done: int, total: int, facts: str, sized: bool = False) -> None:
        """Where the count stands now, of bytes if ``sized``; ``facts`` are figures beside it."""

    def close(self) -> None:
        """What was counted is over; the next count begins anew."""


def display(screen: Screen) -> Display:
    """The display that suits where the words go."""
    return Bar(screen) if screen.is_terminal else Lines(screen)


class Bar:
    """A bar at the bottom of a terminal."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._bar: Any = None
        self._label = ""

    def line(self, words: str) -> None:
        if self._bar is None:
            self._screen.line(words)
            return
        self._bar.clear()
        self._screen.line(words)
        self._bar.refresh()

    def count(self, label: str, done: int, total: int, facts: str, sized: bool = False) -> None:
        if self._bar is None or (label, total) != (self._label, self._bar.total):
            self.close()
            self._label = label
            self._bar = tqdm(
                total=total,
                desc=label,
                bar_format=BAR,
                file=sys.stdout,
                dynamic_ncols=True,
                unit_scale=sized,
                unit="B" if sized else "",
                miniters=1,
                leave=False,
            )
        self._bar.n = done
        self._bar.set_postfix_str(facts, refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Lines:
    """Now and then a line: about twenty in a whole count, and one after half a minute without any."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._label = ""
        self._told = -1
        self._told_at = 0.0

    def line(self, words: str) -> None:
        self._screen.line(words)
        self._told_at = time.monotonic()

    def count(self, label: str, done: int, total: int, facts: str, sized: bool = False) -> None:
        if label != self._label:
            self._label, self._told = label, -1
        share = done * LINES_A_COUNT // max(1, total)
        new = done != self._told
        due = share > self._told * LINES_A_COUNT // max(1, total) or time.monotonic() - self._told_at > SILENCE_S
        if new and (due or self._told < 0):
            self._told = done
            self.line(f"{label} {counted(done, total, sized)}{', ' if facts else ''}{facts}")

    def close(self) -> None:
        pass
