"""A crowd at the API: 200 requests at once, a third leave midway, a tenth is malformed; five rounds, memory in numbers."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import lay_workspace
from workbench import runs
from workbench.runs import Run
from workbench.specs import ServeSpec, read_flat
from workbench.workspace import Workspace

pytestmark = pytest.mark.slow

CROWD, ROUNDS = 200, 5
READY_S, ROUND_S = 90, 240
GROWTH = 1.05
"""Memory after the last round over that after the second: by then every buffer has its size."""
MALFORMED: list[bytes] = [b"{", b"[]", b'{"messages": []}', b'{"messages": "x"}', b'{"messages": [{"role": "user", "content": 5}]}',
                          b'{"messages": [{"role": "user", "content": "q"}], "n": 0}', b"\xff\xfe", b"null"]  # fmt: skip


@dataclass
class Tally:
    """What became of a round."""

    outcomes: Counter[str]
    seconds: float
    memory_mb: float


@contextmanager
def served(workspace: Workspace, **values: Any) -> Iterator[tuple[Run, str]]:
    """A server in a process of its own."""
    run = runs.create(workspace, read_flat(ServeSpec, {"model_name_or_path": "models/tiny", **values}).unwrap())
    run.start()
    try:
        deadline = time.monotonic() + READY_S
        while (view := run.view()).ready is None:
            assert view.ended is None and time.monotonic() < deadline, f"{view.ended} {run.log_tail()}"
            time.sleep(0.1)
        yield run, view.ready.url
    finally:
        run.stop()
        if run.wait(10) == "running":
            run.kill()


async def one(client: httpx.AsyncClient, number: int, expected: dict[str, str]) -> str:
    """Be one of the crowd: what became of it."""
    place = number * 37 % CROWD
    if place < CROWD // 10:
        response = await client.post("/v1/chat/completions", content=MALFORMED[place % len(MALFORMED)])
        return "refused" if response.status_code == 400 and response.json()["error"]["message"] else "wrong"
    stream = number % 2 == 0
    word = f"question {number % 7}"
    body = {"model": "base", "messages": [{"role": "user", "content": word}], "temperature": 0, "max_tokens": 16, "stream": stream}
    if place < CROWD // 10 + CROWD // 3:
        return await leave(client, body)
    if not stream:
        response = await client.post("/v1/chat/completions", json=body)
        text = response.json()["choices"][0]["message"]["content"] if response.status_code == 200 else response.text
        return "right" if text == expected[word] else f"wrong: {response.status_code} {text[:80]}"
    text = ""
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    text += choice["delta"].get("content") or ""
    return "right" if text == expected[word] else f"wrong: {response.status_code} {text[:80]}"


async def leave(client: httpx.AsyncClient, body: dict[str, Any]) -> str:
    """Go before the answer is whole: at once, or after its first part."""
    try:
        if not body["stream"]:
            await client.post("/v1/chat/completions", json={**body, "max_tokens": 64}, timeout=httpx.Timeout(60, read=0.05))
            return "answered before it left"
        async with client.stream("POST", "/v1/chat/completions", json={**body, "max_tokens": 64}) as response:
            async for _ in response.aiter_bytes():
                break
    except (httpx.ReadTimeout, httpx.RemoteProtocolError):
        pass
    return "left"


async def crowd(url: str, expected: dict[str, str]) -> Counter[str]:
    limits = httpx.Limits(max_connections=CROWD, max_keepalive_connections=0)
    headers = {"Content-Type": "application/json"}
    async with httpx.AsyncClient(
        base_url=url, limits=limits, timeout=ROUND_S, headers=headers, trust_env=False, verify=False
    ) as client:
        return Counter(await asyncio.gather(*(one(client, number, expected) for number in range(CROWD))))


def alone(url: str) -> dict[str, str]:
    """What each question is answered when nobody else asks."""
    found = {}
    for number in range(7):
        word = f"question {number}"
        body = {"model": "base", "messages": [{"role": "user", "content": word}], "temperature": 0, "max_tokens": 16}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60, trust_env=False, verify=False)
        found[word] = answer.json()["choices"][0]["message"]["content"]
    return found


def idle(url: str, patience_s: float) -> bool:
    """Whether every place is free again within so many seconds."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if httpx.get(f"{url}/health", trust_env=False, verify=False).json()["active"] == 0:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("values", [
    {"infer_backend": "echo", "echo_delay": 0.05},
    {"infer_backend": "transformers"},
], ids=["echo", "transformers"])  # fmt: skip
def test_a_crowd_is_answered_and_leaves_nothing_behind(
    tmp_path: Path, values: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    # In a thread of its own: a browser of the tests before may hold this one's event loop.
    apart = ThreadPoolExecutor(1)
    with served(lay_workspace(tmp_path / "workspace"), **values) as (run, url), apart:
        started = run.view().started
        assert started is not None
        process, expected, tallies = psutil.Process(started.pid), alone(url), list[Tally]()
        for _ in range(ROUNDS):
            began = time.monotonic()
            outcomes = apart.submit(asyncio.run, crowd(url, expected)).result()
            seconds = time.monotonic() - began
            assert idle(url, 5), "a place is still taken"
            tallies.append(Tally(outcomes, seconds, process.memory_info().rss / 2**20))
        with capsys.disabled():
            for number, tally in enumerate(tallies, 1):
                print(f"\nround {number}: {tally.seconds:.1f} s, {tally.memory_mb:.1f} MB, {dict(tally.outcomes)}", end="")
        for tally in tallies:
            assert set(tally.outcomes) <= {"right", "refused", "left", "answered before it left"}
            assert tally.outcomes["refused"] == CROWD // 10
            assert tally.outcomes["right"] >= CROWD // 2
        assert tallies[-1].memory_mb < GROWTH * tallies[1].memory_mb
        assert alone(url) == expected
        assert process.num_threads() < 60
    assert run.state() == "stopped"
