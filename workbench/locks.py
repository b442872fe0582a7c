"""A lock that the kernel frees however its holder dies. Knows nothing of runs.

On POSIX ``fcntl.lockf``: a forked child does not inherit it, so a killed worker never looks alive. On Windows
``msvcrt.locking``. Both belong to the process: never open the file of a lock that you hold a second time.
"""

import os
import sys
import time
from pathlib import Path

LOOKS = 3
MEND_PATIENCE_S = 0.5


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
        new = hold(self.path, MEND_PATIENCE_S)  # one that only looks may stand in the way for a moment
        if new is None:
            raise BlockingIOError(f"{self.path} is held by another process")
        os.close(self._descriptor)
        self._descriptor = new._descriptor
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
    """Whether another process holds the lock now. Any number of processes may ask at once."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not _seems_free(descriptor)
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

    def _seems_free(descriptor: int) -> bool:
        # To look is to take here, so two that look at once disturb each other for a moment.
        for _ in range(LOOKS):
            if _take(descriptor):
                return True
            time.sleep(0.005)
        return False
else:
    import fcntl

    def _lock(descriptor: int, how: int) -> bool:
        try:
            fcntl.lockf(descriptor, how | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX leaves open which of the two says "taken"
            return False
        return True

    def _take(descriptor: int) -> bool:
        return _lock(descriptor, fcntl.LOCK_EX)

    def _seems_free(descriptor: int) -> bool:
        # A shared lock: those that only look don't see each other.
        return _lock(descriptor, fcntl.LOCK_SH)
