"""LoRA adapters as GGUF files, laid over the same base. Knows no run and no engine."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.gguf import Progress
from workbench.gguf.families import Layout
from workbench.gguf.packing import pack
from workbench.gguf.weights import Weight, as_float32, weights
from workbench.gguf.writing import beside, check_room, write_tensors
from workbench.merging.adapters import lora_scale
from workbench.problems import UserError
from workbench.text import Text

CONFIG = "adapter_config.json"
HALF = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")


class Say:
    other = Text("Adapter {name} does not fit this model: {part} is {given} there, {wanted} here. Choose the model it was trained on.")


def is_plain_lora(folder: Path) -> bool:
    """Whether it is nothing but products of two small matrices over matrices of the base."""
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    more = ("use_dora", "modules_to_save", "trainable_token_indices", "lora_bias", "fan_in_fan_out", "layer_replication")
    if config.get("peft_type") != "LORA" or any(config.get(key) for key in more) or config.get("bias", "none") != "none":
        return False
    if not isinstance(config.get("init_lora_weights", True), bool) and config["init_lora_weights"] != "gaussian":
        return False  # its base is what is left when the adapter's beginning was taken out
    return all(HALF.fullmatch(name) for name in weights(folder))


def adapter_bytes(folder: Path) -> int:
    """Size of the numbers of the adapter's file."""
    return sum(math.prod(weight.shape) * 4 for weight in weights(folder).values())


def write_adapter(
    folder: Path, layout: Layout, base: Mapping[str, tuple[int, ...]], target: Path, progress: Progress, weight: float = 1.0
) -> None:
    """The adapter as one GGUF file of float32. ``base``: the shapes of the base's tensors by name in GGUF.

    ``weight``: how strongly it counts.
    """
    import gguf

    config = json.loads((folder / CONFIG).read_text("utf-8"))
    found = dict(_halves(folder, layout))
    _check_fit(folder.name, {name: half for name, (half, _) in found.items()}, base)
    alpha = float(config["lora_alpha"])
    sizes = {name: (half.shape, "F32") for name, (half, _) in found.items()}
    check_room(target, sum(math.prod(shape) * 4 for shape, _ in sizes.values()))

    def arrays() -> Iterator[Any]:
        for name, (half, module) in found.items():
            array = as_float32(half.read())
            if name.endswith(".lora_b"):  # llama.cpp scales by alpha / rank
                rank = array.shape[1]
                array = layout.changed(name.removesuffix(".lora_b"), array) * (weight * lora_scale(config, module, rank) * rank / alpha)
            yield pack(name, array, "F32")

    with beside(target) as part:
        writer = gguf.GGUFWriter(part, layout.family.arch)
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
        write_tensors(writer, arrays(), sizes, progress)


def _halves(folder: Path, layout: Layout) -> Iterator[tuple[str, tuple[Weight, str]]]:
    """By name in GGUF: the numbers, and the module that they belong to."""
    for name, weight in weights(folder).items():
        found = HALF.fullmatch(name)
        assert found, "is_plain_lora was asked before"
        if placed := layout.name(f"{found[1]}.weight"):
            yield f"{placed}.lora_{found[2].lower()}", (weight, found[1])


def _check_fit(name: str, halves: Mapping[str, Weight], base: Mapping[str, tuple[int, ...]]) -> None:
    for half, weight in halves.items():
        part = half.rpartition(".lora_")[0]
        if part not in base:
            raise UserError(Say.other(name=name, part=part, given="-", wanted="-"), key="adapter_name_or_path")
        at = 1 if half.endswith("_a") else 0
        if weight.shape[at] != base[part][at]:
            said = Say.other(name=name, part=part, given=weight.shape[at], wanted=base[part][at])
            raise UserError(said, key="adapter_name_or_path")
