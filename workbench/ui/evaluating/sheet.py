"""The samples of an evaluation as a sheet: read, filtered, sorted, a page at a time. Knows lines of a file, no page's look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from workbench.evaluating.records import BASE, SAMPLES, TUNED, read_lines

PAGE_SAMPLES = 20
Only = Literal["all", "worse", "better", "length"]
Sort = Literal["row", "base", "tuned", "change"]
Sample = Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    """What is looked at: by which measure, which samples, in which order, which page."""

    measure: str = ""
    only: Only = "all"
    sort: Sort = "row"
    down: bool = False
    page: int = 0


@dataclass(frozen=True)
class Sheet:
    """All samples of an evaluation."""

    rows: Sequence[Sample]
    models: Sequence[str]
    measures: Sequence[str]

    @property
    def both(self) -> bool:
        """Whether base and tuned were asked."""
        return BASE in self.models and TUNED in self.models

    @property
    def sets(self) -> int:
        """Of how many sets the samples are."""
        return len({row.get("set") for row in self.rows})

    def look(self, asked: Mapping[str, Any]) -> Look:
        """What a browser asks for, as far as it can be shown; the first measure where it names none."""
        measure = str(asked.get("measure") or "")
        only, sort = str(asked.get("only")), str(asked.get("sort"))
        page = asked.get("page")
        return Look(
            measure if measure in self.measures else next(iter(self.measures), ""),
            next((one for one in get_args(Only) if one == only), "all"),
            next((one for one in get_args(Sort) if one == sort), "row"),
            bool(asked.get("down")),
            page if isinstance(page, int) and page >= 0 else 0,
        )

    def only(self, look: Look) -> list[Sample]:
        """Those that the look asks for, in its order; what has no score comes last either way."""
        held = [row for row in self.rows if fits(row, look.measure, look.only)]
        if look.sort == "row":
            return held[::-1] if look.down else held
        keyed = [(sort_key(row, look.measure, look.sort), row) for row in held]
        said = sorted((one for one in keyed if one[0] is not None), key=lambda one: one[0] or 0.0, reverse=look.down)
        return [row for _, row in said] + [row for key, row in keyed if key is None]

    def count(self, look: Look, only: Only) -> int:
        """How many samples a filter leaves."""
        return sum(1 for row in self.rows if fits(row, look.measure, only))


def score(row: Sample, model: str, measure: str) -> float | None:
    """The score of one model's answer."""
    value = ((row.get(model) or {}).get("scores") or {}).get(measure)
    return float(value) if isinstance(value, int | float) else None


def change(row: Sample, measure: str) -> float | None:
    """What the tuned one's answer has over the base's."""
    base, tuned = score(row, BASE, measure), score(row, TUNED, measure)
    return None if base is None or tuned is None else tuned - base


def sort_key(row: Sample, measure: str, sort: Sort) -> float | None:
    """By what a sample is sorted."""
    return change(row, measure) if sort == "change" else score(row, sort, measure)


def fits(row: Sample, measure: str, only: Only) -> bool:
    """Whether a filter leaves this sample."""
    moved = change(row, measure) or 0.0
    match only:
        case "worse":
            return moved < 0
        case "better":
            return moved > 0
        case "length":
            return any((row.get(model) or {}).get("finish") == "length" for model in (BASE, TUNED))
    return True


def read_sheet(folder: Path) -> Sheet | None:
    """The sheet of a run's folder; None while there is none. It is read again only when the file has changed."""
    file = folder / SAMPLES
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return _read(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read(file: Path, _changed: int, _size: int) -> Sheet:
    rows = list(read_lines(file))
    models = [model for model in (BASE, TUNED) if any(model in row for row in rows)]
    held = (row[model].get("scores") or {} for row in rows for model in models if model in row)
    return Sheet(rows, models, list(dict.fromkeys(name for scores in held for name in scores)))
