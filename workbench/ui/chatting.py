"""One question on its way to several models, answered as it comes. Knows servers' addresses, no component and no run."""

import os
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.conversations import Turn, asked_with, turns_of
from workbench.engines import Sampling
from workbench.problems import Problem, UserError
from workbench.sampling import SamplingSection, sampling_of, thinks, with_system
from workbench.talk import Call, CallPart, Ending, Extras, Part, parts
from workbench.text import Locale, Text

KEY_VARIABLE = "API_KEY"
"""A server that was started with it asks for that key."""
PAUSE_S = 0.1
"""Between two looks at an answer: what comes meanwhile is shown at once, and a page is not sent every word alone."""
TURN_S = 0.5
"""So long the next side waits until the one before it was heard: who answers one after another answers in this order."""
Chat = Sequence[Turn]


class Say:
    tokens = Text("{tokens} tokens")
    rate = Text("{tokens} tokens, {rate} tokens/s")
    first = Text("first after {seconds} s")
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
    pane: int = 0
    """Where on the page it is answered."""
    url: str = ""
    """Of its own server; empty: the one that all are asked at."""
    key: str | None = None
    text: str = ""
    thought: str = ""
    calls: dict[int, CallPart] = field(default_factory=dict)
    ending: Ending | None = None
    problem: Problem | None = None
    done: bool = False
    call: Call = field(default_factory=Call)
    asked_at: float = 0.0
    first_at: float = 0.0
    last_at: float = 0.0

    @property
    def model(self) -> str:
        """Who answers: in the server's words as soon as it has said so."""
        return self.call.model or self.name

    @property
    def answered(self) -> bool:
        """Whether there is an answer to keep; one that ended by itself may be empty."""
        return bool(self.text or self.thought or self.calls) or self.ending is not None

    def hear(self, part: Part) -> None:
        """Add what has come."""
        self.first_at = self.first_at or time.monotonic()
        self.text += part.text
        self.thought += part.thought
        for more in part.calls:
            old = self.calls.get(more.index, CallPart(more.index))
            said = (old.id or more.id, old.name + more.name, old.arguments + more.arguments)
            self.calls[more.index] = CallPart(more.index, *said)
        self.last_at = time.monotonic()

    def answer(self) -> Turn:
        """What has come so far, as a message."""
        calls = [_call(call) for _, call in sorted(self.calls.items())]
        return {
            "role": "assistant",
            "content": self.text,
            **({"reasoning_content": self.thought} if self.thought else {}),
            **({"tool_calls": calls} if calls else {}),
        }

    def history(self) -> list[Turn]:
        """The chat with the answer; without the question when there is none."""
        said = [dict(message) for message in self.chat]
        if self.answered:
            return [*said, self.answer()]
        return said[:-1] if said and said[-1]["role"] == "user" else said


def _call(call: CallPart) -> Turn:
    name = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id or f"call_{call.index}", "type": "function", "function": name}


