"""The event file: every kind comes back as it was said, and no cut, damage or full disk makes it unreadable."""

import dataclasses
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workbench.events import (
    KINDS,
    Entry,
    Eval,
    Event,
    EventLog,
    Failed,
    Finished,
    Note,
    Phase,
    Ready,
    Sample,
    Saved,
    Started,
    Step,
    Stopped,
    from_json,
    last_kind,
    last_line,
    pieces,
    tail,
    to_json,
)
from workbench.problems import Problem
from workbench.text import Text, verbatim
from workbench.workspace import source_folder


class Say:
    inner = Text("a whole number {span}")
    outer = Text("Rate is '{given}'. Accepted: {accepted}.")


MESSAGE = Say.outer(given='абв 你好 \u2028 "{}"', accepted=Say.inner(span="above 0"))
EVERY: tuple[Event, ...] = (
    Started(7, 4, 1),
    Phase("fetching", 10**12, 2 * 10**12),
    Step(3, 20, 0.3333, 0.1 + 0.2, 2e-4, 1.5, 123, 4, 0.25, 10**10),
    Step(4, 20, loss=None, learning_rate=None, grad_norm=None),
    Eval(3, 1.25),
    Sample(3, "Who are you?\n", "I am\r\nAurora.\u0000 🙂"),
    Saved(3, "checkpoint-3"),
    Ready("http://127.0.0.1:1", ["base", "mine"]),
    Note(MESSAGE, "warning"),
    Finished({"loss": 0.5, "steps": 20}),
    Failed([Problem(MESSAGE, "learning_rate"), Problem(verbatim("odd"), None)], "Traceback ..."),
    Stopped(9),
)
SAID = [event for event in EVERY if not isinstance(event, Finished | Failed | Stopped)]


def written(path: Path, *events: Event) -> Path:
    log = EventLog(path)
    for event in events:
        log.write(event)
    log.close()
    return path


def events_of(path: Path) -> list[Event]:
    return [entry.event for entry in tail(path, 0)[0]]


def damaged(entries: list[Entry]) -> list[int]:
    """The places of the entries that say that a line can't be read."""
    return [
        at
        for at, one in enumerate(entries)
        if isinstance(one.event, Note) and one.event.message.key.startswith("events.")
    ]


def test_every_kind_is_tried() -> None:
    assert {type(event) for event in EVERY} == set(KINDS.values())
    assert len(KINDS) >= 11


@pytest.mark.parametrize("event", EVERY, ids=lambda event: event.kind)
def test_an_event_comes_back_as_it_was_said(event: Event, tmp_path: Path) -> None:
    path = written(tmp_path / "events.jsonl", event)
    assert path.read_bytes().count(b"\n") == 1
    (entry,), size = tail(path, 0)
    assert entry.event == event
    assert entry.seq == 0
    assert abs(entry.time - time.time()) < 60
    assert size == path.stat().st_size
    assert from_json(json.loads(json.dumps(to_json(event)))) == event


def test_a_missing_file_has_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "none.jsonl"
    assert tail(path, 0) == ([], 0)
    assert tail(path, 17) == ([], 17)
    assert last_line(path) == (b"", 0)
    assert last_kind(path) is None


