"""Weights that were held in few bits once are found, and others are not."""

from typing import Any

import gguf
import numpy
import pytest
import torch

from workbench.gguf.grids import GRIDS, grid_of
from workbench.gguf.packing import pack

ROWS = (96, 128)


def random_rows(seed: int = 0) -> Any:
    return numpy.random.default_rng(seed).standard_normal(ROWS, numpy.float32)


def held(rows: Any, kind: str) -> Any:
    """What a type makes of numbers."""
    return gguf.quants.dequantize(pack("", rows, kind).reshape(len(rows), -1), gguf.GGMLQuantizationType[kind])


@pytest.mark.parametrize("kind", GRIDS)
def test_a_grid_is_found_also_after_a_rounding_to_bfloat16(kind: str) -> None:
    once = held(random_rows(), kind)
    rounded = torch.from_numpy(once).bfloat16().view(torch.uint16).numpy()
    assert grid_of(once) == grid_of(rounded) == kind
    again = held(once, kind)
    assert numpy.abs(again - once).max() <= numpy.abs(once).max() * 2**-10


@pytest.mark.parametrize("rows", [random_rows(), random_rows()[:, :100], random_rows()[0]], ids=["any", "narrow", "flat"])
def test_other_numbers_have_none(rows: Any) -> None:
    assert grid_of(rows) is None


def test_a_grid_in_half_of_the_rows_is_none() -> None:
    rows = held(random_rows(), "Q4_0")
    rows[48:] = random_rows(1)[48:]
    assert grid_of(rows) is None
