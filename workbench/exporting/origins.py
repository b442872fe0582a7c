"""Where an export comes from: the runs around what was trained, and what the base says of itself. Reads files, loads nothing."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from workbench.events import tail
from workbench.exporters import Trained
from workbench.models import is_hub_id
from workbench.reporting import REPORT
from workbench.specs import TrainSpec, read_flat, yaml_mapping
from workbench.view import View

ROWS = "jobs.train.rows.rows"
"""The key of the note in which a run counts its rows."""
FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)
LICENCES: Mapping[str, str] = {
    "apache license": "apache-2.0",
    "mit license": "mit",
    "gnu general public license": "gpl",
    "bsd 3-clause": "bsd-3-clause",
}
"""How well-known licences begin, and what hubs call them."""
LEGAL = re.compile(r"(LICEN[CS]E|NOTICE|COPYING|USE_POLICY)(\..*)?", re.IGNORECASE)
"""Files that go wherever the weights go."""


@dataclass(frozen=True)
class Origin:
    """A training run."""

    folder: Path
    spec: TrainSpec
    rows: int | None = None
    """How many it learned from, where it said so."""
    report: Mapping[str, Any] | None = None
    """Its report.json."""


@dataclass(frozen=True)
class Base:
    """What a base model's folder says of it."""

    given: str
    """As the spec names it."""
    id: str = ""
    """On a hub, where that is known."""
    licence: Mapping[str, Any] = field(default_factory=dict)
    """The card's license, license_name and license_link."""
    languages: Sequence[str] = ()
    legal: Sequence[Path] = ()
    """Its licence and notice."""


def origins(trained: Sequence[Trained]) -> list[Origin]:
    """The runs around what was trained, as far as there are any; each once."""
    found: dict[Path, Origin] = {}
    for one in trained:
        home = next((home for home in (one.folder, one.folder.parent) if (home / "spec.yaml").is_file()), None)
        values = yaml_mapping((home / "spec.yaml").read_text("utf-8", errors="replace")) if home else {}
        spec = read_flat(TrainSpec, values).spec if home and isinstance(values, dict) else None
        if home and spec is not None:
            found.setdefault(home, Origin(home, spec, _rows(home), _report(home)))
    return list(found.values())


def base_of(folder: Path, given: str) -> Base:
    """What is known of the base."""
    home = folder if folder.is_dir() else folder.parent
    card = front_matter(home / "README.md")
    legal = sorted(path for path in home.iterdir() if path.is_file() and LEGAL.fullmatch(path.name))
    licence = {key: card[key] for key in ("license", "license_name", "license_link") if isinstance(card.get(key), str)}
    if "license" not in licence and legal:
        licence = {"license": _recognised(legal)}
    languages = card.get("language") or []
    languages = [languages] if isinstance(languages, str) else [str(one) for one in languages]
    return Base(given, _id(given, home, card), licence, languages, legal)


def front_matter(card: Path) -> Mapping[str, Any]:
    """The YAML at the head of a model card; empty where there is none that can be read."""
    with suppress(OSError, yaml.YAMLError):
        if found := FRONT.match(card.read_text("utf-8", errors="replace")):
            values = yaml.safe_load(found[1])
            return values if isinstance(values, dict) else {}
    return {}


def _id(given: str, home: Path, card: Mapping[str, Any]) -> str:
    """``owner/name``: as given, by the folder that it was fetched into, or by the base's own card."""
    local = given.startswith(("models/", "saves/", "data/", ".", "/"))
    told = card.get("base_model")
    for one in ("" if local else given, home.name.replace("--", "/", 1), told if isinstance(told, str) else ""):
        if is_hub_id(one):
            return one
    return ""


def _recognised(legal: Sequence[Path]) -> str:
    """The licence by its first lines; other: one that is not known here."""
    text = " ".join(path.read_text("utf-8", errors="replace")[:400] for path in legal if path.name.upper()[:3] == "LIC")
    plain = " ".join(text.lower().split())
    return next((name for words, name in LICENCES.items() if words in plain), "other")


def _rows(home: Path) -> int | None:
    view = View()
    view.fold(tail(home / "events.jsonl", 0)[0])
    for note in reversed(view.notes):
        if note.message.key == ROWS:
            with suppress(ValueError, KeyError):
                return int(str(note.message.args["train"]).replace(",", ""))
    return None


def _report(home: Path) -> Mapping[str, Any] | None:
    with suppress(OSError, ValueError):
        held = json.loads((home / REPORT).read_text("utf-8"))
        return held if isinstance(held, dict) and "parts" in held else None
    return None
