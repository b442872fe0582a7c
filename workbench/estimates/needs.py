"""What a run needs by formula: bytes by part, and seconds of a batch. Knows specs and shapes, measures nothing, loads nothing.

Constants were fitted to runs of a Llama of 135M weights on a CPU (torch 2.13, transformers 5.23, trl 1.16); sources of
the formulas stand at their functions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from workbench import quantising
from workbench.estimates.adapter_sizes import adapted_layers, num_trained, reached_layers
from workbench.estimates.model_facts import ModelFacts
from workbench.models import Device
from workbench.specs import TrainSpec

Part = Literal["weights", "adapter", "gradients", "optimiser", "activations", "logits", "rest"]
PARTS: tuple[Part, ...] = ("weights", "adapter", "gradients", "optimiser", "activations", "logits", "rest")
OPTIMISER_BYTES: Mapping[str, float] = {
    "adamw_8bit": 2, "paged_adamw_8bit": 2, "lion_32bit": 4, "lion_8bit": 1, "paged_lion_8bit": 1, "muon": 4, "sgd": 0,
    "adafactor": 0.1, "adam_mini": 4, "galore_adamw": 2, "galore_adamw_8bit": 1, "apollo_adamw": 1,
}  # fmt: skip
"""Bytes that an optimiser keeps for each trained number; two moments in fp32 where nothing is said: arXiv 1412.6980."""
LIBRARIES_BYTES: Mapping[Device, int] = {"cpu": 565_000_000, "cuda": 550_000_000, "mps": 700_000_000}
"""Python, torch and transformers; on a card the context of CUDA."""
WORKSPACE_BYTES = 90_000_000
"""Most that torch's kernels for a CPU keep for themselves; a tiny model needs none of it."""
HEAP: Mapping[Device, float] = {"cpu": 1.38, "cuda": 1.1, "mps": 1.2}
"""What an allocator holds, over what is in use at the peak. On a CPU the C library keeps freed blocks below 32 MB."""
LOGIT_ROWS, LOGIT_WORDS = 4096, 32_768
"""trl's head computes the words' scores in tiles of at most so many positions and words."""
LOGITS_AT_ONCE = 1 << 24
"""Ours in parts of so many scores: kernels/head.py."""
SHORT_ATTENTION = 256
"""Up to so many tokens ours remembers the chances of attention in bf16: kernels/apart.py."""


@dataclass(frozen=True)
class Ground:
    """What a run stands on. ``room_bytes``: memory of the card, or of the machine where there is none."""

    device: Device = "cpu"
    card: str = ""
    room_bytes: int = 0
    cores: int = 1
    auto: str = "fp32"
    fast_bf16: bool = False
    cards: Sequence[str] = ()
    """The names of all cards, by their numbers."""


@dataclass(frozen=True)
class Batch:
    """What is computed at once: ``texts`` texts of ``length`` tokens, padding counted."""

    texts: int
    length: float

    @property
    def positions(self) -> float:
        return self.texts * self.length


@dataclass(frozen=True)
class Setting:
    """One run to be estimated: spec, model and machine."""

    spec: TrainSpec
    model: ModelFacts
    ground: Ground

    @property
    def precision(self) -> str:
        """As models.choose_precision decides."""
        asked = self.spec.memory.precision
        if asked == "auto":
            mixed = self.spec.tuning.needs_autocast or self.spec.stage.HEAD == "score"
            slow = self.ground.device == "cpu" and mixed and not (self.fast and self.spec.stage.LIKELIHOODS)
            return "fp32" if slow else self.ground.auto
        return "bf16" if asked == "pure_bf16" else asked

    @property
    def number_bytes(self) -> int:
        return 4 if self.precision == "fp32" else 2

    @property
    def trained_bytes(self) -> int:
        """Bytes of one trained number: fp32, since small updates get lost in bf16, unless that was asked for."""
        return 2 if self.spec.memory.precision == "pure_bf16" else 4

    @property
    def trained(self) -> int:
        return min(num_trained(self.spec.tuning, self.model), max(1, self.model.num_weights))

    @property
    def fast(self) -> bool:
        """Whether the kernels of workbench/kernels compute."""
        memory = self.spec.memory
        alone = self.spec.sharing.way in ("", "ddp")
        return self.ground.device == "cpu" and memory.fast_kernels and not memory.torch_compile and alone

    @property
    def computing_bytes(self) -> int:
        """Bytes of a number within layers. On a CPU weights in fp32 make everything fp32, but for the fast kernels."""
        return 4 if self.ground.device == "cpu" and self.whole and not self.fast else self.number_bytes

    @property
    def whole(self) -> bool:
        """Whether weights that learn are the model's own, in fp32 whatever the precision."""
        return not self.spec.tuning.FROZEN and self.spec.memory.precision != "pure_bf16"


