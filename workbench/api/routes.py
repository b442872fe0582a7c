"""/v1/models, /v1/chat/completions and /health over one engine. Knows no run, no page and no model's files."""

import hmac
import threading
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from workbench.api import errors
from workbench.api.answering import Answering, watching
from workbench.api.schema import ChatRequest, Reply, model_list
from workbench.engines import BASE, Chat, Engine, Piece
from workbench.fields import plain
from workbench.problems import Problem
from workbench.text import Text

BODY_LIMIT_BYTES = 16 * 2**20
TOLD_HEADERS = ("X-Model", "X-Ignored-Fields", "X-Messages")
HEADER_CHARACTERS = 500
LINE_ENDS = str.maketrans({"\u2028": "\\u2028", "\u2029": "\\u2029", "\x85": "\\u0085"})
"""Characters that JSON leaves as they are and that readers of a stream may take for the end of a line."""


class Say:
    unknown_model = Text("There is no model '{given}' here. Accepted: {known}. Choose one of these.")


def application(engine: Engine, key: str | None, local: bool) -> ASGIApp:
    """The server's app. ``key``: what clients must send. ``local``: only this machine can reach it.

    On this machine any origin may call it, and a model name that is not known here means the default model, since
    clients come with names of their own; the header X-Model says who answered.
    """
    app = FastAPI(title="Workbench", docs_url=None, redoc_url=None, max_body_size=BODY_LIMIT_BYTES)
    errors.install(app, BODY_LIMIT_BYTES)
    answering, since = Answering(), int(time.time())

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the server is up, and how many answers are being computed."""
        return {"status": "ok", "active": answering.active}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The names that it answers to."""
        return model_list(list(engine.models), since)

    @app.post("/v1/chat/completions")
    async def chat(asked: ChatRequest, request: Request) -> Response:
        """Answer a chat."""
        return await _answer(engine, answering, asked, request, choose_model(engine.models, asked.model, local))

    gated = Gate(app, key)
    if not local:
        return gated
    return CORSMiddleware(
        gated,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        allow_private_network=True,
        expose_headers=TOLD_HEADERS,
    )


class Gate:
    """Lets only those in who bring the key, if there is one, and no bodies beyond the limit; /health is for everyone."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        self._app = app
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" and scope["path"] != "/health" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._key is not None and not self._right(headers.get("authorization", "")):
            response = errors.refuse(401, Problem(errors.Say.no_key()), "invalid_api_key")
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        if int(headers.get("content-length", "0")) > BODY_LIMIT_BYTES:
            return errors.refuse(413, Problem(errors.Say.too_large(limit=BODY_LIMIT_BYTES)))
        return None

    def _right(self, given: str) -> bool:
        scheme, _, key = given.partition(" ")
        return hmac.compare_digest(key.strip().encode("latin-1"), self._key or b"") and scheme.lower() == "bearer"


def choose_model(known: Sequence[str], given: str | None, local: bool) -> str:
    """The model that a name means; without a name the default one: the first adapter if there is one, else the base."""
    if given is not None and given in known:
        return given
    if given and not local:
        raise errors.UnknownModel(Say.unknown_model(given=plain(given), known=", ".join(known)), key="model")
    return next((name for name in known if name != BASE), BASE)


class Stream(StreamingResponse):
    """Server-sent events; whatever ends them, a client that left among it, sets ``gone``."""

    def __init__(self, lines: AsyncIterator[bytes], gone: threading.Event, headers: dict[str, str]) -> None:
        super().__init__(lines, media_type="text/event-stream", headers=headers)
        self._gone = gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._gone.set()


async def _answer(engine: Engine, answering: Answering, asked: ChatRequest, request: Request, model: str) -> Response:
    asked.check()
    gone = threading.Event()
    answer = await run_in_threadpool(engine.stream, model, Chat(asked.chat()), asked.sampling(), gone.is_set)
    pieces, reply = answering.pieces(answer, gone), Reply(model)
    headers = _headers(asked, model)
    if asked.stream:
        lines = _lines(pieces, reply, bool(asked.stream_options and asked.stream_options.include_usage))
        return Stream(lines, gone, headers)
    try:
        async with watching(request, gone):
            got = [piece async for piece in pieces]
    except Exception as error:  # noqa: BLE001 - whatever the engine met is told in OpenAI's shape
        return errors.respond(500, errors.failure(error), headers)
    return errors.respond(200, reply.whole("".join(piece.text for piece in got), got[-1]), headers)


async def _lines(pieces: AsyncIterator[Piece], reply: Reply, with_usage: bool) -> AsyncIterator[bytes]:
    """The answer as server-sent events."""
    yield _event(reply.chunk({"role": "assistant", "content": ""}, usage_follows=with_usage))
    last = Piece("")
    try:
        async for last in pieces:
            if last.text:
                yield _event(reply.chunk({"content": last.text}, usage_follows=with_usage))
    except Exception as error:  # noqa: BLE001 - the status has been sent: the error goes into the stream
        yield _event(errors.failure(error))
        return
    yield _event(reply.chunk({}, last.finish, usage_follows=with_usage))
    if with_usage:
        yield _event(reply.usage_chunk(last))
    yield b"data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + errors.to_bytes(data).decode().translate(LINE_ENDS).encode() + b"\n\n"


def _headers(asked: ChatRequest, model: str) -> dict[str, str]:
    """What the client should know besides the answer; names are percent-encoded, since headers hold ASCII."""
    headers = {"X-Model": quote(model), "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    if ignored := asked.ignored():
        headers["X-Ignored-Fields"] = ", ".join(quote(name, errors="replace") for name in ignored)[:HEADER_CHARACTERS]
    if asked.rearranged():
        headers["X-Messages"] = "system messages were joined into one at the beginning"
    return headers
