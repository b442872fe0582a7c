"""What the run of an adapter says of the base that it learned over. Knows the run's spec.yaml by its keys, and nothing else of runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workbench.quantising import Quantisation, asked


@dataclass(frozen=True)
class History:
    """How an adapter's base was while it learned."""

    bits: Quantisation | None = None
    """None: its weights were as they come."""
    precision: str = "auto"
    """In which its weights were loaded."""
    before: Sequence[str] = ()
    """Adapters that were merged into it first."""


def history(folder: Path) -> History:
    """What spec.yaml around the adapter's folder says; nothing where there is none."""
    values = next(_specs(folder), {})
    given = values.get("adapter_name_or_path") or []
    given = [str(one) for one in (given.split(",") if isinstance(given, str) else given)]
    before = given if values.get("create_new_adapter") else given[:-1]
    return History(asked(values), str(values.get("precision", "auto")), before)


def _specs(folder: Path) -> Iterator[Mapping[str, Any]]:
    for home in (folder, folder.parent):
        if (home / "spec.yaml").is_file():
            try:
                values = yaml.safe_load((home / "spec.yaml").read_text("utf-8", errors="replace"))
            except yaml.YAMLError:
                continue
            if isinstance(values, dict):
                yield values
