"""The one thread that computes: requests join and leave the running batch between two steps. Knows no text and no HTTP."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from workbench.engines import Chance, Finish
from workbench.engines.transformers import computing
from workbench.engines.transformers.computing import Computing, Place
from workbench.engines.transformers.drawing import Chooser

T = TypeVar("T")
LOOK_S = 0.05


@dataclass
class Request:
    """One answer that is being written."""

    voice: str
    ids: Sequence[int]
    chooser: Chooser
    ends: frozenset[int]
    """Tokens that end it."""
    room: int
    """Most tokens of it."""
    gone: Callable[[], bool]
    said: "SimpleQueue[tuple[int, Chance | None] | Finish | Exception]" = field(default_factory=SimpleQueue)
    """What has come: tokens, then why it ended."""
    place: Place | None = None
    token: int | None = None
    count: int = 0

    def tokens(self) -> Iterator[tuple[int, Chance | None] | Finish]:
        """Tokens as they come, and at last why it ended."""
        while not isinstance(item := self.said.get(), Exception):
            yield item
            if isinstance(item, str):
                return
        raise item


@dataclass
class Task:
    """Something else to be done by the thread, when nobody speaks with ``voice`` any more."""

    work: Callable[[], Any]
    voice: str | None
    done: "SimpleQueue[tuple[Any, Exception | None]]" = field(default_factory=SimpleQueue)


class Loop:
    """Computes all requests, a step at a time.

    ``speaking`` puts a voice in its place for a while; ``computing`` gives what computes for a voice; ``check`` raises
    what is wrong with a row of logits.
    """

    def __init__(
        self,
        speaking: Callable[[str], AbstractContextManager[None]],
        computing: Callable[[str], Computing],
        check: Callable[[Any], None],
    ) -> None:
        self._speaking, self._computing, self._check = speaking, computing, check
        self._waiting: deque[Request] = deque()
        self._active: list[Request] = []
        self._tasks: deque[Task] = deque()
        self._moved = threading.Condition()
        self._closed = False
        self._voice: str | None = None
        self._stage = ExitStack()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def ask(self, request: Request) -> None:
        """Compute this too, as soon as there is a place."""
        with self._moved:
            self._waiting.append(request)
            self._moved.notify_all()

    def do(self, work: Callable[[], T], voice: str | None = None) -> T:
        """Do something in the thread between two steps; with ``voice``, when no request of that voice is left."""
        task = Task(work, voice)
        with self._moved:
            self._tasks.append(task)
            self._moved.notify_all()
        value, error = task.done.get()
        if error is not None:
            raise error
        return value

    def close(self) -> None:
        """End the thread; answers that are being written are cancelled."""
        with self._moved:
            self._closed = True
            self._moved.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            self._do_tasks()
            self._admit()
            if self._active:
                self._step()
            else:
                with self._moved:
                    if not (self._closed or self._waiting or self._ready_tasks()):
                        self._moved.wait()
        for request in [*self._active, *self._waiting]:
            request.said.put("cancelled")

    def _ready_tasks(self) -> list[Task]:
        busy = {request.voice for request in [*self._active, *self._waiting]}
        return [task for task in self._tasks if task.voice not in busy]

    def _do_tasks(self) -> None:
        with self._moved:
            ready = self._ready_tasks()
            for task in ready:
                self._tasks.remove(task)
        if ready:
            self._leave_stage()
        for task in ready:
            try:
                task.done.put((task.work(), None))
            except Exception as error:  # noqa: BLE001 - it goes on in the thread that asked
                task.done.put((None, error))

    def _admit(self) -> None:
        """Give places to those who wait, in the order of asking."""
        with self._moved:
            waiting = list(self._waiting)
        for request in waiting:
            if not request.gone():
                try:
                    self._stand(request.voice)
                    request.place = self._computing(request.voice).begin(request.voice, request.ids)
                except Exception as error:  # noqa: BLE001 - it goes on in the thread that asked
                    request.said.put(error)
                else:
                    if request.place is None:
                        continue
                    self._active.append(request)
            else:
                request.said.put("cancelled")
            with self._moved:
                self._waiting.remove(request)

    def _step(self) -> None:
        """Every answer grows by a token; of the prompts that are being read, the oldest by a chunk."""
        for request in list(self._active):
            if request.gone():
                self._end(request, "cancelled")
        growing: dict[str, list[Request]] = {}
        for request in self._active:
            if request.token is not None:
                growing.setdefault(request.voice, []).append(request)
        for voice, requests in sorted(growing.items(), key=lambda one: one[0] != self._voice):
            self._guarded(requests, partial(self._grow, voice, requests))
        if reading := next((request for request in self._active if request.token is None), None):
            self._guarded([reading], partial(self._read, reading))

    def _grow(self, voice: str, requests: Sequence[Request]) -> None:
        self._stand(voice)
        places = [request.place for request in requests if request.place is not None]
        tokens = [request.token for request in requests if request.token is not None]
        for request, logits in zip(requests, self._computing(voice).grow(places, tokens), strict=True):
            self._guarded([request], partial(self._choose, request, logits))

    def _read(self, request: Request) -> None:
        self._stand(request.voice)
        assert request.place is not None
        start = request.place.read
        chunk = request.ids[start : start + computing.CHUNK]
        logits = self._computing(request.voice).read(request.place, chunk)
        if request.place.read >= len(request.ids):
            self._choose(request, logits)

    def _choose(self, request: Request, logits: Any) -> None:
        self._check(logits)
        token, chance = request.chooser.choose(logits)
        if token in request.ends:
            self._end(request, "stop")
            return
        request.token = token
        request.count += 1
        request.said.put((token, chance))
        if request.chooser.complete:
            self._end(request, "stop")
        elif request.count >= request.room:
            self._end(request, "length")

    def _guarded(self, requests: Sequence[Request], work: Callable[[], None]) -> None:
        """What goes wrong goes on in the threads of those who asked; the others are not touched."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - see above
            for request in requests:
                self._end(request, error)

    def _end(self, request: Request, why: Finish | Exception) -> None:
        if request not in self._active:
            return
        self._active.remove(request)
        if request.place is not None:
            self._computing(request.voice).end(request.place)
        request.said.put(why)

    def _stand(self, voice: str) -> None:
        """That voice speaks from now on."""
        if voice != self._voice:
            self._leave_stage()
            self._stage.enter_context(self._speaking(voice))
            self._voice = voice

    def _leave_stage(self) -> None:
        self._stage.close()
        self._voice = None
