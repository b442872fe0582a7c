"""Models and adapters as the GGUF files that llama.cpp opens, made once and kept. Knows no process and no request."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from workbench.engines import Opening
from workbench.gguf import Kind
from workbench.gguf.adapters import CONFIG, is_plain_lora, write_adapter
from workbench.gguf.families import Layout
from workbench.gguf.reading import is_gguf, layout_of_file, shapes_of_file
from workbench.gguf.writing import plan, write
from workbench.neighbours.ends import end_ids
from workbench.problems import UserError, first_line
from workbench.text import Text

VERSION = 1
"""Raise it when the same model would be written otherwise."""
DECIDING = ("*.safetensors", "*.safetensors.index.json", "config.json", "adapter_config.json", "tokenizer*", "*.jinja")
PROMPTS = ("PREFIX_TUNING", "P_TUNING", "PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "ADAPTION_PROMPT", "CARTRIDGE")


class Say:
    converting = Text("The model is written once as a GGUF file ({kind}); the next time it is opened at once.")
    merging = Text("Adapter '{name}' is of the kind {given}: it is laid into a copy of the model, which takes memory of its own.")
    prompt = Text(
        "Adapter '{name}' is a learned prompt ({given}). Accepted by llama.cpp: LoRA and what can be laid into the model. "
        "Choose the engine transformers."
    )
    unmerged = Text("Adapter '{name}' can't be laid into the model: {reason}. Choose the engine transformers.")
    only_lora = Text(
        "Adapter '{name}' is of the kind {given}, and the model is a GGUF file. Accepted: LoRA. Choose the model's folder."
    )


class Files:
    """The GGUF files of one opening."""

    def __init__(self, opening: Opening, kind: Kind, grids: bool) -> None:
        """``grids``: weights that fewer bits than the kind's hold as they are get these."""
        self._opening, self._kind, self._grids = opening, kind, grids
        self._base = opening.folder()
        self._folder = opening.cache / "gguf"

    def base(self) -> Path:
        """The base itself."""
        return self._base if is_gguf(self._base) else self._model(self._base)

    def lora(self, folder: Path) -> Path | None:
        """A LoRA adapter over the base; None for what is no plain one."""
        if is_gguf(folder):
            return folder
        if not (folder / CONFIG).is_file() or not is_plain_lora(folder):
            return None
        target = self._folder / f"{_stem(folder)}-{_stamp((self._base, folder))}.lora.gguf"
        if not target.is_file():
            layout, shapes = self._base_layout()
            write_adapter(folder, layout, shapes, target, self._opening.progress)
            _forget_others(target, _stem(folder))
        return target

    def whole(self, name: str, folder: Path) -> Path:
        """A model of its own: one that was trained whole, or the base with an adapter laid into it."""
        if not (folder / CONFIG).is_file():
            return self._model(folder)
        kind = _peft_type(folder)
        if kind in PROMPTS:
            raise UserError(Say.prompt(name=name, given=kind), key="adapter_name_or_path")
        if is_gguf(self._base):
            raise UserError(Say.only_lora(name=name, given=kind), key="adapter_name_or_path")
        target = self._target(folder, (self._base, folder))
        if not target.is_file():
            self._opening.note(Say.merging(name=name, given=kind))
            merged = self._folder / f".{_stem(folder)}.merged"
            try:
                _merge(self._opening, self._base, folder, merged, name)
                self._write(merged, target, _stem(folder))
            finally:
                shutil.rmtree(merged, ignore_errors=True)
        return target

    def _model(self, folder: Path) -> Path:
        target = self._target(folder, (folder,))
        if not target.is_file():
            self._write(folder, target, _stem(folder))
        return target

    def _target(self, folder: Path, sources: Sequence[Path]) -> Path:
        label = f"{self._kind}-kept" if self._grids else self._kind
        return self._folder / f"{_stem(folder)}-{_stamp(sources, self._opening.template)}.{label}.gguf"

    def _write(self, folder: Path, target: Path, stem: str) -> None:
        planned = plan(folder, self._kind, grids=self._grids)
        self._opening.note(Say.converting(kind=self._kind))
        for note in planned.notes:
            self._opening.note(note)
        tokenizer = self._opening.tokenizer()
        stop_ids = end_ids(self._opening, tokenizer)
        write(planned, tokenizer, stop_ids, target, folder.name.strip("."), self._opening.progress)
        _forget_others(target, stem)

    def _base_layout(self) -> tuple[Layout, Mapping[str, tuple[int, ...]]]:
        if is_gguf(self._base):
            return layout_of_file(self._base), shapes_of_file(self._base)
        planned = plan(self._base, self._kind)
        return planned.layout, {name: weight.shape for name, (weight, _) in planned.tensors.items()}


def _stem(folder: Path) -> str:
    """A name for the files of one folder, wherever there is another of the same name."""
    return f"{folder.name[:60]}-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]}"


def _stamp(sources: Sequence[Path], *more: str) -> str:
    """What the content of these folders or files is told by: names, sizes and times of what decides."""
    found = [str(VERSION), *more]
    for source in sources:
        files = [source] if source.is_file() else sorted({file for glob in DECIDING for file in source.glob(glob)})
        found += [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:12]


def _forget_others(target: Path, stem: str) -> None:
    """Delete what was made of the same folder before it changed."""
    for file in target.parent.glob(f"{stem}-*"):
        if file != target and "".join(file.suffixes[-2:]) == "".join(target.suffixes[-2:]):
            with suppress(OSError):  # another server may still read it
                file.unlink()


def _peft_type(folder: Path) -> str:
    import json

    return str(json.loads((folder / CONFIG).read_text("utf-8")).get("peft_type", "LORA"))


def _merge(opening: Opening, base: Path, folder: Path, target: Path, name: str) -> None:
    """The base with the adapter laid into it, as a folder."""
    from peft import PeftModel

    whole: Any = opening.whole(base, "fp32")
    try:
        merged = PeftModel.from_pretrained(whole, str(folder)).merge_and_unload()
    except (RuntimeError, ValueError, AttributeError, NotImplementedError) as error:  # each a way of peft to say no
        said = Say.unmerged(name=name, reason=first_line(error))
        raise UserError(said, key="adapter_name_or_path") from error
    merged.save_pretrained(str(target))