def memory_parts(setting: Setting, longest: Batch) -> dict[Part, int]:
    """Bytes by part at the run's peak, which is reached in the batch of its longest rows."""
    base, adapter = _weights(setting)
    gradients = setting.trained * setting.trained_bytes
    state = setting.trained * _optimiser_bytes(setting)
    heap = HEAP[setting.ground.device]
    activations, logits = heap * _activations(setting, longest), heap * _logits(setting, longest)
    if setting.spec.optim.gradient_accumulation_steps == 1:
        # Gradients come as activations go: only what does not find room where those were is added.
        gradients = max(0, gradients - round(0.7 * (activations + logits)))
    return {
        "weights": round(base),
        "adapter": round(adapter),
        "gradients": round(gradients),
        "optimiser": round(state),
        "activations": round(activations),
        "logits": round(logits),
        "rest": LIBRARIES_BYTES[setting.ground.device] + min(WORKSPACE_BYTES, round(base / 4)),
    }


def _optimiser_bytes(setting: Setting) -> float:
    return OPTIMISER_BYTES.get(setting.spec.optim.optim, 2.0 * setting.trained_bytes)


def _weights(setting: Setting) -> tuple[float, float]:
    """Bytes of the model and of the adapter. 4 bits: half a byte, and a scale for each 64 numbers, itself in 8 bits when
    quantised twice: 4.5 or 4.127 bits in all (arXiv 2305.14314, section 3); what is no linear layer is held in fp32."""
    model, memory, method = setting.model, setting.spec.memory, setting.spec.tuning
    trained, whole = setting.trained * setting.trained_bytes, model.num_weights
    asked = quantising.asked(memory.model_dump())
    if asked:
        linear = sum(outputs * inputs for outputs, inputs in model.linear())
        bits = 8.06 if asked.bits == 8 else 4.127 if asked.double else 4.5
        return linear * bits / 8 + (whole - linear) * 4, trained
    if model.quantised:
        return model.stored_bytes + model.embedding * 2, trained
    if method.ADAPTER:
        base = whole * setting.number_bytes
        return base, trained
    base = (whole - setting.trained) * setting.number_bytes + trained
    copy = base if setting.spec.stage.reference_passes else 0
    # Under autocast a copy of the trained weights in half precision is kept for the length of a step.
    half = setting.trained * 2 if (setting.ground.device == "cuda" or setting.fast) and setting.number_bytes == 2 else 0
    return base + copy + half, 0


def _activations(setting: Setting, batch: Batch) -> float:
    """Bytes remembered for the way back. With checkpointing: the input of each layer, and one layer whole
    (arXiv 1604.06174)."""
    model, one = setting.model, _layer_bytes(setting, batch)
    layers = reached_layers(setting.spec.tuning, model)
    if setting.spec.memory.gradient_checkpointing:
        return batch.positions * (layers * model.hidden * setting.computing_bytes + one)
    return batch.positions * (layers * one + 2 * model.hidden * 4)


def _layer_bytes(setting: Setting, batch: Batch) -> float:
    """Bytes of one token in one layer, after arXiv 2205.05198, section 4.1, for gated layers with fused attention.

    Remembered are: the layer's two residuals (which the norms read in fp32), queries and what attention gives, keys and
    values, three widths of the gated inner layer; beside them the inputs of trained matrices, which PEFT's adapter in fp32
    copies for each of its matrices when the model computes in fewer bits. Our kernels read residuals as they are and find
    one width of the gated layer again, which is also the input of its last matrix.
    """
    model, size = setting.model, setting.computing_bytes
    queries = model.heads * model.head_size
    gated = any(".gate_" in name or name.endswith("w1.weight") for name in model.weights) or not model.weights
    fused = gated and setting.fast
    inner = (3 if gated and not fused else 2) * model.inner
    residual = size if setting.fast and not setting.whole else 4
    kept: float = 2 * model.hidden * residual + size * (2 * queries + 2 * model.key_width + inner)
    if setting.fast and size == 2 and batch.length <= SHORT_ATTENTION and setting.spec.memory.flash_attn != "disabled":
        kept += model.heads * batch.length * size
    if setting.spec.memory.flash_attn == "disabled":
        kept += 2 * model.heads * batch.length * max(size, 2)
    if not setting.spec.tuning.ADAPTER:
        share = min(1.0, setting.trained / max(1, model.num_weights))
        return kept + share * size * (4 * model.hidden + model.inner * (not fused))
    adapted = adapted_layers(setting.spec.tuning, model)
    if not adapted:
        return kept
    if size < setting.trained_bytes and not setting.fast:
        return kept + 4 * sum(inputs for _, inputs in adapted) / max(1, model.layers)
    inputs = {inputs for _, inputs in adapted}
    return kept + size * (2 * model.hidden * (model.hidden in inputs) + model.inner * (model.inner in inputs and not fused))


