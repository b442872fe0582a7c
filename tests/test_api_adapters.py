"""Adapters that come and go while the server runs, and who may let them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving import BASE, KEY, TUNED, post, send, serving
from workbench.engines.echo import Echo
from workbench.problems import UserError
from workbench.text import Text

LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"


class Say:
    nothing = Text("Nothing at '{given}'.")


def find(name: str, given: str) -> Path:
    if "run" not in given:
        raise UserError(Say.nothing(given=given), key="lora_path")
    return Path("/saves") / given


def named(url: str) -> list[str]:
    answer: Any = httpx.get(f"{url}/v1/models", trust_env=False, verify=False).json()
    return [one["id"] for one in answer["data"]]


@pytest.fixture(scope="module")
def kept() -> Iterator[str]:
    """A server whose adapters stay as they are."""
    with serving(Echo((BASE, TUNED), 0.0), adapter=find, base_name="Tiny") as url:
        yield url


def test_they_come_and_go_by_name() -> None:
    with serving(Echo((BASE,), 0.0), adapter=find, any_model_name=False) as url:
        assert post(url, model="my run").status_code == 404
        loaded = send(url, LOAD, {"lora_name": "my run"})
        assert (loaded.status_code, loaded.json()["models"]) == (200, [BASE, "my run"])
        assert send(url, LOAD, {"lora_name": TUNED, "lora_path": "saves/run"}).status_code == 200
        assert named(url) == [BASE, "my run", TUNED]
        assert post(url, model="my run").json()["choices"][0]["message"]["content"] == "my run: hi there"
        assert send(url, UNLOAD, {"lora_name": "my run"}).json()["models"] == [BASE, TUNED]
        assert post(url, model="my run").status_code == 404
        assert post(url, model=TUNED).status_code == 200


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    (LOAD, {"lora_name": TUNED, "lora_path": "run"}, 400, "is a model"),
    (LOAD, {"lora_name": BASE, "lora_path": "run"}, 400, "is a model"),
    (LOAD, {"lora_name": "Tiny", "lora_path": "run"}, 400, "is a model"),
    (LOAD, {"lora_name": "x", "lora_path": "/etc"}, 400, "Nothing at '/etc'"),
    (LOAD, {"lora_name": ""}, 400, "at least 1 character"),
    (LOAD, {"lora_name": "run\n"}, 400, "is no name for a model"),
    (LOAD, {"lora_path": "run"}, 400, "'lora_name' is missing"),
    (UNLOAD, {"lora_name": "x"}, 404, "no adapter 'x' here"),
    (UNLOAD, {"lora_name": BASE}, 400, "is the base itself"),
    (UNLOAD, {"lora_name": "Tiny"}, 400, "is the base itself"),
]


@pytest.mark.parametrize(("path", "body", "status", "words"), REFUSED, ids=[f"{r[0][4:]} {r[1]}" for r in REFUSED])
def test_what_is_refused(kept: str, path: str, body: dict[str, Any], status: int, words: str) -> None:
    response = send(kept, path, body)
    assert (response.status_code, words in response.json()["error"]["message"]) == (status, True), response.text
    assert named(kept) == [BASE, TUNED]


def test_pages_elsewhere_change_nothing_without_a_key() -> None:
    with serving(Echo((BASE,), 0.0), adapter=find) as url:
        for path in (LOAD, UNLOAD):
            for origin in ("https://chat.example", "null", "http://[", "http://127.0.0.1.example"):
                refused = send(url, path, {"lora_name": "run"}, Origin=origin)
                assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
        assert send(url, LOAD, {"lora_name": "run"}, Origin="http://localhost:7860").status_code == 200
    with serving(Echo((BASE,), 0.0), KEY, adapter=find) as url:
        assert send(url, LOAD, {"lora_name": "run"}).status_code == 401
        body = {"lora_name": "run"}
        headers = {b"Authorization": b"Bearer " + KEY.encode(), b"Origin": b"https://chat.example"}
        allowed = httpx.post(f"{url}{LOAD}", json=body, headers=headers, trust_env=False, verify=False)
        assert allowed.status_code == 200
