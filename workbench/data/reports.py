"""What a pass over a set found, in figures and in words, and what reading itself did. Knows no check by name."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench import checks
from workbench.checks import Finding, Weight
from workbench.data.samples import Read, joined
from workbench.formats import Row
from workbench.sockets import plugins
from workbench.text import Message, Text

READING = "reading"
"""The name under which stands what reading itself found."""
KEPT_FINDINGS = 2_000
KEPT_OF_ONE_CHECK = 500
"""So many findings are kept of each check, lest one that fires at every row hides the others."""
SHOWN_CHARACTERS = 2_000


class Say:
    reading = Text("Rows that can't be read as they stand")
    headline = Text("{kept} kept, {mended} mended, {excluded} excluded")


@dataclass(frozen=True)
class Found:
    """One finding as it is shown: the row and its mend as JSON text, shortened."""

    check: str
    number: int
    reason: Message
    weight: Weight
    row: str
    mend: str | None = None
    remove: bool = False
    changes: str = ""

    @property
    def can_mend(self) -> bool:
        """Whether something is proposed that a person can accept."""
        return self.remove or self.mend is not None


@dataclass(frozen=True)
class Report:
    """What a pass over a set found. Rows are kept, mended or excluded as reading did it; findings come on top."""

    name: str
    rows: int
    kept: int
    mended: int
    excluded: int
    findings: Sequence[Found] = ()
    """The first ones of each check, 2,000 at most."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many there are of each check, however many are kept."""
    mends: Mapping[str, int] = field(default_factory=dict)
    """How many of these come with a proposal."""
    weights: Mapping[str, int] = field(default_factory=dict)
    label_shares: Mapping[str, float] = field(default_factory=dict)
    """The share of the marked answers that are ``good`` and ``bad``; empty for a set without marks."""
    shapes: Mapping[str, int] = field(default_factory=dict)

    @property
    def headline(self) -> Message:
        """The report in one line."""
        return Say.headline(kept=f"{self.kept:,}", mended=f"{self.mended:,}", excluded=f"{self.excluded:,}")

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; messages stay translatable."""
        flat = {name: value for name, value in vars(self).items() if name != "findings"}
        found = [{**vars(one), "reason": one.reason.to_json()} for one in self.findings]
        return {**flat, "findings": found}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Report":
        """Read back to_json."""
        found = [Found(**{**one, "reason": Message.from_json(one["reason"])}) for one in data["findings"]]
        return cls(**{**data, "findings": found})


def titles() -> dict[str, Text]:
    """What each check looks for, by its name in a report."""
    return {READING: Say.reading} | {name: module.TITLE for name, module in plugins(checks).items()}


def base_row(read: Read) -> Row:
    """The row as it is learned from: as reading put it right, or as it stands."""
    return read.mend if read.sample is not None and read.mend is not None else read.row


def reading_finding(read: Read) -> Finding | None:
    """What reading did to the row, or why it could not; None for a row that is simply kept."""
    if not read.reasons:
        return None
    if read.sample is None:
        return Finding(read.number, joined(read.reasons), "error", read.mend)
    return Finding(read.number, joined(read.reasons), "hint", base_row(read))


def shown_row(row: Row | None, text: str = "") -> str:
    """The row as JSON text of at most 2,000 characters; halves of characters are written as their codes."""
    words = json.dumps(row, ensure_ascii=False, default=str) if row else text
    words = words if len(words) <= SHOWN_CHARACTERS else f"{words[: SHOWN_CHARACTERS - 3]}..."
    return words if words.isascii() else words.encode("utf-8", "backslashreplace").decode()


class Tally:
    """Counts everything, keeps the first findings of each check."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._states, self._shapes, self._marks = Counter[str](), Counter[str](), Counter[str]()
        self._counts, self._mends, self._weights = Counter[str](), Counter[str](), Counter[str]()
        self._kept: list[Found] = []

    def read(self, read: Read) -> None:
        self._states[read.state] += 1
        if read.sample is not None:
            self._shapes[read.sample.shape] += 1
            if read.sample.label is not None:
                self._marks["good" if read.sample.label else "bad"] += 1
        finding = reading_finding(read)
        if finding is not None:
            self.found(READING, finding, read)

    def found(self, check: str, finding: Finding, read: Read | None) -> None:
        self._counts[check] += 1
        self._weights[finding.weight] += 1
        self._mends[check] += finding.remove or finding.mend is not None
        if len(self._kept) < KEPT_FINDINGS and self._counts[check] <= KEPT_OF_ONE_CHECK:
            row = shown_row(read.row, read.text) if read else ""
            mend = None if finding.mend is None else shown_row(finding.mend)
            changes = shown_row(None, finding.changes)
            self._kept.append(
                Found(check, finding.number, finding.reason, finding.weight, row, mend, finding.remove, changes)
            )

    def report(self) -> Report:
        marks = self._marks.total()
        return Report(
            name=self._name,
            rows=self._states.total(),
            kept=self._states["kept"],
            mended=self._states["mended"],
            excluded=self._states["excluded"],
            findings=sorted(self._kept, key=lambda one: one.number),
            counts=dict(self._counts),
            mends={name: count for name, count in self._mends.items() if count},
            weights=dict(self._weights),
            label_shares={name: self._marks[name] / marks for name in ("good", "bad")} if marks else {},
            shapes=dict(self._shapes),
        )
