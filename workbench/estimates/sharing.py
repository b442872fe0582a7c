"""What is left for each of several processes that share a run: bytes by part. Knows formulas, measures nothing."""

from collections.abc import Mapping

from workbench.dividing import dividing
from workbench.estimates.needs import Part, Setting


def shared_parts(setting: Setting, parts: Mapping[Part, int]) -> dict[Part, int]:
    """The parts in one card's memory, or, where there is none, in the machine's, which has to do for all processes."""
    section = setting.spec.sharing
    way = dividing(section.way)
    left = dict(parts)
    for part in way.divides:
        left[part] //= section.processes
    if setting.ground.device != "cuda":
        return {part: size * section.processes for part, size in left.items()}
    if section.offload:
        left |= dict[Part, int].fromkeys(way.rests, 0)
    return left
