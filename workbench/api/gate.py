"""Who comes in: keys, sizes of bodies, and the count of what came. Knows no engine."""

import hmac
from collections.abc import Collection, Sequence

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.api import errors
from workbench.api.metrics import Metrics
from workbench.problems import Problem

OPEN_PATHS = ("/health",)


class Gate:
    """Lets only those in who bring a key, if there are any, and no bodies beyond the limit; /health is for everyone."""

    def __init__(self, app: ASGIApp, keys: Sequence[str], limit_bytes: int) -> None:
        self._app, self._limit_bytes = app, limit_bytes
        self._keys = [key.encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guarded = scope["type"] == "http" and scope["path"] not in OPEN_PATHS
        refusal = self._refusal(scope) if guarded else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._keys and not self._right(headers.get("authorization", "")):
            response = errors.refuse(401, Problem(errors.Say.no_key()), "invalid_api_key")
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        told = headers.get("content-length", "0")
        if told.isdigit() and int(told[:20]) > self._limit_bytes:
            return errors.refuse(413, Problem(errors.Say.too_large(limit=self._limit_bytes)))
        return None

    def _right(self, given: str) -> bool:
        """Every key is compared, each in the same time, so that nothing can be learned from how long it takes."""
        scheme, _, key = given.partition(" ")
        sent = key.strip().encode("latin-1")
        found = [hmac.compare_digest(sent, one) for one in self._keys]
        return any(found) and scheme.lower() == "bearer"


class Forgiving:
    """Knows the paths of OpenAI's API also without /v1, and with two of them, as people write addresses into clients."""

    def __init__(self, app: ASGIApp, known: Collection[str]) -> None:
        self._app, self._known = app, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"].replace("/v1/v1/", "/v1/", 1)
            path = f"/v1{path}" if f"/v1{path}" in self._known else path
            scope = {**scope, "path": path, "raw_path": None}
        await self._app(scope, receive, send)


class Counted:
    """Counts requests by path and status; paths that are not known count as other."""

    def __init__(self, app: ASGIApp, metrics: Metrics, known: Collection[str]) -> None:
        self._app, self._metrics, self._known = app, metrics, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._known else "other"

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.count("workbench_requests_total", path=path, status=str(message["status"]))
            await send(message)

        await self._app(scope, receive, noted)
