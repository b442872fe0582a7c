"""An adapter's folder: its config, its tensors, and what they do to the tensors of its base. Knows no run and writes nothing."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from workbench.adapting import UNMERGEABLE
from workbench.merging.changes import Added, Change, LowRank, Replaced, RowsReplaced, Scaled, Turned
from workbench.merging.names import Names, is_head
from workbench.merging.stored import Stored, file_tensors
from workbench.problems import UserError
from workbench.text import Text

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
KEY = "adapter_name_or_path"
PREFIX = "base_model.model."
BY_FORMULA = ("LORA", "IA3", "OFT", "LN_TUNING", "TRAINABLE_TOKENS")
"""PEFT's names of the kinds that are merged tensor by tensor."""
STARTS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Beginnings of LoRA that leave the base as it is."""
STARTS_AGAIN = ("pissa", "olora")
"""Beginnings that change the base, and that PEFT finds again when it loads the adapter."""
PLAIN = (
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "corda_config", "ensure_weight_tying", "eva_config",
    "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform",
    "loftq_config", "lora_alpha", "lora_bias", "lora_dropout", "lora_ga_config", "megatron_config", "megatron_core",
    "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config",
    "target_modules", "task_type", "trainable_token_indices", "use_dora", "use_rslora",
)  # fmt: skip
"""What a LoRA adapter's config may say without being more than the formula of this package."""
PART = re.compile(
    r"(?P<module>.+?)\.(?P<part>lora_A\.weight|lora_B\.weight|lora_B\.bias|lora_embedding_A|lora_embedding_B|"
    r"lora_magnitude_vector(?:\.weight)?|ia3_l|oft_R\.weight|ln_tuning_layers\.\w+|(?:token_adapter\.)?trainable_tokens_delta|"
    r"base_layer\.\w+|modules_to_save\.\w+|weight|bias)"
)


class Say:
    no_safetensors = Text(
        "Adapter '{name}' has no {file}. Other formats can run code and are not read. Accepted: safetensors. Get that version."
    )
    bad_config = Text("Adapter '{name}' is damaged: its {file} is no JSON object. Get that file anew.")
    learned_prompt = Text(
        "Adapter '{name}' is of the kind '{found}': it stands before the text and can't be laid into weights. Accepted: {wanted}. "
        "Export it alone, as an adapter."
    )
    scores = Text(
        "'{name}' is a reward model, which answers with a number and not with words. Accepted: a model that writes. Use it "
        "from its run's folder, or export its adapter alone."
    )
    start = Text(
        "Adapter '{name}' began at '{start}', which changed its base in a way that can't be found again. Accepted: one that was "
        "converted when it was saved. Save it so."
    )
    half = Text("Adapter '{name}' is damaged: of {module} it holds {part} alone. Get its weights anew.")
    empty = Text("Adapter '{name}' is damaged: it holds no weights. Get it anew.")
    no_module = Text(
        "Adapter '{name}' does not fit the model: it lies on {module}, which the model lacks ({count} such). Accepted: an adapter "
        "of this model. Choose the model that it was trained on."
    )
    shape = Text(
        "Adapter '{name}' does not fit the model: for {module} it is made for {given}, and the model has {wanted}. Accepted: an "
        "adapter of this model. Choose the model that it was trained on."
    )


@dataclass
class Layer:
    """What an adapter holds of one module."""

    parts: dict[str, Stored] = field(default_factory=dict)


@dataclass(frozen=True)
class Adapter:
    """An adapter's folder, of which only the heads were read."""

    name: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Stored]

    @property
    def kind(self) -> str:
        """PEFT's name of it."""
        return str(self.config.get("peft_type") or "LORA")

    @cached_property
    def by_formula(self) -> bool:
        """Whether this package knows what it does to each tensor."""
        return (
            self.kind in BY_FORMULA
            and all(PART.fullmatch(name.removeprefix(PREFIX)) for name in self.tensors)
            and all(len(one.shape) <= 2 for one in self.tensors.values())
            and (self.kind != "LORA" or self._is_plain())
        )

    def _is_plain(self) -> bool:
        more = [key for key, value in self.config.items() if value and key not in PLAIN]
        return not more and self.config.get("init_lora_weights", True) in STARTS

    @cached_property
    def layers(self) -> Mapping[str, Layer]:
        """What it holds by the module's name in the model."""
        found: dict[str, Layer] = {}
        for name, stored in self.tensors.items():
            matched = PART.fullmatch(name.removeprefix(PREFIX))
            assert matched, "by_formula was asked before"
            part = matched["part"].removeprefix("token_adapter.").removeprefix("modules_to_save.")
            found.setdefault(matched["module"], Layer()).parts[part.replace("vector.weight", "vector")] = stored
        return found


