"""The engine of llama.cpp: GGUF files, and models that are written as such, in a process of its own. Knows no HTTP of ours.

Answers that bring log-probabilities come whole, not word by word: the stream of llama.cpp leaves out tokens that end
within a character.
"""

import threading
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.engines import (
    BASE,
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
    TooLong,
    frame_of,
)
from workbench.engines.llamacpp.asking import Scales, speaking
from workbench.engines.llamacpp.files import Files
from workbench.engines.llamacpp.server import Measures, Server, cores
from workbench.engines.llamacpp.telling import Telling
from workbench.fields import Ui
from workbench.gguf import Kind
from workbench.gguf.reading import context_of_file, is_gguf
from workbench.neighbours.ends import end_ids
from workbench.neighbours.installed import require
from workbench.neighbours.wire import Wire
from workbench.problems import UserError
from workbench.text import Text

LACKS = frozenset({"score"})
"""Its server tells the chances of the tokens that it writes, not of those that it is given."""
SMALL_BYTES = 1_000_000_000


class Say:
    why = Text("to answer with llama.cpp")
    opened = Text("llama.cpp answers with weights of the type {kind}, up to {slots} at once, {context} tokens each.")
    own_kind = Text("llama.cpp answers with the GGUF file as it is, up to {slots} at once, {context} tokens each.")
    too_long = Text("The chat has {given} tokens. Accepted: fewer than {context}. Shorten it, or load the model with more.")
    no_text = Text("The chat has no tokens with this template. Accepted: at least one. Write something.")
    too_wide = Text("A text has {given} tokens. Accepted here: up to {most}. Shorten it.")
    no_embedding = Text(
        "llama.cpp makes no embeddings with the adapter '{name}'. Accepted: base. Ask the base, or load another engine."
    )
    not_together = Text(
        "presence_penalty or frequency_penalty comes with {other}, which llama.cpp can't compute together. Accepted: one of "
        "them. Leave one out."
    )


class Spec(EngineSpec):
    """llama.cpp"""

    infer_backend: Literal["llamacpp"] = "llamacpp"
    llamacpp_type: Annotated[
        Literal["auto", "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0", "q3_k_m", "q2_k"],
        Ui("Number type"),
    ] = "auto"
    """How weights are held when a model is written as GGUF. auto: f16 for models of less than 1 GB, q8_0 for larger ones, and
    fewer bits where a weight was made from so few and loses nothing. q4_0: the fastest on a processor, and much is lost."""
    llamacpp_maxlen: Annotated[int, Field(ge=16, le=10_000_000), Ui("Context")] = 4096
    """Most tokens of prompt and answer together; memory for so many is taken at once. Usual: 2048 to 32768."""
    llamacpp_parallel: Annotated[int, Field(ge=1, le=256), Ui("Answers at once")] = 4
    """How many are answered at the same time; each takes memory for its context. Usual: 1 to 16."""
    llamacpp_drafts: Annotated[bool, Ui("Guess ahead")] = False
    """Guess the next words from where the text already said the same, and check several in one step. Answers that repeat
    themselves or the question come faster; many at once come slower."""


@dataclass(frozen=True)
class Voice:
    """Who answers to a name: a server, and how strongly its adapters speak."""

    server: Server
    scales: Scales = ()


def open(spec: Spec, opening: Opening) -> Engine:
    """Write what is not yet there as GGUF, and start llama.cpp."""
    require("xllamacpp", Say.why)
    kind: Kind = usual_kind(opening.folder()) if spec.llamacpp_type == "auto" else spec.llamacpp_type
    files = Files(opening, kind, grids=spec.llamacpp_type == "auto")
    base = files.base()
    context = min(spec.llamacpp_maxlen, context_of_file(base))
    exact = kind == "f32" and not is_gguf(opening.folder())
    measures = Measures(context, spec.llamacpp_parallel, exact, cores(), spec.llamacpp_drafts)
    engine = LlamaCpp(opening, files, base, measures)
    said = Say.own_kind if base == opening.folder() else Say.opened
    opening.note(said(slots=measures.slots, context=context, **({} if said is Say.own_kind else {"kind": kind})))
    return engine


def usual_kind(folder: Path) -> Kind:
    """What is both faithful and fast: small models suffer most from few bits and are fast anyway, large ones least."""
    return "f16" if sum(file.stat().st_size for file in folder.glob("*.safetensors")) < SMALL_BYTES else "q8_0"