class Exchange:
    """A question that every side is asked at the same time, with the same seed. Each is read in a thread of its own."""

    def __init__(
        self, url: str, sides: Sequence[Side], section: SamplingSection, seed: int, tools: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.url, self.sides, self.seed = url, sides, seed
        self._section, self._extras = section, Extras(tools, thinks(section))
        self._news = threading.Event()
        self._stopped = self._followed = False
        self.over = False
        """Whether all has been said and shown."""

    def claim(self) -> bool:
        """Whether the caller is the first, who is the one to follow: what is asked once is answered once."""
        first, self._followed = not self._followed, True
        return first

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
        try:
            for side in self.sides:
                threading.Thread(target=self._read, args=(side, sampling), daemon=True).start()
                side.call.begun.wait(TURN_S)
            over = False
            while not over:
                self._news.wait()
                self._news.clear()
                over = self._stopped or all(side.done for side in self.sides)
                yield
                if not over:
                    time.sleep(PAUSE_S)
        finally:
            if not all(side.done for side in self.sides):
                self.stop()
            self.over = True

    def _read(self, side: Side, sampling: Sampling) -> None:
        key = side.key or os.environ.get(KEY_VARIABLE) or None
        asked = asked_with(with_system(self._section, side.chat))
        side.asked_at = time.monotonic()
        pieces = parts(side.url or self.url, side.name, asked, sampling, key, side.call, self._extras)
        try:
            for part in _keeping(pieces, side):
                side.hear(part)
                self._news.set()
        except UserError as error:
            if not self._stopped:
                side.problem = error.problems[0]
        finally:
            side.done = True
            self._news.set()


def _keeping(pieces: Generator[Part, None, Ending], side: Side) -> Iterator[Part]:
    """The pieces; how they ended is kept in the side."""
    side.ending = yield from pieces


class Lines:
    """The exchanges that go on now, by visitor: each visitor has one at a time, and Stop finds the right one."""

    def __init__(self) -> None:
        self._open: dict[str, Exchange] = {}

    def get(self, visitor: str) -> Exchange | None:
        """What the visitor has asked and was not yet told in full."""
        return self._open.get(visitor)

    def open(self, visitor: str, exchange: Exchange) -> bool:
        """From now on the visitor waits for this exchange; False where there is one already."""
        return self._open.setdefault(visitor, exchange) is exchange

    def close(self, visitor: str) -> Exchange | None:
        """The visitor's exchange, which is over."""
        return self._open.pop(visitor, None)


def sides_of(models: Sequence[str], chats: Sequence[Chat], question: str) -> list[Side]:
    """The sides of a question: to what was learned, and to the base beside it when there are two chats."""
    asked = {"role": "user", "content": question}
    return [Side(name, [*chat, asked], at) for at, (name, chat) in enumerate(zip(speakers(models), chats, strict=False))]


def speakers(models: Sequence[str], count: int = 2) -> list[str]:
    """Whom the panes ask, among a server's models, of which the base is the first: the last one, the base, the others."""
    if not models:
        return []
    chosen = [models[-1], models[0], *models[-2:0:-1]]
    return [chosen[at] if at < len(chosen) else models[0] for at in range(count)]


def facts(side: Side, seed: int, locale: Locale) -> str:
    """What is worth knowing of an ended answer: its length, its speed, why it is cut, and the seed that repeats it."""
    told = [locale(Say.stopped)] if side.ending is None else []
    ending = side.ending
    if ending is not None and ending.answer_tokens:
        took, more = side.last_at - side.first_at, ending.answer_tokens - 1
        said = Say.rate(tokens=f"{ending.answer_tokens:,}", rate=f"{more / took:,.0f}") if took > 0 and more else None
        told.append(locale(said or Say.tokens(tokens=f"{ending.answer_tokens:,}")))
        told.append(locale(Say.first(seconds=f"{side.first_at - side.asked_at:.2f}")))
    if ending is not None and ending.finish == "length":
        told.append(locale(Say.cut))
    told.append(locale(Say.seed(seed=seed)))
    return "  ·  ".join(told)


def until_question(chat: Chat, number: int) -> list[Turn]:
    """The chat up to its question of that number, which is left out with all that came after."""
    asked = -1
    for at, turn in enumerate(chat):
        asked += turn["role"] == "user"
        if asked == number:
            return [dict(one) for one in chat[:at]]
    return [dict(one) for one in chat]


def question_at(chat: Chat, at: int) -> int:
    """The number of the question at that place or the last one before it; -1 where there is none."""
    return _count(turn["role"] == "user" for turn in chat[: at + 1]) - 1


def question(chat: Chat, number: int) -> str:
    """The words of a question."""
    asked = [str(turn["content"]) for turn in chat if turn["role"] == "user"]
    return asked[number] if 0 <= number < len(asked) else ""


def _count(found: Iterable[bool]) -> int:
    return sum(found)


def open_calls(chat: Chat) -> list[Turn]:
    """The calls of the last answer, to which no result was given yet."""
    return list(chat[-1].get("tool_calls") or []) if chat and chat[-1]["role"] == "assistant" else []


def with_results(chat: Chat, results: Sequence[str]) -> list[Turn]:
    """The chat with a result for each open call."""
    told = [
        {"role": "tool", "tool_call_id": call["id"], "name": call["function"]["name"], "content": result}
        for call, result in zip(open_calls(chat), results, strict=False)
    ]
    return [*(dict(turn) for turn in chat), *told]


def messages_of(value: Any) -> list[Turn]:
    """The messages of a pane's value, which was in a browser: anything else than a chat is left out."""
    return turns_of(value.get("messages") if isinstance(value, Mapping) else None)
