"""A set checked in one lazy pass, and written anew with the mends that a person accepted. Knows no check by name."""

import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from workbench import checks, formats
from workbench.checks import Context, Finding, Look, Seen, look_at
from workbench.data.datasets import Entry
from workbench.data.json_rows import write_rows
from workbench.data.reports import READING, Report, Tally, base_row, reading_finding
from workbench.data.samples import Read, read_record, read_set, settled
from workbench.formats import Row
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.tables import Record
from workbench.text import Text

TELL_EVERY_S = 0.2
WEIGHED_EVERY = 16
ENDINGS = (".jsonl", ".json")
MENDS_A_ROW = 32

Told = Callable[[int, float], None]
"""How many rows are done, and about which share of all (0 to 1)."""
Accepted = Literal["all"] | Collection[tuple[int, str]]
"""Every mend, or some: the row's number, 0 for every row, and the name of the check."""


class Say:
    exists = Text("'{given}' exists. Accepted: the name of a new file. Choose another, or say that it may be replaced.")
    original = Text(
        "'{given}' belongs to the set itself, which stays as it is. Accepted: a file elsewhere. Choose another."
    )
    ending = Text("'{given}' ends in no known way. Accepted: {accepted}. Choose a name that ends like that.")
    no_folder = Text(
        "The folder of '{given}' does not exist. Accepted: a file in a folder that is there. Make it first."
    )


@dataclass(frozen=True)
class Written:
    """What became of the set."""

    rows: int
    """Rows in the new file."""
    changed: int
    removed: int
    """Rows left out by an accepted mend."""
    left_out: int = 0
    """Places that can't be read and have no accepted mend, so that there is nothing to write."""
    unlearnable: int = 0
    """Rows that are written as they stand though nothing can be learned from them: no accepted mend made them whole."""


def check_set(
    entry: Entry,
    context: Context,
    values: Mapping[str, str] | None = None,
    max_samples: int | None = None,
    validation: Iterable[Read] = (),
    told: Told | None = None,
) -> Report:
    """Every row of the set once, with every check. ``told`` hears about five times a second how far it is."""
    entry = whole(entry)
    looks = begin_checks(context, validation)
    tally = Tally(entry.name)
    pace = Pace(entry, max_samples, told)
    for read in read_set(entry, values, max_samples):
        tally.read(read)
        if read.sample is not None:
            seen = look_at(read.number, base_row(read), read.sample)
            for name, look in looks.items():
                for finding in look.row(seen):
                    tally.found(name, finding, read)
        pace.row(read)
    for name, look in looks.items():
        for finding in look.end():
            tally.found(name, finding, None)
    pace.done()
    return tally.report()


def whole(entry: Entry) -> Entry:
    """The set with each of its rows once, however many of them its entry draws."""
    return replace(settled(entry)[0], num_samples=None)


def begin_checks(context: Context, validation: Iterable[Read] = ()) -> dict[str, Look]:
    """Every check by its name, after it has seen the validation rows."""
    looks: dict[str, Look] = {name: module.begin(context) for name, module in plugins(checks).items()}
    for read in validation:
        if read.sample is not None:
            seen = look_at(read.number, read.row, read.sample, "validation")
            for look in looks.values():
                _ignore(look, seen)
    return looks


def _ignore(look: Look, seen: Seen) -> None:
    for _ in look.row(seen):
        pass


class Pace:
    """Says now and then how far a pass is: a share of the bytes, judged from the size of some rows."""

    def __init__(self, entry: Entry, max_samples: int | None, told: Told | None) -> None:
        self._told, self._limit = told, max_samples
        self._bytes = sum(file.stat().st_size for file in entry.files()) if told else 0
        self._rows = self._weighed = self._weighed_bytes = 0
        self._last = time.monotonic()

    def row(self, read: Read) -> None:
        """One more row is done."""
        self._rows += 1
        if self._told is None:
            return
        if self._rows % WEIGHED_EVERY == 1:
            self._weighed += 1
            self._weighed_bytes += len(json.dumps(read.row, ensure_ascii=False, default=str)) if read.row else 80
        now = time.monotonic()
        if now - self._last >= TELL_EVERY_S:
            self._last = now
            self._told(self._rows, self._share())

    def _share(self) -> float:
        share = self._weighed_bytes / self._weighed * self._rows / max(1, self._bytes)
        return min(0.99, max(share, self._rows / self._limit if self._limit else 0.0))

    def done(self) -> None:
        """The pass is over."""
        if self._told is not None:
            self._told(self._rows, 1.0)


