"""A process with llama.cpp's server in it, leased by answers: it ends when it is retired and the last of them is done."""

import json
import os
import secrets
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workbench.neighbours.process import Neighbour
from workbench.neighbours.wire import Wire

NAME = "llama.cpp"
PATIENCE_S = 600
WIDEST_BATCH = 2048
DRAFTS = (3, 4)
"""So many last tokens are looked for in the text before them; where they stand, so many that followed there are the guess."""


@dataclass(frozen=True)
class Measures:
    """What a server is opened with."""

    context: int
    """Tokens of prompt and answer together."""
    slots: int
    """Answers at once."""
    exact: bool
    """Keep keys and values in float32."""
    threads: int
    drafts: bool = False
    """Guess ahead from what stands there already."""


class Server:
    """One model with its LoRA adapters."""

    def __init__(self, model: Path, loras: Sequence[Path], measures: Measures) -> None:
        key = secrets.token_urlsafe(24)
        told = {
            "model": str(model),
            "loras": [str(path) for path in loras],
            "context": measures.context,
            "slots": measures.slots,
            "batch": min(measures.context, WIDEST_BATCH),
            "threads": measures.threads,
            "exact": measures.exact,
            "drafts": DRAFTS if measures.drafts else None,
            "key": key,
        }
        command = [sys.executable, str(Path(__file__).with_name("child.py"))]
        self.process = Neighbour(NAME, command, json.dumps(told))
        self.process.wait(lambda: bool(self.process.told()), PATIENCE_S)
        self.wire = Wire(NAME, self.process.told(), key)
        self._leases = 0
        self._changed = threading.Condition()

    @contextmanager
    def leased(self) -> Iterator[Wire]:
        """The wire to it, which holds for the block."""
        with self._changed:
            self._leases += 1
        try:
            yield self.wire
        finally:
            with self._changed:
                self._leases -= 1
                self._changed.notify_all()

    def retire(self) -> None:
        """End it once its answers are done."""
        with self._changed:
            while self._leases:
                self._changed.wait()
        self.end()

    def end(self) -> None:
        """End it now."""
        self.wire.close()
        self.process.end()


def cores() -> int:
    """Threads that compute: one for each core that this process may use; twins of a core would only wait for each other."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))