def read_adapter(folder: Path) -> Adapter:
    """The adapter; UserError by name for one that is damaged, or that is no part of any model's weights."""
    name = folder.name
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise UserError(Say.bad_config(name=name, file=CONFIG), key=KEY)
    kind, start = str(config.get("peft_type") or "LORA"), config.get("init_lora_weights", True)
    if kind in UNMERGEABLE:
        raise UserError(Say.learned_prompt(name=name, found=kind, wanted="LORA, OFT, IA3, VERA, LOHA, LOKR"), key=KEY)
    if config.get("task_type") == "SEQ_CLS":
        raise UserError(Say.scores(name=name), key=KEY)
    if kind == "LORA" and start not in (*STARTS, *STARTS_AGAIN):
        raise UserError(Say.start(name=name, start=str(start)), key=KEY)
    if not (folder / WEIGHTS).is_file():
        raise UserError(Say.no_safetensors(name=name, file=WEIGHTS), key=KEY)
    adapter = Adapter(name, config, file_tensors(folder / WEIGHTS, KEY))
    if not adapter.tensors:
        raise UserError(Say.empty(name=name), key=KEY)
    return adapter


def unknown_modules(adapter: Adapter, names: Names) -> list[str]:
    """Modules that the adapter lies on and the base's files don't have."""
    if adapter.by_formula:
        modules = [module for module in adapter.layers if _target(module, names) is None]
    else:
        inside = [name.removeprefix(PREFIX) for name in adapter.tensors if name.startswith(PREFIX)]
        modules = [name for name in inside if not _lies_on_one(name, names)]
    return modules


def _target(module: str, names: Names) -> str | None:
    """The name of the module's weight in the result; the last layer of a tied model has one that is not in the files."""
    if names.tied and is_head(module):
        return names.head
    return names.weight_of(module)


