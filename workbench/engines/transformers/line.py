"""A line of requests that are answered one at a time, in the order of asking. Knows no model."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_S = 0.05


class Line:
    """Who waits, and who is answered: the first of them."""

    def __init__(self) -> None:
        self._waiting: deque[object] = deque()
        self._moved = threading.Condition()

    @contextmanager
    def turn(self, gone: Callable[[], bool]) -> Iterator[bool]:
        """Wait for one's turn and keep it for the block; False when ``gone()`` came true before it was one's turn."""
        place = object()
        with self._moved:
            self._waiting.append(place)
        try:
            with self._moved:
                while self._waiting[0] is not place and not gone():
                    self._moved.wait(LOOK_S)
                first = self._waiting[0] is place
            yield first
        finally:
            with self._moved:
                self._waiting.remove(place)
                self._moved.notify_all()
