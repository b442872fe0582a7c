"""A file that only grows: a JSON object a line, on the disk before anybody relies on it. Knows no field.

Several threads of one process may add. A torn last line, which a kill leaves, is cut off by whoever goes on.
"""

import errno
import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Ledger:
    """The one writer of such a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()

    def read(self) -> list[dict[str, Any]]:
        """All that an earlier worker left, in its order."""
        if not self._path.exists():
            return []
        with self._path.open("rb+") as file:
            whole = file.read()
            size = whole.rfind(b"\n") + 1
            file.truncate(size)
        return [json.loads(line) for line in whole[:size].split(b"\n")[:-1]]

    def add(self, objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Write these; as they will be read, half of a pair of surrogates a question mark. OSError: no half line stays."""
        lines = [json.dumps(one, ensure_ascii=False).encode("utf-8", "replace") for one in objects]
        data = b"".join(line + b"\n" for line in lines)
        with self._turn, self._path.open("ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                if (file.write(data) or 0) < len(data):
                    raise OSError(errno.ENOSPC, "No space left on device")
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
        return [json.loads(line) for line in lines]
