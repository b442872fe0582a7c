"""A client of any server that speaks OpenAI's chat API: ours, or anybody's. Knows no page and no engine."""

import json
import socket
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from workbench.engines import Sampling
from workbench.fields import plain
from workbench.ports import is_loopback
from workbench.problems import Problem, UserError
from workbench.text import Message, Text, verbatim

CONNECT_S = 5.0
JSON = {"Content-Type": "application/json"}
NEUTRAL = Sampling()
EXTRAS = ("top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
"""Sent only where they change something: not every server knows them all."""
LOOK_S = 2.0
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


@dataclass(frozen=True)
class CallPart:
    """A part of a call of a tool: which call of the answer it belongs to, and what it adds to it."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True)
class Part:
    """What came at once of an answer: its text, the thought before it, calls of tools."""

    text: str = ""
    thought: str = ""
    calls: Sequence[CallPart] = ()


@dataclass(frozen=True)
class Extras:
    """What a question brings beside its messages: tools in OpenAI's shape, and whether to think (None: as it is usual)."""

    tools: Sequence[Mapping[str, Any]] = ()
    thinking: bool | None = None


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
        """The server has begun to answer, and may have said who does."""
        self.model = unquote(response.headers.get("x-model", ""))
        self._line = response.extensions["network_stream"].get_extra_info("socket")
        self.begun.set()
        if self._hung_up:
            self.hang_up()


def ask(
    url: str,
    model: str,
    messages: Sequence[Mapping[str, Any]],
    sampling: Sampling | None = None,
    key: str | None = None,
    call: Call | None = None,
) -> Generator[str, None, Ending]:
    """The answer's text as it comes; its ending is the generator's return value. Closing the generator stops the server."""
    with closing(parts(url, model, messages, sampling, key, call)) as heard:
        while True:
            try:
                part = next(heard)
            except StopIteration as ended:
                ending: Ending = ended.value
                return ending
            if part.text:
                yield part.text


def parts(
    url: str,
    model: str,
    messages: Sequence[Mapping[str, Any]],
    sampling: Sampling | None = None,
    key: str | None = None,
    call: Call | None = None,
    extras: Extras | None = None,
) -> Generator[Part, None, Ending]:
    """The same with thoughts and calls of tools, each apart."""
    request = {
        "model": model,
        "messages": list(messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        **_fields(sampling or NEUTRAL, extras or Extras()),
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
                part = _part(choice.get("delta") or {})
                if part != Part():
                    yield part
    return ending


def _part(delta: Mapping[str, Any]) -> Part:
    """What a delta adds; servers call a thought by one of two names."""
    calls = [_call_part(at, one) for at, one in enumerate(_objects(delta.get("tool_calls")))]
    thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
    return Part(str(delta.get("content") or ""), thought if isinstance(thought, str) else "", tuple(calls))


def _call_part(at: int, one: Mapping[str, Any]) -> CallPart:
    function, index = one.get("function") or {}, one.get("index")
    said = (one.get("id"), function.get("name"), function.get("arguments"))
    return CallPart(index if isinstance(index, int) else at, *(str(words or "") for words in said))


def _objects(value: Any) -> Iterable[Mapping[str, Any]]:
    return (one for one in value if isinstance(one, Mapping)) if isinstance(value, list) else ()


def add_adapter(url: str, name: str, path: str, key: str | None = None) -> None:
    """Let a server of ours answer to one more name: what was trained in that folder of its workspace."""
    with _client(url, key) as (client, base):
        _check(client.post(f"{base}/load_lora_adapter", json={"lora_name": name, "lora_path": path}), base)


def model_names(url: str, key: str | None = None) -> list[str]:
    """The names that the server answers to, in its order."""
    with _client(url, key) as (client, base):
        response = client.get(f"{base}/models")
        _check(response, base)
        try:
            return [str(model["id"]) for model in response.json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(Say.not_openai(url=base, given=plain(response.text))) from error


def lets_in(url: str, key: str | None = None) -> bool:
    """Whether the server takes the key, or asks for none. One that does not answer soon has refused nothing."""
    try:
        with _client(url, key) as (client, base):
            return client.get(f"{base}/models", timeout=LOOK_S).status_code != 401
    except UserError:
        return True


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


def _fields(sampling: Sampling, extras: Extras) -> dict[str, Any]:
    """Under OpenAI's names, and vLLM's where OpenAI has none; what is not chosen is not sent."""
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.seed is not None:
        fields["seed"] = sampling.seed
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    values = vars(sampling)
    fields |= {name: values[name] for name in EXTRAS if values[name] != vars(NEUTRAL)[name]}
    if extras.tools:
        fields["tools"] = list(extras.tools)
    if extras.thinking is not None:
        fields["chat_template_kwargs"] = {"enable_thinking": extras.thinking}
    return fields


@contextmanager
def _client(url: str, key: str | None) -> Iterator[tuple[httpx.Client, str]]:
    """A client for one exchange; no proxy stands between this machine and itself. Its errors are in our words."""
    base = api_base(url)
    headers = {b"Authorization": f"Bearer {key}".encode()} if key else {}
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
