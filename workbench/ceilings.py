"""How much memory the system grants a process, and how often it has ended one for taking more. Knows no run."""

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

COUNTER = Path("/proc/vmstat")
KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""What a container may take, by version 2 and version 1 of control groups."""
NO_LIMIT_BYTES = 1 << 60


def kills(counter: Path = COUNTER) -> int:
    """How many processes Linux has ended for want of memory since it began; -1 where it does not say."""
    with suppress(OSError):
        if found := KILLS.search(counter.read_text("utf-8")):
            return int(found[1])
    return -1


def ceiling_bytes() -> int:
    """The least of what the machine has, the container may take, and this account may ask for."""
    return min(psutil.virtual_memory().total, *_limits(), NO_LIMIT_BYTES)


def _limits() -> Iterator[int]:
    for file in LIMITS:
        with suppress(OSError, ValueError):
            yield int(file.read_text("utf-8"))
    if sys.platform != "win32":
        import resource

        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            soft = resource.getrlimit(kind)[0]
            if soft != resource.RLIM_INFINITY:
                yield soft
