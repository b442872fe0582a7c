"""Errors in OpenAI's shape, whatever went wrong and wherever. Knows no engine.

``said`` in an error is the same sentence with its key, so that our own page can say it in the reader's language.
"""

import json
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from workbench.api.answering import Busy
from workbench.api.rules import UnknownModel
from workbench.api.schema import Unsupported
from workbench.engines import TooLong
from workbench.fields import plain
from workbench.problems import Problem, UserError
from workbench.text import Message, Text, verbatim


class Say:
    missing = Text("'{field}' is missing. Accepted: a request that has it. Add it.")
    invalid = Text("'{field}' is {given}. {reason}. Mend that field.")
    not_json = Text("The body is no JSON: {reason}, at character {at}. Accepted: one JSON object. Mend that place.")
    not_object = Text(
        "The body is no JSON object. Accepted: a JSON object, with the header 'Content-Type: application/json'. Send one."
    )
    http = Text("{method} {path}: {reason}. Accepted: the paths listed in /openapi.json. Use one of these.")
    unreadable = Text("The body can't be read: {reason}. Accepted: one JSON object in UTF-8. Send one.")
    too_large = Text("The body is larger than {limit} bytes. Accepted: smaller ones. Shorten the chat.")
    failed = Text("The engine failed: {reason}. The server's log says more. Try again, or load the model anew.")
    no_key = Text(
        "The key is missing or wrong. Accepted: the header 'Authorization: Bearer KEY'. Send the server's key."
    )


def body(problem: Problem, kind: str, code: str | None) -> dict[str, Any]:
    """OpenAI's error object."""
    message = problem.message
    said = message.to_json()
    return {"error": {"message": str(message), "type": kind, "param": problem.key, "code": code, "said": said}}


def to_bytes(data: Mapping[str, Any]) -> bytes:
    """JSON in UTF-8; halves of surrogate pairs, which a client may send, become question marks."""
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "replace")


def respond(status: int, data: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(to_bytes(data), status, headers=dict(headers or {}), media_type="application/json")


def refuse(status: int, problem: Problem, code: str | None = None) -> Response:
    """A response that says what is wrong with the request."""
    return respond(status, body(problem, "invalid_request_error", code))


def of_user_error(error: UserError) -> Response:
    """The first problem of a UserError as a response; all problems in its message when there are several."""
    first = error.problems[0]
    if len(error.problems) > 1:
        first = Problem(verbatim(" ".join(str(problem.message) for problem in error.problems)), first.key)
    match error:
        case UnknownModel():
            return refuse(404, first, "model_not_found")
        case Busy(retry_after_s=seconds):
            told = body(first, "rate_limit_error", "rate_limit_exceeded")
            return respond(429, told, {"Retry-After": str(seconds)})
        case TooLong():
            return refuse(400, first, "context_length_exceeded")
        case Unsupported():
            return refuse(400, first, "unsupported")
    return refuse(400, first)


def failure(error: Exception) -> dict[str, Any]:
    """The error object of something that went wrong while answering; the traceback goes to the log."""
    if isinstance(error, UserError):
        return body(error.problems[0], "server_error", None)
    traceback.print_exception(error)
    return body(Problem(Say.failed(reason=verbatim(f"{type(error).__name__}: {error}"[:300]))), "server_error", None)


def of_validation(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """The first thing that is wrong with a body; among the ways to read a field, the way that got farthest."""
    place = _place(errors[0]["loc"])
    ways = [error for error in errors if _place(error["loc"]).startswith(place)]
    first = max(ways, key=lambda error: (len(_place(error["loc"])), not error["type"].endswith("_type")))
    field = _place(first["loc"])
    if first["type"] == "json_invalid":
        return Problem(Say.not_json(reason=first.get("ctx", {}).get("error", ""), at=first["loc"][-1]))
    if not field:
        return Problem(Say.not_object())
    if first["type"] == "missing":
        return Problem(Say.missing(field=field), field)
    return Problem(Say.invalid(field=field, given=_shown(first["input"]), reason=first["msg"].rstrip(".")), field)


def _place(loc: Sequence[str | int]) -> str:
    """``messages[0].content``: the way to a field, without the names of the ways to read it."""
    path = ""
    for part in loc[1:]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "str" and "[" not in part and not part[:1].isupper():
            path += f".{part}" if path else part
    return path


def _shown(given: Any) -> str:
    if isinstance(given, str):
        return f"'{plain(given)}'"
    return plain(json.dumps(given, ensure_ascii=False, default=str))


def install(app: FastAPI, limit_bytes: int) -> None:
    """Give the app's own errors this shape."""

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return refuse(400, of_validation(error.errors()))

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message: Message
        if error.status_code == 413:
            message = Say.too_large(limit=limit_bytes)
        elif error.status_code == 400:
            message = Say.unreadable(reason=error.detail)
        else:
            message = Say.http(method=request.method, path=plain(request.url.path), reason=error.detail)
        return refuse(error.status_code, Problem(message))

    async def on_user_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, UserError)
        return of_user_error(error)

    async def on_failure(request: Request, error: Exception) -> Response:
        return respond(500, failure(error))

    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(UserError, on_user_error)
    app.add_exception_handler(Exception, on_failure)
