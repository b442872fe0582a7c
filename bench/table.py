"""Figures as a table: the median of several runs, their spread, and the machine they were seen on."""

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any


@dataclass(frozen=True)
class Line:
    """One thing that was measured several times, all values in the same unit."""

    name: str
    unit: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass
class Table:
    """All lines of one part."""

    title: str
    lines: list[Line] = field(default_factory=list)

    def add(self, name: str, unit: str, values: Sequence[float]) -> None:
        self.lines.append(Line(name, unit, list(values)))

    def markdown(self) -> str:
        """The table as Markdown, with the machine in the line above."""
        rows = [
            f"| {line.name} | {number(line.median)} | {number(min(line.values))} to {number(max(line.values))} | {line.unit} |"
            for line in self.lines
        ]
        head = ["| | median | spread | |", "| --- | ---: | ---: | --- |"]
        return "\n".join([f"## {self.title}", "", machine(), "", *head, *rows, ""])

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "machine": machine(),
            "lines": [{"name": line.name, "unit": line.unit, "values": list(line.values)} for line in self.lines],
        }


def number(value: float) -> str:
    """A figure with three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> str:
    """What the figures depend on, in one line."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "transformers", "trl"))
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}."


def timed(action: Callable[[], Any]) -> float:
    """Seconds that the action takes."""
    import time

    start = time.perf_counter()
    action()
    return time.perf_counter() - start
