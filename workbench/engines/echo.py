"""The engine that repeats the last question: for trying things out and for tests. Loads nothing.

``call NAME {"key": "value"}`` in a question makes it call that tool, if tools are on offer; thinking on makes it think.
"""

import json
import math
import re
import zlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.engines import (
    BASE,
    Answer,
    Chance,
    Chat,
    Embedding,
    Engine,
    EngineSpec,
    Frame,
    Opening,
    Piece,
    Prompt,
    Row,
    Sampling,
    Scored,
)
from workbench.fields import Ui

LACKS = frozenset({"logit_bias"})
"""Everything else it honours, since it draws nothing: the same words come whatever the chances are bent to."""
ASKED_CALL = re.compile(r"\bcall (\S+) (?=\{)")
VOCABULARY = 2**20
CONTEXT = 8192
"""Most words of an answer."""
DEEPEST = 8
"""Levels of a schema that are filled in."""


class Spec(EngineSpec):
    """Echo"""

    infer_backend: Literal["echo"] = "echo"
    echo_delay: Annotated[float, Field(ge=0, le=10), Ui("Pause between words")] = 0.0
    """Seconds between two words of the answer. Usual: 0."""


@dataclass
class Echo:
    """Answers with the name of the model and the last message; a word counts as a token."""

    models: Sequence[str]
    delay_s: float
    lacks: Container[str] = LACKS

    def stream(self, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        import time

        words, read = self._words(model, prompt, sampling), len(self.tokens(prompt))
        endless, most = sampling.ignore_eos, min(sampling.max_tokens, CONTEXT)
        answer, waiting = Answer(sampling.stop), list[Chance]()
        count = 0
        for word in islice(cycle(words) if endless else words, most):
            if gone():
                yield Piece("", "cancelled", read, count)
                return
            time.sleep(self.delay_s)
            token = f" {word}" if count else word
            count += 1
            waiting += [] if sampling.logprobs is None else [chance_of(token, sampling.logprobs)]
            text = answer.add(token)
            if answer.stopped:
                yield Piece(text, "stop", read, count, waiting)
                return
            if text:
                yield Piece(text, chances=waiting)
                waiting = []
        ended = not endless and len(words) <= most
        yield Piece(answer.rest(), "stop" if ended else "length", read, count, waiting)

    def _words(self, model: str, prompt: Prompt, sampling: Sampling) -> list[str]:
        if sampling.json_schema is not None:
            return json.dumps(instance(sampling.json_schema), ensure_ascii=False).split(" ")
        tools = prompt.tools if isinstance(prompt, Chat) else ()
        text = (calls_in(last_words(prompt)) if tools else "") or f"{model}: {last_words(prompt)}"
        if isinstance(prompt, Chat) and prompt.enable_thinking:
            text = f"<think>\nI was asked: {last_words(prompt)}\n</think>\n\n{text}"
        return text.split(" ")

    def tokens(self, prompt: Prompt) -> Sequence[int]:
        given = None if isinstance(prompt, Chat) else prompt.given
        return [token_of(word) for word in _text(prompt).split()] if given is None or isinstance(given, str) else given

    def embed(self, model: str, texts: Sequence[str]) -> Sequence[Embedding]:
        return [Embedding([float(len(text)), float(text.count(" "))], len(text.split())) for text in texts]

    def score(self, model: str, rows: Sequence[Row], likeliest: int | None = None) -> Sequence[Scored]:
        return [scored_of(ids, index, likeliest) for ids, index in rows]

    def frame(self, model: str) -> Frame:
        return Frame(CONTEXT, 0, ())

    def add(self, name: str, folder: Path) -> None:
        self.models = (*self.models, name)

    def remove(self, name: str) -> None:
        self.models = tuple(one for one in self.models if one != name)

    def close(self) -> None:
        pass


def last_words(prompt: Prompt) -> str:
    """What is repeated."""
    return str(prompt.messages[-1]["content"] or "") if isinstance(prompt, Chat) else _text(prompt)


def _text(prompt: Prompt) -> str:
    if isinstance(prompt, Chat):
        return " ".join(str(message["content"] or "") for message in prompt.messages)
    return prompt.given if isinstance(prompt.given, str) else " ".join(map(str, prompt.given))


def token_of(word: str) -> int:
    """A number for a word, always the same."""
    return zlib.crc32(word.encode()) % VOCABULARY


def chance_of(token: str, others: int) -> Chance:
    """Made up: the word itself has the chance 1/2, the word in capitals 1/4, and so on."""
    likely = [_chance(token, 1), *(_chance(f"{token.upper()}{'!' * at}", at + 2) for at in range(others - 1))]
    return Chance(token_of(token), token.encode(), math.log(0.5), likely[:others])


def _chance(token: str, halves: int) -> Chance:
    return Chance(token_of(token), token.encode(), math.log(0.5) * halves)


def scored_of(ids: Sequence[int], index: int, likeliest: int | None) -> Scored:
    """Made up: a token's chance is 1/2, 1/4, 1/8 or 1/16 by its number; only beside 1/2 none is likelier."""
    chances = [_given(ids[at], at == 0, likeliest or 0) for at in range(index, len(ids))]
    greedy = [chance.logprob == math.log(0.5) for chance in chances]
    return Scored([chance.logprob for chance in chances], greedy, () if likeliest is None else chances)


def _given(token: int, first: bool, others: int) -> Chance:
    rank, word = 1 + token % 4, f" {token}"
    if first:
        return Chance(token, word.encode(), math.nan)
    likely = chance_of(word if rank == 1 else f"{word}?", others).others
    return Chance(token, word.encode(), math.log(0.5) * rank, likely)


def calls_in(words: str) -> str:
    """The calls that a question asks for, as Qwen writes them; empty when it asks for none."""
    calls = []
    for asked in ASKED_CALL.finditer(words):
        try:
            arguments, _ = json.JSONDecoder().raw_decode(words, asked.end())
        except (json.JSONDecodeError, RecursionError):
            continue
        call = {"name": asked[1], "arguments": arguments}
        calls.append(f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>")
    return "\n".join(calls)


def instance(schema: Any, root: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """About the smallest value of a JSON schema; of what it doesn't understand, an empty text."""
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return ""
    root = schema if root is None else root
    if isinstance(reference := schema.get("$ref"), str):
        found: Any = root
        for part in reference.removeprefix("#").strip("/").split("/"):
            found = found.get(part) if isinstance(found, Mapping) and part else found
        return instance(found, root, depth + 1)
    if "const" in schema:
        return schema["const"]
    for several in ("enum", "anyOf", "oneOf", "allOf"):
        if isinstance(choices := schema.get(several), list) and choices:
            return choices[0] if several == "enum" else instance(choices[0], root, depth + 1)
    return _of_kind(schema, root, depth)


def _of_kind(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type", "object" if schema is root or "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        known, needed = schema.get("properties"), schema.get("required")
        inner = known if isinstance(known, Mapping) else {}
        names = needed if isinstance(needed, list) else list(inner)
        return {str(name): instance(inner.get(str(name)), root, depth + 1) for name in names}
    if kind == "array":
        least = schema.get("minItems")
        count = min(least, DEEPEST) if isinstance(least, int) else 0
        return [instance(schema.get("items"), root, depth + 1) for _ in range(count)]
    if kind in ("integer", "number"):
        return schema["minimum"] if isinstance(schema.get("minimum"), int | float) else 0
    return {"boolean": False, "null": None}.get(kind if isinstance(kind, str) else "", "")


def open(spec: Spec, opening: Opening) -> Engine:
    """Ready at once."""
    return Echo((BASE, *opening.adapters), spec.echo_delay)
