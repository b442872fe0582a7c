"""What an evaluation asks and what came back, as lines of files. Knows no engine, no metric and no page."""

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

BASE, TUNED = "base", "tuned"
"""The two that are asked: the model as it came, and with what training left."""
ANSWERS, SAMPLES, RESULTS = "answers.jsonl", "samples.jsonl", "results.json"


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
    """What a model said to a question. ``finish``: stop or length."""

    model: str
    place: str
    answer: str
    finish: str = "stop"
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Loss:
    """How likely a model finds a row's own answers: the sum of their tokens' negative log-probabilities (nats)."""

    model: str
    place: str
    nll: float
    tokens: int


Record = Answer | Loss


@dataclass
class Kept:
    """The file that holds every answer and loss from the moment it is known. Several threads may add."""

    path: Path
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    """By model and place."""
    losses: dict[tuple[str, str], Loss] = field(default_factory=dict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Take up what an earlier worker left; a torn last line is cut off."""
        if not self.path.exists():
            return
        with self.path.open("rb+") as file:
            whole = file.read()
            size = whole.rfind(b"\n") + 1
            file.truncate(size)
        for line in whole[:size].decode("utf-8").splitlines():
            held = json.loads(line)
            self._take(Answer(**held) if "answer" in held else Loss(**held))

    def add(self, record: Record) -> None:
        """Keep it, in memory and on the disk."""
        line = json.dumps(asdict(record), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with self._turn:
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            self._take(record)

    def _take(self, record: Record) -> None:
        held: dict[tuple[str, str], Any] = self.answers if isinstance(record, Answer) else self.losses
        held[record.model, record.place] = record


def write_whole(path: Path, text: str) -> None:
    """Write a file beside its name and move it there: whole or not at all."""
    beside = path.with_name(f".{path.name}")
    beside.write_text(text, "utf-8")
    beside.replace(path)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file; none where there is no file."""
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            yield from (json.loads(line) for line in file)
