"""A server's process: started, waited for, heard, ended with us. Knows nothing of what it serves."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from workbench.problems import UserError
from workbench.text import Text, verbatim

LINES, WIDTH = 12, 300
LOOK_S, PARTING_S = 0.05, 10


class Say:
    ended = Text("{name} ended before it could answer (exit code {code}). Its last words: {words}")
    late = Text("{name} was not ready after {seconds} s. Its last words: {words}")
    no_program = Text("{name} can't be started: {reason}. Accepted: an installed one. Install it anew.")


class Neighbour:
    """A process that lives no longer than ours: it watches its standard input, which we hold open."""

    def __init__(self, name: str, command: Sequence[str], given: str = "", env: Mapping[str, str] | None = None) -> None:
        """Start it. ``given`` is the first line that it reads."""
        self._name = name
        self._last: deque[str] = deque(maxlen=LINES)
        self._told = ""
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=Path(sys.executable).parent,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise UserError(Say.no_program(name=name, reason=error.strerror or str(error))) from error
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()
        if given and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it has ended: the wait says why
                self._process.stdin.write(f"{given}\n")
                self._process.stdin.flush()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def words(self) -> str:
        """The last lines that it said."""
        return "\n".join(self._last) or "-"

    def told(self) -> str:
        """What stands behind ``READY`` in the line in which it said so; empty until then."""
        return self._told

    def wait(self, ready: Callable[[], bool], patience_s: float) -> None:
        """Until it is ready; UserError with its last words when it ends before, or takes too long."""
        deadline = time.monotonic() + patience_s
        while not ready():
            if not self.alive:
                self._listening.join(1)
                code = self._process.returncode
                raise UserError(Say.ended(name=self._name, code=code, words=verbatim(self.words)))
            if time.monotonic() > deadline:
                self.end()
                raise UserError(Say.late(name=self._name, seconds=round(patience_s), words=verbatim(self.words)))
            time.sleep(LOOK_S)

    def end(self) -> None:
        """End it, and wait until its memory is free."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(PARTING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listening.join(1)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = line.rstrip()[:WIDTH]
            if said.startswith("READY "):
                self._told = said.removeprefix("READY ")
            elif said:
                self._last.append(said)
                print(said, file=sys.stderr)


def watched(command: Sequence[str]) -> list[str]:
    """The command as one that ends when we do, for programs that do not watch."""
    return [sys.executable, str(Path(__file__).with_name("watch.py")), *command]