def _lies_on_one(name: str, names: Names) -> bool:
    parts = name.split(".")
    modules = (".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return any(_target(module, names) is not None for module in modules)


def changes_of(adapter: Adapter, base: Mapping[str, Stored], names: Names) -> Iterator[tuple[str, Change]]:
    """What becomes of which tensor, in order; UserError where the shapes don't fit."""
    for module, layer in adapter.layers.items():
        weight = _target(module, names)
        assert weight, "unknown_modules was asked before"
        found = base.get(weight) or (base[names.embedding] if names.embedding and weight == names.head else None)
        assert found
        biased = names.weight_of(module, "bias") is not None
        for part, change, told in _changes(adapter, module, layer, found.shape, biased):
            name = weight if part == "weight" else names.weight_of(module, part)
            if name is None or (told and told != _shape_of(name, base, found)):
                wanted = "x".join(map(str, _shape_of(name, base, found))) if name else "-"
                given = "x".join(map(str, told or ()))
                raise UserError(Say.shape(name=adapter.name, module=module, given=given, wanted=wanted), key=KEY)
            yield name, change


def _shape_of(name: str, base: Mapping[str, Stored], other: Stored) -> tuple[int, ...]:
    return base[name].shape if name in base else other.shape


Told = tuple[str, Change, tuple[int, ...]]
"""Which of a module's tensors, what becomes of it, and the shape that it must have."""


def _changes(adapter: Adapter, module: str, layer: Layer, shape: Sequence[int], biased: bool) -> Iterator[Told]:
    """What becomes of the module's tensors, trained whole first."""
    turned = bool(adapter.config.get("fan_in_fan_out"))
    for part, stored in layer.parts.items():
        kind, _, tensor = part.rpartition(".")
        if kind in ("", "base_layer", "ln_tuning_layers") and tensor in ("weight", "bias"):
            yield tensor, Replaced(stored), stored.shape
    if "trainable_tokens_delta" in layer.parts:
        stored = layer.parts["trainable_tokens_delta"]
        yield "weight", RowsReplaced(stored, _places(adapter, module)), (shape[0], stored.shape[1])
    if "ia3_l" in layer.parts:
        yield from _scales(layer.parts["ia3_l"], shape, turned, biased)
    if "oft_R.weight" in layer.parts:
        yield "weight", _rotation(adapter, layer.parts["oft_R.weight"], shape[1]), tuple(shape)
    yield from _low_rank(adapter, module, layer, turned)


def _low_rank(adapter: Adapter, module: str, layer: Layer, turned: bool) -> Iterator[Told]:
    pairs = (("lora_A.weight", "lora_B.weight", turned), ("lora_embedding_A", "lora_embedding_B", True))
    for inner, outer, other_way in pairs:
        halves = [layer.parts[name] for name in (inner, outer) if name in layer.parts]
        if len(halves) == 1:
            part = inner if inner in layer.parts else outer
            raise UserError(Say.half(name=adapter.name, module=module, part=part), key=KEY)
        if halves:
            first, second = halves
            if first.shape[0] != second.shape[1]:
                said = Say.shape(name=adapter.name, module=module, given=first.shape[0], wanted=second.shape[1])
                raise UserError(said, key=KEY)
            scale = lora_scale(adapter.config, module, first.shape[0])
            change = LowRank(first, second, scale, other_way, layer.parts.get("lora_magnitude_vector"))
            sides = (first.shape[1], second.shape[0])
            yield "weight", change, sides if other_way else sides[::-1]
            if "lora_B.bias" in layer.parts:
                bias = layer.parts["lora_B.bias"]
                yield "bias", Added(bias, scale), bias.shape


def lora_scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """How much B A counts: alpha / rank (arXiv 2106.09685), or alpha / root of the rank (arXiv 2312.03732)."""
    own = (value for key, value in (config.get("alpha_pattern") or {}).items() if re.match(rf"(.*\.)?({key})$", module))
    alpha = float(next(own, config["lora_alpha"]))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _places(adapter: Adapter, module: str) -> Sequence[int]:
    """The rows of which the adapter holds its own."""
    given = adapter.config.get("trainable_token_indices") or adapter.config.get("token_indices") or []
    if isinstance(given, Mapping):
        given = next((rows for name, rows in given.items() if f".{module}".endswith(f".{name}")), [])
    return [int(place) for place in given]


def _scales(stored: Stored, shape: Sequence[int], turned: bool, biased: bool) -> Iterator[Told]:
    """Scales of outputs also scale what is added to them."""
    count = math.prod(stored.shape)
    inputs = stored.shape[0] == 1 and count != 1
    yield "weight", Scaled(stored, turned), (shape[0], count) if inputs != turned else (count, shape[1])
    if biased and not inputs:
        yield "bias", Scaled(stored, flat=True), (count,)


def _rotation(adapter: Adapter, stored: Stored, inputs: int) -> Turned:
    config, (blocks, elements) = adapter.config, stored.shape
    size = round((1 + (1 + 8 * elements) ** 0.5) / 2)
    shared = bool(config.get("block_share"))
    if inputs % size or (not shared and blocks * size != inputs):
        said = Say.shape(name=adapter.name, module=stored.name, given=blocks * size, wanted=inputs)
        raise UserError(said, key=KEY)
    settings = {
        "coft": bool(config.get("coft")),
        "eps": float(config.get("eps", 6e-5)),
        "block_share": shared,
        "use_cayley_neumann": bool(config.get("use_cayley_neumann", True)),
        "num_cayley_neumann_terms": int(config.get("num_cayley_neumann_terms", 5)),
    }
    return Turned(stored, inputs, tuple(settings.items()))
