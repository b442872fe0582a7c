"""Numbers to the bytes of a GGUF tensor, some rows at a time. Knows no model."""

import ctypes
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

from workbench.gguf.weights import as_float32
from workbench.problems import UserError
from workbench.text import Text

AT_ONCE = 1 << 24
"""Numbers that are float32 at one time."""
OURS = ("F32", "F16", "BF16", "Q8_0")
"""Types that the package gguf writes by itself."""


class Say:
    needs_library = Text("Weights of the type {kind} are made by xllamacpp. Accepted without it: f32, f16, bf16, q8_0. {install}")
    install = Text("Install it with 'pip install xllamacpp'.")
    not_finite = Text("The weight {name} holds numbers that {kind} can't hold. Accepted: f32, bf16. Choose one of these.")


def check_kind(kinds: set[str]) -> None:
    """UserError when one of these types can't be made here."""
    others = sorted(kinds - set(OURS))
    if others and find_spec("xllamacpp") is None:
        raise UserError(Say.needs_library(kind=others[0], install=Say.install()))


def bytes_of(shape: tuple[int, ...], kind: str) -> int:
    """Size of a tensor in a type."""
    import gguf

    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    count = 1
    for side in shape:
        count *= side
    return int(count // block * size)


def pack(name: str, array: Any, kind: str) -> Any:
    """The tensor as bytes: numpy uint8, row by row."""
    import numpy

    flat = array.reshape(-1, array.shape[-1])
    packed = numpy.empty(bytes_of(array.shape, kind), numpy.uint8)
    width = len(packed) // max(1, len(flat))
    step = max(1, AT_ONCE // flat.shape[-1])
    rows_to_bytes = _packer(kind)
    for start in range(0, len(flat), step):
        rows = flat[start : start + step]
        done = rows if (kind, rows.dtype.str) == ("BF16", "<u2") else rows_to_bytes(as_float32(rows))
        if kind == "F16" and not numpy.isfinite(done).all():
            raise UserError(Say.not_finite(name=name, kind="f16"))
        packed[start * width : (start + len(rows)) * width] = numpy.ascontiguousarray(done).view(numpy.uint8).reshape(-1)
    return packed


def _packer(kind: str) -> Callable[[Any], Any]:
    """Float32 rows to rows of the type."""
    import gguf
    import numpy

    if kind == "F32":
        return lambda rows: rows
    if kind == "F16":
        return _halved
    if kind in OURS and (kind != "Q8_0" or find_spec("xllamacpp") is None):  # llama.cpp's is five times as fast
        return lambda rows: gguf.quants.quantize(rows, gguf.GGMLQuantizationType[kind])
    number = int(gguf.GGMLQuantizationType[kind])

    def by_ggml(rows: Any) -> Any:
        rows = numpy.ascontiguousarray(rows)
        done = numpy.empty(bytes_of(rows.shape, kind), numpy.uint8)
        source, target = (one.ctypes.data_as(ctypes.c_void_p) for one in (rows, done))
        size = _ggml()(number, source, target, 0, rows.shape[0], rows.shape[1], None)
        assert size == len(done)
        return done

    return by_ggml


def _halved(rows: Any) -> Any:
    import numpy

    with numpy.errstate(over="ignore"):
        return rows.astype(numpy.float16)


@cache
def _ggml() -> Any:
    """llama.cpp's own quantiser: type, source, target, first number, rows, numbers a row, importances."""
    from xllamacpp import xllamacpp

    function = ctypes.CDLL(xllamacpp.__file__).ggml_quantize_chunk
    function.restype = ctypes.c_size_t
    function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    return function
