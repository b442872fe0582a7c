"""What a worker can say, how it is written down, and how a reader folds it into a View. Knows no job and no page.

One line of ``events.jsonl`` is one event: ``{"seq": 0, "time": 1.7e9, "kind": "step", ...}``. One writer, one write()
per line. Readers take whole lines only; a torn last line waits; kinds of a later version are skipped.
"""

import errno
import json
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

import orjson

from workbench.problems import Cause, Problem
from workbench.text import Message, Text


class Say:
    damaged_line = Text("A line of events.jsonl can't be read and was left out. The run itself goes on.")


VERSION = 1
ROOM_BYTES = 16_384
PIECE_BYTES = 1 << 22
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
PhaseName = Literal[
    "reading", "fetching", "model", "data", "training", "saving", "serving", "asking", "losses", "judging", "benchmarks", "scoring",
    "rewording", "exporting", "proving", "sending",
]  # fmt: skip
State = Literal["waiting", "running", "finished", "stopped", "failed", "lost"]


@dataclass(frozen=True)
class Event:
    """Something that a worker says."""

    kind: ClassVar[str] = ""


@dataclass(frozen=True)
class Started(Event):
    """A worker has taken the run; ``resumed_step`` is the step of the checkpoint it goes on from, 0 for the start.

    ``kills``: how many processes the system has ended for want of memory before; -1 where it does not say. ``counter``: the
    file that counts them; empty: the one of the whole machine."""

    kind = "started"
    pid: int = 0
    resumed_step: int = 0
    version: int = VERSION
    kills: int = -1
    counter: str = ""


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
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What the stage measures beside the loss, under the names of its METRICS, since the last Step."""


@dataclass(frozen=True)
class Eval(Event):
    """A pass over the validation rows; ``metrics`` as in a Step."""

    kind = "eval"
    step: int = 0
    loss: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)


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
    """The job ended on problems; ``detail`` is the end of a traceback when the mistake was ours, ``cause`` what it was
    when somebody may know what would help."""

    kind = "failed"
    problems: Sequence[Problem] = ()
    detail: str = ""
    cause: Cause = ""


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
    """The event's fields as JSON values; a number that is none (nan) or has no end (inf) becomes null."""
    data: dict[str, Any] = {"kind": event.kind}
    for item in fields(event):
        value = event.__dict__[item.name]
        if isinstance(value, Message):
            value = value.to_json()
        elif item.name == "problems":
            value = [{"key": p.key, "message": p.message.to_json()} for p in value]
        data[item.name] = _finite(value)
    return data


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


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
    """The one writer of a run's events. Cuts off a torn last line when it opens.

    A small file beside the events keeps room on the disk for the last word, so that a full disk can still be told.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        whole = path.read_bytes()
        self._size = whole.rfind(b"\n") + 1
        os.ftruncate(self._descriptor, self._size)
        os.lseek(self._descriptor, self._size, os.SEEK_SET)
        self._seq = whole.count(b"\n")
        self._turn = threading.Lock()
        self._ended = False
        self._room = path.with_name(".room")
        with suppress(OSError):
            self._room.write_bytes(bytes(ROOM_BYTES))

    def write(self, event: Event) -> None:
        """Append one event in one write; OSError when the disk does not take it, and then no half line stays.

        After the last word nothing more is written: other threads of the worker may still be on their way out.
        """
        with self._turn:
            if self._ended:
                return
            if not isinstance(event, TERMINAL):
                self._append(event)
                return
            self._ended = True
            try:
                self._append(event)
            except OSError:
                self._room.unlink(missing_ok=True)
                self._append(event)
            self._room.unlink(missing_ok=True)

    def _append(self, event: Event) -> None:
        line = json.dumps({"seq": self._seq, "time": round(time.time(), 3), **to_json(event)}, ensure_ascii=False)
        data = line.encode("utf-8", "replace") + b"\n"
        try:
            written = os.write(self._descriptor, data)
            if written < len(data):
                raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            raise
        self._size += len(data)
        self._seq += 1

    def close(self) -> None:
        os.close(self._descriptor)


def last_line(path: Path) -> tuple[bytes, int]:
    """The last whole line, read from the end, and the offset behind it; nothing and 0 when there is none."""
    window = 4096
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            while True:
                start = max(0, end - window)
                file.seek(start)
                data = file.read(end - start)
                whole = data.rfind(b"\n") + 1
                lines = data[:whole].split(b"\n")
                if len(lines) > 2 or start == 0:
                    return (lines[-2], start + whole) if whole else (b"", 0)
                window *= 8
    except FileNotFoundError:
        return b"", 0


def last_kind(path: Path) -> str | None:
    """The kind of the last whole line; empty when the line is damaged, None when there is none."""
    line, size = last_line(path)
    try:
        return str(orjson.loads(line)["kind"]) if size else None
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return ""


def tail(path: Path, offset: int, most: int | None = None) -> tuple[list[Entry], int]:
    """The whole lines from byte ``offset`` on, and the offset to go on from. A missing file has no lines.

    A file that is shorter than ``offset`` was begun anew and is read from its start. ``most``: about so many bytes and no more.
    """
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < offset:
                offset = 0
            file.seek(offset)
            data = file.read() if most is None else file.read(most) + file.readline()
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    return list(_entries(data[:end])), offset + end


def pieces(path: Path, offset: int = 0) -> Iterator[tuple[list[Entry], int]]:
    """What ``tail`` gives, a piece after the other, for those who fold it: a long run has more than memory should hold."""
    while True:
        entries, after = tail(path, offset, PIECE_BYTES)
        yield entries, after
        if after == offset:
            return
        offset = after


def _entries(data: bytes) -> Iterator[Entry]:
    for line in data.splitlines():
        try:
            item = orjson.loads(line)
            event = from_json(item)
        except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
            event, item = Note(Say.damaged_line(), "warning"), {}
        if event is not None:
            yield Entry(item.get("seq", -1), item.get("time", 0.0), event)
