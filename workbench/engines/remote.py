"""The engine of somebody else's server: any URL that speaks OpenAI's API. Loads nothing, writes no key down."""

import os
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.engines import (
    BASE,
    Answer,
    Chat,
    Embedding,
    Engine,
    EngineSpec,
    Finish,
    Frame,
    Opening,
    Piece,
    Prompt,
    Row,
    Sampling,
    Scored,
)
from workbench.fields import Ui
from workbench.neighbours.completions import settings
from workbench.neighbours.wire import Gone, Wire
from workbench.problems import UserError
from workbench.text import Text

LACKS = frozenset({"tokens", "adapters", "logprobs", "ignore_eos", "tools", "score"})


class Say:
    no_url = Text("'{given}' is no address of a server. Accepted: such as http://127.0.0.1:11434/v1. Mend it.")
    no_model = Text("The server offers several models. Accepted: {known}. Choose one of these.")
    no_adapters = Text("A remote server holds its own models. Accepted: no adapters. Take them out, or choose another engine.")
    answers = Text("{url} answers as {model}.")


class Spec(EngineSpec):
    """Remote"""

    infer_backend: Literal["remote"] = "remote"
    remote_url: Annotated[str, Ui("Address")] = ""
    """Where the server's API begins, such as http://127.0.0.1:11434/v1 or https://api.example.com/v1."""
    remote_model: Annotated[str, Ui("Model of the server")] = ""
    """Its name there. Empty: the only one that the server offers."""
    remote_key_variable: Annotated[str, Field(pattern="[A-Za-z_][A-Za-z0-9_]*"), Ui("Variable of the key")] = "OPENAI_API_KEY"
    """The environment variable that holds the key, which is written nowhere. Not set: no key is sent."""


def open(spec: Spec, opening: Opening) -> Engine:
    """Ask the server which models it has."""
    url = spec.remote_url.rstrip("/").removesuffix("/chat/completions")
    if not url.startswith(("http://", "https://")) or len(url.split("/")[2]) == 0:
        raise UserError(Say.no_url(given=spec.remote_url), key="remote_url")
    if opening.adapters:
        raise UserError(Say.no_adapters(), key="adapter_name_or_path")
    wire = Wire(url.split("/")[2], url, os.environ.get(spec.remote_key_variable) or None)
    model = spec.remote_model or _only_model(wire)
    opening.note(Say.answers(url=url, model=model))
    return Remote(wire, model)


def _only_model(wire: Wire) -> str:
    names = [str(one["id"]) for one in wire.get("/models").get("data", ())]
    if len(names) != 1:
        raise UserError(Say.no_model(known=", ".join(names[:40]) or "-"), key="remote_model")
    return names[0]


@dataclass
class Remote:
    """Passes chats on as they are, and texts as they are."""

    wire: Wire
    model: str
    lacks: Container[str] = LACKS
    models: Sequence[str] = field(default=(BASE,))

    def stream(self, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        asked = {"model": self.model, **settings(sampling, sampling.max_tokens)}
        if isinstance(prompt, Chat):
            return self._pieces("/chat/completions", {**asked, "messages": list(prompt.messages)}, sampling, gone)
        given = prompt.given if isinstance(prompt.given, str) else list(prompt.given)
        return self._pieces("/completions", {**asked, "prompt": given}, sampling, gone)

    def _pieces(self, path: str, asked: Mapping[str, Any], sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        answer, thoughts, finish, count = Answer(sampling.stop), Thoughts(), "stop", 0
        told: Mapping[str, Any] = {}
        try:
            for event in self.wire.events(path, asked, gone):
                told = event.get("usage") or told
                for choice in event.get("choices", ()):
                    finish = choice.get("finish_reason") or finish
                    fresh = thoughts.text(choice)
                    count += bool(fresh)
                    if text := answer.add(fresh):
                        yield Piece(text)
                if answer.stopped:
                    finish = "stop"
                    break
        except Gone:
            finish = "cancelled"
        ended: Finish = "cancelled" if finish == "cancelled" else "length" if finish == "length" else "stop"
        rest = answer.add(thoughts.end()) + answer.rest()
        yield Piece(rest, ended, int(told.get("prompt_tokens") or 0), int(told.get("completion_tokens") or count))

    def tokens(self, prompt: Prompt) -> Sequence[int]:
        raise NotImplementedError  # tokens are among what the engine lacks

    def embed(self, model: str, texts: Sequence[str]) -> Sequence[Embedding]:
        rows = [self.wire.post("/embeddings", {"model": self.model, "input": text}) for text in texts]
        return [Embedding(row["data"][0]["embedding"], int(row.get("usage", {}).get("prompt_tokens", 0))) for row in rows]

    def score(self, model: str, rows: Sequence[Row], likeliest: int | None = None) -> Sequence[Scored]:
        raise NotImplementedError  # among what the engine lacks

    def frame(self, model: str) -> Frame:
        raise NotImplementedError  # tokens are among what the engine lacks

    def add(self, name: str, folder: Path) -> None:
        raise NotImplementedError  # adapters are among what the engine lacks

    def remove(self, name: str) -> None:
        raise NotImplementedError  # adapters are among what the engine lacks

    def close(self) -> None:
        self.wire.close()


class Thoughts:
    """Puts a thought that a server sends apart back into the text, as models write it."""

    def __init__(self) -> None:
        self._open = False

    def text(self, choice: Mapping[str, Any]) -> str:
        """What a part of an answer adds to the text, whichever way it came."""
        delta = choice.get("delta") or choice.get("message") or choice
        thought = str(delta.get("reasoning_content") or delta.get("reasoning") or "")
        said = str(delta.get("content") or delta.get("text") or "")
        before = "<think>\n" if thought and not self._open else ""
        self._open = self._open or bool(thought)
        return before + thought + (self.end() if said else "") + said

    def end(self) -> str:
        """What closes a thought that is still open."""
        closing = "\n</think>\n\n" if self._open else ""
        self._open = False
        return closing
