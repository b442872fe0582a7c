"""What a model is made of, read from config.json and the heads of its weight files. Loads nothing, knows no spec and no run."""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

MOST_HEAD_BYTES = 100_000_000
OUTPUT = ("lm_head", "embed_out", "score")
EMBEDDINGS = ("embed_tokens", "wte", "word_embeddings", "wpe")
PACKED = (".absmax", ".quant_map", ".quant_state.", ".nested_", ".SCB", ".weight_format", "qzeros", "scales", "g_idx")
"""What stands beside a weight of few bits and is none of the model's own numbers."""


@dataclass(frozen=True)
class ModelFacts:
    """A model's sizes. ``weights``: the shape of each weight by its name; a linear layer's is (outputs, inputs)."""

    name: str
    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    head_size: int
    vocab: int
    tied: bool
    weights: Mapping[str, Sequence[int]]
    stored_bytes: int
    quantised: bool = False
    context: int = 0

    @property
    def num_weights(self) -> int:
        return sum(math.prod(shape) for shape in self.weights.values())

    @property
    def key_width(self) -> int:
        """Width of the keys of one token; values have the same."""
        return self.key_heads * self.head_size

    @property
    def embedding(self) -> int:
        """Numbers of one table of words."""
        return self.vocab * self.hidden

    def linear(self, names: Sequence[str] = ("all",)) -> list[tuple[int, int]]:
        """(outputs, inputs) of each linear layer of these names; all: every one but the last."""
        return [
            (shape[0], shape[1])
            for name, shape in self.weights.items()
            if len(shape) == 2 and self._is_meant(name.removesuffix(".weight"), names)
        ]

    def _is_meant(self, module: str, names: Sequence[str]) -> bool:
        last = module.rpartition(".")[2]
        if "all" in names:
            return last not in (*OUTPUT, *EMBEDDINGS)
        return any(module == name or module.endswith(f".{name}") for name in names)

    def in_modules(self, names: Sequence[str]) -> int:
        """Numbers of the modules of these names, such as embed_tokens or mlp, wherever they stand."""
        return sum(
            math.prod(shape)
            for name, shape in self.weights.items()
            if any(f".{name}".endswith(f".{wanted}") or f".{wanted}." in f".{name}" for wanted in names)
        )

    def in_layers(self, count: int) -> int:
        """Numbers of so many layers, those being alike."""
        inside = sum(math.prod(shape) for name, shape in self.weights.items() if _layer_of(name) is not None)
        return inside * min(abs(count), self.layers) // max(1, self.layers)


def read_facts(folder: Path) -> ModelFacts | None:
    """The facts of the model in this folder; None where its files don't say them. Read again only when they change."""
    files = tuple((file, file.stat().st_mtime_ns) for file in (folder / "config.json", *sorted(folder.glob("*.safetensors")))
                  if file.is_file())  # fmt: skip
    return _read(folder, files)


@lru_cache(maxsize=64)
def _read(folder: Path, files: Sequence[tuple[Path, int]]) -> ModelFacts | None:
    try:
        whole = json.loads((folder / "config.json").read_text("utf-8"))
        config = {**whole, **(whole.get("text_config") or {})}
        weights: dict[str, tuple[int, ...]] = {}
        for file, _ in files[1:]:
            weights |= read_shapes(file)
        return facts_of(folder.name, config, weights, sum(file.stat().st_size for file, _ in files[1:]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return None


def facts_of(name: str, config: Mapping[str, Any], weights: Mapping[str, Sequence[int]], stored_bytes: int) -> ModelFacts:
    """Facts from a config.json, under the names of the usual families. KeyError for one that lacks its sizes."""
    hidden = int(config["hidden_size"] if "hidden_size" in config else config["n_embd"])
    heads = int(config["num_attention_heads"] if "num_attention_heads" in config else config["n_head"])
    layers = int(config["num_hidden_layers"] if "num_hidden_layers" in config else config["n_layer"])
    return ModelFacts(
        name=name,
        hidden=hidden,
        inner=int(config.get("intermediate_size") or config.get("n_inner") or 4 * hidden),
        layers=layers,
        heads=heads,
        key_heads=int(config.get("num_key_value_heads") or heads),
        head_size=int(config.get("head_dim") or hidden // heads),
        vocab=int(config["vocab_size"]),
        tied=bool(config.get("tie_word_embeddings", True)),
        weights=weights,
        stored_bytes=stored_bytes,
        quantised=bool(config.get("quantization_config")),
        context=int(config.get("max_position_embeddings") or config.get("n_positions") or 0),
    )


def read_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every weight in a safetensors file: eight bytes with the length of its head, then the head as JSON
    (huggingface.co/docs/safetensors). ValueError when it is none."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if length > MOST_HEAD_BYTES:
            raise ValueError(f"{file.name} has no head of safetensors")
        head = json.loads(opened.read(length))
    return {
        name: tuple(entry["shape"])
        for name, entry in head.items()
        if name != "__metadata__" and not any(mark in name for mark in PACKED)
    }


def _layer_of(name: str) -> int | None:
    """Which layer a weight lies in."""
    return next((int(part) for part in name.split(".") if part.isdecimal()), None)
