"""A model's folder to one GGUF file, tensor by tensor. Knows no run and no engine."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.gguf import Kind, Progress
from workbench.gguf.families import Layout, family_of, layout_of
from workbench.gguf.grids import grid_of
from workbench.gguf.mixtures import FILE_TYPES, INSTEAD, PLAIN, Mixture
from workbench.gguf.packing import bytes_of, check_kind, pack
from workbench.gguf.shape import check_rotation, write_shape
from workbench.gguf.vocabulary import write_vocabulary
from workbench.gguf.weights import Source, weights
from workbench.problems import UserError, first_line
from workbench.text import Message, Text

MARGIN_BYTES = 64 << 20
EMBEDDINGS, OUTPUT = "token_embd.weight", "output.weight"


class Say:
    no_room = Text("The GGUF file takes {needed}, and {free} are free. Accepted: more room. Delete something, or choose fewer bits.")
    instead = Text("{count} tensors have rows that are no multiple of 256 numbers: they are held as {kinds} instead.")
    kept = Text("Weights that lose nothing in fewer bits are held in these: {count}, as {kinds}.")
    no_config = Text("The model's config.json can't be read: {reason} Accepted: a model of transformers. Get it anew.")


@dataclass(frozen=True)
class Plan:
    """What would be written; nothing is read but the heads of files."""

    kind: Kind
    config: Any
    layout: Layout
    tensors: Mapping[str, tuple[Source, str]]
    """By name in the GGUF file: where the numbers are, and the type that they get."""
    notes: Sequence[Message] = field(default=())

    @property
    def num_bytes(self) -> int:
        return sum(bytes_of(weight.shape, kind) for weight, kind in self.tensors.values())


def supported(folder: Path) -> None:
    """UserError by name when the model in the folder can't become GGUF; only its config is read."""
    config = _config(folder)
    family_of(config)
    check_rotation(config)


def plan(folder: Path, kind: Kind, changed: Mapping[str, Source] | None = None, grids: bool = False) -> Plan:
    """Where every weight goes and how it is held; UserError by name before any work for what has no place.

    ``changed``: by name in transformers, what stands in for the folder's own numbers, or beside them. ``grids``: weights that
    fewer bits hold as they are get these; some rows of each are read.
    """
    config = _config(folder)
    layout = layout_of(config)
    check_rotation(config)
    others = {layout.name(name): weight for name, weight in (changed or {}).items()}
    found: dict[str, Source] = {new: weight for name, weight in weights(folder).items() if (new := layout.name(name))}
    if config.get_text_config().tie_word_embeddings:
        found.pop(OUTPUT, None)
    found |= {name: weight for name, weight in others.items() if name}
    mixture = Mixture(kind, layout.layers, layout.heads // layout.key_heads, OUTPUT not in found)
    typed = {name: (weight, mixture.type_of(name, weight.shape)) for name, weight in found.items()}
    kept = {name: told for name, (weight, _) in typed.items() if grids and (told := grid_of(weight.read()))}
    typed |= {name: (typed[name][0], told) for name, told in kept.items()}
    check_kind({kind for _, kind in typed.values()})
    stood_in = [told for name, (_, told) in typed.items() if told in INSTEAD.values() and kind not in PLAIN and name not in kept]
    counted = ((Say.instead, stood_in), (Say.kept, kept.values()))
    notes = [said(count=len(kinds), kinds=", ".join(sorted(set(kinds)))) for said, kinds in counted if kinds]
    return Plan(kind, config, layout, typed, notes)


def write(planned: Plan, tokenizer: Any, stop_ids: Sequence[int], target: Path, name: str, progress: Progress) -> None:
    """Write the file beside its name and give it its name at the end."""
    import gguf

    check_room(target, planned.num_bytes)
    with beside(target) as part:
        writer = gguf.GGUFWriter(part, planned.layout.family.arch)
        writer.add_type(gguf.GGUFType.MODEL)
        writer.add_name(name)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[planned.kind]])
        extra = write_shape(writer, planned.layout.family, planned.config)
        write_vocabulary(writer, tokenizer, planned.tensors[EMBEDDINGS][0].shape[0], stop_ids)
        write_tensors(writer, _arrays(planned, extra), _sizes(planned, extra), progress)


def _sizes(planned: Plan, extra: Mapping[str, Any]) -> Mapping[str, tuple[tuple[int, ...], str]]:
    sizes = {name: (weight.shape, kind) for name, (weight, kind) in planned.tensors.items()}
    return {**{name: (array.shape, "F32") for name, array in extra.items()}, **sizes}


def _arrays(planned: Plan, extra: Mapping[str, Any]) -> Iterator[Any]:
    """The bytes of each tensor, in the order of _sizes."""
    for name, array in extra.items():
        yield pack(name, array, "F32")
    for name, (weight, kind) in planned.tensors.items():
        yield pack(name, planned.layout.changed(name, weight.read()), kind)


def write_tensors(
    writer: Any, arrays: Iterator[Any], sizes: Mapping[str, tuple[tuple[int, ...], str]], progress: Progress
) -> None:
    """Everything that the writer holds, then the tensors one at a time; the writer is closed."""
    import gguf
    import numpy

    total, done = 0, 0
    for name, (shape, kind) in sizes.items():
        number, count = gguf.GGMLQuantizationType[kind], bytes_of(shape, kind)
        stored = gguf.quant_shape_to_byte_shape(shape, number) if kind not in ("F32", "F16") else shape
        dtype = numpy.dtype({"F32": "f4", "F16": "f2"}.get(kind, "u1"))
        writer.add_tensor_info(name, stored, dtype, count, raw_dtype=number if dtype.str == "|u1" else None)
        total += count
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for array in arrays:
            writer.write_tensor_data(array)
            done += len(array)
            progress(done, total)
    finally:
        writer.close()


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A path beside the target for the block to write to; it takes the target's name when the block went well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def check_room(target: Path, needed: int) -> None:
    """UserError when the disk has no room for so many bytes."""
    folder = next(one for one in (target.parent, *target.parents) if one.exists())
    free = shutil.disk_usage(folder).free
    if needed + MARGIN_BYTES > free:
        raise UserError(Say.no_room(needed=f"{needed / 1e9:.2f} GB", free=f"{free / 1e9:.2f} GB"))


def _config(folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(Say.no_config(reason=first_line(error)), key="model_name_or_path") from error
