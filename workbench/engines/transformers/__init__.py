"""The engine of the model itself: base and adapters in this process, one answer at a time. Knows no HTTP and no run."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any, Literal

from workbench.engines import (
    Answer,
    Embedding,
    Engine,
    EngineSpec,
    Finish,
    Opening,
    Piece,
    Precision,
    Prompt,
    Sampling,
    TooLong,
)
from workbench.engines.transformers.drawing import dice, draw
from workbench.engines.transformers.line import Line
from workbench.engines.transformers.voices import Voices
from workbench.engines.transformers.writing import Writing
from workbench.fields import Ui
from workbench.problems import UserError
from workbench.text import Text

CHUNK = 512
"""Tokens of a prompt that are computed at once; between two chunks a request can be given up."""
NO_LIMIT = 1_000_000_000
LACKS = frozenset({"top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs"})
LACKS |= {"json_schema", "ignore_eos", "embeddings", "adapters"}


class Say:
    weights = Text("Weights are held in {precision} on {device}.")
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


def open(spec: Spec, opening: Opening) -> Engine:
    """Load tokenizer, base and every adapter."""
    precision = _precision(spec.infer_dtype)
    tokenizer = opening.tokenizer()
    base = opening.model(precision)
    voices = Voices(base, opening.adapters, lambda folder: opening.whole(folder, precision))
    opening.note(Say.weights(precision=precision, device=base.device.type))
    return Transformers(voices, base.config, tokenizer, _stop_ids(base, tokenizer, opening), opening, precision)


class Transformers:
    """Answers with the base or one of its adapters, in the order of asking."""

    def __init__(
        self,
        voices: Voices,
        config: Any,
        tokenizer: Any,
        stop_ids: frozenset[int],
        opening: Opening,
        precision: Precision,
    ) -> None:
        self._voices, self._tokenizer = voices, tokenizer
        self._stop_ids, self._precision = stop_ids, precision
        self._prompt, self._lead = opening.prompt, opening.lead
        self._context = context_length(config, tokenizer)
        self._line = Line()
        # Brings the tokenizer into the one state that every thread needs, so that it never changes.
        tokenizer("", add_special_tokens=False, verbose=False)

    @property
    def models(self) -> Sequence[str]:
        return self._voices.names

    @property
    def lacks(self) -> Container[str]:
        return LACKS

    def tokens(self, prompt: Prompt) -> Sequence[int]:
        return self._prompt(self._tokenizer, prompt)

    def stream(self, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        ids = self._prompt(self._tokenizer, prompt)
        if not ids:
            raise UserError(Say.no_text(), key="messages")
        context = self._context - self._voices.taken(model)
        if len(ids) >= context:
            raise TooLong(Say.too_long(given=len(ids), context=context), key="messages")
        return self._pieces(model, ids, sampling, gone)

    def embed(self, model: str, texts: Sequence[str]) -> Sequence[Embedding]:
        raise NotImplementedError

    def add(self, name: str, folder: Path) -> None:
        raise NotImplementedError

    def remove(self, name: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def _pieces(self, model: str, ids: Sequence[int], sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        with self._line.turn(gone) as first:
            if not first:
                yield Piece("", "cancelled", len(ids))
                return
            with self._speaking_as(model):
                yield from self._write(ids, sampling, gone, self._context - self._voices.taken(model))

    def _write(self, ids: Sequence[int], sampling: Sampling, gone: Callable[[], bool], context: int) -> Iterator[Piece]:
        answer, writing = Answer(sampling.stop, self._lead), Writing(self._decode)
        room = min(sampling.max_tokens, context - len(ids))
        finish: Finish = "cancelled"
        count = 0
        for token in self._tokens(ids, sampling, gone):
            if token in self._stop_ids:
                finish = "stop"
                break
            count += 1
            if text := answer.add(writing.add(token)):
                yield Piece(text)
            if answer.stopped or count == room:
                finish = "stop" if answer.stopped else "length"
                break
        last = answer.add(writing.rest(cut=finish != "stop")) + answer.rest()
        yield Piece(last, "stop" if answer.stopped else finish, len(ids), count)

    def _tokens(self, ids: Sequence[int], sampling: Sampling, gone: Callable[[], bool]) -> Iterator[int]:
        """Token after token without end, until nobody waits for more."""
        cache, generator = self._voices.begin(), dice(sampling.seed)
        fresh = ids
        while True:
            for start in range(0, len(fresh), CHUNK):
                if gone():
                    return
                logits = self._compute(fresh[start : start + CHUNK], cache)
            token = draw(logits, sampling, generator)
            yield token
            fresh = [token]

    def _compute(self, ids: Sequence[int], cache: Any) -> Any:
        """The logits after these tokens, which the cache takes in: a row of float32, in numpy."""
        import numpy
        import torch

        with torch.inference_mode():
            inputs = torch.tensor([list(ids)], device=self._voices.model.device)
            output = self._voices.model(input_ids=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
            logits = output.logits[0, -1].float().cpu().numpy()
        if not numpy.isfinite(logits.max()):
            raise UserError(Say.not_finite(precision=self._precision), key="infer_dtype")
        return logits

    def _speaking_as(self, model: str) -> AbstractContextManager[None]:
        return self._voices.speaking(model)

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
