"""A model's measures as GGUF says them: sizes, norms, rotation, windows. Knows no weights and no tokenizer."""

import math
from collections.abc import Mapping
from typing import Any

from workbench.gguf.families import Family
from workbench.problems import UserError
from workbench.text import Text


class Say:
    rotation = Text("The model's positions are scaled by '{given}'. Accepted: {known}. Choose the engine transformers.")


ROTATIONS = ("default", "linear", "yarn", "llama3", "longrope")


def write_shape(writer: Any, family: Family, config: Any) -> Mapping[str, Any]:
    """Add the measures to a GGUFWriter; what has to be written as tensors comes back as float32 arrays by name."""
    values: Mapping[str, Any] = config.get_text_config().to_dict()
    head = head_size(values)
    writer.add_context_length(context_length(family, values))
    writer.add_embedding_length(values["hidden_size"])
    writer.add_block_count(values["num_hidden_layers"])
    writer.add_feed_forward_length(values["intermediate_size"])
    writer.add_head_count(values["num_attention_heads"])
    writer.add_head_count_kv(values["num_key_value_heads"])
    writer.add_key_length(head)
    writer.add_value_length(head)
    if "layer_norm_eps" in values:
        writer.add_layer_norm_eps(values["layer_norm_eps"])
    else:
        writer.add_layer_norm_rms_eps(values["rms_norm_eps"])
    writer.add_vocab_size(values["vocab_size"])
    if family.arch in ("gemma2", "gemma3", "phi3") and values.get("sliding_window"):
        writer.add_sliding_window(values["sliding_window"])
    if values.get("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(values["attn_logit_softcapping"])
    if values.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(values["final_logit_softcapping"])
    return _write_rotation(writer, values, head)


def check_rotation(config: Any) -> None:
    """UserError when llama.cpp scales no positions as the model does."""
    told = config.get_text_config().to_dict()["rope_parameters"]
    _rotation(told.get("full_attention") or told)


def _rotation(told: Mapping[str, Any]) -> str:
    kind = str(told.get("rope_type") or told.get("type") or "default")
    if kind not in ROTATIONS:
        raise UserError(Say.rotation(given=kind, known=", ".join(ROTATIONS)), key="model_name_or_path")
    return kind


def head_size(values: Mapping[str, Any]) -> int:
    """Numbers that one head of attention reads."""
    return int(values.get("head_dim") or values["hidden_size"] // values["num_attention_heads"])


def context_length(family: Family, values: Mapping[str, Any]) -> int:
    """Most tokens; no more than the window where llama.cpp knows no window for the family."""
    most = int(values["max_position_embeddings"])
    window = values.get("sliding_window") if family.arch == "llama" else None
    return min(most, int(window)) if window else most


def _write_rotation(writer: Any, values: Mapping[str, Any], head: int) -> Mapping[str, Any]:
    import gguf

    told = values["rope_parameters"]
    if "sliding_attention" in told:
        writer.add_rope_freq_base_swa(told["sliding_attention"]["rope_theta"])
        told = told["full_attention"]
    kind = _rotation(told)
    turned = int(head * (told.get("partial_rotary_factor") or values.get("partial_rotary_factor") or 1))
    writer.add_rope_dimension_count(turned)
    writer.add_rope_freq_base(told["rope_theta"])
    original = told.get("original_max_position_embeddings") or values.get("original_max_position_embeddings")
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(told["factor"])
    elif kind == "yarn":
        _write_yarn(writer, told, int(original or values["max_position_embeddings"]))
    elif kind == "llama3":
        return {"rope_freqs.weight": llama3_factors(told, turned)}
    elif kind == "longrope":
        return _longrope(writer, told, values, int(original or values["max_position_embeddings"]))
    return {}


def _write_yarn(writer: Any, told: Mapping[str, Any], original: int) -> None:
    """YaRN (arXiv 2309.00071)."""
    import gguf

    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(told["factor"])
    writer.add_rope_scaling_orig_ctx_len(original)
    for key, add in (
        ("attention_factor", writer.add_rope_scaling_attn_factors),
        ("beta_fast", writer.add_rope_scaling_yarn_beta_fast),
        ("beta_slow", writer.add_rope_scaling_yarn_beta_slow),
    ):
        if told.get(key) is not None:
            add(told[key])


def llama3_factors(told: Mapping[str, Any], turned: int) -> Any:
    """By what each of Llama 3.1's frequencies is divided: slow ones by the factor, fast ones by one, between them both."""
    import numpy

    low, high = told["low_freq_factor"], told["high_freq_factor"]
    original = told["original_max_position_embeddings"]
    waves = 2 * math.pi * told["rope_theta"] ** (numpy.arange(0, turned, 2, dtype=numpy.float64) / turned)
    share = numpy.clip((original / waves - low) / (high - low), 0, 1)
    return (1 / ((1 - share) / told["factor"] + share)).astype(numpy.float32)


def _longrope(writer: Any, told: Mapping[str, Any], values: Mapping[str, Any], original: int) -> Mapping[str, Any]:
    """LongRoPE (arXiv 2402.13753): one factor for each frequency, others for long texts."""
    import numpy

    factor = told.get("factor") or values["max_position_embeddings"] / original
    spread = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_rope_scaling_attn_factors(told.get("attention_factor") or spread)
    return {
        f"rope_factors_{length}.weight": numpy.array(told[f"{length}_factor"], numpy.float32) for length in ("long", "short")
    }
