"""The ways in which several processes share a model: what each divides among them, and what of it may rest elsewhere. Knows
no library that does so and no run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Way = Literal["ddp", "fsdp2", "zero2", "zero3"]
Divisible = Literal["weights", "gradients", "optimiser"]


@dataclass(frozen=True)
class Dividing:
    """What a way divides, and what lies in the machine's memory while a card does not need it, where that is asked for."""

    divides: tuple[Divisible, ...] = ()
    rests: tuple[Divisible, ...] = ()
    zero_stage: int = 0
    """The stage of DeepSpeed's ZeRO; 0: DeepSpeed does not do it."""


WAYS: Mapping[Way, Dividing] = {
    "ddp": Dividing(),
    "fsdp2": Dividing(("weights", "gradients", "optimiser"), ("weights", "gradients", "optimiser")),
    "zero2": Dividing(("gradients", "optimiser"), ("optimiser",), 2),
    "zero3": Dividing(("weights", "gradients", "optimiser"), ("weights", "optimiser"), 3),
}
"""ZeRO: arXiv 1910.02054, figure 1."""
DIVIDING = tuple(name for name, way in WAYS.items() if way.divides)
BY_DEEPSPEED = tuple(name for name, way in WAYS.items() if way.zero_stage)


def dividing(way: Way | Literal[""]) -> Dividing:
    """What the way divides; nothing where one process is alone."""
    return WAYS[way] if way else WAYS["ddp"]