def write_mended(
    entry: Entry,
    out: Path,
    accepted: Accepted,
    values: Mapping[str, str] | None = None,
    context: Context | None = None,
    validation: Iterable[Read] = (),
    overwrite: bool = False,
    refused: Collection[tuple[int, str]] = (),
) -> Written:
    """Write the set to ``out`` (.jsonl, or .json as one list), each row with its accepted mends that are not refused.

    Several mends of a row come one after another, each found anew in the row as the last one left it. Placeholders
    are filled only from ``values``. UserError when ``out`` can't be the new file.
    """
    check_out(entry, out, overwrite)
    mender = _Mender(whole(entry), (accepted, refused), values or {}, context or Context(), validation)
    beside = out.with_name(f".{out.name}.part")
    try:
        with beside.open("wb") as file:
            rows = write_rows(file, mender.rows(), out.suffix.lower() == ".json")
        os.replace(beside, out)
    finally:
        beside.unlink(missing_ok=True)
    return Written(rows, mender.changed, mender.removed, mender.left_out, mender.unlearnable)


def check_out(entry: Entry, out: Path, overwrite: bool = False) -> None:
    """UserError when ``out`` can't be the mended file of the set; known before a long pass."""
    if out.suffix.lower() not in ENDINGS:
        raise UserError(Say.ending(given=out.name, accepted=", ".join(ENDINGS)))
    if not out.parent.is_dir():
        raise UserError(Say.no_folder(given=out.name))
    inside = entry.place.is_dir() and out.resolve().is_relative_to(entry.place.resolve())
    if inside or out.resolve() in {file.resolve() for file in entry.files()}:
        raise UserError(Say.original(given=out.name))
    if out.exists() and not overwrite:
        raise UserError(Say.exists(given=out.name))


class _Mender:
    """Goes over the rows once, mends them, and counts what it did."""

    def __init__(
        self,
        entry: Entry,
        decided: tuple[Accepted, Collection[tuple[int, str]]],
        values: Mapping[str, str],
        context: Context,
        validation: Iterable[Read],
    ) -> None:
        self.changed = self.removed = self.left_out = self.unlearnable = 0
        self._entry, self._values, self._format = entry, values, plugins(formats)[entry.format]
        accepted, refused = decided
        self._accepted = accepted if accepted == "all" else frozenset(accepted)
        self._refused = frozenset(refused)
        self._looks: dict[str, Look] = begin_checks(context, validation)
        self._known = frozenset({READING, *self._looks})

    def rows(self) -> Iterator[Row]:
        """The rows of the new file."""
        for read in read_set(self._entry, self._values):
            row, read_anew = self._readable(read)
            if row is None:
                self.left_out += 1
                continue
            row, remove = self._checked(row, read_anew)
            if remove:
                self.removed += 1
                continue
            put_right = read.state == "mended" and READING in self._checks_of(read.number)
            self.changed += put_right or row != read.row
            yield row

    def _checks_of(self, number: int) -> Collection[str]:
        """The checks whose mends of this row are accepted."""
        return [check for check in self._known if self._accepts(number, check)]

    def _accepts(self, number: int, check: str) -> bool:
        if (number, check) in self._refused:
            return False
        return self._accepted == "all" or (0, check) in self._accepted or (number, check) in self._accepted

    def _readable(self, read: Read) -> tuple[Row | None, Read]:
        """The row as reading proposes it where that is accepted; None where there is no row at all."""
        row: Row | None = read.row or None
        for _ in range(MENDS_A_ROW):
            finding = reading_finding(read)
            if finding is None or finding.mend is None or READING not in self._checks_of(read.number):
                break
            row = finding.mend
            if read.sample is not None:
                break
            read = self._read(read.number, row)
        return row, read

    def _read(self, number: int, row: Row) -> Read:
        return read_record(self._format, self._entry, number, Record(number, row), self._values)

    def _checked(self, row: Row, read: Read) -> tuple[Row, bool]:
        """The row after the accepted mends of the checks, and whether it is to be left out."""
        accepted = self._checks_of(read.number)
        for _ in range(MENDS_A_ROW):
            if read.sample is None:
                self.unlearnable += 1
                return row, False
            seen = look_at(read.number, row, read.sample)
            found: list[Finding] = []
            for name, look in self._looks.items():
                # Every check sees every row: what it remembers must be the same whatever is accepted.
                findings = list(look.row(seen))
                found += findings if name in accepted else []
            mend = next((one.mend for one in found if one.mend is not None), None)
            if mend is None:
                return row, any(one.remove for one in found)
            row = mend
            read = self._read(read.number, row)
        return row, False
