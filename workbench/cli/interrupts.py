"""Ctrl-C as a count instead of an exception, so that what is being written stays whole. Knows no run."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Interrupts:
    """How often Ctrl-C was pressed since the counting began."""

    count: int = 0


@contextmanager
def counted() -> Iterator[Interrupts]:
    """Within the block Ctrl-C only counts."""
    pressed = Interrupts()

    def press(number: int, frame: FrameType | None) -> None:
        pressed.count += 1

    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


class Leaving(BaseException):
    """The terminal was closed, or somebody asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def leaving_cleanly() -> Iterator[None]:
    """Within the block a closed terminal or a plain kill raises Leaving, so that what was opened is closed."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise Leaving(number)

    names = [name for name in ("SIGTERM", "SIGHUP") if name in signal.Signals.__members__]
    before = {name: signal.signal(signal.Signals[name], leave) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(signal.Signals[name], handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within the block neither Ctrl-C nor a plain kill is heeded: a cleaning up of seconds is let finish."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__]
    before = {name: signal.signal(signal.Signals[name], signal.SIG_IGN) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(signal.Signals[name], handler)
