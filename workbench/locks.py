"""A lock that the kernel frees however its holder dies. Knows nothing of runs.

On POSIX ``fcntl.lockf``: a forked child does not inherit it, so a killed worker never looks alive. On Windows
``msvcrt.locking``. Both belong to the process: never open the file of a lock that you hold a second time.
"""

import os
import sys
import time
from pathlib import Path


class Lock:
    """A lock held by this process until it dies or lets go."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def mend(self) -> bool:
        """Make the file again if somebody deleted it; True when that was needed.

        Raises BlockingIOError when another process has taken the new file meanwhile.
        """
        try:
            if os.stat(self.path).st_ino == os.fstat(self._descriptor).st_ino:
                return False
        except FileNotFoundError:
            pass
        descriptor = _open(self.path)
        if not _take(descriptor):
            os.close(descriptor)
            raise BlockingIOError(f"{self.path} is held by another process")
        os.close(self._descriptor)
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        os.close(self._descriptor)


def hold(path: Path, patience_s: float = 2.0) -> Lock | None:
    """Take the lock, or None when another process keeps it for ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while True:
        descriptor = _open(path)
        if _take(descriptor):
            return Lock(path, descriptor)
        os.close(descriptor)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.02)


def held(path: Path) -> bool:
    """Whether another process holds the lock now."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not _take(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _take(descriptor: int) -> bool:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
