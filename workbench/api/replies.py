"""Answers in OpenAI's words, in parts or as a whole. Knows no engine and no HTTP."""

import base64
import codecs
import math
import secrets
import string
import struct
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from workbench.api.reading import Part, Thought, Words
from workbench.api.shapes import Call
from workbench.engines import Chance, Embedding, Piece

LEAST_LOGPROB = -9999.0
"""What stands for minus infinity, which JSON does not have."""
CALL_ID = 9
"""Letters and digits of a call's id: the templates of Mistral accept no other number."""
Json = dict[str, Any]


class Takes(Protocol):
    """Takes one answer apart."""

    @property
    def called(self) -> bool:
        """Whether a call was read."""

    def add(self, text: str, ended: bool = False) -> list[Part]:
        """The parts that are clear after ``text`` has come."""


class Whole:
    """Reads nothing: every word is said."""

    called = False

    def add(self, text: str, ended: bool = False) -> list[Part]:
        """The words."""
        return [Words(text)] if text else []


class Forced:
    """An answer that is nothing but the arguments of a function."""

    def __init__(self, name: str) -> None:
        self.called, self._name, self._held = True, name, ""

    def add(self, text: str, ended: bool = False) -> list[Part]:
        """The call, when it is whole."""
        self._held += text
        return [Call(self._name, self._held.strip())] if ended else []


class Choice(Protocol):
    """One of a request's answers as it grows."""

    def opening(self) -> Iterator[Json]:
        """What a stream begins with."""

    def add(self, piece: Piece) -> Iterator[Json]:
        """The parts of a stream that come with a piece."""

    def whole(self) -> Json:
        """The answer in one, when its last piece has come."""


class ChatChoice:
    """An answer to a chat: content, thought and calls."""

    def __init__(self, index: int, reader: Takes, top: int | None) -> None:
        self._index, self._reader, self._top = index, reader, top
        self._said, self._thought, self._calls = "", "", list[Json]()
        self._chances, self._waiting = list[Json](), list[Json]()
        self._finish: str | None = None

    def opening(self) -> Iterator[Json]:
        yield self._part({"role": "assistant", "content": ""})

    def add(self, piece: Piece) -> Iterator[Json]:
        told = [chat_chance(chance, self._top or 0) for chance in piece.chances] if self._top is not None else []
        self._chances += told
        self._waiting += told
        for part in self._reader.add(piece.text, piece.finish is not None):
            for delta in self._deltas(part):
                yield self._part(delta)
        if piece.finish is not None:
            self._finish = "tool_calls" if self._reader.called and piece.finish == "stop" else piece.finish
            yield self._part({}, self._finish)

    def _deltas(self, part: Part) -> Iterator[Json]:
        match part:
            case Words(text):
                self._said += text
                yield {"content": text}
            case Thought(text):
                self._thought += text
                yield {"reasoning_content": text}
            case Call(name, arguments):
                at, named = len(self._calls), {"id": call_id(), "type": "function"}
                self._calls.append({**named, "function": {"name": name, "arguments": arguments}})
                yield {"tool_calls": [{"index": at, **named, "function": {"name": name, "arguments": ""}}]}
                yield {"tool_calls": [{"index": at, "function": {"arguments": arguments}}]}

    def _part(self, delta: Json, finish: str | None = None) -> Json:
        logprobs, self._waiting = ({"content": self._waiting} if self._waiting else None), []
        return {"index": self._index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}

    def whole(self) -> Json:
        message: Json = {"role": "assistant", "content": self._said if self._said or not self._calls else None}
        if self._thought:
            message["reasoning_content"] = self._thought
        if self._calls:
            message["tool_calls"] = self._calls
        logprobs = {"content": self._chances} if self._top is not None else None
        return {"index": self._index, "message": message, "logprobs": logprobs, "finish_reason": self._finish}


