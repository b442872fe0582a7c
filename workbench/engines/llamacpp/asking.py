"""What is asked of llama.cpp's server, in its words. Knows no process and no file."""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Any

from workbench.engines import Chance, Sampling

RANDOM_SEED = 2**32 - 1
"""The one number that llama.cpp does not take as a seed."""
COMPLETION = "/completion"
Scales = Sequence[Mapping[str, Any]]
"""How strongly each adapter speaks."""
ORDER = ["penalties", "temperature", "top_k", "top_p", "min_p"]
"""As transformers draws: the temperature first."""
GREEDY = ["penalties", "top_k"]
"""The likeliest alone: the others would sort the whole vocabulary first, for each token."""


def body(ids: Sequence[int], sampling: Sampling, room: int, scales: Scales, context: int) -> dict[str, Any]:
    """A request for up to ``room`` tokens after these."""
    asked: dict[str, Any] = {
        "prompt": list(ids),
        "n_predict": room,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k if sampling.temperature else 1,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repeat_last_n": context,
        "logit_bias": [[token, bias] for token, bias in sampling.logit_bias.items()],
        "ignore_eos": sampling.ignore_eos,
        "samplers": ORDER if sampling.temperature else GREEDY,
        "lora": list(scales),
        # With parts of an older answer's numbers a sum is rounded otherwise, and one seed might give two texts.
        "cache_prompt": sampling.seed is None and sampling.temperature > 0,
        "return_tokens": True,
        "stream": sampling.logprobs is None and not sampling.presence_penalty,
    }
    if sampling.seed is not None:
        asked["seed"] = sampling.seed % RANDOM_SEED
    if not asked["stream"]:
        asked["n_probs"] = max(1, sampling.logprobs or 0)
    if sampling.json_schema is not None:
        asked["json_schema"] = sampling.json_schema or {"type": "object"}
    return asked


def speaking(lora: int | None, count: int) -> Scales:
    """The one of ``count`` adapters alone, or the base alone. An empty list would mean them all."""
    return [{"id": at, "scale": float(at == lora)} for at in range(count)]


def forgiven(ids: Sequence[int], said: Container[int], sampling: Sampling) -> dict[int, float]:
    """What undoes for the prompt's tokens the penalties that OpenAI means for the answer's alone.

    llama.cpp counts both. Frequency: what the prompt adds to the count. Presence: for tokens not yet said.
    """
    bias = dict(sampling.logit_bias)
    for token, count in Counter(ids).items():
        more = 0.0 if token in said else sampling.presence_penalty
        bias[token] = bias.get(token, 0.0) + sampling.frequency_penalty * count + more
    return {token: added for token, added in bias.items() if added}


def chances(event: Mapping[str, Any], asked: int) -> list[Chance]:
    """The chances in an event or in a whole answer, with so many of the likeliest."""
    return [_chance(told, asked) for told in event.get("completion_probabilities", ())]


def _chance(told: Mapping[str, Any], asked: int) -> Chance:
    others = [_chance(one, 0) for one in told.get("top_logprobs", ())[:asked]]
    return Chance(told["id"], bytes(told["bytes"]), told["logprob"], others)