class LlamaCpp:
    """Base and LoRA adapters in one process, models of their own each in another."""

    def __init__(self, opening: Opening, files: Files, base: Path, measures: Measures) -> None:
        self._files, self._base, self._measures = files, base, measures
        self._tokenizer, self._prompt = opening.tokenizer(), opening.prompt
        self._telling = Telling(self._tokenizer, opening.lead, frozenset(end_ids(opening, self._tokenizer)), measures.context)
        self._loras: dict[str, Path] = {}
        self._wholes: dict[str, Server] = {}
        self._names: list[str] = []
        self._changing = threading.Lock()
        try:
            for name, folder in opening.adapters.items():
                self._take_in(name, folder)
            self._shared = self._started()
        except BaseException:
            self._end(self._wholes.values())
            raise

    @property
    def models(self) -> Sequence[str]:
        return (BASE, *self._names)

    @property
    def lacks(self) -> Container[str]:
        return LACKS

    def tokens(self, prompt: Prompt) -> Sequence[int]:
        return self._prompt(self._tokenizer, prompt)

    def read(self, chat: Chat) -> Sequence[int]:
        """By the tokenizer and the template inside the GGUF file."""
        thinking = {} if chat.enable_thinking is None else {"chat_template_kwargs": {"enable_thinking": chat.enable_thinking}}
        tools = {"tools": list(chat.tools)} if chat.tools else {}
        with self._shared.leased() as wire:
            told = wire.post("/apply-template", {"messages": list(chat.messages), **tools, **thinking})
            found = wire.post("/tokenize", {"content": told["prompt"], "add_special": True, "parse_special": True})
        return [int(token) for token in found["tokens"]]

    def stream(self, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        ids = self._prompt(self._tokenizer, prompt)
        if not ids:
            raise UserError(Say.no_text(), key="messages")
        if len(ids) >= self._measures.context:
            raise TooLong(Say.too_long(given=len(ids), context=self._measures.context), key="messages")
        if sampling.presence_penalty and sampling.json_schema is not None:
            raise UserError(Say.not_together(other="response_format"), key="presence_penalty")
        if (sampling.presence_penalty or sampling.frequency_penalty) and sampling.repetition_penalty != 1:
            raise UserError(Say.not_together(other="repetition_penalty"), key="presence_penalty")
        return self._pieces(model, ids, sampling, gone)

    def _pieces(self, model: str, ids: Sequence[int], sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        with self._changing:
            voice = self._voice(model)
            lease = voice.server.leased()
            wire = lease.__enter__()
        try:
            yield from self._telling.pieces(wire, voice.scales, ids, sampling, gone)
        finally:
            lease.__exit__(None, None, None)

    def embed(self, model: str, texts: Sequence[str]) -> Sequence[Embedding]:
        with self._changing:
            voice = self._voice(model)
            if any(scale["scale"] for scale in voice.scales):
                raise UserError(Say.no_embedding(name=model), key="model")
            lease = voice.server.leased()
            wire = lease.__enter__()
        try:
            return [self._embedded(wire, text) for text in texts]
        finally:
            lease.__exit__(None, None, None)

    def _embedded(self, wire: Wire, text: str) -> Embedding:
        import numpy

        ids = self._tokenizer(text, verbose=False)["input_ids"] or [self._tokenizer.eos_token_id]
        if len(ids) > (most := min(self._measures.context, 2048)):
            raise TooLong(Say.too_wide(given=len(ids), most=most), key="input")
        (told,) = wire.post("/embedding", {"content": list(ids), "embd_normalize": -1})
        return Embedding(numpy.array(told["embedding"], numpy.float64).mean(0).tolist(), len(ids))

    def score(self, model: str, rows: Sequence[Row], likeliest: int | None = None) -> Sequence[Scored]:
        raise NotImplementedError  # among what the engine lacks

    def frame(self, model: str) -> Frame:
        return frame_of(self._tokenizer, self._measures.context)

    def add(self, name: str, folder: Path) -> None:
        with self._changing:
            self._take_in(name, folder)
            if name not in self._loras:
                return
            try:
                old = self._renew()
            except UserError:
                del self._loras[name]
                self._names.remove(name)
                raise
        threading.Thread(target=old.retire, daemon=True).start()

    def remove(self, name: str) -> None:
        with self._changing:
            self._names.remove(name)
            whole = self._wholes.pop(name, None)
            if name in self._loras:
                del self._loras[name]
                whole = self._renew()
        if whole is not None:
            whole.retire()

    def close(self) -> None:
        self._end((self._shared, *self._wholes.values()))

    def _voice(self, name: str) -> Voice:
        if name in self._wholes:
            return Voice(self._wholes[name])
        lora = list(self._loras).index(name) if name in self._loras else None
        return Voice(self._shared, speaking(lora, len(self._loras)))

    def _take_in(self, name: str, folder: Path) -> None:
        lora = self._files.lora(folder)
        if lora is not None:
            self._loras[name] = lora
        else:
            self._wholes[name] = Server(self._files.whole(name, folder), (), self._measures)
        self._names.append(name)

    def _renew(self) -> Server:
        """A process with the adapters of now; the old one, whose answers go on."""
        old, self._shared = self._shared, self._started()
        return old

    def _started(self) -> Server:
        return Server(self._base, list(self._loras.values()), self._measures)

    def _end(self, servers: Any) -> None:
        for server in servers:
            server.end()
