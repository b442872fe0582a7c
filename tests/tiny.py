"""A Llama of two layers with random weights and a byte-level tokenizer, written as an ordinary model folder.

``python -m tests.tiny FOLDER`` writes one. Neither torch nor transformers is needed for it.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

CONTEXT = 512
HIDDEN, INNER, LAYERS, HEADS, KEY_HEADS = 32, 64, 2, 4, 2
UNKNOWN, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (UNKNOWN, START, END)
MERGES = (
    "Ġ t|h e|Ġ a|i n|r e|o n|Ġt he|e r|Ġ s|a t|Ġ w|o u|e n|Ġ o|i s|Ġ c|i t|a n|n d|o r|e s|Ġ b|Ġ f|in g|Ġ p|a l|a r|"
    "Ġt o|Ġ m|Ġo f|Ġ h|Ġ d|Ġa nd|Ġ y|Ġy ou|u r|s t|Ġ n|l l|Ġ i|Ġi s|a s|e d|s s|Ġ I|u s|e l"
)
NORMS = ("input_layernorm", "post_attention_layernorm")
CHAT_TEMPLATE = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Special tokens, every byte, and some pairs of English; the pairs in the order in which they are joined."""
    merges = [(left, right) for left, right in (pair.split(" ") for pair in MERGES.split("|"))]
    words = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(left + right for left, right in merges)]
    assert len(set(words)) == len(words)
    return {word: at for at, word in enumerate(words)}, merges


def write_tokenizer(folder: Path) -> int:
    """tokenizer.json, its config and the chat template; the size of the vocabulary."""
    words, merges = vocabulary()
    tokenizer = Tokenizer(BPE(words, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": UNKNOWN,
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
    }
    _write_json(folder / "tokenizer_config.json", config)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, "utf-8")
    return len(words)


def weights(num_words: int, seed: int) -> dict[str, Any]:
    """Random weights under the names of the Llama family, large enough that no two answers are nearly tied."""
    draw = np.random.default_rng(seed)
    shapes = {"model.embed_tokens.weight": (num_words, HIDDEN)}
    for layer in range(LAYERS):
        inside = {
            "self_attn.q_proj": (HIDDEN, HIDDEN),
            "self_attn.k_proj": (HIDDEN // HEADS * KEY_HEADS, HIDDEN),
            "self_attn.v_proj": (HIDDEN // HEADS * KEY_HEADS, HIDDEN),
            "self_attn.o_proj": (HIDDEN, HIDDEN),
            "mlp.gate_proj": (INNER, HIDDEN),
            "mlp.up_proj": (INNER, HIDDEN),
            "mlp.down_proj": (HIDDEN, INNER),
        }
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in inside.items()}
    norms = ["model.norm", *(f"model.layers.{at}.{name}" for at in range(LAYERS) for name in NORMS)]
    drawn = {name: draw.normal(0.0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    return drawn | {f"{name}.weight": np.ones(HIDDEN, np.float32) for name in norms}


def write_model(folder: Path, seed: int = 0) -> Path:
    """The whole model folder; the folder again."""
    folder.mkdir(parents=True, exist_ok=True)
    num_words = write_tokenizer(folder)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": num_words,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
        "bos_token_id": SPECIAL.index(START),
        "eos_token_id": SPECIAL.index(END),
        "pad_token_id": SPECIAL.index(END),
        "torch_dtype": "float32",
    }
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {"eos_token_id": SPECIAL.index(END)})
    save_file(weights(num_words, seed), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2), "utf-8")


if __name__ == "__main__":
    print(write_model(Path(sys.argv[1])))
