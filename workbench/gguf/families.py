"""The families of models that become GGUF: what each is called there, and how its weights are laid out anew.

Knows no tokenizer and no file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.gguf.weights import as_float32
from workbench.problems import UserError
from workbench.text import Text

LANGUAGE_PARTS = ("model.language_model.", "language_model.model.")
"""Where the language model lies in one that also sees."""
OTHER_PARTS = ("model.vision_tower.", "vision_tower.", "model.multi_modal_projector.", "multi_modal_projector.")
"""What is no part of the language model."""
LARGE = {"gemma2": 46, "gemma3": 62}
"""Layers of the models whose attention llama.cpp scales by the width of a head of the whole."""


class Say:
    unknown = Text("Models of the kind '{given}' can't become GGUF here. Accepted: {known}. Choose the engine transformers.")
    own = Text(
        "This model's {name} is {given}, and llama.cpp computes with {wanted}. Its answers would differ. Accepted: a model "
        "as its family publishes it. Choose the engine transformers."
    )
    weight = Text(
        "The weight {name} has no place in a GGUF file of the kind '{family}'. Accepted: the weights of a language model. "
        "Choose the engine transformers."
    )
    quantised = Text(
        "The model's weights are quantised by {way}. Accepted: f32, f16 or bf16 weights. Choose the version that is not."
    )


@dataclass(frozen=True)
class Family:
    """How llama.cpp names a family, and in what its weights differ from those of transformers."""

    arch: str
    permuted: bool = False
    """Rows of queries and keys go by pairs of the rotation."""
    lifted: bool = False
    """Norms hold what is added to one."""


FAMILIES: Mapping[str, Family] = {
    "llama": Family("llama", permuted=True),
    "mistral": Family("llama", permuted=True),
    "qwen2": Family("qwen2"),
    "qwen3": Family("qwen3"),
    "gemma": Family("gemma", lifted=True),
    "gemma2": Family("gemma2", lifted=True),
    "gemma3_text": Family("gemma3", lifted=True),
    "phi": Family("phi2"),
    "phi3": Family("phi3"),
    "smollm3": Family("smollm3", permuted=True),
}
"""By transformers' ``model_type``. Yi and SmolLM are of the family llama, Phi-4 of phi3; phi is Phi-1.5 and Phi-2."""


@dataclass(frozen=True)
class Layout:
    """Where the weights of one model go."""

    family: Family
    heads: int
    key_heads: int
    layers: int

    def name(self, name: str) -> str | None:
        """The name in the GGUF file; None for what is no part of the language model. UserError for what has no place."""
        import gguf

        for part in LANGUAGE_PARTS:
            name = f"model.{name.removeprefix(part)}" if name.startswith(part) else name
        if name.startswith(OTHER_PARTS) or name.endswith(".rotary_emb.inv_freq"):
            return None
        name = name.removeprefix("language_model.") if name.startswith("language_model.lm_head") else name
        arch = gguf.MODEL_ARCH[self.family.arch.upper()]
        found: str | None = gguf.get_tensor_name_map(arch, self.layers).get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise UserError(Say.weight(name=name, family=self.family.arch), key="model_name_or_path")
        return found

    def changed(self, name: str, array: Any) -> Any:
        """The numbers of the GGUF tensor ``name`` from those of transformers, in the same number type where that holds."""
        part = name.split(".")[-2]
        if self.family.permuted and part in ("attn_q", "attn_k"):
            return permute(array, self.heads if part == "attn_q" else self.key_heads)
        if self.family.lifted and part.endswith("norm"):
            return as_float32(array) + 1
        return array


def permute(array: Any, heads: int) -> Any:
    """Rows of a query or key matrix from two halves for each head to rotary pairs side by side."""
    rows, rest = array.shape[0], array.shape[1:]
    return array.reshape(heads, 2, rows // heads // 2, *rest).swapaxes(1, 2).reshape(array.shape)


def family_of(config: Any) -> Family:
    """The family of a transformers config; UserError by name when it is none of those that are known here."""
    text = config.get_text_config()
    values = config.to_dict()
    if text.model_type not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise UserError(Say.unknown(given=text.model_type, known=known), key="model_name_or_path")
    if way := (values.get("quantization_config") or {}).get("quant_method"):
        raise UserError(Say.quantised(way=str(way)), key="model_name_or_path")
    family = FAMILIES[text.model_type]
    for name, given, wanted in _fixed(family.arch, text.to_dict()):
        if given != wanted:
            raise UserError(Say.own(name=name, given=str(given), wanted=str(wanted)), key="model_name_or_path")
    return family


def layout_of(config: Any) -> Layout:
    """Where this model's weights go."""
    text = config.get_text_config()
    return Layout(family_of(config), text.num_attention_heads, text.num_key_value_heads, text.num_hidden_layers)


def _fixed(arch: str, values: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """What llama.cpp holds to be so in a family: the setting, this model's value, and llama.cpp's."""
    gelu = arch.startswith("gemma")
    acts: dict[str, Any] = {"hidden_act": "silu"}
    if gelu:
        acts = {"hidden_activation": "gelu_pytorch_tanh", "hidden_act": "gelu_pytorch_tanh"}
    if arch == "phi2":
        acts = {"hidden_act": "gelu_new", "qk_layernorm": False}
    found: list[tuple[str, Any, Any]] = [
        (name, values[name], wanted) for name, wanted in acts.items() if values.get(name) is not None
    ]
    if arch in LARGE:
        large = values["num_hidden_layers"] == LARGE[arch]
        wanted = values["hidden_size"] // values["num_attention_heads"] if large else values["head_dim"]
        found.append(("query_pre_attn_scalar", values["query_pre_attn_scalar"], wanted))
        every = 2 if arch == "gemma2" else 6
        kinds = ["full_attention" if at % every == every - 1 else "sliding_attention" for at in range(values["num_hidden_layers"])]
        found.append(("layer_types", list(values["layer_types"]), kinds))
    if arch == "smollm3":
        rotated = [int((at + 1) % 4 != 0) for at in range(values["num_hidden_layers"])]
        found.append(("no_rope_layers", list(values["no_rope_layers"]), rotated))
    if arch in ("qwen2", "qwen3", "smollm3"):
        found.append(("use_sliding_window", bool(values.get("use_sliding_window")), False))
    if arch == "gemma3":
        found.append(("use_bidirectional_attention", bool(values.get("use_bidirectional_attention")), False))
    return found
