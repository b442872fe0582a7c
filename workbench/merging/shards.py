"""Files of weights written as their numbers come, none larger than asked for where a tensor allows it. Knows no model."""

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.merging.stored import INDEX, SINGLE

ALIGNED_BYTES = 8


@dataclass(frozen=True)
class Outline:
    """A tensor that is to be written."""

    name: str
    kind: str
    shape: tuple[int, ...]
    num_bytes: int


def divided(outlines: Iterable[Outline], most_bytes: int) -> dict[str, list[Outline]]:
    """The tensors by file name, in their order; a tensor larger than a file may be has one of its own."""
    shards: list[list[Outline]] = [[]]
    for one in outlines:
        if shards[-1] and sum(other.num_bytes for other in shards[-1]) + one.num_bytes > most_bytes:
            shards.append([])
        shards[-1].append(one)
    if len(shards) == 1:
        return {SINGLE: shards[0]}
    return {f"model-{at:05}-of-{len(shards):05}.safetensors": shard for at, shard in enumerate(shards, 1)}


def write_shards(
    folder: Path,
    shards: Mapping[str, Sequence[Outline]],
    numbers: Callable[[str], Iterator[Any]],
    written: Callable[[int], None],
) -> None:
    """The files and, for several, their index. ``numbers`` gives a tensor's bytes by its name; ``written`` hears how many."""
    for file_name, shard in shards.items():
        with (folder / file_name).open("wb") as file:
            file.write(_head(shard))
            for one in shard:
                length = 0
                for part in numbers(one.name):
                    file.write(part)
                    length += len(part)
                    written(len(part))
                assert length == one.num_bytes, one.name
    if len(shards) > 1:
        total = sum(one.num_bytes for shard in shards.values() for one in shard)
        places = {one.name: file_name for file_name, shard in shards.items() for one in shard}
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")


def _head(shard: Sequence[Outline]) -> bytes:
    """What stands before the numbers: the head's length in eight bytes, and the head, filled up with spaces."""
    at, told = 0, dict[str, object]({"__metadata__": {"format": "pt"}})
    for one in shard:
        told[one.name] = {"dtype": one.kind, "shape": one.shape, "data_offsets": [at, at + one.num_bytes]}
        at += one.num_bytes
    head = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
    head += b" " * (-len(head) % ALIGNED_BYTES)
    return struct.pack("<Q", len(head)) + head
