"""The tree as the contracts see it: the program's Python files under their module names, and every text file."""

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {".git", ".venv", "__pycache__", "cache", "models", "saves", "artefacts", "test-artefacts", "node_modules"}
TEXT_SUFFIXES = {
    ".py",
    ".md",
    ".yaml",
    ".yml",
    ".toml",
    ".txt",
    ".json",
    ".jinja",
    ".js",
    ".css",
    ".html",
    ".sh",
    ".bat",
    "",
}


def module_name(path: Path) -> str:
    """``workbench/cli/flags.py`` as ``workbench.cli.flags``, a package under its own name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> dict[str, Path]:
    """The program's Python files by module name: workbench/, app.py, bootstrap.py and bench/."""
    files = [
        ROOT / "app.py",
        ROOT / "bootstrap.py",
        *(ROOT / "workbench").rglob("*.py"),
        *(ROOT / "bench").rglob("*.py"),
    ]
    return {module_name(path): path for path in sorted(files)}


@cache
def syntax(name: str) -> ast.Module:
    """The module's syntax tree."""
    return ast.parse(sources()[name].read_text("utf-8"))


def texts() -> Iterator[Path]:
    """Every text file of the project, whatever its folder."""
    for folder, inner, files in os.walk(ROOT):
        inner[:] = sorted(name for name in inner if name not in NOT_OURS and (name[0] != "." or name == ".ci"))
        yield from (Path(folder, name) for name in sorted(files) if Path(name).suffix in TEXT_SUFFIXES)
