"""Whether there is memory for a proof, and how exact it can be then. Knows the folders of models and no engine."""

from pathlib import Path

import psutil

from workbench.ceilings import ceiling_bytes
from workbench.engines import Precision
from workbench.exporters import Source
from workbench.models import device, weights_bytes
from workbench.problems import UserError
from workbench.text import Text
from workbench.wording import size

SPARE = 1.2
"""What an answer takes beside the weights, as their multiple."""


class Say:
    no_room = Text(
        "It takes {needed} of memory, and {free} are free. Close other programs and export once more, or ask it on a larger machine."
    )


def precision_for(source: Source, folder: Path) -> Precision:
    """fp32 where it has room, else bf16; UserError where that has none either."""
    weights = source.opening.folder()
    held = weights_bytes(weights if weights.is_dir() else folder)
    full, free = held * 4 // _bytes_a_weight(weights) * SPARE, free_bytes()
    if full <= free:
        return "fp32"
    if full / 2 > free:
        raise UserError(Say.no_room(needed=size(full / 2), free=size(free)))
    return "bf16"


def free_bytes() -> int:
    """Memory for weights on the device that computes."""
    if device() == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    return min(psutil.virtual_memory().available, ceiling_bytes())


def _bytes_a_weight(folder: Path) -> int:
    """How many bytes a number takes in the first of the folder's files, as its header says; 4 where it says nothing."""
    from safetensors import safe_open

    kinds = {"F32": 4, "F64": 8, "BF16": 2, "F16": 2}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "numpy") as opened:
            for name in opened.keys():  # noqa: SIM118 - it is no mapping
                return kinds.get(opened.get_slice(name).get_dtype(), 4)
    return 4
