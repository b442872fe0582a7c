"""The adapter alone, ready for PEFT and vLLM, with the tokenizer and the chat template that it was trained with."""

import shutil
from pathlib import Path
from typing import Literal

from workbench.exporters import EXACT, ExporterSpec, Made, Source
from workbench.merging.configs import write_tokenizer
from workbench.problems import UserError
from workbench.text import Text

CONFIG = "adapter_config.json"


class Say:
    one = Text("{given} adapters are chosen. Accepted: one, to be taken home alone. Choose one, or export them merged.")
    weighted = Text("The weight {given} is given for an adapter that goes alone. Accepted: 1. Take it out, or export it merged.")
    whole = Text("'{name}' is a whole model, not an adapter. Accepted: an adapter. Export it merged.")


class Spec(ExporterSpec):
    """Adapter"""

    export_format: Literal["adapter"] = "adapter"


def needs(spec: Spec, source: Source) -> int:
    if len(source.trained) != 1:
        raise UserError(Say.one(given=len(source.trained)), key="adapter_name_or_path")
    (trained,) = source.trained
    if not (trained.folder / CONFIG).is_file():
        raise UserError(Say.whole(name=trained.folder.name), key="adapter_name_or_path")
    if trained.weight != 1:
        raise UserError(Say.weighted(given=trained.weight), key="adapter_weights")
    return sum(file.stat().st_size for file in _files(trained.folder))


def export(spec: Spec, source: Source, folder: Path) -> Made:
    total, done = needs(spec, source), 0
    for file in _files(source.trained[0].folder):
        shutil.copyfile(file, folder / file.name)
        done += file.stat().st_size
        source.opening.progress(done, total)
    write_tokenizer(source, folder)
    return Made("transformers", None, Path(), EXACT)


def _files(folder: Path) -> list[Path]:
    return [folder / CONFIG, *sorted(folder.glob("adapter_model*.safetensors"))]