def test_cut_at_every_byte_it_is_readable_and_a_new_writer_goes_on(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.jsonl", *SAID).read_bytes()
    path = tmp_path / "events.jsonl"
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = whole[:cut].count(b"\n")
        entries, offset = tail(path, 0)
        assert [entry.event for entry in entries] == SAID[:kept], f"cut at byte {cut}"
        assert offset == whole[:cut].rfind(b"\n") + 1
        assert last_kind(path) == (SAID[kept - 1].kind if kept else None)
        log = EventLog(path)
        log.write(Started(8, 2))
        log.close()
        after = tail(path, 0)[0]
        assert [entry.seq for entry in after] == list(range(kept + 1)), f"cut at byte {cut}"
        assert [entry.event for entry in after] == [*SAID[:kept], Started(8, 2)]
        assert [entry.event for entry in tail(path, offset)[0]] == [Started(8, 2)], "a reader's cursor stays right"


def test_a_torn_last_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    line = json.dumps({"seq": 0, "time": 1.0, **to_json(Eval(1, 2.0))}).encode() + b"\n"
    path.write_bytes(line + line[:-1])
    entries, offset = tail(path, 0)
    assert len(entries) == 1
    assert tail(path, offset) == ([], offset)
    with path.open("ab") as file:
        file.write(b"\n")
    assert [entry.event for entry in tail(path, offset)[0]] == [Eval(1, 2.0)]


def test_kinds_and_fields_of_a_later_version_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = [
        {"seq": 0, "time": 1.0, "kind": "started", "pid": 3, "version": 9, "colour": "blue"},
        {"seq": 1, "time": 1.0, "kind": "weather", "rain": True},
        {"seq": 2, "time": 1.0, "kind": "step", "step": 4},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    assert events_of(path) == [Started(3, 0, 9), Step(4)]
    assert [entry.seq for entry in tail(path, 0)[0]] == [0, 2]


@pytest.mark.parametrize(
    "middle",
    [b"", b"\x00" * 40, b"\xff\xfe{}", b'{"seq": 1, "kind": "st', b"[1, 2]", b'"finished"', b"17", b"null",
     b'{"kind": ["step"]}', b'{"kind": "failed", "problems": [{"message": "x"}]}', b'{"kind": "failed", "problems": 3}',
     b'{"kind": "note", "message": {"english": "x", "args": 3}}'],
)  # fmt: skip
def test_a_damaged_line_is_told_and_the_others_stay(middle: bytes, tmp_path: Path) -> None:
    path = written(tmp_path / "events.jsonl", Started(1), Eval(1, 2.0))
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + middle + b"\n" + second)
    entries, offset = tail(path, 0)
    assert damaged(entries) == [1]
    assert [entries[0].event, entries[2].event] == [Started(1), Eval(1, 2.0)]
    assert offset == path.stat().st_size
    log = EventLog(path)
    log.write(Stopped(1))
    log.close()
    assert tail(path, offset)[0][0].seq == 3, "a damaged line counts as a line"


def test_two_readers_each_with_a_cursor(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log, often, seldom = EventLog(path), [0, 0], [0, 0]
    for step in range(100):
        log.write(Eval(step, 1.0))
        entries, often[0] = tail(path, often[0])
        assert [entry.seq for entry in entries] == [step]
        if step % 30 == 29:
            entries, seldom[0] = tail(path, seldom[0])
            assert [entry.seq for entry in entries] == list(range(seldom[1], step + 1))
            seldom[1] = step + 1
    log.close()
    assert tail(path, often[0]) == ([], often[0])


def test_a_cursor_beyond_the_end_means_that_the_file_was_begun_anew(tmp_path: Path) -> None:
    path = written(tmp_path / "events.jsonl", *SAID)
    _, offset = tail(path, 0)
    path.unlink()
    written(path, Started(2))
    entries, offset = tail(path, offset)
    assert [entry.event for entry in entries] == [Started(2)]
    assert offset == path.stat().st_size


def test_a_number_that_is_none_does_not_damage_the_line(tmp_path: Path) -> None:
    said = Step(3, 20, loss=math.nan, grad_norm=math.inf, learning_rate=-math.inf)
    path = written(tmp_path / "events.jsonl", said, Finished({"loss": math.nan, "steps": 3}))
    assert b"NaN" not in path.read_bytes()
    assert events_of(path) == [
        dataclasses.replace(said, loss=None, grad_norm=None, learning_rate=None),
        Finished({"loss": None, "steps": 3}),  # type: ignore[dict-item]
    ]


def test_half_a_character_does_not_stop_the_writer(tmp_path: Path) -> None:
    path = written(tmp_path / "events.jsonl", Sample(1, "half of one: \ud83d", "b"), Eval(1, 1.0))
    assert events_of(path) == [Sample(1, "half of one: ?", "b"), Eval(1, 1.0)]


def test_after_the_last_word_nothing_is_written(tmp_path: Path) -> None:
    path = written(tmp_path / "events.jsonl", Started(1), Stopped(3), Phase("saving"), Finished())
    assert events_of(path) == [Started(1), Stopped(3)]
    assert last_kind(path) == "stopped"
    assert [one.name for one in tmp_path.iterdir()] == ["events.jsonl"], "the room kept for the last word is given back"


@pytest.mark.parametrize("size", [10, 5_000, 100_000])
def test_the_last_kind_is_found_however_long_the_line(size: int, tmp_path: Path) -> None:
    path = written(tmp_path / "events.jsonl", Started(1), Failed([], "x" * size))
    assert last_kind(path) == "failed"
    with path.open("ab") as file:
        file.write(b"{" + b"y" * size)
    assert last_kind(path) == "failed"
    assert last_line(path)[1] == path.stat().st_size - size - 1


def test_what_a_line_quotes_is_not_its_kind(tmp_path: Path) -> None:
    quoted = Text('"kind": "finished"')(kind="finished")
    path = written(tmp_path / "events.jsonl", Note(dataclasses.replace(quoted, args={"kind": "finished"})))
    assert last_kind(path) == "note"


REFUSED = """
import resource, sys
from pathlib import Path
from workbench.events import *
path = Path(sys.argv[1])
log = EventLog(path)
log.write(Started(1))
small = path.stat().st_size + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (small, resource.RLIM_INFINITY))
try:
    log.write(Sample(1, "q" * 500, "a"))
    print("written")
except OSError as error:
    print("refused", path.read_bytes().endswith(b"\\n"), len(tail(path, 0)[0]))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.write(Eval(2, 1.0))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
@pytest.mark.parametrize("room", [0, 1, 300])
def test_a_disk_that_takes_half_a_line_leaves_none_of_it(room: int, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, str(path), str(room)], cwd=source_folder(), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "refused True 1\n", "")
    entries = tail(path, 0)[0]
    assert [(entry.seq, entry.event) for entry in entries] == [(0, Started(1)), (1, Eval(2, 1.0))]


@pytest.mark.parametrize("size", [1, 90, 100_000])
def test_pieces_are_the_whole_tail_and_end_before_a_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    for step in range(1, 30):
        log.write(Step(step=step, total=30, loss=1 / step))
    log.close()
    with path.open("ab") as file:
        file.write(b'{"seq": 29, "kind": "st')
    monkeypatch.setattr("workbench.events.PIECE_BYTES", size)
    whole, end = tail(path, 0)
    found = list(pieces(path))
    assert [entry for entries, _ in found for entry in entries] == whole and len(whole) == 29
    assert [offset for _, offset in found][-2:] == [end, end]
    assert list(pieces(path, end)) == [([], end)]
    assert list(pieces(tmp_path / "none")) == [([], 0)]
