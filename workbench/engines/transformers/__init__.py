"""The engine of the model itself: base and adapters in this process, many answers at a time. Knows no HTTP and no run."""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.engines import (
    Answer,
    Chance,
    Embedding,
    Engine,
    EngineSpec,
    Finish,
    Frame,
    Opening,
    Piece,
    Precision,
    Prompt,
    Row,
    Sampling,
    Scored,
    TooLong,
    frame_of,
)
from workbench.engines.transformers.computing import Apart, Computing, Together, can_share
from workbench.engines.transformers.drawing import Chooser
from workbench.engines.transformers.grammars import Grammars
from workbench.engines.transformers.loop import Loop, Request
from workbench.engines.transformers.norms import slim
from workbench.engines.transformers.packing import pack
from workbench.engines.transformers.scoring import Reading, Scoring, most_tokens
from workbench.engines.transformers.voices import Voices
from workbench.engines.transformers.writing import Writing
from workbench.fields import Ui
from workbench.problems import UserError
from workbench.text import Text

NO_LIMIT = 1_000_000_000
LACKS: Container[str] = frozenset()


class Say:
    weights = Text("Weights are held in {precision} on {device}.")
    too_long_row = Text("A text has {given} tokens. Accepted here: up to {most}. Shorten it.")
    too_long = Text("The chat has {given} tokens. Accepted: fewer than {context}. Shorten it, or begin a new one.")
    no_text = Text("The chat has no tokens with this template. Accepted: at least one. Write something.")
    not_finite = Text(
        "In {precision} this model computes no numbers. Accepted: float32, bfloat16. Load it with another number type."
    )


class Spec(EngineSpec):
    """Transformers"""

    infer_backend: Literal["transformers"] = "transformers"
    infer_dtype: Annotated[Literal["auto", "float32", "bfloat16", "float16"], Ui("Number type")] = "auto"
    """How weights are held. auto: bfloat16 on a card that computes it, float16 on other cards, float32 elsewhere."""
    max_num_seqs: Annotated[int, Field(ge=1, le=1024), Ui("Answers at once")] = 8
    """Most answers that grow together, a token each in every step; more wait. 1: one after another. Usual: 8 to 64."""


def open(spec: Spec, opening: Opening) -> Engine:
    """Load tokenizer, base and every adapter.

    In a thread that ends: torch gives each thread that multiplies its own helpers, and with more helpers than processors
    they sleep between any two products. Left over from loading, they made a step take 54 ms instead of 29.
    """
    with ThreadPoolExecutor(1) as loading:
        return loading.submit(_open, spec, opening).result()


def _open(spec: Spec, opening: Opening) -> Engine:
    precision = _precision(spec.infer_dtype)
    tokenizer = opening.tokenizer()
    rows = spec.max_num_seqs
    base = slim(pack(opening.model(precision), rows))
    voices = Voices(base, opening.adapters, lambda folder: slim(pack(opening.whole(folder, precision), rows)))
    opening.note(Say.weights(precision=precision, device=base.device.type))
    return Transformers(voices, tokenizer, _stop_ids(base, tokenizer, opening), opening, precision, spec.max_num_seqs)


