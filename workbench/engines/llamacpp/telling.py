"""From what llama.cpp's server tells to pieces of an answer: text, tokens, chances, the end. Knows no process."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workbench.engines import Answer, Chance, Finish, Piece, Sampling
from workbench.engines.llamacpp.asking import COMPLETION, Scales, body, chances, forgiven
from workbench.neighbours.wire import Gone, Wire
from workbench.neighbours.words import Words

BROKEN = "\ufffd"
BLOCK = 16
"""Tokens that are asked for at once where each may change the next request."""
ENDS: dict[str, Finish] = {"eos": "stop", "word": "stop", "limit": "length"}


@dataclass(frozen=True)
class Step:
    """What one token, or some, have brought."""

    text: str
    tokens: Sequence[int]
    count: int
    """Tokens of the answer up to here, an end of turn not among them."""
    finish: Finish | None = None
    chances: Sequence[Chance] = ()


class Telling:
    """The answers of one tokenizer's models."""

    def __init__(self, tokenizer: Any, lead: str, stop_ids: frozenset[int], context: int) -> None:
        self._lead, self._stop_ids, self._context = lead, stop_ids, context
        self._words = Words(tokenizer)

    def pieces(
        self, wire: Wire, scales: Scales, ids: Sequence[int], sampling: Sampling, gone: Callable[[], bool]
    ) -> Iterator[Piece]:
        """The answer to one question."""
        room = min(sampling.max_tokens, self._context - len(ids))
        answer, count, broken = Answer(sampling.stop, self._lead), 0, ""
        finish: Finish = "cancelled"
        try:
            for step in self._steps(wire, scales, ids, sampling, room, gone):
                ended = not sampling.ignore_eos and not self._stop_ids.isdisjoint(step.tokens)
                count = step.count - ended
                written = broken + ("" if ended else step.text)
                whole = written.rstrip(BROKEN)
                broken = written[len(whole) :]
                text = answer.add(whole)
                if text or step.chances:
                    yield Piece(text, chances=() if ended else step.chances)
                if ended or answer.stopped or step.finish:
                    finish = "stop" if ended or answer.stopped else step.finish or "stop"
                    break
        except Gone:
            finish = "cancelled"
        last = answer.add(broken if finish == "stop" else "") + answer.rest()  # what was cut is no character
        yield Piece(last, finish, len(ids), count)

    def _steps(
        self, wire: Wire, scales: Scales, ids: Sequence[int], sampling: Sampling, room: int, gone: Callable[[], bool]
    ) -> Iterator[Step]:
        if sampling.presence_penalty:
            return self._in_blocks(wire, scales, ids, sampling, room, gone)
        asked = body(ids, sampling, room, scales, self._context)
        asked["logit_bias"] = list(forgiven(ids, ids, sampling).items())
        events = wire.events(COMPLETION, asked, gone)
        return self._streamed(events) if asked["stream"] else self._whole(next(events), 0, sampling)

    def _streamed(self, events: Iterator[Any]) -> Iterator[Step]:
        first = True
        for event in events:
            finish = ENDS.get(event.get("stop_type", "")) if event["stop"] else None
            text = event["content"]
            if first and self._words.strips:
                text = text.removeprefix(" ")
            first = first and not event["content"]
            count = event["tokens_predicted"] - (event.get("stop_type") == "eos")
            yield Step(text, event["tokens"], count, finish)

    def _whole(self, event: Any, before: int, sampling: Sampling) -> Iterator[Step]:
        """An answer that came at once, token by token; ``before``: how many tokens came before it."""
        writing = self._words.writing(before)
        finish = ENDS[event["stop_type"]]
        tokens, told = list(event["tokens"]), chances(event, sampling.logprobs or 0)
        if event["stop_type"] == "eos":
            tokens.pop()
        for at, token in enumerate(tokens, before + 1):
            # The list of chances has none for a token that ends within a character.
            chance = [told.pop(0)] if told and told[0].token == token else []
            yield Step(writing(token), [token], at, None, [] if sampling.logprobs is None else chance)
        yield Step("", (), before + len(tokens), finish)

    def _in_blocks(
        self, wire: Wire, scales: Scales, ids: Sequence[int], sampling: Sampling, room: int, gone: Callable[[], bool]
    ) -> Iterator[Step]:
        """With a penalty for presence, up to the next token that the prompt has and the answer had not: from there on
        llama.cpp has to be asked with other biases."""
        writing, said = self._words.writing(0), list[int]()
        while True:
            seed = None if sampling.seed is None else sampling.seed + len(said)
            asked = body([*ids, *said], replace(sampling, seed=seed), min(BLOCK, room - len(said)), scales, self._context)
            asked |= {"logit_bias": list(forgiven(ids, said, sampling).items()), "cache_prompt": True}
            (event,) = wire.events(COMPLETION, asked, gone)
            fresh = set(ids) - set(said)
            for step in self._whole(event, len(said), sampling):
                ended: Finish | None = step.finish if event["stop_type"] == "eos" else None
                finish: Finish | None = "length" if step.count == room and not ended else ended
                yield replace(step, text="".join(map(writing, step.tokens)), finish=finish)
                said += step.tokens
                if not fresh.isdisjoint(step.tokens):
                    break