class TextChoice:
    """A text that goes on behind what stands before it, ``known``: that text's tokens where they are told too."""

    def __init__(self, index: int, before: str, known: Sequence[Chance], top: int | None) -> None:
        self._index, self._top, self._before = index, top, before
        self._said, self._finish = before, ""
        self._chances = OldChances(top or 0, 0 if known else len(before))
        self._known = self._chances.add(known)

    def opening(self) -> Iterator[Json]:
        if self._before:
            logprobs = self._known if self._top is not None else None
            yield {"index": self._index, "text": self._before, "logprobs": logprobs, "finish_reason": None}

    def add(self, piece: Piece) -> Iterator[Json]:
        self._said += piece.text
        if piece.text or piece.chances or piece.finish:
            self._finish = piece.finish or ""
            yield self._part(piece.text, piece.chances, piece.finish)

    def _part(self, text: str, chances: Sequence[Chance], finish: str | None = None) -> Json:
        logprobs = self._chances.add(chances) if self._top is not None else None
        return {"index": self._index, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def whole(self) -> Json:
        logprobs = self._chances.whole() if self._top is not None else None
        return {"index": self._index, "text": self._said, "logprobs": logprobs, "finish_reason": self._finish}


class OldChances:
    """Log-probabilities in the older shape: lists side by side."""

    def __init__(self, top: int, offset: int) -> None:
        self._top, self._offset = top, offset
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._all = self._rows()

    def _rows(self) -> Json:
        return {"tokens": [], "token_logprobs": [], "top_logprobs": [] if self._top else None, "text_offset": []}

    def add(self, chances: Sequence[Chance]) -> Json:
        """Those of a part."""
        rows = self._rows()
        for chance in chances:
            rows["tokens"].append(token_text(chance))
            rows["token_logprobs"].append(None if math.isnan(chance.logprob) else logprob(chance))
            rows["text_offset"].append(self._offset)
            if self._top:
                rows["top_logprobs"].append(self._likely(chance))
            self._offset += len(self._decoder.decode(chance.text))
        for name, values in rows.items():
            if values:
                self._all[name] += values
        return rows

    def _likely(self, chance: Chance) -> Json | None:
        """The likeliest and the token itself; of several that are the same text, as parts of characters are, the likeliest."""
        if math.isnan(chance.logprob):
            return None
        likely: Json = {}
        for one in (*chance.others[: self._top], chance):
            likely[token_text(one)] = max(likely.get(token_text(one), LEAST_LOGPROB), logprob(one))
        return likely

    def whole(self) -> Json:
        """All of them."""
        return self._all


class Reply:
    """The answers to one request."""

    def __init__(self, model: str, kind: str, prefix: str, counted: bool) -> None:
        self._kind, self._counted = kind, counted
        self._head = {"id": f"{prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._object = f"{kind}.chunk" if kind == "chat.completion" else kind

    def chunk(self, choice: Json) -> Json:
        """One part of a stream."""
        usage = {"usage": None} if self._counted else {}
        return {**self._head, "object": self._object, "choices": [choice], **usage}

    def count(self, lasts: Sequence[Piece], each: int) -> Json:
        """The part of a stream that only counts."""
        return {**self._head, "object": self._object, "choices": [], "usage": usage(lasts, each)}

    def whole(self, choices: Sequence[Choice], lasts: Sequence[Piece], each: int) -> Json:
        """The answers in one."""
        told = [choice.whole() for choice in choices]
        return {**self._head, "object": self._kind, "choices": told, "usage": usage(lasts, each)}


def usage(lasts: Sequence[Piece], each: int) -> dict[str, int]:
    """Tokens that went in and came out; of ``each`` answers to one prompt, the prompt counts once."""
    read = sum(last.prompt_tokens for last in lasts[::each])
    said = sum(last.answer_tokens for last in lasts)
    return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}


def call_id() -> str:
    """A new id of a call."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(CALL_ID))


def token_text(chance: Chance) -> str:
    """The token as text; a part of a character becomes the sign for that."""
    return chance.text.decode("utf-8", "replace")


def logprob(chance: Chance) -> float:
    """As JSON can say it."""
    return max(chance.logprob, LEAST_LOGPROB)


def chat_chance(chance: Chance, top: int) -> Json:
    """A token of a chat with its log-probability."""
    likely = [_one(other) for other in chance.others[:top]]
    return {**_one(chance), "top_logprobs": likely}


def _one(chance: Chance) -> Json:
    return {"token": token_text(chance), "logprob": logprob(chance), "bytes": list(chance.text)}


def model_list(names: Sequence[str], since: int, base: str, base_name: str) -> Json:
    """The answer of GET /v1/models."""
    return {"object": "list", "data": [model_card(name, since, base, base_name) for name in names]}


def model_card(name: str, since: int, base: str, base_name: str) -> Json:
    """One model; ``root`` is what it really is, ``parent`` what an adapter sits on."""
    root, parent = (base_name or base, None) if name == base else (name, base)
    return {"id": name, "object": "model", "created": since, "owned_by": "workbench", "root": root, "parent": parent}


def embeddings(model: str, found: Sequence[Embedding], packed: bool) -> Json:
    """The answer of POST /v1/embeddings."""
    data = [
        {"object": "embedding", "index": at, "embedding": pack(one.values) if packed else list(one.values)}
        for at, one in enumerate(found)
    ]
    tokens = sum(one.tokens for one in found)
    return {"object": "list", "data": data, "model": model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def pack(values: Sequence[float]) -> str:
    """Numbers of four bytes, the smallest byte first, in base64."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


