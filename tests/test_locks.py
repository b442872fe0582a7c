"""The lock: one holder, freed however it dies, mended when its file is deleted, and not disturbed by those who look."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workbench import locks
from workbench.workspace import source_folder

HOLDER = """
import os, sys, time
from pathlib import Path
from workbench import locks
lock = locks.hold(Path(sys.argv[1]), 0.1)
print("held" if lock else "taken", flush=True)
"""
WAIT = "sys.stdin.readline()\n"
WITH_CHILD = """
child = os.fork()
if child == 0:
    os.close(1)
    time.sleep(60)
print(child, flush=True)
time.sleep(60)
"""
MENDING = """
while True:
    time.sleep(0.02)
    lock.mend()
"""
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


@contextmanager
def process(path: Path, does: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has tried to take the lock and then does this."""
    started = subprocess.Popen(
        [sys.executable, "-c", HOLDER + does, str(path)],
        cwd=source_folder(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def line(started: subprocess.Popen[str]) -> str:
    assert started.stdout is not None
    return started.stdout.readline().strip()


def until(true: object, patience_s: float = 5.0) -> bool:
    """Whether the question is answered with yes in time."""
    assert callable(true)
    deadline = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_nobody_holds_what_is_not_there(tmp_path: Path) -> None:
    assert not locks.held(tmp_path / "lock")
    assert not locks.held(tmp_path / "none" / "lock")
    (tmp_path / "file").touch()
    assert not locks.held(tmp_path / "file" / "lock")
    assert not (tmp_path / "lock").exists(), "who only looks makes no file"


def test_one_holds_it_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with process(path, WAIT) as first:
        assert line(first) == "held"
        assert locks.held(path)
        assert locks.hold(path, 0.1) is None
        with process(path, WAIT) as second:
            assert line(second) == "taken"
        first.communicate("\n")
        assert not locks.held(path)
    lock = locks.hold(path, 0.1)
    assert lock is not None
    lock.release()
    with process(path, WAIT) as third:
        assert line(third) == "held"


def test_who_waits_gets_it_as_soon_as_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with process(path, WAIT) as first:
        assert line(first) == "held"
        threading.Timer(0.3, first.kill).start()
        lock = locks.hold(path, 5.0)
        assert lock is not None
        lock.release()


@posix
def test_a_killed_holder_is_gone_though_its_child_lives(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with process(path, WITH_CHILD) as first:
        assert line(first) == "held"
        child = int(line(first))
        try:
            first.kill()
            first.wait()
            os.kill(child, 0)
            assert not locks.held(path)
            lock = locks.hold(path, 0.1)
            assert lock is not None
            lock.release()
        finally:
            os.kill(child, signal.SIGKILL)


@posix
def test_a_deleted_file_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with process(path, MENDING) as first:
        assert line(first) == "held"
        for _ in range(5):
            path.unlink()
            assert until(lambda: locks.held(path), 2.0)
        assert locks.hold(path, 0.1) is None


@posix
def test_a_deleted_file_that_another_took_is_not_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    mine = locks.hold(path)
    assert mine is not None
    assert not mine.mend()
    path.unlink()
    with process(path, WAIT) as other:
        assert line(other) == "held"
        with pytest.raises(BlockingIOError):
            mine.mend()
        other.communicate("\n")
    assert mine.mend()
    assert not mine.mend()
    with process(path, WAIT) as other:
        assert line(other) == "taken"
    mine.release()


LOOKING = """
found = set()
deadline = time.monotonic() + 0.5
while time.monotonic() < deadline:
    found.add(locks.held(Path(sys.argv[1])))
print(sorted(found), flush=True)
"""


def test_those_who_look_see_no_holder_in_each_other(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    look = LOOKING if sys.platform != "win32" else LOOKING.replace("found.add", "time.sleep(0.05); found.add")
    looking = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER.replace("locks.hold(Path(sys.argv[1]), 0.1)", "1") + look, str(path)],
            cwd=source_folder(), stdout=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    seen = [one.communicate()[0].split("\n")[1] for one in looking]
    assert seen == ["[False]"] * 3
    lock = locks.hold(path, 0.1)
    assert lock is not None
    lock.release()
