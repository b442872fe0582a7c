"""Parts of a panel that are sent only when they are new to the browser that asks. Knows no run and no words."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Drawn = Mapping[str, tuple[str, Callable[[], str]]]
"""Parts of the page by name: a mark that changes with what is drawn, and what draws it."""


def fresh(parts: Drawn, question: Mapping[str, Any], whose: str) -> dict[str, Any]:
    """The parts whose marks the browser has not seen."""
    seen = question.get("seen")
    seen = seen if isinstance(seen, Mapping) else {}
    marked = {name: f"{whose} {mark}" for name, (mark, _) in parts.items()}
    new = {name: draw() for name, (_, draw) in parts.items() if seen.get(name) != marked[name]}
    return {"seen": marked, "parts": new}


def signed(path: Path) -> str:
    """What changes when the file does; empty while there is none."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_mtime_ns} {status.st_size}"
