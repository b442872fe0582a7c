"""One question on its way to one model or two, answered as it comes. Knows servers' addresses, no component and no run."""

import os
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.engines import Sampling
from workbench.problems import Problem, UserError
from workbench.sampling import SamplingSection, sampling_of, with_system
from workbench.talk import Call, Ending, ask
from workbench.text import Locale, Text

KEY_VARIABLE = "API_KEY"
"""A server that was started with it asks for that key."""
PAUSE_S = 0.1
"""Between two looks at an answer: what comes meanwhile is shown at once, and a page is not sent every word alone."""
TURN_S = 0.5
"""So long the next side waits until the one before it was heard: who answers one after another answers in this order."""
Chat = Sequence[Mapping[str, str]]


class Say:
    tokens = Text("{tokens} tokens")
    rate = Text("{tokens} tokens, {rate} tokens/s")
    seed = Text("seed {seed}")
    cut = Text("cut off: it was as long as allowed")
    stopped = Text("stopped")


@dataclass
class Side:
    """One model's part of a question: the chat that it is asked, and its answer so far."""

    name: str
    """The model as it is asked for."""
    chat: Chat
    """What was said so far, the question last; the system prompt is no part of it."""
    text: str = ""
    ending: Ending | None = None
    problem: Problem | None = None
    done: bool = False
    call: Call = field(default_factory=Call)
    first_at: float = 0.0
    last_at: float = 0.0

    @property
    def model(self) -> str:
        """Who answers: in the server's words as soon as it has said so."""
        return self.call.model or self.name

    @property
    def answered(self) -> bool:
        """Whether there is an answer to keep; one that ended by itself may be empty."""
        return bool(self.text) or self.ending is not None

    def history(self) -> list[dict[str, str]]:
        """The chat with the answer; without the question when there is none."""
        said = [dict(message) for message in self.chat]
        return [*said, {"role": "assistant", "content": self.text}] if self.answered else said[:-1]


class Exchange:
    """A question that every side is asked at the same time, with the same seed. Each is read in a thread of its own."""

    def __init__(self, url: str, sides: Sequence[Side], section: SamplingSection, seed: int) -> None:
        self.url, self.sides, self.seed = url, sides, seed
        self._section = section
        self._news = threading.Event()
        self._stopped = False

    def stop(self) -> None:
        """Hang up: the answers end on the server, and what has come so far is all there is."""
        self._stopped = True
        for side in self.sides:
            if not side.done:
                side.call.hang_up()
        self._news.set()

    def follow(self) -> Iterator[None]:
        """A turn whenever there is more to show, the last one when all has been said; whoever leaves early hangs up."""
        sampling = replace(sampling_of(self._section), seed=self.seed)
        key = os.environ.get(KEY_VARIABLE) or None
        try:
            for side in self.sides:
                threading.Thread(target=self._read, args=(side, sampling, key), daemon=True).start()
                side.call.begun.wait(TURN_S)
            while not self._stopped and not all(side.done for side in self.sides):
                self._news.wait()
                self._news.clear()
                yield
                time.sleep(PAUSE_S)
        finally:
            if not all(side.done for side in self.sides):
                self.stop()

    def _read(self, side: Side, sampling: Sampling, key: str | None) -> None:
        pieces = ask(self.url, side.name, with_system(self._section, side.chat), sampling, key, side.call)
        try:
            for piece in _keeping(pieces, side):
                side.first_at = side.first_at or time.monotonic()
                side.text += piece
                side.last_at = time.monotonic()
                self._news.set()
        except UserError as error:
            if not self._stopped:
                side.problem = error.problems[0]
        finally:
            side.done = True
            self._news.set()


def _keeping(pieces: Generator[str, None, Ending], side: Side) -> Iterator[str]:
    """The pieces; how they ended is kept in the side."""
    side.ending = yield from pieces


class Lines:
    """The exchanges that go on now, by visitor: each visitor has one at a time, and Stop finds the right one."""

    def __init__(self) -> None:
        self._open: dict[str, Exchange] = {}

    def get(self, visitor: str) -> Exchange | None:
        """What the visitor has asked and was not yet told in full."""
        return self._open.get(visitor)

    def open(self, visitor: str, exchange: Exchange) -> None:
        """From now on the visitor waits for this exchange."""
        self._open[visitor] = exchange

    def close(self, visitor: str) -> Exchange | None:
        """The visitor's exchange, which is over."""
        return self._open.pop(visitor, None)


def sides_of(models: Sequence[str], chats: Sequence[Chat], question: str) -> list[Side]:
    """The sides of a question: to what was learned, and to the base beside it when there are two chats."""
    asked = {"role": "user", "content": question}
    return [Side(name, [*chat, asked]) for name, chat in zip(speakers(models), chats, strict=False)]


def speakers(models: Sequence[str]) -> list[str]:
    """Whom the panes ask, among a server's models, of which the base is the first: the last one, then the base."""
    return [models[-1], models[0]] if models else []


def facts(side: Side, seed: int, locale: Locale) -> str:
    """What is worth knowing of an ended answer: its length, its speed, why it is cut, and the seed that repeats it."""
    told = [locale(Say.stopped)] if side.ending is None else []
    ending = side.ending
    if ending is not None and ending.answer_tokens:
        took, more = side.last_at - side.first_at, ending.answer_tokens - 1
        said = Say.rate(tokens=f"{ending.answer_tokens:,}", rate=f"{more / took:,.0f}") if took > 0 and more else None
        told.append(locale(said or Say.tokens(tokens=f"{ending.answer_tokens:,}")))
    if ending is not None and ending.finish == "length":
        told.append(locale(Say.cut))
    told.append(locale(Say.seed(seed=seed)))
    return "  ·  ".join(told)


def messages_of(value: Any) -> list[dict[str, str]]:
    """The messages of a pane's value, which was in a browser: anything else than a chat is left out."""
    found = value.get("messages") if isinstance(value, Mapping) else None
    return [
        {"role": str(one["role"]), "content": str(one["content"])}
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, Mapping) and one.get("role") in ("user", "assistant") and "content" in one
    ]
