"""The paths of the server, each with what it takes and gives. Knows no run, no page and no model's files."""

from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from workbench.api import adapters, errors, replies
from workbench.api.chat_request import ChatRequest
from workbench.api.gate import Counted, Forgiving, Gate
from workbench.api.metrics import MEDIA_TYPE
from workbench.api.other_requests import CompletionRequest, EmbeddingRequest, TokenizeRequest
from workbench.api.rules import Rules, UnknownModel
from workbench.api.rules import Say as RuleSay
from workbench.api.service import Service
from workbench.engines import BASE, Engine
from workbench.fields import plain

BODY_LIMIT_BYTES = 16 * 2**20
TOLD_HEADERS = ("X-Model", "X-Ignored-Fields", "X-Messages", "Retry-After")
ABOUT = (
    "Answers as OpenAI's API does. The header X-Model says who answered, X-Ignored-Fields which fields changed nothing, "
    "X-Messages how messages were rearranged for the chat template."
)


class ErrorBody(BaseModel):
    """What went wrong, in OpenAI's shape."""

    class Inner(BaseModel):
        """The words, and which field they are about."""

        message: str
        type: str
        param: str | None
        code: str | None

    error: Inner


WRONG: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "What was given, what is accepted, what to do"},
    "5XX": {"model": ErrorBody, "description": "What went wrong here"},
}
STREAMED: dict[int | str, dict[str, Any]] = {
    **WRONG,
    200: {"description": "The answer", "content": {"application/json": {}, "text/event-stream": {}}},
}


def application(engine: Engine, rules: Rules) -> ASGIApp:
    """The server's app over an engine."""
    app = FastAPI(title="Workbench", description=ABOUT, docs_url=None, redoc_url=None, max_body_size=BODY_LIMIT_BYTES)
    errors.install(app, BODY_LIMIT_BYTES)
    service = Service(engine, rules)
    _answers(app, service)
    _models(app, service)
    adapters.install(app, service, WRONG)
    known = [path for route in app.routes if (path := route.__dict__.get("path"))]
    counted = Counted(Gate(app, rules.keys, BODY_LIMIT_BYTES), service.metrics, known)
    gated = Forgiving(counted, known)
    if not rules.allowed_origins():
        return gated
    return CORSMiddleware(
        gated,
        allow_origins=rules.allowed_origins(),
        allow_methods=["*"],
        allow_headers=["*"],
        allow_private_network=True,
        expose_headers=TOLD_HEADERS,
    )


def _answers(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions", responses=STREAMED)
    async def chat(asked: ChatRequest, request: Request) -> Response:
        """Answer a chat, in one or as a stream of server-sent events."""
        return await service.chat(asked, request)

    @app.post("/v1/completions", responses=STREAMED)
    async def complete(asked: CompletionRequest, request: Request) -> Response:
        """Continue a text as it stands, without a chat template."""
        return await service.complete(asked, request)

    @app.post("/v1/embeddings", responses=WRONG)
    async def embed(asked: EmbeddingRequest) -> Response:
        """Each text as a vector: the mean of the last layer's states over its tokens, not scaled to any length."""
        return await service.embed(asked)

    @app.post("/tokenize", responses=WRONG)
    async def tokenize(asked: TokenizeRequest) -> Response:
        """The tokens of a text, or of a chat as its template writes it, and how many there are."""
        return await service.tokenize(asked)


def _models(app: FastAPI, service: Service) -> None:
    engine, rules = service.engine, service.rules

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the server is up, and how many answers are computed or wait."""
        return {"status": "ok", "active": service.answering.active}

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Counters and times, as Prometheus reads them."""
        return Response(service.metrics.text(), media_type=MEDIA_TYPE)

    @app.get("/v1/models", responses=WRONG)
    async def models() -> dict[str, Any]:
        """The names that it answers to."""
        return replies.model_list(list(engine.models), service.since, BASE, rules.base_name)

    @app.get("/v1/models/{name:path}", responses=WRONG)
    async def model(name: str) -> dict[str, Any]:
        """One of them."""
        if name not in engine.models:
            raise UnknownModel(RuleSay.unknown_model(given=plain(name), known=", ".join(engine.models)), key="model")
        return replies.model_card(name, service.since, BASE, rules.base_name)