class Transformers:
    """Answers with the base or one of its adapters; what is asked at the same time is computed together."""

    lacks = LACKS

    def __init__(
        self,
        voices: Voices,
        tokenizer: Any,
        stop_ids: frozenset[int],
        opening: Opening,
        precision: Precision,
        most: int,
    ) -> None:
        self._voices, self._tokenizer = voices, tokenizer
        self._stop_ids, self._precision, self._most = stop_ids, precision, most
        self._prompt, self._lead = opening.prompt, opening.lead
        self._config = voices.model.config
        self._context = context_length(self._config, tokenizer)
        self._computings: dict[str, Computing] = {}
        # Brings the tokenizer into the one state that every thread needs, so that it never changes.
        tokenizer("", add_special_tokens=False, verbose=False)
        self._loop = Loop(voices.speaking, self._computing, self._check)

    @property
    def models(self) -> Sequence[str]:
        return self._voices.names

    def tokens(self, prompt: Prompt) -> Sequence[int]:
        return self._prompt(self._tokenizer, prompt)

    def stream(self, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        ids = self.tokens(prompt)
        if not ids:
            raise UserError(Say.no_text(), key="messages")
        context = self._context - self._voices.taken(model)
        if len(ids) >= context:
            raise TooLong(Say.too_long(given=len(ids), context=context), key="messages")
        grammar = None if sampling.json_schema is None else self._grammars.json(sampling.json_schema)
        chooser = Chooser(sampling, ids, self._written, grammar)
        ends = frozenset[int]() if sampling.ignore_eos else self._stop_ids
        return self._pieces(model, ids, sampling, chooser, ends, min(sampling.max_tokens, context - len(ids)), gone)

    def _pieces(
        self,
        model: str,
        ids: Sequence[int],
        sampling: Sampling,
        chooser: Chooser,
        ends: frozenset[int],
        room: int,
        gone: Callable[[], bool],
    ) -> Iterator[Piece]:
        done: list[bool] = []
        request = Request(model, ids, chooser, ends, room, lambda: bool(done) or gone())
        self._loop.ask(request)
        try:
            yield from self._written_out(request, Answer(sampling.stop, self._lead))
        finally:
            done.append(True)

    def _written_out(self, request: Request, answer: Answer) -> Iterator[Piece]:
        """The request's tokens as text."""
        writing, count, chances = Writing(self._decode), 0, tuple[Chance, ...]()
        finish: Finish = "stop"
        for item in request.tokens():
            if isinstance(item, str):
                finish = item
                break
            count += 1
            token, chance = item
            if chance is not None:
                chances = (*chances, chance)
            if text := answer.add(writing.add(token)):
                yield Piece(text, chances=chances)
                chances = ()
            if answer.stopped:
                break
        last = answer.add(writing.rest(cut=finish != "stop")) + answer.rest()
        why: Finish = "stop" if answer.stopped else finish
        yield Piece(last, why, len(request.ids), count, chances)

    def embed(self, model: str, texts: Sequence[str]) -> Sequence[Embedding]:
        """The mean over a text's tokens of the last layer's states, one text after another; float32."""
        encoded = [self._tokenizer(text, verbose=False)["input_ids"] for text in texts]
        context = self._context - self._voices.taken(model)
        for ids in encoded:
            if not 0 < len(ids) <= context:
                raise TooLong(Say.too_long(given=len(ids), context=context + 1), key="input")
        return [self._loop.do(partial(self._embedding, model, ids)) for ids in encoded]

    def _embedding(self, model: str, ids: Sequence[int]) -> Embedding:
        import torch

        with self._voices.speaking(model), torch.inference_mode():
            speaking = self._voices.model
            inputs = torch.tensor([list(ids)], device=speaking.device)
            output = speaking(input_ids=inputs, output_hidden_states=True, use_cache=False, logits_to_keep=1)
            values = output.hidden_states[-1][0].float().mean(0)
            return Embedding(values.cpu().tolist(), len(ids))

    def score(self, model: str, rows: Sequence[Row], likeliest: int | None = None) -> Sequence[Scored]:
        most = self.frame(model).context + 1  # a row's last token is not read
        for ids, _ in rows:
            if len(ids) > most:
                raise TooLong(Say.too_long_row(given=len(ids), most=most), key="prompt")
        scoring = Scoring(rows, likeliest, self._written, self._voices.begin, bool(self._voices.taken(model)))
        for batch in scoring.batches(most_tokens(self._voices.model.device.type)):
            self._loop.do(partial(self._scored, model, scoring, batch))
        found = scoring.done()
        if any(math.isnan(one) for scored, (_, index) in zip(found, rows, strict=True) for one in scored.logprobs[index == 0 :]):
            raise self._no_numbers()
        return found

    def _scored(self, model: str, scoring: Scoring, batch: Sequence[Reading]) -> None:
        with self._voices.speaking(model):
            scoring.compute(self._voices.model, batch)

    def frame(self, model: str) -> Frame:
        return frame_of(self._tokenizer, self._context - self._voices.taken(model))

    def add(self, name: str, folder: Path) -> None:
        self._loop.do(lambda: self._voices.add(name, folder))

    def remove(self, name: str) -> None:
        def leave() -> None:
            self._voices.remove(name)
            self._computings.pop(name, None)

        self._loop.do(leave, name)

    def close(self) -> None:
        self._loop.close()
        self._computings.clear()

    def _computing(self, voice: str) -> Computing:
        """What computes for a voice: the base and what hangs in it share one block, the others have their own."""
        name = voice if self._voices.apart(voice) else ""
        if name not in self._computings:
            self._computings[name] = self._new_computing(voice)
        return self._computings[name]

    def _new_computing(self, voice: str) -> Computing:
        """Made while the voice speaks."""
        if self._most > 1 and not self._voices.taken(voice) and can_share(self._voices.model):
            return Together(lambda: self._voices.model, self._most)
        return Apart(lambda: self._voices.model, self._voices.begin, self._most)

    def _check(self, logits: Any) -> None:
        import numpy

        if not numpy.isfinite(logits.max()):
            raise self._no_numbers()

    def _no_numbers(self) -> UserError:
        return UserError(Say.not_finite(precision=self._precision), key="infer_dtype")

    @cached_property
    def _grammars(self) -> Grammars:
        vocabulary = int(self._config.get_text_config().vocab_size)
        return Grammars(self._tokenizer, min(self._stop_ids), vocabulary)

    def _written(self, token: int) -> bytes:
        return self._grammars.written(token)

    def _decode(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def context_length(config: Any, tokenizer: Any) -> int:
    """Most tokens of prompt and answer together, as the model's config says it, else its tokenizer."""
    told = config.get_text_config().to_dict()
    for key in ("max_position_embeddings", "n_positions", "seq_length"):
        if isinstance(told.get(key), int):
            return int(told[key])
    return min(int(tokenizer.model_max_length), NO_LIMIT)


def _precision(asked: str) -> Precision:
    import torch

    named: Mapping[str, Precision] = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
    if asked != "auto":
        return named[asked]
    if not torch.cuda.is_available():
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def _stop_ids(base: Any, tokenizer: Any, opening: Opening) -> frozenset[int]:
    """The template's ends of turn and the model's own, of which there may be several."""
    own = base.generation_config.eos_token_id
    return frozenset(opening.stop_ids(tokenizer)) | frozenset(own if isinstance(own, list) else {own} - {None})
