"""Writes what follows from the code: locales/en.yaml and docs/fields.md. Knows no field and no sentence by name.

``python -m workbench.generate`` writes both; with ``--check`` nothing is written, and the exit code is 1 when one of
them differs from what would be written.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import yaml

import workbench
from workbench.fields import Knob, plain
from workbench.specs import SPECS, Spec
from workbench.text import Text
from workbench.workspace import source_folder

HEAD = "# Written by 'python -m workbench.generate' from the code. The other languages lie over this one.\n"
BAR = r"\|"
INTRO = """# Fields

Every field of every spec: `key: value` in a file, `key=value` or `--key value` in a terminal, a box on the page.
This page is written by `python -m workbench.generate` from the declarations; edit those, not this.

"For" names the spec that holds the field: `train` is a run, `serve` is what chat and the API load, `chat` is how a
question is asked. A field "with" a plugin counts only when that plugin is chosen.
"""


def modules() -> list[ModuleType]:
    """Every module of the workbench, by its name."""
    found = pkgutil.walk_packages(workbench.__path__, f"{workbench.__name__}.")
    return [importlib.import_module(name) for name in sorted(info.name for info in found)]


def texts(module: ModuleType) -> Iterator[Text]:
    """The Texts that the module's own classes hold."""
    for owner in vars(module).values():
        if isinstance(owner, type) and owner.__module__ == module.__name__:
            yield from (value for value in vars(owner).values() if isinstance(value, Text))


def specs(among: Sequence[ModuleType]) -> list[type[Spec]]:
    """Every kind of spec: first those that a worker reads, then those that only a terminal or a page does."""
    others = (
        kind
        for module in among
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Spec) and kind.__module__ == module.__name__ and kind.JOB
    )
    return list(dict.fromkeys([*SPECS.values(), *others]))


def words() -> dict[str, str]:
    """Every sentence that a person may read, by its key."""
    found: dict[str, str] = {}
    among = modules()
    for text in (text for module in among for text in texts(module)):
        assert found.setdefault(text.key, text.english) == text.english, f"{text.key} says two things"
    for kind in specs(among):
        for knob in kind.knobs().values():
            found[f"fields.{knob.key}.label"] = knob.ui.label
            found[f"fields.{knob.key}.help"] = knob.help
            found[f"sections.{knob.section}"] = knob.section
    return found


def locale_page() -> str:
    """The text of locales/en.yaml."""
    return HEAD + yaml.safe_dump(words(), allow_unicode=True, sort_keys=True, width=10_000)


@dataclass
class Row:
    """One field, and the commands that read it."""

    knob: Knob
    jobs: list[str] = field(default_factory=list)


def fields_page() -> str:
    """The text of docs/fields.md: a table for each section, in the order in which forms show them."""
    sections: dict[str, dict[str, Row]] = {}
    for kind in specs(modules()):
        for knob in kind.knobs().values():
            sections.setdefault(knob.section, {}).setdefault(knob.key, Row(knob)).jobs.append(kind.JOB)
    return "\n".join([INTRO, *(_table(title, rows.values()) for title, rows in sections.items())])


def _table(title: str, rows: Iterable[Row]) -> str:
    head = ["Key", "Label", "Accepted", "Default", "What it is", "For"]
    return "\n".join(
        [f"## {title}", "", _line(head), _line(["---"] * len(head)), *(_line(_cells(row)) for row in rows), ""]
    )


def _cells(row: Row) -> list[str]:
    knob = row.knob
    default = "" if knob.default in (None, "", [], {}) else f"`{plain(knob.default)}`"
    users = ", ".join(f"`{job}`" for job in row.jobs) + (f", with `{knob.plugin}`" if knob.plugin else "")
    return [f"`{knob.key}`", knob.ui.label, str(knob.accepted()), default, knob.help, users]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


def pages() -> Mapping[Path, str]:
    """What is generated, by the path inside the program's folder."""
    return {Path("locales/en.yaml"): locale_page(), Path("docs/fields.md"): fields_page()}


def outdated(root: Path) -> dict[Path, str]:
    """The generated files that are missing or differ from the code, with what they ought to hold."""
    return {
        path: text
        for path, text in pages().items()
        if not (root / path).is_file() or (root / path).read_text("utf-8") != text
    }


def main(arguments: Sequence[str]) -> int:
    """Write what differs and name it; with --check only name it."""
    root, checking = source_folder(), "--check" in arguments
    different = outdated(root)
    for path, text in different.items():
        print(f"{'out of date' if checking else 'written'}: {path.as_posix()}")
        if not checking:
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_text(text, "utf-8", newline="\n")
    if not different:
        print("up to date")
    return 1 if checking and different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
