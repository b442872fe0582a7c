"""Reads a folder's safetensors one tensor at a time, as they lie on the disk. Knows no family and no GGUF."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from workbench.problems import UserError
from workbench.text import Text

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
NUMPY = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Number types as numpy reads them; bfloat16 as its 16 bits."""


class Say:
    number = Text("The weight {name} is held as {given}. Accepted: F32, F16, BF16. Merge or dequantise the model first.")
    missing = Text("The weights file {file} is missing. Accepted: every file that {index} names. Get it anew.")
    torn = Text("The weights file {file} is damaged: {reason}. Accepted: a whole safetensors file. Get it anew.")


class Source(Protocol):
    """Where the numbers of one tensor come from."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns, as transformers has them."""

    def read(self) -> Any:
        """A numpy array; bfloat16 as uint16."""


@dataclass(frozen=True)
class Weight:
    """One tensor on the disk."""

    name: str
    shape: tuple[int, ...]
    number: str
    """F32, F16 or BF16."""
    stored: Any
    """gguf's own record of where it lies."""

    def read(self) -> Any:
        """Its numbers as a numpy array that pages in as it is used; bfloat16 as uint16."""
        return self.stored.mmap_bytes().view(NUMPY[self.number]).reshape(self.shape)


@dataclass(frozen=True)
class Changed:
    """A tensor that is computed as it is wanted, some of its rows after the other."""

    shape: tuple[int, ...]
    pieces: Callable[[], Iterable[Any]]
    """Its rows in their order, as torch tensors of float32."""

    def read(self) -> Any:
        """All its numbers as one numpy array."""
        import numpy

        whole, done = numpy.empty(self.shape, numpy.float32), 0
        for piece in self.pieces():
            whole[done : done + len(piece)] = piece.numpy()
            done += len(piece)
        assert done == self.shape[0]
        return whole


def weights(folder: Path) -> Mapping[str, Weight]:
    """Every tensor of the folder by name; nothing but the files' heads is read."""
    from gguf.utility import SafetensorsLocal

    found: dict[str, Weight] = {}
    for file in _files(folder):
        try:
            stored = SafetensorsLocal(file).tensors
        except (OSError, ValueError, KeyError) as error:
            raise UserError(Say.torn(file=file.name, reason=str(error)[:200]), key="model_name_or_path") from error
        for name, one in stored.items():
            if one.dtype not in NUMPY:
                raise UserError(Say.number(name=name, given=one.dtype), key="model_name_or_path")
            found[name] = Weight(name, tuple(one.shape), one.dtype, one)
    return found


def _files(folder: Path) -> list[Path]:
    """The files of the model: those of the index, else the single one, else all that are there."""
    if (folder / INDEX).is_file():
        names = sorted(set(json.loads((folder / INDEX).read_text("utf-8"))["weight_map"].values()))
        files = [folder / name for name in names]
        for file in files:
            if not file.is_file():
                raise UserError(Say.missing(file=file.name, index=INDEX), key="model_name_or_path")
        return files
    return [folder / SINGLE] if (folder / SINGLE).is_file() else sorted(folder.glob("*.safetensors"))


def as_float32(array: Any) -> Any:
    """Numbers as they were read, as float32."""
    import numpy

    if array.dtype == numpy.uint16:
        return (array.astype(numpy.uint32) << 16).view(numpy.float32)
    return array.astype(numpy.float32)
