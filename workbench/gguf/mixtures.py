"""Which number type each tensor of a GGUF file gets: llama.cpp's mixtures, and what stands in where rows don't fit.

Knows names and shapes, no numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.gguf import Kind

PLAIN: Mapping[Kind, str] = {"f32": "F32", "f16": "F16", "bf16": "BF16", "q8_0": "Q8_0"}
USUAL: Mapping[Kind, str] = {
    "q6_k": "Q6_K", "q5_k_m": "Q5_K", "q5_k_s": "Q5_K", "q4_k_m": "Q4_K", "q4_k_s": "Q4_K",
    "q4_0": "Q4_0",
    "q3_k_l": "Q3_K", "q3_k_m": "Q3_K", "q3_k_s": "Q3_K", "q2_k": "Q2_K",
}  # fmt: skip
"""The type of most tensors of a mixture."""
FILE_TYPES: Mapping[Kind, str] = {
    "f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0", "q6_k": "MOSTLY_Q6_K",
    "q5_k_m": "MOSTLY_Q5_K_M", "q5_k_s": "MOSTLY_Q5_K_S", "q4_k_m": "MOSTLY_Q4_K_M", "q4_k_s": "MOSTLY_Q4_K_S",
    "q4_0": "MOSTLY_Q4_0",
    "q3_k_l": "MOSTLY_Q3_K_L", "q3_k_m": "MOSTLY_Q3_K_M", "q3_k_s": "MOSTLY_Q3_K_S", "q2_k": "MOSTLY_Q2_K",
}  # fmt: skip
INSTEAD: Mapping[str, str] = {"Q2_K": "IQ4_NL", "Q3_K": "IQ4_NL", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""What a row gets that is no multiple of 256 numbers."""
FIXED: Mapping[str, Mapping[Kind, str]] = {
    "attn_output": {"q3_k_l": "Q5_K", "q3_k_m": "Q4_K", "q2_k": "Q3_K"},
    "attn_qkv": {"q5_k_m": "Q6_K", "q4_k_m": "Q5_K", "q3_k_l": "Q4_K", "q3_k_m": "Q4_K"},
}
"""Parts that get a better type than most, in every layer."""


@dataclass(frozen=True)
class Mixture:
    """How the weights of one model are held."""

    kind: Kind
    layers: int
    groups: int
    """Heads of queries for each head of keys."""
    tied: bool
    """The words' vectors are also the output."""

    def type_of(self, name: str, shape: Sequence[int]) -> str:
        """The number type of a tensor, as gguf names it."""
        if len(shape) < 2 or not name.endswith(".weight") or "norm" in name.split(".")[-2]:
            return "F32"
        wanted = PLAIN.get(self.kind) or self._mixed(name)
        if wanted.endswith("_K") and shape[-1] % 256:
            wanted = INSTEAD[wanted]
        whole = wanted in ("F32", "F16", "BF16") or shape[-1] % 32 == 0
        return wanted if whole else "F16"

    def _mixed(self, name: str) -> str:
        usual, part = USUAL[self.kind], name.split(".")[-2]
        if part == "output" or (part == "token_embd" and self.tied):
            return "Q6_K"
        if part == "attn_v":
            return self._values(usual, int(name.split(".")[1]))
        if part == "ffn_down":
            return self._down(usual, int(name.split(".")[1]))
        return FIXED.get(part, {}).get(self.kind, usual)

    def _values(self, usual: str, layer: int) -> str:
        match self.kind:
            case "q2_k":
                return "Q4_K" if self.groups >= 4 else "Q3_K"
            case "q3_k_m":
                return "Q5_K" if layer < 2 else "Q4_K"
            case "q3_k_l":
                return "Q5_K"
            case "q4_k_m" | "q5_k_m":
                return "Q6_K" if self._weighty(layer) else usual
            case "q4_k_s":
                return "Q5_K" if layer < 4 else usual
        return usual

    def _down(self, usual: str, layer: int) -> str:
        match self.kind:
            case "q2_k":
                return "Q3_K"
            case "q3_k_m":
                return "Q5_K" if layer < self.layers // 16 else "Q4_K"
            case "q3_k_l":
                return "Q5_K"
            case "q4_k_m" | "q5_k_m":
                return "Q6_K" if self._weighty(layer) else usual
            case "q4_k_s":
                return "Q5_K" if layer < self.layers // 8 else usual
        return usual

    def _weighty(self, layer: int) -> bool:
        """The first and the last eighth of the layers, and every third between them."""
        eighth = self.layers // 8
        return layer < eighth or layer >= 7 * self.layers // 8 or (layer - eighth) % 3 == 2
