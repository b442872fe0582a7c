"""Servers to be measured, ours and LLaMA-Factory's: started, asked, watched, ended. Knows no table and no figure of theirs."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from workbench import runs
from workbench.models import load_tokenizer
from workbench.ports import free_port
from workbench.specs import ServeSpec, read_flat
from workbench.workspace import Workspace

HOST, ANY_PORT = "127.0.0.1", 0
READY_S, ANSWER_S, LOOK_S, END_S = 300.0, 900.0, 0.2, 10.0
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
"""Said aloud, since the templates of both have it a little otherwise."""


@dataclass(frozen=True)
class Way:
    """One way to serve."""

    name: str
    values: Mapping[str, Any]
    rivals: str = ""
    """What the names of those begin with that it is held against; empty: it is the peer's."""
    environment: Mapping[str, str] = field(default_factory=dict)
    streams: Sequence[int] = (1, 8)
    """How many at once it is asked for."""


@dataclass(frozen=True)
class Heard:
    """One answer: seconds until its first words, and how many tokens it has."""

    first_s: float
    tokens: int


@dataclass(frozen=True)
class Server:
    """One that answers: a client of it, its first process, and what counts the tokens of a text."""

    client: httpx.Client
    process: psutil.Process
    count: Callable[[str], int]

    def ask_all(self, prompts: Sequence[str], tokens: int, streams: int) -> list[Heard]:
        """All answers, so many at the same time."""
        with ThreadPoolExecutor(streams) as pool:
            return list(pool.map(lambda words: self.ask(words, tokens), prompts))

    def ask(self, words: str, tokens: int) -> Heard:
        """One streamed answer; its tokens as the server counts them, else as the tokenizer does."""
        chat = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": words}]
        drawn = {"temperature": 0, "do_sample": False, "max_tokens": tokens, "ignore_eos": True}
        asked = {"model": "base", "messages": chat, **drawn, "stream": True, "stream_options": {"include_usage": True}}
        text, first_s, counted, began = "", 0.0, 0, time.perf_counter()
        with self.client.stream("POST", "/v1/chat/completions", json=asked) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                said, told = part(line)
                if said and not text:
                    first_s = time.perf_counter() - began
                text, counted = text + said, told or counted
        return Heard(first_s, counted or self.count(text))


def part(line: str) -> tuple[str, int]:
    """What a line of a stream says: words, and the number of tokens where it is told."""
    data = line.removeprefix("data:").strip()
    if data == line.strip() or data == "[DONE]":
        return "", 0
    event = json.loads(data)
    words = "".join(choice["delta"].get("content") or "" for choice in event.get("choices") or [])
    return words, (event.get("usage") or {}).get("completion_tokens", 0)


@contextmanager
def opened(way: Way, home: Workspace, program: Path) -> Iterator[Server]:
    """The server of a way, which answers, until the block ends. ``program``: the peer's command."""
    model = next(home.models.iterdir())
    tokenizer = load_tokenizer(model, False)
    begun = ours(way, home, model.name) if way.rivals else theirs(way, home, model.name, program)
    with begun as (url, pid), client_of(url) as client:
        yield Server(client, psutil.Process(pid), lambda text: len(tokenizer.encode(text, add_special_tokens=False)))


def client_of(url: str) -> httpx.Client:
    """One for all questions: making one takes longer than a first word."""
    return httpx.Client(base_url=url, timeout=ANSWER_S, trust_env=False)


@contextmanager
def ours(way: Way, home: Workspace, model: str) -> Iterator[tuple[str, int]]:
    run = runs.create(home, read_flat(ServeSpec, {"model_name_or_path": f"models/{model}", **way.values}).unwrap())
    run.start()
    try:
        wait(lambda: run.view().ready is not None, lambda: run.view().ended is not None, run.log_tail)
        view = run.view()
        assert view.ready is not None and view.started is not None
        yield view.ready.url, view.started.pid
    finally:
        run.stop()
        if run.wait(END_S) == "running":
            run.kill()


@contextmanager
def theirs(way: Way, home: Workspace, model: str, program: Path) -> Iterator[tuple[str, int]]:
    port, log = free_port(HOST, ANY_PORT)[0], home.root / "peer.log"
    told = {"API_HOST": HOST, "API_PORT": str(port), "API_VERBOSE": "0", "HF_HUB_OFFLINE": "1", **way.environment}
    values = {"model_name_or_path": f"models/{model}", "template": "smollm2", **way.values}
    words = [str(program), "api", *(word for key, value in values.items() for word in (f"--{key}", str(value)))]
    with log.open("wb") as out:
        process = psutil.Popen(words, cwd=home.root, env={**os.environ, **told}, stdout=out, stderr=subprocess.STDOUT)
    url = f"http://{HOST}:{port}"
    try:
        wait(lambda: answers(f"{url}/v1/models"), lambda: process.poll() is not None, lambda: log.read_text("utf-8", "replace"))
        yield url, process.pid
    finally:
        for one in family(process):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


def answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def wait(ready: Callable[[], bool], ended: Callable[[], bool], log: Callable[[], str]) -> None:
    """Until it is ready; SystemExit with its last words when it ends or takes too long."""
    deadline = time.monotonic() + READY_S
    while not ready():
        if ended() or time.monotonic() > deadline:
            raise SystemExit(f"A server did not come up:\n{log()[-3000:]}")
        time.sleep(LOOK_S)


@contextmanager
def watched(process: psutil.Process) -> Iterator[list[int]]:
    """Bytes that the process and all below it hold in main memory, looked at again and again inside the block."""
    seen, over = [held(process)], threading.Event()

    def look() -> None:
        while not over.wait(LOOK_S):
            seen.append(held(process))

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield seen
    finally:
        over.set()
        watch.join()


def held(process: psutil.Process) -> int:
    found = 0
    for one in family(process):
        with suppress(psutil.NoSuchProcess):
            found += one.memory_info().rss
    return found


def family(process: psutil.Process) -> list[psutil.Process]:
    """The process and all below it; none when it has ended."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
