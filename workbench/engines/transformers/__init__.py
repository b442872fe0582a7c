"""The engine of the model itself: base and adapters in this process, one answer at a time. Knows no HTTP and no run."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from workbench.engines import (
    BASE,
    Answer,
    Engine,
    EngineSpec,
    Finish,
    Messages,
    Opening,
    Piece,
    Precision,
    Sampling,
    TooLong,
)
from workbench.engines.transformers.drawing import dice, draw
from workbench.engines.transformers.line import Line
from workbench.engines.transformers.writing import Writing
from workbench.fields import Ui
from workbench.problems import UserError
from workbench.text import Message, Text

CHUNK = 512
"""Tokens of a prompt that are computed at once; between two chunks a request can be given up."""
NO_LIMIT = 1_000_000_000


class Say:
    weights = Text("Weights are held in {precision} on {device}.")
    too_long = Text("The chat has {given} tokens. Accepted: fewer than {context}. Shorten it, or begin a new one.")
    no_text = Text("The chat has no tokens with this template. Accepted: at least one. Write something.")
    bad_adapter = Text("Adapter '{name}' does not fit this model: {reason}. Choose the model that it was trained on.")
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
    model, names = _with_adapters(base, opening.adapters)
    model.eval()
    opening.note(Say.weights(precision=precision, device=base.device.type))
    return Transformers(model, base.config, tokenizer, names, _stop_ids(base, tokenizer, opening), opening, precision)


class Transformers:
    """Answers with the base or one of its adapters, in the order of asking."""

    def __init__(
        self,
        model: Any,
        config: Any,
        tokenizer: Any,
        adapters: Mapping[str, str],
        stop_ids: frozenset[int],
        opening: Opening,
        precision: Precision,
    ) -> None:
        self._model, self._config, self._tokenizer = model, config, tokenizer
        self._adapters, self._stop_ids, self._precision = adapters, stop_ids, precision
        self._render, self._lead = opening.render, opening.lead
        self._context = context_length(config, tokenizer)
        self._line = Line()
        self._encode("")  # brings the tokenizer into the one state that every thread needs, so that it never changes

    @property
    def models(self) -> Sequence[str]:
        return (BASE, *self._adapters)

    def stream(self, model: str, messages: Messages, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        ids = self._encode(self._render(self._tokenizer, messages))
        if not ids:
            raise UserError(Say.no_text(), key="messages")
        if len(ids) >= self._context:
            raise TooLong(Say.too_long(given=len(ids), context=self._context), key="messages")
        return self._pieces(model, ids, sampling, gone)

    def _pieces(self, model: str, ids: list[int], sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        with self._line.turn(gone) as first:
            if not first:
                yield Piece("", "cancelled", len(ids))
                return
            with self._speaking_as(model):
                yield from self._write(ids, sampling, gone)

    def _write(self, ids: list[int], sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        answer, writing = Answer(sampling.stop, self._lead), Writing(self._decode)
        room = min(sampling.max_tokens, self._context - len(ids))
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

    def _tokens(self, ids: list[int], sampling: Sampling, gone: Callable[[], bool]) -> Iterator[int]:
        """Token after token without end, until nobody waits for more."""
        from transformers import DynamicCache

        cache, generator = DynamicCache(config=self._config), dice(sampling.seed)
        fresh = ids
        while True:
            for start in range(0, len(fresh), CHUNK):
                if gone():
                    return
                logits = self._compute(fresh[start : start + CHUNK], cache)
            token = draw(logits, sampling, generator)
            yield token
            fresh = [token]

    def _compute(self, ids: list[int], cache: Any) -> Any:
        """The logits after these tokens, which the cache takes in: a row of float32, in numpy."""
        import numpy
        import torch

        with torch.inference_mode():
            inputs = torch.tensor([ids], device=self._model.device)
            output = self._model(input_ids=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
            logits = output.logits[0, -1].float().cpu().numpy()
        if not numpy.isfinite(logits.max()):
            raise UserError(Say.not_finite(precision=self._precision), key="infer_dtype")
        return logits

    @contextmanager
    def _speaking_as(self, model: str) -> Iterator[None]:
        """The adapter of that name in place, or none of them."""
        if model != BASE:
            self._model.set_adapter(self._adapters[model], inference_mode=True)
            yield
        elif self._adapters:
            with self._model.disable_adapter():
                yield
        else:
            yield

    def _encode(self, text: str) -> list[int]:
        """Token ids; the template has written every special token, so none is added."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

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


def _with_adapters(base: Any, folders: Mapping[str, Path]) -> tuple[Any, Mapping[str, str]]:
    """The base with all adapters beside it, and the key of each by model name (a key may hold no dots)."""
    from peft import PeftModel
    from safetensors import SafetensorError

    model, keys = base, {name: f"adapter{at}" for at, name in enumerate(folders)}
    for name, folder in folders.items():
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message="Found missing adapter keys")
                if model is base:
                    model = PeftModel.from_pretrained(base, str(folder), adapter_name=keys[name])
                else:
                    model.load_adapter(str(folder), adapter_name=keys[name])
        except (RuntimeError, ValueError, OSError, SafetensorError, UserWarning) as error:
            raise UserError(_bad_adapter(name, error), key="adapter_name_or_path") from error
    return model, keys


def _bad_adapter(name: str, error: Exception) -> Message:
    return Say.bad_adapter(name=name, reason=str(error).splitlines()[0][:200])
