"""From a blocking engine to the event loop: each answer is computed in a thread of its own. Knows no HTTP shapes."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from workbench.engines import Piece
from workbench.problems import UserError
from workbench.text import Text

FIRST_GUESS_S = 1.0
PAUSE_S = 0.05
"""Between two parts of an answer at least: tokens that come faster go out together, since each part wakes threads that take a
processor from the model, and nobody reads twenty parts a second."""
LONGEST_WAIT_S = 60
WEIGHT = 0.1
"""How much the newest answer counts in the time that one takes."""


class Say:
    busy = Text(
        "{count} answers are computed or wait already. Accepted: up to {limit} at once. Ask again in {seconds} seconds."
    )
    too_many = Text("The request asks for {given} answers. Accepted: up to {limit} at once. Ask for fewer.")


class Busy(UserError):
    """There is no place for more; ``retry_after_s``: when to ask again."""

    def __init__(self, count: int, limit: int, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(Say.busy(count=count, limit=limit, seconds=retry_after_s))


class Answering:
    """All answers that are being computed or wait for it, each in a place of its own."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._active = 0
        self._usual_s = FIRST_GUESS_S
        self._count = threading.Lock()

    @property
    def active(self) -> int:
        """How many answers are being computed or wait for their turn."""
        return self._active

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for work that is done inside the block; Busy when there is none."""
        self._take(1)
        try:
            yield
        finally:
            self._free()

    def check(self, count: int) -> None:
        """UserError where there are never so many places."""
        if count > self.limit:
            raise UserError(Say.too_many(given=count, limit=self.limit), key="n")

    async def begin(
        self, ask: Callable[[], Sequence[Iterator[Piece]]], count: int, gone: threading.Event
    ) -> "Answers":
        """``count`` answers, asked for in their places; Busy when there are none. What can't be answered is raised."""
        self.check(count)
        self._take(count)
        try:
            answers = await run_in_threadpool(ask)
        except BaseException:
            for _ in range(count):
                self._free()
            raise
        return Answers(answers, self._free, gone)

    def _take(self, count: int) -> None:
        with self._count:
            if self._active + count > self.limit:
                wait_s = max(1, min(LONGEST_WAIT_S, round(self._usual_s)))
                raise Busy(self._active, self.limit, wait_s)
            self._active += count

    def _free(self, seconds: float | None = None) -> None:
        with self._count:
            self._active -= 1
            if seconds is not None:
                self._usual_s += WEIGHT * (seconds - self._usual_s)


def together(answer: Iterable[Piece], pause_s: float) -> Iterator[Piece]:
    """The same answer, its pieces at least so many seconds apart: one that comes sooner waits for the next. The first goes out at
    once, the last too, and what came before an error."""
    held: Piece | None = None
    due = 0.0
    try:
        for piece in answer:
            held = piece if held is None else replace(piece, text=held.text + piece.text, chances=[*held.chances, *piece.chances])
            if piece.finish is not None or time.monotonic() >= due:
                yield held
                held, due = None, time.monotonic() + pause_s
    except Exception:
        if held is not None:
            yield held
        raise


Item = tuple[int, Piece | Exception | None]


class Answers:
    """The answers to one request, which grow side by side from now on until ``gone`` is set."""

    def __init__(
        self, answers: Sequence[Iterator[Piece]], free: Callable[[float | None], None], gone: threading.Event
    ) -> None:
        self._free, self._gone, self._left = free, gone, len(answers)
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Item] = asyncio.Queue()
        for at, answer in enumerate(answers):
            threading.Thread(target=self._compute, args=(at, answer), daemon=True).start()

    async def pieces(self) -> AsyncIterator[tuple[int, Piece]]:
        """Which answer, and its next piece; whoever stops reading sets ``gone``, so that the engine stops too."""
        try:
            while self._left:
                at, item = await self._queue.get()
                if isinstance(item, Exception):
                    raise item
                if item is None:
                    self._left -= 1
                else:
                    yield at, item
        finally:
            self._gone.set()

    def _put(self, item: Item) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody reads any more
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)

    def _compute(self, at: int, answer: Iterator[Piece]) -> None:
        began = time.monotonic()
        try:
            for piece in together(answer, PAUSE_S):
                self._put((at, piece))
        except Exception as error:  # noqa: BLE001 - it goes on in the thread that reads
            self._put((at, error))
        finally:
            self._free(time.monotonic() - began)
            self._put((at, None))


@asynccontextmanager
async def watching(request: Request, gone: threading.Event) -> AsyncIterator[None]:
    """Set ``gone`` as soon as the client of the request has left; the request's body must have been read."""

    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()

    watch = asyncio.create_task(wait())
    try:
        yield
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
