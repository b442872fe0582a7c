"""Finds out whether weights were held in few bits once, so that they can be again without loss. Knows numbers, no model.

A model that was made from a quantised file holds, in full numbers, what these few bits can say. Written in the same type again
it is the same model, a quarter as large, and answers sooner.
"""

from typing import Any

from workbench.gguf.packing import pack
from workbench.gguf.weights import as_float32

GRIDS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
"""From the fewest bits on. Types with one or two numbers a block of 32, which come out the same when they are made anew."""
BLOCK = 32
LOOKED_AT = 64
"""Rows of a tensor that are looked at, spread over all of it."""
LARGEST_ERROR = 3.5e-3
"""Root mean square, as a share of the numbers'. Numbers on a grid that were rounded to bfloat16 since lie 0.001 to 0.003
beside it; the nearest miss, q8_0 of any other weights, 0.005."""


def grid_of(array: Any) -> str | None:
    """The type with the fewest bits that holds a tensor's rows as they are; None when none does."""
    import gguf
    import numpy

    if array.ndim != 2 or array.shape[-1] % BLOCK:
        return None
    rows = numpy.ascontiguousarray(as_float32(array[:: max(1, len(array) // LOOKED_AT)]))
    scale = float((rows**2).sum())
    for kind in GRIDS:
        number = gguf.GGMLQuantizationType[kind]
        held = gguf.quants.dequantize(pack("", rows, kind).reshape(len(rows), -1), number)
        if float(((held - rows) ** 2).sum()) <= LARGEST_ERROR**2 * scale:
            return kind
    return None
