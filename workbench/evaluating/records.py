"""What an evaluation asks and what came back, as lines of files. Knows no engine, no metric and no page."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from workbench.evaluating.ledger import Ledger

BASE, TUNED = "base", "tuned"
"""The two that are asked: the model as it came, and with what training left."""
ANSWERS, SAMPLES, RESULTS = "answers.jsonl", "samples.jsonl", "results.json"
UNANSWERED = "unanswered"
"""The finish of a question that a model can't be asked: it is too long, or the template refuses it."""
Shortened = Literal["", "cut", "refused", "untrained"]
"""What became of a row whose loss is measured: whole; cut to the length; no place in the template; no answer left in it."""


@dataclass(frozen=True)
class Question:
    """One row of a set as it is asked: everything up to its last answer."""

    set: str
    row: int
    """Its number in the set, from 1."""
    messages: Sequence[Mapping[str, Any]]
    reference: str
    """The set's own answer."""
    tools: Sequence[Mapping[str, Any]] = ()
    beginning: str = ""
    """How the answer begins; the model goes on from there."""

    @property
    def place(self) -> str:
        """Where it stands, in one word."""
        return f"{self.set}:{self.row}"


@dataclass(frozen=True)
class Answer:
    """What a model said to a question. ``finish``: stop, length or unanswered."""

    model: str
    place: str
    answer: str
    finish: str = "stop"
    tokens: int = 0
    seconds: float = 0.0
    reason: Mapping[str, Any] | None = None
    """Of an unanswered one: why, a Message as JSON."""

    @property
    def answered(self) -> bool:
        """Whether there is an answer to score."""
        return self.finish != UNANSWERED


@dataclass(frozen=True)
class Loss:
    """How likely a model finds a row's own answers: the sum of their tokens' negative log-probabilities (nats)."""

    model: str
    place: str
    nll: float
    tokens: int
    """How many tokens that are; 0: the row has no loss."""
    row: Shortened = ""


Record = Answer | Loss


@dataclass
class Kept:
    """The file that holds every answer and loss from the moment it is known. Several threads may add."""

    path: Path
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    """By model and place."""
    losses: dict[tuple[str, str], Loss] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take up what an earlier worker left."""
        self._ledger = Ledger(self.path)
        for held in self._ledger.read():
            self._take(held)

    def add(self, record: Record) -> None:
        """Keep it, on the disk and in memory as it stands there."""
        for held in self._ledger.add([asdict(record)]):
            self._take(held)

    def _take(self, held: Mapping[str, Any]) -> None:
        record: Record = Answer(**held) if "answer" in held else Loss(**held)
        place = record.model, record.place
        if isinstance(record, Answer):
            self.answers[place] = record
        else:
            self.losses[place] = record


def write_whole(path: Path, text: str) -> None:
    """Write a file beside its name and move it there: whole or not at all."""
    beside = path.with_name(f".{path.name}")
    beside.write_bytes(text.encode("utf-8", "replace"))
    beside.replace(path)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file; none where there is no file."""
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            yield from (json.loads(line) for line in file)
