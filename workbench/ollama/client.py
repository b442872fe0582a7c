"""A client of a running Ollama: its version, a model created in it from files, one question. Knows no folder of an export."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from workbench.fields import plain
from workbench.ollama.modelfile import About
from workbench.ports import is_loopback
from workbench.problems import UserError
from workbench.text import Text, verbatim

OLDEST = (0, 5, 5)
"""The first version that takes a model's files by their checksums."""
CHUNK = 1 << 20
CONNECT_S = 5.0
ANSWER_S = 60.0
"""So long for what takes no work; a large model's head is read for it."""
SILENCE_S = 1800.0
"""So long it may be silent: while it converts or first loads a large model it says nothing."""
NUM_TOKENS = 64
Told = Callable[[int, int], None]


class Say:
    bad_url = Text("'{given}' is no address of Ollama. Accepted: such as http://127.0.0.1:11434. Mend it.")
    silent = Text(
        "No Ollama answers at {url} ({reason}). Accepted: a running one. Start Ollama, or empty 'Create in Ollama'; the "
        "Modelfile in the export's folder does the same later."
    )
    stranger = Text("What answers at {url} is not Ollama. Accepted: the address of an Ollama. Mend it.")
    old = Text("Ollama at {url} has version {given}. Accepted: {oldest} or newer. Update it.")
    full = Text("Ollama at {url} has no room left on its disk for {file}. Accepted: more room. Delete something there.")
    refused = Text("Ollama at {url} answered: {reason}")
    broken = Text("Ollama at {url} broke off ({reason}). Look at its log and whether its disk is full, then try again.")


class Ollama:
    """One Ollama by its address."""

    def __init__(self, url: str) -> None:
        self.url = _checked(url)

    def version(self) -> str:
        """What it says of its version; UserError when there is none, or too old a one."""
        with self._client() as client:
            try:
                given = client.get("/api/version", timeout=CONNECT_S).json()["version"]
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(Say.stranger(url=self.url), key="ollama_url") from error
        numbers = tuple(int(one) for one in re.findall(r"\d+", str(given))[:3])
        if (0, 0, 0) != numbers < OLDEST:  # what is built from source calls itself 0.0.0
            raise UserError(Say.old(url=self.url, given=plain(str(given)), oldest=".".join(map(str, OLDEST))), key="ollama_url")
        return str(given)

    def has(self, name: str) -> bool:
        """Whether it has a model of that name."""
        with self._client() as client:
            response = client.post("/api/show", json={"model": name}, timeout=ANSWER_S)
            if response.status_code == httpx.codes.NOT_FOUND:
                return False
            self._read(response)
            return True

    def create(self, name: str, files: Mapping[str, Path], adapters: Mapping[str, Path], about: About, told: Told) -> None:
        """Make a model of files and adapters, by the names it shall know them under; it takes the place of one of that name.

        ``told`` hears bytes done of all: each is counted when it was summed up and when Ollama has it. It may raise to end it.
        """
        everything = {**files, **adapters}
        total, done = 2 * sum(path.stat().st_size for path in everything.values()), 0

        def moved(num_bytes: int) -> None:
            nonlocal done
            done += num_bytes
            told(done, total)

        digests = {key: _digest(path, moved) for key, path in everything.items()}
        with self._client() as client:
            for key, path in everything.items():
                self._bring(client, path, digests[key], moved)
            body: dict[str, Any] = {"model": name, "template": about.template, "parameters": about.options()}
            body |= {"files": {key: digests[key] for key in files}} if files else {}
            body |= {"adapters": {key: digests[key] for key in adapters}} if adapters else {}
            body |= {"system": about.system} if about.system else {}
            body |= {"license": list(about.licences)} if about.licences else {}
            self._make(client, body, lambda: told(done, total))

    def ask(self, name: str, messages: list[dict[str, str]], num_tokens: int = NUM_TOKENS) -> str:
        """The greedy answer, or the thought where it came to nothing more."""
        options = {"temperature": 0, "num_predict": num_tokens, "seed": 0}
        body = {"model": name, "messages": messages, "stream": False, "options": options}
        with self._client() as client:
            answer = self._read(client.post("/api/chat", json=body))
        said = answer.get("message", {})
        return str(said.get("content") or said.get("thinking") or "")

    def _bring(self, client: httpx.Client, path: Path, digest: str, moved: Callable[[int], None]) -> None:
        """Give it a file that it does not have."""
        size, at = path.stat().st_size, f"/api/blobs/{digest}"
        if client.head(at).status_code == httpx.codes.OK:
            moved(size)
            return
        response = client.post(at, content=_pieces(path, moved), headers={"Content-Length": str(size)})
        self._read(response, path.name)

    def _make(self, client: httpx.Client, body: Mapping[str, Any], alive: Callable[[], None]) -> None:
        """Let it make the model of what it has, and follow what it says."""
        last = ""
        with client.stream("POST", "/api/create", json=body) as response:
            if response.is_error:
                response.read()
                self._read(response)
            for line in response.iter_lines():
                said = _json(line)
                if "error" in said:
                    raise UserError(self._told_error(str(said["error"])), key="ollama_name")
                last = str(said.get("status", last))
                alive()
        if last != "success":
            raise UserError(Say.broken(url=self.url, reason=verbatim(last or "-")), key="ollama_url")

    def _read(self, response: httpx.Response, file: str = "") -> Mapping[str, Any]:
        """What a whole answer says; UserError with its reason where it is none."""
        said = _json(response.text)
        if response.is_error or "error" in said:
            reason = str(said.get("error") or response.text.strip()[:200] or response.status_code)
            raise UserError(self._told_error(reason, file), key="ollama_url")
        return said

    def _told_error(self, reason: str, file: str = "") -> Any:
        if "no space left" in reason or "not enough space" in reason:
            return Say.full(url=self.url, file=file or "-")
        return Say.refused(url=self.url, reason=verbatim(plain(reason)))

    @contextmanager
    def _client(self) -> Iterator[httpx.Client]:
        """A connection; what goes wrong with it becomes words."""
        timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
        own = is_loopback(urlsplit(self.url).hostname or "")
        with httpx.Client(base_url=self.url, timeout=timeout, trust_env=not own) as client:
            try:
                yield client
            except httpx.ConnectError as error:
                raise UserError(Say.silent(url=self.url, reason=verbatim(str(error))), key="ollama_url") from error
            except httpx.HTTPError as error:
                raise UserError(Say.broken(url=self.url, reason=verbatim(str(error))), key="ollama_url") from error


def _checked(url: str) -> str:
    """The address as it is used; UserError when it is none."""
    given = url.strip() if "://" in url else f"http://{url.strip()}"
    try:
        parts = urlsplit(given)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise UserError(Say.bad_url(given=plain(url)), key="ollama_url")
    return given.rstrip("/")


def _digest(path: Path, moved: Callable[[int], None]) -> str:
    """The checksum under which Ollama keeps a file."""
    found = hashlib.sha256()
    for piece in _pieces(path, moved):
        found.update(piece)
    return f"sha256:{found.hexdigest()}"


def _pieces(path: Path, moved: Callable[[int], None]) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece
            moved(len(piece))


def _json(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
