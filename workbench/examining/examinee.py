"""A model of an engine as benchmarks ask it: texts scored, texts continued, each request once. Knows no task.

Every result is kept at once in a file, so that whoever goes on after a kill asks nothing twice.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from workbench.engines import Chat, Engine, Frame, Prompt, Raw, Row, Sampling
from workbench.evaluating.ledger import Ledger
from workbench.examining.flight import Gone, fly, hear

BENCHMARKS = "benchmarks.jsonl"
"""The file in a run's folder that holds every request's result."""
TOGETHER = 64
"""Rows that are scored between two writings."""
USUAL_TOKENS = 256
"""Most tokens of an answer where the task says nothing, as lm-eval has it."""
CHAT = "\x02chat:"
"""What a chat begins with where lm-eval passes it on as a text."""
Done = Callable[[int], None]
"""Told with a request's number when that request is answered."""
Pair = tuple[float, bool]
"""A text's log-probability, and whether it is what the model would have said."""


@dataclass
class Answered:
    """The file with the result of every request. Several threads may add."""

    path: Path
    found: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take up what an earlier worker left."""
        self._ledger = Ledger(self.path)
        self._take(self._ledger.read())

    def add(self, results: Mapping[str, Any]) -> None:
        """Keep these, on the disk and in memory as they stand there."""
        self._take(self._ledger.add([{"key": key, "value": value} for key, value in results.items()]))

    def _take(self, held: Sequence[Mapping[str, Any]]) -> None:
        self.found.update({one["key"]: one["value"] for one in held})


def key_of(*what: Any) -> str:
    """A short name for a request."""
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:24]


class Examinee:
    """One model. ``label``: what it is called in the file."""

    def __init__(self, engine: Engine, model: str, label: str, answered: Answered) -> None:
        self._engine, self._model, self._label, self._answered = engine, model, label, answered

    def pairs(self, given: Sequence[tuple[str, str]], done: Done) -> list[Pair]:
        """How likely each continuation is behind its context."""
        return [(sums[0], greedy[0]) for sums, greedy in self._scored([[self.row(*pair)] for pair in given], done)]

    def texts(self, given: Sequence[str], done: Done) -> list[float]:
        """How likely each text is as a whole; one that the context has no room for in parts, as lm-eval divides it."""
        rows = [list(windows(self._dressed(text), self._frame.first, self._frame.context)) for text in given]
        return [math.fsum(sums) for sums, _ in self._scored(rows, done)]

    def answers(self, given: Sequence[tuple[str, Mapping[str, Any]]], done: Done) -> list[str]:
        """What the model writes behind each context, drawn as the task says."""
        seen: dict[str, int] = {}
        keys = list[str]()
        for context, settings in given:
            plain = key_of(self._label, "write", context, settings)
            seen[plain] = seen.get(plain, -1) + 1
            keys.append(key_of(plain, seen[plain]) if settings.get("do_sample") else plain)
        left = {key: at for at, key in enumerate(keys) if key not in self._answered.found}
        for at, key in enumerate(keys):
            if key not in left:
                done(at)

        def ask(key: str, gone: Gone) -> None:
            context, settings = given[left[key]]
            sampling = drawn(settings, int(key[:8], 16))
            prompt = self._prompt(context, sampling.max_tokens)
            self._answered.add({key: hear(self._engine, self._model, prompt, sampling, gone).text})

        def tell(key: str) -> None:
            for at in (at for at, other in enumerate(keys) if other == key):
                done(at)

        fly(list(left), ask, tell)
        return [self._answered.found[key] for key in keys]

    def _prompt(self, context: str, room: int) -> Prompt:
        """The context as the engine takes it; of one that is too long the end."""
        if "tokens" in self._engine.lacks:
            return Chat(chat_of(context)) if context.startswith(CHAT) else Raw(context)
        return Raw(self._before(context)[-max(1, self._frame.context - room) :])

    # Tokens

    @cached_property
    def _frame(self) -> Frame:
        return self._engine.frame(self._model)

    def row(self, context: str, continuation: str) -> Row:
        """The tokens of both, and where the continuation begins. Spaces between them belong to the continuation."""
        if not context:
            ids = list(self._engine.tokens(Raw(continuation)))
            return self._fitted(ids if ids[:1] == [self._frame.first] else [self._frame.first, *ids], 1)
        if context.startswith(CHAT):
            before = self._before(context)
            return self._fitted([*before, *self._engine.tokens(Raw(continuation))], len(before))
        bare = context.rstrip()
        ids = self._dressed(context + continuation)
        return self._fitted(ids, min(len(self._dressed(bare)), len(ids) - 1))

    def _fitted(self, ids: list[int], index: int) -> Row:
        over = max(0, len(ids) - self._frame.context - 1)
        return ids[over:], max(1, index - over)

    def _before(self, context: str) -> list[int]:
        if not context.startswith(CHAT):
            return self._dressed(context)
        messages, begun = chat_of(context), ""
        if messages[-1]["role"] == "assistant":  # the beginning of an answer that the task gives away
            *messages, last = messages
            begun = str(last["content"])
        return [*self._engine.tokens(Chat(messages)), *(self._engine.tokens(Raw(begun)) if begun else ())]

    def _dressed(self, text: str) -> list[int]:
        """The text's tokens behind what the tokenizer puts before every text."""
        ids = list(self._engine.tokens(Raw(text)))
        prefix = list(self._frame.prefix)
        return ids if ids[: len(prefix)] == prefix else [*prefix, *ids]

    # Scoring

    def _scored(self, given: Sequence[Sequence[Row]], done: Done) -> list[tuple[list[float], list[bool]]]:
        """For each request the sums of its rows, and whether each is what the model would have said."""
        keys = [[key_of(self._label, "score", *row) for row in rows] for rows in given]
        rows = {key: row for names, some in zip(keys, given, strict=True) for key, row in zip(names, some, strict=True)}
        waiting = {at: {key for key in names if key not in self._answered.found} for at, names in enumerate(keys)}

        def settle() -> None:
            for at in [at for at, left in waiting.items() if not left]:
                del waiting[at]
                done(at)

        settle()
        # The longest first, so that what is too much for the memory is met at once; the same context side by side.
        left = sorted((key for key in rows if key not in self._answered.found), key=lambda key: (-len(rows[key][0]), rows[key]))
        for start in range(0, len(left), TOGETHER):
            some = left[start : start + TOGETHER]
            scored = self._engine.score(self._model, [rows[key] for key in some])
            told = {key: [math.fsum(one.logprobs), all(one.greedy)] for key, one in zip(some, scored, strict=True)}
            self._answered.add(told)
            for names in waiting.values():
                names.difference_update(told)
            settle()
        found = self._answered.found
        return [([found[key][0] for key in names], [found[key][1] for key in names]) for names in keys]


