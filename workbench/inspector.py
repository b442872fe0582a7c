"""Asks a process beside the page what takes torch's friends or long to tell: checks, statistics, tokens. Loads none itself.

The process reads a request a line and answers in lines: progress, then a result or problems. It stays for the next
request, so that a page of tokens comes at once, and ends by itself when nobody asks for ten minutes or the window is gone.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from workbench.problems import Problem, UserError
from workbench.runs import WORKER_ENVIRONMENT, WORKER_OUTPUT
from workbench.text import Message, Text
from workbench.workspace import Workspace, source_folder

LOG = "inspecting.log"
KEPT = 2
"""So many idle processes stay; more only while several people ask at once."""


class Say:
    died = Text("The process that was looking has ended before it answered. The end of {log}: {words}")


class Inspector:
    """The processes of one window."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._idle: list[subprocess.Popen[str]] = []
        self._lock = threading.Lock()

    def ask(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What comes of the request: dicts with ``done`` (0 to 1) and ``rows``, at last one with ``result``.

        UserError for what the person can mend. Whoever stops listening ends the process.
        """
        for process in (self._take(), None):
            answered = False
            for said in self._talk(process or self._spawn(), request):
                answered = True
                yield said
            if answered:  # one that stayed idle may have ended meanwhile: then a new one is asked
                return
        raise UserError(Say.died(log=LOG, words=self._last_words()))

    def _talk(self, process: subprocess.Popen[str], request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        begun = False
        try:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                said, begun = json.loads(line), True
                if "problems" in said or "result" in said:
                    self._give_back(process)
                if "problems" in said:
                    raise UserError(*(Problem(Message.from_json(one), key) for one, key in said["problems"]))
                yield said
                if "result" in said:
                    return
        except BrokenPipeError:
            return
        finally:
            self._end_unless_idle(process)
        if begun:
            raise UserError(Say.died(log=LOG, words=self._last_words()))

    def result(self, request: Mapping[str, Any]) -> Any:
        """Only the result."""
        return list(self.ask(request))[-1]["result"]

    def close(self) -> None:
        """End every idle process."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            _end(process)

    def _take(self) -> subprocess.Popen[str]:
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.poll() is None:
                    return process
                _end(process)
        return self._spawn()

    def _spawn(self) -> subprocess.Popen[str]:
        self._workspace.cache.mkdir(parents=True, exist_ok=True)
        with (self._workspace.cache / LOG).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "workbench.inspecting", str(self._workspace.root)],
                cwd=source_folder(),
                env={**WORKER_ENVIRONMENT, **os.environ, **WORKER_OUTPUT},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
            )

    def _give_back(self, process: subprocess.Popen[str]) -> None:
        with self._lock:
            if len(self._idle) < KEPT:
                self._idle.append(process)

    def _end_unless_idle(self, process: subprocess.Popen[str]) -> None:
        with self._lock:
            if process in self._idle:
                return
        _end(process)

    def _last_words(self) -> str:
        try:
            return (self._workspace.cache / LOG).read_text("utf-8", errors="replace")[-500:].strip()
        except OSError:
            return "-"


def _end(process: subprocess.Popen[str]) -> None:
    """Close its ears, and kill it if it does not end of that."""
    for stream in (process.stdin, process.stdout):
        if stream is not None and not stream.closed:
            with suppress(BrokenPipeError):
                stream.close()
    process.kill()
    process.wait()
