"""What a worker can say, how it is written down, and how a reader folds it into a View. Knows no job and no page.

One line of ``events.jsonl`` is one event: ``{"seq": 0, "time": 1.7e9, "kind": "step", ...}``. One writer, one write()
per line. Readers take whole lines only; a torn last line waits; kinds of a later version are skipped and counted.
"""

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import orjson

from workbench.problems import Problem
from workbench.text import Message, Text


class Say:
    damaged_line = Text("A line of events.jsonl can't be read and was left out. The run itself goes on.")


VERSION = 1
PhaseName = Literal["reading", "fetching", "model", "data", "training", "saving", "serving"]
State = Literal["waiting", "running", "finished", "stopped", "failed", "lost"]


@dataclass(frozen=True)
class Event:
    """Something that a worker says."""

    kind: ClassVar[str] = ""


@dataclass(frozen=True)
class Started(Event):
    """A worker has taken the run; ``resumed_step`` is the step of the checkpoint it goes on from, 0 for the start."""

    kind = "started"
    pid: int = 0
    resumed_step: int = 0
    version: int = VERSION


@dataclass(frozen=True)
class Phase(Event):
    """What the worker does now; ``done`` of ``total`` counts bytes or rows, 0 of 0 when it can't be counted."""

    kind = "phase"
    name: PhaseName = "reading"
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class Step(Event):
    """One optimiser step: ``tokens`` and ``padding`` since the last Step, ``seconds`` likewise."""

    kind = "step"
    step: int = 0
    total: int = 0
    epoch: float = 0.0
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens: int = 0
    padding: int = 0
    seconds: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True)
class Eval(Event):
    """A pass over the validation rows."""

    kind = "eval"
    step: int = 0
    loss: float = 0.0


@dataclass(frozen=True)
class Sample(Event):
    """What the model answers to a watched question at this step."""

    kind = "sample"
    step: int = 0
    prompt: str = ""
    answer: str = ""


@dataclass(frozen=True)
class Saved(Event):
    """A whole checkpoint or the final weights, by the folder's name inside the run."""

    kind = "saved"
    step: int = 0
    folder: str = ""


@dataclass(frozen=True)
class Ready(Event):
    """A server answers at this URL with these model names."""

    kind = "ready"
    url: str = ""
    models: Sequence[str] = ()


@dataclass(frozen=True)
class Note(Event):
    """Something that the person should know; ``level`` warning when it may be a mistake."""

    kind = "note"
    message: Message = field(default_factory=lambda: Message("", ""))
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class Finished(Event):
    """The job is done; ``numbers`` are its closing figures."""

    kind = "finished"
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed(Event):
    """The job ended on problems; ``detail`` is the end of a traceback when the mistake was ours."""

    kind = "failed"
    problems: Sequence[Problem] = ()
    detail: str = ""


@dataclass(frozen=True)
class Stopped(Event):
    """The person stopped the job; ``step`` is what was saved."""

    kind = "stopped"
    step: int = 0


KINDS: Mapping[str, type[Event]] = {
    kind.kind: kind for kind in (Started, Phase, Step, Eval, Sample, Saved, Ready, Note, Finished, Failed, Stopped)
}
TERMINAL = (Finished, Failed, Stopped)


@dataclass(frozen=True)
class Entry:
    """One line of the file: its place, the clock of the writer (seconds since 1970, UTC), and the event."""

    seq: int
    time: float
    event: Event


def to_json(event: Event) -> dict[str, Any]:
    """The event's fields as JSON values."""
    data: dict[str, Any] = {"kind": event.kind}
    for item in fields(event):
        value = event.__dict__[item.name]
        if isinstance(value, Message):
            value = value.to_json()
        elif item.name == "problems":
            value = [{"key": p.key, "message": p.message.to_json()} for p in value]
        data[item.name] = value
    return data


def from_json(data: dict[str, Any]) -> Event | None:
    """The event of a line; None for a kind that this version does not know. Unknown fields are left out."""
    kind = KINDS.get(data.get("kind", ""))
    if kind is None:
        return None
    values = {item.name: data[item.name] for item in fields(kind) if item.name in data}
    if "message" in values:
        values["message"] = Message.from_json(values["message"])
    if "problems" in values:
        values["problems"] = [Problem(Message.from_json(p["message"]), p["key"]) for p in values["problems"]]
    return kind(**values)


class EventLog:
    """The one writer of a run's events. Cuts off a torn last line when it opens."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        whole = path.read_bytes()
        self._size = whole.rfind(b"\n") + 1
        os.ftruncate(self._descriptor, self._size)
        os.lseek(self._descriptor, self._size, os.SEEK_SET)
        self._seq = whole.count(b"\n")
        self._turn = threading.Lock()

    def write(self, event: Event) -> None:
        """Append one event in one write; OSError when the disk does not take it, and then no half line stays."""
        with self._turn:
            self._append(event)

    def _append(self, event: Event) -> None:
        line = json.dumps({"seq": self._seq, "time": round(time.time(), 3), **to_json(event)}, ensure_ascii=False)
        data = line.encode() + b"\n"
        try:
            written = os.write(self._descriptor, data)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        if written < len(data):
            os.ftruncate(self._descriptor, self._size)
            raise OSError(28, "No space left on device")
        self._size += len(data)
        self._seq += 1

    def close(self) -> None:
        os.close(self._descriptor)


def tail(path: Path, offset: int) -> tuple[list[Entry], int]:
    """The whole lines from byte ``offset`` on, and the offset to go on from. A missing file has no lines."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    return list(_entries(data[:end])), offset + end


def _entries(data: bytes) -> Iterator[Entry]:
    for line in data.splitlines():
        try:
            item = orjson.loads(line)
            event = from_json(item)
        except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
            event, item = Note(Say.damaged_line(), "warning"), {}
        if event is not None:
            yield Entry(item.get("seq", -1), item.get("time", 0.0), event)