def windows(ids: Sequence[int], first: int, context: int) -> Iterator[Row]:
    """The text in parts of which each token is scored once: ``first`` stands before it, the last part reaches back."""
    yield [first, *ids[:context]], 1
    for done in range(context, len(ids), context):
        end = min(done + context, len(ids))
        row = list(ids[max(0, end - context - 1) : end])
        yield row, len(row) - (end - done)


def written_chat(messages: Sequence[Mapping[str, Any]]) -> str:
    """A chat as lm-eval passes it on."""
    return CHAT + json.dumps(list(messages), ensure_ascii=False)


def chat_of(context: str) -> list[dict[str, Any]]:
    """The chat that was passed on."""
    messages: list[dict[str, Any]] = json.loads(context.removeprefix(CHAT))
    return messages


def shown_chat(context: str) -> str:
    """A context as a person reads it."""
    return "\n".join(str(one["content"]) for one in chat_of(context)) if context.startswith(CHAT) else context


def drawn(settings: Mapping[str, Any], seed: int) -> Sampling:
    """How lm-eval's ``generation_kwargs`` ask for an answer: greedy unless they say otherwise."""
    names = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
    most = next((int(settings[name]) for name in names if settings.get(name) is not None), USUAL_TOKENS)
    until = settings.get("until") or []
    stop = [until] if isinstance(until, str) else list(until)
    temperature = float(settings.get("temperature") or 0.0)
    if settings.get("do_sample") is False or (temperature == 0 and not settings.get("do_sample")):
        return Sampling(most, 0.0, 1.0, stop=stop)
    top_p, top_k = float(settings.get("top_p") or 1.0), int(settings.get("top_k") or 0)
    return Sampling(most, temperature or 1.0, top_p, seed, stop, top_k)
