"""What is left for each of several processes that share a run: bytes by part. Knows formulas, measures nothing."""

from collections.abc import Mapping

from workbench.estimates.needs import Part, Setting

DIVIDED: Mapping[str, tuple[Part, ...]] = {
    "fsdp2": ("weights", "gradients", "optimiser"),
    "zero2": ("gradients", "optimiser"),
    "zero3": ("weights", "gradients", "optimiser"),
}
"""What is divided among the processes: ZeRO, arXiv 1910.02054, figure 1."""
RESTS: Mapping[str, tuple[Part, ...]] = {
    "fsdp2": ("weights", "gradients", "optimiser"),
    "zero2": ("optimiser",),
    "zero3": ("weights", "optimiser"),
}
"""What lies in the machine's memory while it is not needed."""


def shared_parts(setting: Setting, parts: Mapping[Part, int]) -> dict[Part, int]:
    """The parts in one card's memory, or, where there is none, in the machine's, which has to do for all processes."""
    section, way = setting.spec.sharing, setting.spec.sharing.way
    left = dict(parts)
    for part in DIVIDED.get(way, ()):
        left[part] //= section.processes
    if setting.ground.device != "cuda":
        return {part: size * section.processes for part, size in left.items()}
    if section.offload:
        left |= dict.fromkeys(RESTS.get(way, ()), 0)
    return left
