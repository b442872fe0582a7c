"""Many questions in an engine at once, and answers that are whole or none at all. Knows no file, no set and no task."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TypeVar

from workbench.engines import Engine, Finish, Prompt, Sampling
from workbench.problems import UserError
from workbench.text import Text

IN_FLIGHT = 32
"""Questions that wait in the engine at once; it computes as many of them together as it can."""
Gone = Callable[[], bool]
"""Whether nobody waits for the answer any more."""
T = TypeVar("T")


class Say:
    broken_off = Text("The engine broke off an answer. Whole answers are kept: press Resume, and the rest is asked.")


class NobodyWaits(Exception):
    """The answer was given up midway, since another question failed or a stop was asked for. No part of it counts."""


@dataclass(frozen=True)
class Heard:
    """One whole answer."""

    text: str
    finish: Finish
    tokens: int


def fly(items: Sequence[T], ask: Callable[[T, Gone], None], done: Callable[[T], None]) -> None:
    """Ask each, many at a time; ``done`` hears in this thread which one is asked. What ``done`` or the first of the
    questions raises ends it all: those in flight are given up, and no other is asked."""
    ended = threading.Event()

    def one(item: T) -> T:
        if ended.is_set():
            raise NobodyWaits
        ask(item, ended.is_set)
        return item

    with ThreadPoolExecutor(min(IN_FLIGHT, max(1, len(items)))) as pool:
        try:
            for asked in as_completed([pool.submit(one, item) for item in items]):
                done(asked.result())
        except BaseException:
            ended.set()
            raise


def hear(engine: Engine, model: str, prompt: Prompt, sampling: Sampling, gone: Gone) -> Heard:
    """The whole answer. NobodyWaits when it was given up; UserError when the engine itself broke it off."""
    finish: Finish | None = None
    text, tokens = "", 0
    for piece in engine.stream(model, prompt, sampling, gone):
        text += piece.text
        finish, tokens = piece.finish or finish, piece.answer_tokens or tokens
    if gone():
        raise NobodyWaits
    if finish is None or finish == "cancelled":
        raise UserError(Say.broken_off())
    return Heard(text, finish, tokens)
