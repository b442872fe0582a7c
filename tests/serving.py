"""An HTTP API over a real socket: the echo engine, and one that breaks on certain words. What the tests of it share."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn

from workbench.api.routes import application
from workbench.api.rules import Rules
from workbench.engines import BASE, Engine, Piece, Prompt, Sampling, TooLong
from workbench.engines.echo import Echo, last_words
from workbench.jobs.serve import listen, shown_url
from workbench.problems import UserError
from workbench.text import Text

TUNED = "我的-run"
KEY = "secret-key-é"
USER = [{"role": "user", "content": "hi there"}]


class Say:
    too_long = Text("Too long.")
    broken = Text("Broken {part}.")


class Moody(Echo):
    """Echo, but some words are more than it bears."""

    def stream(self, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        if "too long" in last_words(prompt):
            raise TooLong(Say.too_long(), key="messages")
        return self._stream(model, prompt, sampling, gone)

    def _stream(self, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        for at, piece in enumerate(super().stream(model, prompt, sampling, gone)):
            if "break" in last_words(prompt) and at == 2:
                raise UserError(Say.broken(part="words"))
            if "crash" in last_words(prompt) and at == 2:
                raise RuntimeError("out of memory")
            yield piece


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """The URL of a server of the app."""
    listener = listen("127.0.0.1", 0, has_key=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        yield shown_url(listener.getsockname())
    finally:
        server.should_exit = server.force_exit = True
        thread.join(5)
        listener.close()


@contextmanager
def serving(engine: Engine, key: str | None = None, local: bool = True, **rules: Any) -> Iterator[str]:
    """The URL of our API over the engine; ``rules`` are those of a server that are not the usual ones."""
    chosen = {"keys": [key] if key else [], "local": local, "any_model_name": local, **rules}
    with listening(application(engine, Rules(**chosen))) as url:
        yield url


def post(url: str, **body: Any) -> httpx.Response:
    """The response to a chat; bodies may hold what no client of sense would send."""
    return send(url, "/v1/chat/completions", {"model": BASE, "messages": USER, **body})


def send(url: str, path: str, body: Any, **headers: str) -> httpx.Response:
    """The response to a JSON body at a path."""
    told = {"Content-Type": "application/json", **headers}
    return httpx.post(f"{url}{path}", content=json.dumps(body), headers=told, trust_env=False, verify=False, timeout=20)


def wait_until_idle(url: str, patience_s: float) -> bool:
    """Whether the server has nothing to do any more within so many seconds."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if httpx.get(f"{url}/health", trust_env=False).json()["active"] == 0:
            return True
        time.sleep(0.02)
    return False
