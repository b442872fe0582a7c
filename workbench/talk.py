"""A client of any server that speaks OpenAI's chat API: ours, or anybody's. Knows no page and no engine."""

import json
import socket
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from workbench.engines import Sampling
from workbench.fields import plain
from workbench.ports import is_loopback
from workbench.problems import Problem, UserError
from workbench.text import Message, Text, verbatim

CONNECT_S = 5.0
JSON = {"Content-Type": "application/json"}
SILENCE_S = 600.0
"""So long a server may be silent: it may have others to answer first, and a long prompt takes its time."""


class Say:
    bad_url = Text("'{given}' is no address of a server. Accepted: such as http://127.0.0.1:8000. Mend it.")
    no_server = Text("No server answers at {url} ({reason}). Accepted: one that runs. Start it, or mend the address.")
    no_key = Text("The server at {url} refused the key. Accepted: the key it was started with. Enter that one.")
    refused = Text("The server at {url} answered with status {status}: {reason}")
    cut_off = Text(
        "The server at {url} ended in the middle of its answer ({reason}). Ask again; load it again if needed."
    )
    not_openai = Text("What {url} answers is not OpenAI's chat API: {given}. Accepted: a server that speaks it.")


@dataclass(frozen=True)
class Ending:
    """How an answer ended, in the server's words: who answered, why it ended, tokens in and out (0 if not told)."""

    model: str = ""
    finish: str = ""
    prompt_tokens: int = 0
    answer_tokens: int = 0


class Call:
    """A question on its way, for other threads: whether it was taken, who answers, and a way to hang up."""

    def __init__(self) -> None:
        self.model = ""
        self.begun = threading.Event()
        self._hung_up = False
        self._line: socket.socket | None = None

    def hang_up(self) -> None:
        """Close the connection, also while the server is silent; the asking thread gets UserError then."""
        self._hung_up = True
        if self._line is not None:
            with suppress(OSError):  # it was closed already
                self._line.shutdown(socket.SHUT_RDWR)

    def begin(self, response: httpx.Response) -> None:
        """The server has begun to answer."""
        self._line = response.extensions["network_stream"].get_extra_info("socket")
        self.begun.set()
        if self._hung_up:
            self.hang_up()


def ask(
    url: str,
    model: str,
    messages: Sequence[Mapping[str, str]],
    sampling: Sampling | None = None,
    key: str | None = None,
    call: Call | None = None,
) -> Generator[str, None, Ending]:
    """The answer as it comes; its ending is the generator's return value. Closing the generator stops the server."""
    request = {
        "model": model,
        "messages": list(messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        **_fields(sampling or Sampling()),
    }
    ending, call = Ending(model), call or Call()
    with (
        _client(url, key) as (client, base),
        client.stream("POST", f"{base}/chat/completions", content=json.dumps(request), headers=JSON) as response,
    ):
        call.begin(response)
        _check(response, base)
        for event in _events(response, base):
            ending = _ended(ending, event)
            call.model = str(event.get("model") or call.model)
            for choice in event.get("choices") or []:
                if text := (choice.get("delta") or {}).get("content"):
                    yield text
    return ending


def model_names(url: str, key: str | None = None) -> list[str]:
    """The names that the server answers to, in its order."""
    with _client(url, key) as (client, base):
        response = client.get(f"{base}/models")
        _check(response, base)
        try:
            return [str(model["id"]) for model in response.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(Say.not_openai(url=base, given=plain(response.text))) from error


def api_base(url: str) -> str:
    """``http://host:port/v1`` from what people write: with or without a slash, ``/v1`` or the whole path."""
    given = url.strip().rstrip("/").removesuffix("/chat/completions")
    try:
        parts = urlsplit(given)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        right = False
    if not right:
        raise UserError(Say.bad_url(given=plain(url)))
    return given if parts.path else f"{given}/v1"


def _fields(sampling: Sampling) -> dict[str, Any]:
    """The sampling under OpenAI's names; what is not chosen is not sent."""
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.seed is not None:
        fields["seed"] = sampling.seed
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    return fields


@contextmanager
def _client(url: str, key: str | None) -> Iterator[tuple[httpx.Client, str]]:
    """A client for one exchange; no proxy stands between this machine and itself. Its errors are in our words."""
    base = api_base(url)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
    try:
        host = urlsplit(base).hostname or ""
        with httpx.Client(headers=headers, timeout=timeout, trust_env=not is_loopback(host)) as client:
            yield client, base
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise UserError(Say.no_server(url=base, reason=_reason(error))) from error
    except (httpx.InvalidURL, UnicodeError) as error:
        raise UserError(Say.bad_url(given=plain(url))) from error
    except httpx.TransportError as error:
        raise UserError(Say.cut_off(url=base, reason=_reason(error))) from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _check(response: httpx.Response, base: str) -> None:
    """UserError with the server's own words unless it answers."""
    if response.is_success:
        return
    text = response.read().decode("utf-8", "replace")
    if response.status_code == 401:
        raise UserError(Say.no_key(url=base))
    try:
        error = json.loads(text)["error"]
        reason = _said(error) if isinstance(error, dict) else verbatim(str(error))
    except (ValueError, KeyError, TypeError):
        reason = verbatim(plain(text.strip()) or response.reason_phrase)
    raise UserError(Say.refused(url=base, status=response.status_code, reason=reason))


def _said(error: Mapping[str, Any]) -> Message:
    """An error's sentence; one of our own server stays translatable."""
    spoken = verbatim(str(error.get("message", "")))
    if not isinstance(error.get("said"), dict):
        return spoken
    said = Message.from_json(error["said"])
    try:
        return said if str(said) == error.get("message") else spoken
    except (KeyError, IndexError, ValueError, AttributeError, TypeError):
        return spoken


def _events(response: httpx.Response, base: str) -> Iterator[dict[str, Any]]:
    """The server-sent events up to [DONE]; only a line feed ends a line, whatever else a text may hold."""
    waiting = b""
    for data in response.iter_bytes():
        *lines, waiting = (waiting + data).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            words = line.removeprefix(b"data:").strip()
            if words == b"[DONE]":
                return
            yield _event(words, base)
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        raise UserError(Say.not_openai(url=base, given=plain(waiting.decode("utf-8", "replace"))))


def _event(words: bytes, base: str) -> dict[str, Any]:
    try:
        event = json.loads(words)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise UserError(Say.not_openai(url=base, given=plain(words.decode("utf-8", "replace"))))
    if isinstance(event.get("error"), dict):
        raise UserError(Problem(_said(event["error"])))
    return event


def _ended(before: Ending, event: Mapping[str, Any]) -> Ending:
    """What an event adds to the ending."""
    usage = event.get("usage") or {}
    finishes = [choice.get("finish_reason") for choice in event.get("choices") or []]
    return Ending(
        str(event.get("model") or before.model),
        next((finish for finish in finishes if finish), before.finish),
        usage.get("prompt_tokens", before.prompt_tokens),
        usage.get("completion_tokens", before.answer_tokens),
    )
