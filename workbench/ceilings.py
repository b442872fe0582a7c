"""How much memory the system grants a process, and how often it has ended one for taking more. Knows no run."""

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

COUNTER = Path("/proc/vmstat")
"""Where Linux counts the processes of the whole machine that it has ended for want of memory."""
GROUPS = Path("/proc/self/cgroup")
GROUP = re.compile(r"^\d+:(memory)?:(/.*)$", re.MULTILINE)
COUNTERS = {"": "/sys/fs/cgroup{group}/memory.events", "memory": "/sys/fs/cgroup/memory{group}/memory.oom_control"}
"""Where it counts those of a control group, by version 2 and version 1 of them."""
KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""What a container may take, by version 2 and version 1 of control groups."""
NO_LIMIT_BYTES = 1 << 60


def counted(groups: Path = GROUPS) -> tuple[int, str]:
    """How many processes were ended for want of memory, -1 where nobody counts them, and the file that says so: of this
    process's own control group where it is counted there, else of the machine. Either may hold several runs."""
    with suppress(OSError):
        for version, group in GROUP.findall(groups.read_text("utf-8")):
            file = COUNTERS[version].format(group=group.rstrip("/"))
            if (found := kills(Path(file))) >= 0:
                return found, file
    return kills(), ""


def kills(counter: Path = COUNTER) -> int:
    """How many that file has counted so far; -1 where it does not say."""
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
