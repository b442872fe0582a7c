"""Questions to a server over HTTP, with answers as streams of events, that can be given up at any time.

Knows no engine, and nothing of what is asked.
"""

import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import httpx

from workbench.problems import UserError
from workbench.text import Text, verbatim

CONNECT_S, SILENCE_S, LOOK_S = 10.0, 600.0, 0.05
"""A server may be silent for long: it may have others to answer first, and a long prompt takes its time."""
GULP_S, AT_ONCE_S = 0.01, 0.0005
"""Of what comes word by word so much is read at once, since each reading costs as much as a small model's token."""
DONE = "[DONE]"


class Say:
    refused = Text("{name} answered with status {status}: {reason}")
    cut_off = Text("{name} ended in the middle of its answer ({reason}). Ask again; load it again if needed.")
    no_answer = Text("{name} does not answer at {url} ({reason}). Accepted: one that runs. Start it, or mend the address.")
    not_json = Text("What {name} answers is no JSON: {given}. Accepted: a server that speaks OpenAI's API. Mend the address.")


class Gone(Exception):
    """Nobody waits for the answer any more."""


class Wire:
    """One server, asked by many threads."""

    def __init__(self, name: str, url: str, key: str | None = None) -> None:
        self._name, self._url = name, url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # A connection for each question: what is cut is nobody else's.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
        own = httpx.URL(self._url).host in ("127.0.0.1", "localhost", "::1")  # a proxy has no business there
        self._client = httpx.Client(headers=headers, limits=limits, timeout=timeout, trust_env=not own)

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return self._whole("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON that a question is answered with."""
        return self._whole("POST", path, body)

    def tell(self, path: str, body: Mapping[str, Any]) -> None:
        """Ask for something whose answer is no more than yes."""
        try:
            response = self._client.post(f"{self._url}{path}", json=body)
        except httpx.HTTPError as error:
            raise self._trouble(error) from error
        if response.status_code != 200:
            raise self._refusal(response)

    def healthy(self, path: str) -> bool:
        """Whether the path is answered with 200."""
        try:
            return self._client.get(f"{self._url}{path}", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def events(self, path: str, body: Mapping[str, Any], gone: Callable[[], bool]) -> Iterator[Any]:
        """The JSON of each event of a streamed answer, or the whole where the server does not stream.

        Gone when ``gone()`` comes true, within LOOK_S; the connection is closed then, which tells the server.
        """
        said: queue.SimpleQueue[Any] = queue.SimpleQueue()
        line = _Line()
        reader = threading.Thread(target=self._read, args=(path, body, said, line), daemon=True)
        reader.start()
        try:
            while True:
                if gone():
                    raise Gone
                try:
                    event = said.get(timeout=LOOK_S)
                except queue.Empty:
                    continue
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            line.hang_up()

    def close(self) -> None:
        self._client.close()

    def _read(self, path: str, body: Mapping[str, Any], said: "queue.SimpleQueue[Any]", line: "_Line") -> None:
        """In a thread of its own: everything that comes, and None at the end; or the error that ended it."""
        try:
            seen = {"trace": line.see}
            with self._client.stream("POST", f"{self._url}{path}", json=dict(body), extensions=seen) as response:
                if response.status_code != 200:
                    response.read()
                    said.put(self._refusal(response))
                elif "text/event-stream" in response.headers.get("content-type", ""):
                    self._read_events(response, said)
                else:
                    said.put(json.loads(response.read()))
        except (httpx.HTTPError, httpx.StreamError, RuntimeError) as error:  # httpx says RuntimeError of a closed client
            said.put(self._trouble(error))
        except ValueError as error:
            said.put(UserError(Say.not_json(name=self._name, given=str(error)[:200])))
        finally:
            said.put(None)  # whatever happens, nobody waits for ever

    def _read_events(self, response: httpx.Response, said: "queue.SimpleQueue[Any]") -> None:
        for text in _lines(response):
            kind, _, given = text.partition(":")
            if kind == "error":
                said.put(UserError(Say.refused(name=self._name, status=200, reason=verbatim(given.strip()[:400]))))
                return
            if kind == "data" and given.strip() == DONE:
                return
            if kind == "data":
                event = json.loads(given)
                if isinstance(event, dict) and event.get("error"):
                    reason = verbatim(_reason(event))
                    said.put(UserError(Say.refused(name=self._name, status=200, reason=reason)))
                    return
                said.put(event)

    def _whole(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        try:
            response = self._client.request(method, f"{self._url}{path}", json=body)
        except httpx.HTTPError as error:
            raise self._trouble(error) from error
        if response.status_code != 200:
            raise self._refusal(response)
        try:
            return response.json()
        except ValueError as error:
            raise UserError(Say.not_json(name=self._name, given=response.text[:200])) from error

    def _refusal(self, response: httpx.Response) -> UserError:
        try:
            reason = _reason(response.json())
        except ValueError:
            reason = response.text[:400]
        return UserError(Say.refused(name=self._name, status=response.status_code, reason=verbatim(reason)))

    def _trouble(self, error: Exception) -> UserError:
        reason = str(error) or type(error).__name__
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return UserError(Say.no_answer(name=self._name, url=self._url, reason=reason))
        return UserError(Say.cut_off(name=self._name, reason=reason))


class _Line:
    """The connection of one question, so that another thread may cut it also while nothing comes."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._cut = False
        self._lock = threading.Lock()

    def see(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore tells of every step of a question; a connection is there long before the first word of an answer."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
                if self._cut:
                    self._shut()

    def hang_up(self) -> None:
        with self._lock:
            self._cut = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it was closed already
                self._socket.shutdown(socket.SHUT_RDWR)


def _lines(response: httpx.Response) -> Iterator[str]:
    """The lines of a stream of events. Line feeds end them, and no other of Unicode's line ends, which models write too."""
    held, asked = "", time.perf_counter()
    for text in response.iter_text():
        waited = time.perf_counter() - asked > AT_ONCE_S
        *lines, held = (held + text).split("\n")
        yield from lines
        if waited:
            time.sleep(GULP_S)
        asked = time.perf_counter()
    if held:
        yield held


def _reason(told: Any) -> str:
    """The words of an error object of OpenAI's shape, or of others."""
    error = told.get("error", told) if isinstance(told, dict) else told
    message = error.get("message", error) if isinstance(error, dict) else error
    return str(message)[:400]
