"""Weights of 4 or 8 bits: what a spec asks for, what a model brings, and how they are loaded. Knows no spec and no method."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from workbench.text import Message, Text

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "bitsandbytes": ("bitsandbytes",),
    "gptq": ("optimum", "gptqmodel"),
    "awq": ("gptqmodel",),
    "aqlm": ("aqlm",),
    "hqq": ("hqq",),
    "eetq": ("kernels",),
    "compressed-tensors": ("compressed_tensors",),
    "quanto": ("optimum",),
    "torchao": ("torchao",),
    "auto-round": ("auto_round",),
    "vptq": ("vptq",),
    "mxfp4": ("kernels",),
}
"""What must be installed to read weights that come quantised in this way, as Python imports it."""
TRAINED_OVER = ("bitsandbytes", "gptq", "awq", "aqlm", "hqq", "eetq", "torchao")
"""The ways over which peft can train."""
PACKAGES = {"compressed_tensors": "compressed-tensors", "auto_round": "auto-round"}
CPU_ROWS = 32
"""On a CPU bitsandbytes packs rows in so many for its fast way of 4 bits."""


class Say:
    needs_library = Text(
        "The model's weights are quantised by {way}. Reading them needs {names}: pip install {packages}"
    )
    unknown_way = Text(
        "The model's weights are quantised by '{way}', which is not read here. Accepted: {known}. Choose another version."
    )
    needs_bitsandbytes = Text("Quantisation needs bitsandbytes: pip install bitsandbytes")


@dataclass(frozen=True)
class Quantisation:
    """Frozen weights in fewer bits, made by bitsandbytes while the model is loaded."""

    bits: int
    kind: str = "nf4"
    double: bool = True

    @property
    def name(self) -> str:
        return f"{self.bits}-bit" if self.bits == 8 else f"{self.bits}-bit {self.kind}"


def asked(values: Mapping[str, Any]) -> Quantisation | None:
    """What a flat mapping with the keys of a spec asks for; None for weights as they are."""
    bits = str(values.get("quantization_bit", "none"))
    if bits not in ("4", "8"):
        return None
    kind = str(values.get("quantization_type", "nf4"))
    return Quantisation(int(bits), kind, values.get("double_quantization") is not False)


def way_of(config: Mapping[str, Any]) -> str:
    """How the weights that belong to this config.json come quantised; empty: they don't."""
    found = config.get("quantization_config")
    if not isinstance(found, Mapping):
        return ""
    method = str(found.get("quant_method", "")).lower().replace("_", "-")
    return "bitsandbytes" if method.startswith("bitsandbytes") or found.get("load_in_4bit") else method or "unknown"


def unreadable(way: str) -> Message | None:
    """Why weights quantised in this way can't be read on this machine, or None."""
    if way not in LIBRARIES:
        return Say.unknown_way(way=way, known=", ".join(LIBRARIES))
    missing = [name for name in LIBRARIES[way] if find_spec(name) is None]
    packages = [PACKAGES.get(name, name) for name in missing]
    return Say.needs_library(way=way, names=", ".join(packages), packages=" ".join(packages)) if missing else None


def no_quantiser() -> Message | None:
    """Why no weights can be quantised on this machine, or None."""
    return None if find_spec("bitsandbytes") else Say.needs_bitsandbytes()


def loading(quantisation: Quantisation, dtype: Any) -> dict[str, Any]:
    """Keywords of from_pretrained: computed in ``dtype``, held in fewer bits."""
    from transformers import BitsAndBytesConfig

    # It says at every product of 8 bits that it rounds the inputs to fp16, which is how that product is made.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    if quantisation.bits == 8:
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantisation.kind,
        bnb_4bit_use_double_quant=quantisation.double,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": config}


def keep_layout(model: Any, training: bool) -> None:
    """Keep bitsandbytes from packing weights of 4 bits anew on a CPU where that does harm.

    It does so for good at the first answer that is not trained. Packed layers pass no gradient on, so that a model which
    is validated before it learns would not learn any more; they compute in bf16, whatever was asked for; and rows in
    other numbers than it expects are refused.
    """
    if model.device.type != "cpu":
        return
    import torch
    from bitsandbytes.nn import Linear4bit

    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            state = layer.weight.quant_state
            fits = layer.out_features % CPU_ROWS == 0 and layer.in_features % state.blocksize == 0
            if training or not fits or layer.compute_dtype != torch.bfloat16:
                layer.support_avx512bf16_for_cpu = False


def is_quantised(model: Any) -> bool:
    """Whether the model's weights are held in fewer bits than numbers of their kind have."""
    return bool(model.config.to_dict().get("quantization_config"))
