"""Tensors as they lie in safetensors files: their heads at once, their numbers a few rows at a time. Knows no model.

Files are read, not mapped into memory, so that what a process holds of them is what it asked for.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from workbench.problems import UserError
from workbench.text import Message, Text

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
LONGEST_HEAD = 100_000_000
COPIED_BYTES = 16 << 20


class Say:
    missing = Text("The weights file {file} is missing. Accepted: every file that {index} names. Get it anew.")
    torn = Text("'{file}' in '{folder}' is damaged: {reason}. Accepted: a whole safetensors file. Get it anew.")
    bad_index = Text("'{file}' in '{folder}' is damaged: it names no files. Get it anew.")
    no_files = Text("'{folder}' has no safetensors weights. Accepted: weights in that format. Get that version.")
    cut_short = Text("it is cut short")
    no_head = Text("it has no head")
    bad_head = Text("its head can't be read ({error})")
    other_size = Text("it has {given} bytes, and its head tells of {wanted}")
    other_shape = Text("the size of {name} is not that of its shape")
    lacks = Text("The weights file {file} lacks '{name}', which {index} says lies there. Get both anew.")


@dataclass(frozen=True)
class Stored:
    """One tensor on the disk."""

    name: str
    file: Path
    kind: str
    """Its number type as safetensors names it, such as BF16."""
    shape: tuple[int, ...]
    start: int
    """Where its first byte lies in the file."""
    num_bytes: int

    def rows(self, first: int = 0, last: int | None = None) -> Any:
        """The tensor, or those of its rows, in its own number type."""
        import torch

        if not self.shape or not self.num_bytes:
            first, last = 0, None
        length = self.shape[0] if self.shape else 1
        last = length if last is None else min(last, length)
        size = self.num_bytes // length if self.num_bytes else 0
        shape = (last - first, *self.shape[1:]) if self.shape else ()
        if not size:
            return torch.empty(shape, dtype=number_types()[self.kind])
        room = bytearray((last - first) * size)
        with self.file.open("rb", buffering=0) as file:
            file.seek(self.start + first * size)
            _fill(file, room, self)
        return torch.frombuffer(room, dtype=number_types()[self.kind]).reshape(shape)

    def copied(self) -> Iterator[bytearray]:
        """Its bytes as they lie there."""
        with self.file.open("rb", buffering=0) as file:
            file.seek(self.start)
            for at in range(0, self.num_bytes, COPIED_BYTES):
                room = bytearray(min(COPIED_BYTES, self.num_bytes - at))
                _fill(file, room, self)
                yield room


def _fill(file: Any, room: bytearray, stored: Stored) -> None:
    view, done = memoryview(room), 0
    while done < len(room):
        count = file.readinto(view[done:])
        if not count:
            said = Say.torn(file=stored.file.name, folder=stored.file.parent.name, reason=Say.cut_short())
            raise UserError(said, key="model_name_or_path")
        done += count


@cache
def number_types() -> Mapping[str, Any]:
    """torch's number types by their names in safetensors."""
    import torch

    return {
        "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
        "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
        "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    }  # fmt: skip


def folder_tensors(folder: Path, key: str = "model_name_or_path") -> dict[str, Stored]:
    """Every tensor of a model's folder by name, in the files' order; UserError beside ``key`` for what is missing or torn."""
    found: dict[str, Stored] = {}
    files, named = _files(folder, key)
    for file in files:
        found |= file_tensors(file, key)
    for name, file_name in named.items():
        if name not in found:
            raise UserError(Say.lacks(file=file_name, name=name, index=INDEX), key=key)
    return found


def _files(folder: Path, key: str) -> tuple[list[Path], Mapping[str, str]]:
    """The files of the model, those that the index names where there is one, and what it says lies in which."""
    if not (folder / INDEX).is_file():
        files = [folder / SINGLE] if (folder / SINGLE).is_file() else sorted(folder.glob("*.safetensors"))
        if not files:
            raise UserError(Say.no_files(folder=folder.name), key=key)
        return files, {}
    try:
        named = dict(json.loads((folder / INDEX).read_text("utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(Say.bad_index(file=INDEX, folder=folder.name), key=key) from error
    files = [folder / str(name) for name in sorted(set(named.values()))]
    for file in files:
        if not file.is_file():
            raise UserError(Say.missing(file=file.name, index=INDEX), key=key)
    return files, named


def file_tensors(file: Path, key: str) -> dict[str, Stored]:
    """The tensors of one file by name, from its head alone; UserError when the file is not whole."""

    def torn(reason: Message) -> UserError:
        return UserError(Say.torn(file=file.name, folder=file.parent.name, reason=reason), key=key)

    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 0 < length <= LONGEST_HEAD:
                raise torn(Say.no_head())
            head = json.loads(opened.read(length))
        head.pop("__metadata__", None)
        found = {name: _stored(name, file, 8 + length, told) for name, told in head.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise torn(Say.bad_head(error=type(error).__name__)) from error
    _check_whole(file, 8 + length, found, torn)
    return dict(sorted(found.items(), key=lambda item: item[1].start))


def _stored(name: str, file: Path, after: int, told: Mapping[str, Any]) -> Stored:
    start, end = told["data_offsets"]
    return Stored(name, file, str(told["dtype"]), tuple(told["shape"]), after + start, end - start)


def _check_whole(file: Path, after: int, found: Mapping[str, Stored], torn: Callable[[Message], UserError]) -> None:
    """The file is as long as its tensors say."""
    wanted, size = max((one.start + one.num_bytes for one in found.values()), default=after), file.stat().st_size
    if size != wanted:
        raise torn(Say.other_size(given=f"{size:,}", wanted=f"{wanted:,}"))
    bits = {"F64": 64, "I64": 64, "F32": 32, "I32": 32, "F16": 16, "BF16": 16, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8}
    for one in found.values():
        if one.kind in bits and math.prod(one.shape) * bits[one.kind] != one.num_bytes * 8:
            raise torn(Say.other_shape(name=one.name))
