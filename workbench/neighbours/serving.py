"""An engine that is a server of others with our model in it: vLLM, SGLang. Knows neither by name.

The prompt's tokens are ours, so that a chat is the same text with every engine.
"""

import socket
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.engines import BASE, Embedding, Frame, Opening, Piece, Prompt, Row, Sampling, Scored, TooLong, frame_of
from workbench.neighbours.completions import Completions
from workbench.neighbours.ends import end_ids
from workbench.neighbours.process import Neighbour
from workbench.neighbours.wire import Wire
from workbench.problems import UserError
from workbench.text import Text

HOST = "127.0.0.1"
PATIENCE_S = 1800
"""Large models take their time to load and to be compiled."""
ADAPTER = "adapter_config.json"


class Say:
    too_long = Text("The chat has {given} tokens. Accepted: fewer than {context}. Shorten it, or load the model with more.")
    too_long_row = Text("A text has {given} tokens. Accepted: fewer than {context}. Shorten it, or load the model with more.")
    no_text = Text("The chat has no tokens with this template. Accepted: at least one. Write something.")
    only_lora = Text("'{name}' is no LoRA adapter. Accepted by {engine}: LoRA. Merge it, or choose the engine transformers.")


@dataclass(frozen=True)
class Manners:
    """How one kind of server differs from the others."""

    name: str
    lacks: Container[str]
    health: str
    load: str
    unload: str
    who: Callable[[str], Mapping[str, Any]]
    """The fields of a request that name who answers."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])


def check_adapters(adapters: Mapping[str, Path], engine: str) -> None:
    """UserError for what is no LoRA adapter."""
    import json

    for name, folder in adapters.items():
        file = folder / ADAPTER
        if not file.is_file() or json.loads(file.read_text("utf-8")).get("peft_type") != "LORA":
            raise UserError(Say.only_lora(name=name, engine=engine), key="adapter_name_or_path")


def flags(config: Mapping[str, str]) -> list[str]:
    """A mapping as flags: ``true`` is the flag alone, ``false`` none."""
    found: list[str] = []
    for key, value in config.items():
        if value.lower() != "false":
            found += [f"--{key.replace('_', '-')}", *([] if value.lower() == "true" else [value])]
    return found


class Served:
    """A model in a server of its own process."""

    def __init__(self, opening: Opening, manners: Manners, process: Neighbour, wire: Wire, context: int) -> None:
        self._manners, self._process, self._wire, self._context = manners, process, wire, context
        self._tokenizer, self._prompt = opening.tokenizer(), opening.prompt
        self._completions = Completions(wire, self._tokenizer, opening.lead, end_ids(opening, self._tokenizer))
        self._names = list(opening.adapters)
        process.wait(lambda: wire.healthy(manners.health), PATIENCE_S)

    @property
    def models(self) -> Sequence[str]:
        return (BASE, *self._names)

    @property
    def lacks(self) -> Container[str]:
        return self._manners.lacks

    def tokens(self, prompt: Prompt) -> Sequence[int]:
        return self._prompt(self._tokenizer, prompt)

    def stream(self, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        ids = self._prompt(self._tokenizer, prompt)
        if not ids:
            raise UserError(Say.no_text(), key="messages")
        if len(ids) >= self._context:
            raise TooLong(Say.too_long(given=len(ids), context=self._context), key="messages")
        room = min(sampling.max_tokens, self._context - len(ids))
        return self._completions.pieces(self._manners.who(model), ids, sampling, room, gone)

    def embed(self, model: str, texts: Sequence[str]) -> Sequence[Embedding]:
        raise NotImplementedError  # embeddings are among what the engine lacks

    def score(self, model: str, rows: Sequence[Row], likeliest: int | None = None) -> Sequence[Scored]:
        for ids, _ in rows:
            if len(ids) >= self._context:
                raise TooLong(Say.too_long_row(given=len(ids), context=self._context), key="prompt")
        return self._completions.scored(self._manners.who(model), rows, likeliest)

    def frame(self, model: str) -> Frame:
        return frame_of(self._tokenizer, self._context - 2)  # it always writes one token, and scores none beyond

    def add(self, name: str, folder: Path) -> None:
        check_adapters({name: folder}, self._manners.name)
        self._wire.tell(self._manners.load, {"lora_name": name, "lora_path": str(folder)})
        self._names.append(name)

    def remove(self, name: str) -> None:
        self._names.remove(name)
        self._wire.tell(self._manners.unload, {"lora_name": name})

    def close(self) -> None:
        self._wire.close()
        self._process.end()