def _logits(setting: Setting, batch: Batch) -> float:
    """Bytes of the words' scores: a tile of positions x words in the computing precision, and on a CPU, where no kernel
    does it in place, eight more of them in all (about five in fp32 beside a tile of bf16); by our head on a CPU a part, three
    where its weights are learned."""
    if setting.spec.stage.HEAD != "words":
        return 0
    if setting.fast and setting.spec.stage.LIKELIHOODS:
        whole = setting.trained == setting.model.num_weights
        weights = 2 * 4 * setting.model.embedding if whole else 0  # slope, and a part of it
        part = max(setting.model.vocab, min(batch.positions * setting.model.vocab, LOGITS_AT_ONCE))
        parts = (3 if whole else 1) * part
        return parts * setting.computing_bytes + batch.positions * setting.model.hidden * setting.computing_bytes + weights
    tile = min(batch.positions, LOGIT_ROWS) * min(setting.model.vocab, LOGIT_WORDS)
    if setting.ground.device != "cpu":
        return tile * 4 + batch.positions * setting.model.hidden * 4
    return tile * (36 if setting.computing_bytes == 4 else 22.5)


RATES: Mapping[str, float] = {
    "H200": 400e12, "H100": 380e12, "A100": 150e12, "A800": 150e12, "H800": 380e12, "H20": 70e12, "L40": 90e12,
    "4090": 90e12, "A6000": 60e12, "3090": 45e12, "4080": 60e12, "A10": 45e12, "L4": 35e12, "V100": 45e12, "T4": 18e12,
    "P100": 8e12,
}  # fmt: skip
"""Useful operations a second in half precision, by a part of the card's name; an unknown card counts as 25e12."""
UNKNOWN_CARD, FP32_SHARE, MPS_RATE = 25e12, 0.3, 3e12
CORE_RATES = {"fp32": 100e9, "bf16": 200e9, "slow": 8e9}
"""Useful operations a second of one core, as LoRA reaches them in batches of some hundred tokens with the fast kernels."""
PLAIN_SHARE = 0.4
"""What is left of that without them."""
QUANTISED_SLOWER = 0.6


def rate(setting: Setting) -> float:
    """Operations a second that this machine is likely to reach, as long as nothing was measured."""
    ground, half = setting.ground, setting.computing_bytes == 2
    slower = QUANTISED_SLOWER if setting.spec.memory.quantization_bit != "none" or setting.model.quantised else 1.0
    if ground.device == "cuda":
        known = next((speed for name, speed in RATES.items() if name in ground.card), UNKNOWN_CARD)
        return known * slower * (1.0 if half else FP32_SHARE)
    if ground.device == "mps":
        return MPS_RATE * slower
    kind = "fp32" if not half else "bf16" if ground.fast_bf16 else "slow"
    return CORE_RATES[kind] * ground.cores * slower * (1.0 if setting.fast else PLAIN_SHARE)


def batch_seconds(setting: Setting, batch: Batch) -> float:
    """Seconds of one batch forward and back: 2 operations for each weight and token forward, 2 for the way of the
    gradient back, 2 for the gradient of each trained weight (arXiv 2001.08361, section 2.1), and attention."""
    model = setting.model
    linear = sum(outputs * inputs for outputs, inputs in model.linear())
    head = model.embedding if setting.spec.stage.HEAD == "words" else 0
    attention = 2 * batch.length * model.heads * model.head_size * model.layers
    whole = 0 if setting.spec.tuning.ADAPTER else min(1.0, setting.trained / max(1, model.num_weights))
    back = reached_layers(setting.spec.tuning, model) / max(1, model.layers)
    passes = 1 + back * (1 + setting.spec.memory.gradient_checkpointing)
    token = 2 * linear * (passes + whole) + attention * (passes + 1.5 * back) + head * (6 + 2 * whole)
    if setting.spec.tuning.ADAPTER:
        token += 6 * setting.trained if adapted_layers(setting.spec.tuning, model) else 0
    token += setting.spec.stage.reference_passes * (2 * linear + attention + 2 * head)
    return batch.positions * token / rate(setting) + _overhead(setting)


def _overhead(setting: Setting) -> float:
    """Seconds that a batch takes however small it is: Python's share for each layer and the trainer's own."""
    on_card = setting.ground.device != "cpu"
    return 0.01 + setting.model.layers * (0.0015 if on_card else 0.004)


def optimiser_seconds(setting: Setting) -> float:
    """Seconds of one optimiser step: all that it keeps is read and written once."""
    moved = setting.trained * (setting.trained_bytes * 3 + _optimiser_bytes(setting)) * 2
    return moved / (800e9 if setting.ground.device == "cuda" else 8e9) + 0.01


def forward_seconds(setting: Setting, batch: Batch) -> float:
    """Seconds of a batch that is only tried, not learned from."""
    return batch_seconds(setting, batch) / 2.5
