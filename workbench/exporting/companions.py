"""What lies beside a model that is taken home: its card, its licence, and scripts that open it. Knows no exporter."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from workbench.evaluating.records import write_whole
from workbench.exporters import Made, Source
from workbench.exporting.card import CARD, Facts, card, facts_files
from workbench.exporting.launching import HERE, is_plain, write_scripts
from workbench.exporting.origins import base_of, origins
from workbench.exporting.proof import Proof
from workbench.problems import UserError
from workbench.specs import ExportSpec
from workbench.text import ENGLISH, Message, Text

START = "start.yaml"
ABOUT_API = "Opens the API of this model until Ctrl-C or the window is closed. What it serves stands in start.yaml."
ABOUT_CHAT = "Opens a chat with this model until /bye or the window is closed. Who answers stands in start.yaml."


class Say:
    no_scripts = Text("No start scripts were written: {reason}")


def accompany(folder: Path, spec: ExportSpec, source: Source, made: Made, home: Path) -> Sequence[Message]:
    """Write all of it into ``folder``, which will lie at ``home`` in the workspace; what a person should know of it."""
    base = base_of(source.opening.folder(), spec.model.model_name_or_path)
    for file in base.legal:
        if not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)
    notes = list[Message]()
    try:
        _write_start(folder, spec, made, home.as_posix())
    except UserError as error:
        notes.append(Say.no_scripts(reason=error.problems[0].message))
    write_card(folder, spec, source, None)
    return notes


def write_card(folder: Path, spec: ExportSpec, source: Source, proof: Proof | None) -> None:
    """The model card, with what the proof found where there is one."""
    facts = Facts(
        source.name,
        spec.exporter.export_format,
        base_of(source.opening.folder(), spec.model.model_name_or_path),
        origins(source.trained),
        spec.exporting.adapter_weights,
        bool(source.trained),
        facts_files(folder),
    )
    write_whole(folder / CARD, card(facts, proof, ENGLISH))


def _write_start(folder: Path, spec: ExportSpec, made: Made, home: str) -> None:
    """The spec of what is opened, and scripts for the API and for a chat; nothing for a file that goes over another file."""
    if made.adapter is not None and made.adapter.suffix:
        return
    inside = "" if made.model in (None, Path()) else f"/{made.model.as_posix()}"
    given: dict[str, Any] = {
        "model_name_or_path": spec.model.model_name_or_path if made.model is None else f"{home}{inside}",
        "template": spec.model.template if made.model is None else "auto",
    }
    more: dict[str, Any] = {
        "adapter_name_or_path": [] if made.adapter is None else [_joined(home, made.adapter)],
        "default_system": spec.exporting.system_prompt or spec.model.default_system,
        "trust_remote_code": spec.model.trust_remote_code,
    }
    given |= {key: value for key, value in more.items() if value}
    text = yaml.safe_dump(given, allow_unicode=True, sort_keys=False)
    (folder / START).write_bytes(text.encode())
    # So that the folder may be renamed; a name that a script could misread stands in the spec alone.
    own = ["--model_name_or_path", f"{HERE}{inside}"] if made.model is not None and is_plain(inside.strip("/") or "x") else []
    write_scripts(folder, "start_api", ABOUT_API, ["api", f"{HERE}/{START}", *own])
    write_scripts(folder, "start_chat", ABOUT_CHAT, ["chat", f"{HERE}/{START}", *own])


def _joined(home: str, inside: Path) -> str:
    return home if inside == Path() else f"{home}/{inside.as_posix()}"
