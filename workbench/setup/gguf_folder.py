"""Turns the GGUF file of a SmolLM2 model into an ordinary Hugging Face folder.

Knows nothing of where the file came from. Heavy imports are inside functions.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

WEIGHTS = "model.safetensors"
CONTROL_TOKEN = 3
PARTS = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}

Meta = dict[str, Any]
"""What the GGUF file says of itself: plain values by key."""


def convert(gguf: Path, folder: Path, progress: Callable[[int, int], None]) -> None:
    """Write weights, configs, tokenizer and template into ``folder``; ``progress`` hears tensors done, of how many."""
    from gguf import GGUFReader

    reader = GGUFReader(gguf)
    meta = {key: field.contents() for key, field in reader.fields.items()}
    write_tokenizer(meta, folder)
    write_configs(meta, folder)
    write_weights(reader.tensors, meta, folder, progress)


def write_tokenizer(meta: Meta, folder: Path) -> None:
    """tokenizer.json with one token for each digit, as the model was trained: a GGUF only hints at that by a name."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = meta["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in meta["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = meta["tokenizer.ggml.token_type"]
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(meta["tokenizer.chat_template"], "utf-8")
    settings = {
        "add_prefix_space": False,
        "bos_token": tokens[meta["tokenizer.ggml.bos_token_id"]],
        "clean_up_tokenization_spaces": False,
        "eos_token": tokens[meta["tokenizer.ggml.eos_token_id"]],
        "model_max_length": meta["llama.context_length"],
        "pad_token": tokens[meta["tokenizer.ggml.padding_token_id"]],
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": tokens[meta["tokenizer.ggml.unknown_token_id"]],
    }
    write_json(folder / "tokenizer_config.json", settings)


def write_configs(meta: Meta, folder: Path) -> None:
    """config.json and generation_config.json in the spelling that every loader of this family reads."""
    ids = {f"{role}_token_id": meta[f"tokenizer.ggml.{role}_token_id"] for role in ("bos", "eos")}
    ids["pad_token_id"] = meta["tokenizer.ggml.padding_token_id"]
    hidden = meta["llama.embedding_length"]
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "head_dim": meta["llama.rope.dimension_count"],
        "hidden_act": "silu",
        "hidden_size": hidden,
        "initializer_range": hidden**-0.5,
        "intermediate_size": meta["llama.feed_forward_length"],
        "max_position_embeddings": meta["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": meta["llama.attention.head_count"],
        "num_hidden_layers": meta["llama.block_count"],
        "num_key_value_heads": meta["llama.attention.head_count_kv"],
        "rms_norm_eps": float(f"{meta['llama.attention.layer_norm_rms_epsilon']:.6g}"),
        "rope_theta": meta["llama.rope.freq_base"],
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": meta["llama.vocab_size"],
        **ids,
    }
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", ids)


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")


def write_weights(tensors: list[Any], meta: Meta, folder: Path, progress: Callable[[int, int], None]) -> None:
    """model.safetensors in bfloat16, the precision in which the model was published."""
    import torch
    from safetensors.torch import save_file

    state: dict[str, Any] = {}
    for name, array in named_arrays(tensors, meta):
        state[name] = torch.from_numpy(array).to(torch.bfloat16)
        progress(len(state), len(tensors))
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})


def named_arrays(tensors: list[Any], meta: Meta) -> Iterator[tuple[str, Any]]:
    """Each tensor as a float32 array that owns its memory, under its Hugging Face name."""
    from gguf import dequantize

    heads = {"attn_q": meta["llama.attention.head_count"], "attn_k": meta["llama.attention.head_count_kv"]}
    for tensor in tensors:
        array = dequantize(tensor.data, tensor.tensor_type).copy()
        part = tensor.name.split(".")[-2]
        yield hugging_face_name(tensor.name), unpermute(array, heads[part]) if part in heads else array


def hugging_face_name(name: str) -> str:
    """``blk.3.attn_q.weight`` -> ``model.layers.3.self_attn.q_proj.weight``; KeyError for a tensor unknown to us."""
    *layer, part, kind = name.removeprefix("blk.").split(".")
    prefix = f"layers.{layer[0]}." if layer else ""
    return f"model.{prefix}{PARTS[part]}.{kind}"


def unpermute(array: Any, heads: int) -> Any:
    """Rows of a query or key matrix back from GGUF's order (rotary pairs side by side) to two halves for each head."""
    rows, columns = array.shape
    return array.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
