"""How many numbers a tuning method moves, by the shapes of the model's weights. Loads nothing.

Knows no method by name: a rule belongs to the field that gives an adapter its size, whichever method has it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.estimates.model_facts import ModelFacts
from workbench.tuning import TuningSpec

Values = Mapping[str, Any]
KEYS_AND_VALUES = ("k_proj", "v_proj", "c_attn", "qkv_proj", "query_key_value", "W_pack")
INNER = ("down_proj", "fc2", "dense_4h_to_h", "w2")
BESIDE = "additional_target"
"""The one field of that ending which names no layers of the adapter: they are trained whole."""


def num_trained(method: TuningSpec, model: ModelFacts) -> int:
    """Numbers that are trained; about, where only the loaded model says it exactly."""
    values = method.model_dump()
    for field, rule in RULES.items():
        if field in values:
            return rule(values, model)
    if not method.ADAPTER:
        return model.num_weights
    # An adapter without any size of its own lies on the norms, the only vectors of usual models.
    return sum(shape[0] for shape in model.weights.values() if len(shape) == 1)


def adapted_layers(method: TuningSpec, model: ModelFacts) -> list[tuple[int, int]]:
    """(outputs, inputs) of each linear layer whose input the adapter has to remember."""
    fields = method.model_dump()
    names = [name for key, value in fields.items() if key.endswith("_target") and key != BESIDE for name in value]
    return model.linear([*KEYS_AND_VALUES, *INNER] if names == ["auto"] else names) if names else []


def reached_layers(method: TuningSpec, model: ModelFacts) -> int:
    """Layers that the gradient passes on its way back: where only the last ones move, those alone."""
    values = method.model_dump()
    last = values.get("freeze_trainable_layers", 0)
    return min(last, model.layers) if last > 0 and not values["freeze_extra_modules"] else model.layers


def _lora(values: Values, model: ModelFacts) -> int:
    """Two matrices for each layer, (rank, inputs) and (outputs, rank): arXiv 2106.09685, section 4.1; DoRA adds a length
    for each output: arXiv 2402.09353, section 4.1."""
    layers = model.linear(values["lora_target"])
    lengths = sum(outputs for outputs, _ in layers) if values.get("use_dora") else 0
    return _low_rank(layers, values["lora_rank"]) + lengths + model.in_modules(values.get(BESIDE) or [])


def _low_rank(layers: Sequence[tuple[int, int]], rank: int) -> int:
    return sum(rank * (outputs + inputs) for outputs, inputs in layers)


def _freeze(values: Values, model: ModelFacts) -> int:
    share = model.in_layers(values["freeze_trainable_layers"])
    chosen = values["freeze_trainable_modules"]
    if "all" not in chosen:
        share = model.in_modules(chosen) * share // max(1, model.in_layers(model.layers))
    return share + model.in_modules(values["freeze_extra_modules"])


def _loha(values: Values, model: ModelFacts) -> int:
    """Two low-rank products for each layer: arXiv 2108.06098, section 2.2."""
    return 2 * _low_rank(model.linear(values["loha_target"]), values["loha_rank"])


def _lokr(values: Values, model: ModelFacts) -> int:
    """A small factor and a low-rank one for each layer: arXiv 2309.14859, section 3.2."""
    total = 0
    for outputs, inputs in model.linear(values["lokr_target"]):
        small_out, small_in = (_divisor(size, values["lokr_factor"]) for size in (outputs, inputs))
        large_out, large_in = outputs // small_out, inputs // small_in
        low = values["lokr_rank"] * (large_out + large_in)
        total += small_out * small_in + min(low, large_out * large_in)
    return total


def _divisor(size: int, wanted: int) -> int:
    """The wanted divisor of a width, or the largest one up to its root."""
    if wanted > 0 and size % wanted == 0:
        return min(wanted, size // wanted)
    return next(at for at in range(math.isqrt(size), 0, -1) if size % at == 0)


def _oft(values: Values, model: ModelFacts) -> int:
    """A skew-symmetric matrix for each block of inputs, b (b - 1) / 2 numbers: arXiv 2306.07280, section 3.3."""
    total = 0
    for _, inputs in model.linear(values["oft_target"]):
        block = values["oft_block_size"] or max(1, inputs // max(1, values.get("oft_rank") or 1))
        total += inputs // block * block * (block - 1) // 2
    return total


def _ia3(values: Values, model: ModelFacts) -> int:
    """A scale for each output of keys and values and for each input of the inner layer: arXiv 2205.05638, section 3.3."""
    names = values["ia3_target"]
    if names != ["auto"]:
        return sum(outputs for outputs, _ in model.linear(names))
    return sum(outputs for outputs, _ in model.linear(KEYS_AND_VALUES)) + sum(inputs for _, inputs in model.linear(INNER))


def _vera(values: Values, model: ModelFacts) -> int:
    """A scale for each output and for each of the rank: arXiv 2310.11454, section 3.2."""
    return sum(outputs + values["vera_rank"] for outputs, _ in model.linear(values["vera_target"]))


def _prefix(values: Values, model: ModelFacts) -> int:
    """Keys and values of each place in each layer: arXiv 2101.00190, section 4; with a network of two layers before."""
    width = 2 * model.layers * model.key_width
    if not values.get("prefix_projection"):
        return int(values["num_virtual_tokens"]) * width
    return int(values["num_virtual_tokens"]) * model.hidden + model.hidden**2 + model.hidden * width


def _ptuning(values: Values, model: ModelFacts) -> int:
    """A table of places and the network that reads it: three layers, or an LSTM of two layers in two directions."""
    inner = values.get("ptuning_hidden") or model.hidden
    layers = 2 * model.hidden * inner + inner**2 + 2 * inner + model.hidden
    recurrent = 8 * inner * (model.hidden + inner) + 8 * inner * 3 * inner if values.get("ptuning_kind") == "LSTM" else 0
    return int(values["num_virtual_tokens"]) * model.hidden + layers + recurrent


RULES: Mapping[str, Callable[[Values, ModelFacts], int]] = {
    "lora_rank": _lora,
    "freeze_trainable_layers": _freeze,
    "loha_rank": _loha,
    "lokr_rank": _lokr,
    "oft_block_size": _oft,
    "ia3_target": _ia3,
    "vera_rank": _vera,
    "prefix_projection": _prefix,
    "ptuning_kind": _ptuning,
    "num_virtual_tokens": lambda values, model: int(values["num_virtual_tokens"]) * model.hidden,
}
"""By the field that sizes the adapter; the first one that a method has counts."""
