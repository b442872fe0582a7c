"""Tokens to text as they come: a character whose bytes are not all there waits. Knows no model."""

from collections.abc import Callable, Sequence

BROKEN = "\ufffd"
PATIENCE = 16
"""A character has at most four bytes: after so many tokens without a whole one, what is there is no character."""


class Writing:
    """The text of one answer, token by token. Only the newest tokens are decoded again, not the whole answer."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._context = 0
        self._written = 0

    def add(self, token: int) -> str:
        """The whole characters that this token completes, often none."""
        self._tokens.append(token)
        text = self._new()
        if text.endswith(BROKEN) and len(self._tokens) - self._written < PATIENCE:
            return ""
        if text:
            self._context, self._written = self._written, len(self._tokens)
        return text

    def rest(self, cut: bool) -> str:
        """What still waits; with ``cut``, when more would have come, without the character that was cut."""
        text = self._new()
        return text.rstrip(BROKEN) if cut else text

    def _new(self) -> str:
        """The text of the tokens since the last writing; some before them stand by, since spaces depend on them."""
        before = self._decode(self._tokens[self._context : self._written])
        return self._decode(self._tokens[self._context :])[len(before) :]
