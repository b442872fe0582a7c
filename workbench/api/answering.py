"""From a blocking engine to the event loop: each answer is computed in a thread of its own. Knows no HTTP shapes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

from starlette.requests import Request

from workbench.engines import Piece


class Answering:
    """All answers that are being computed."""

    def __init__(self) -> None:
        self._active = 0
        self._count = threading.Lock()

    @property
    def active(self) -> int:
        """How many answers are being computed or wait for their turn."""
        return self._active

    async def pieces(self, answer: Iterator[Piece], gone: threading.Event) -> AsyncIterator[Piece]:
        """The pieces as they come; whoever stops reading sets ``gone``, so that the engine stops too."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()

        def put(item: Piece | Exception | None) -> None:
            with suppress(RuntimeError):  # the loop was closed: nobody reads any more
                loop.call_soon_threadsafe(queue.put_nowait, item)

        threading.Thread(target=self._compute, args=(answer, put), daemon=True).start()
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            gone.set()

    def _compute(self, answer: Iterator[Piece], put: Callable[[Piece | Exception | None], None]) -> None:
        with self._count:
            self._active += 1
        try:
            for piece in answer:
                put(piece)
        except Exception as error:  # noqa: BLE001 - it goes on in the thread that reads
            put(error)
        finally:
            with self._count:
                self._active -= 1
            put(None)


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
