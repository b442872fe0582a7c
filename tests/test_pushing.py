"""Pushing to a hub, with the hub's own library against a stand-in on the loopback; the token is told to nobody else."""

import base64
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from workbench import pushing
from workbench.problems import UserError

TOKEN = "hub-secret-0123456789"
OWN = ("proof.json", "export.json", "start.yaml", "start_api.sh", "start_chat.bat")
FILES = {"config.json": "{}", "model.safetensors": "weights", "inner/a.txt": "小"}


@dataclass
class Standing:
    """A hub that takes what it is given."""

    url: str = ""
    status: int = 200
    private: bool = True
    made: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Standing]:
    standing = Standing()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            standing.tokens.add(self.headers.get("Authorization", ""))
            self.answer(standing.status, self.heard(sent) if standing.status == 200 else {"error": f"no rights for {TOKEN}"})

        def heard(self, sent: bytes) -> Any:
            if self.path == "/api/repos/create":
                standing.made.append(json.loads(sent))
                return {"url": f"{standing.url}/me/mine"}
            if self.path.endswith("/preupload/main"):
                asked = json.loads(sent)["files"]
                return {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked]}
            for line in map(json.loads, sent.decode().splitlines()):
                if line["key"] == "file":
                    standing.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"]).decode()
            return {"commitUrl": "https://huggingface.co/me/mine/commit/0", "commitOid": "0" * 40}

        def do_GET(self) -> None:
            self.answer(200, {"id": "me/mine", "sha": "0" * 40, "siblings": [], "private": standing.private})

        def answer(self, status: int, what: Any) -> None:
            body = json.dumps(what).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    standing.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", standing.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield standing
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {**FILES, **dict.fromkeys(OWN, "ours")}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def test_every_file_but_the_workbenchs_own_is_sent_into_a_repository_of_ones_own(hub: Standing, folder: Path) -> None:
    assert pushing.push("huggingface", "me/mine", folder, private=True) == f"{hub.url}/me/mine"
    assert hub.files == FILES and hub.tokens == {f"Bearer {TOKEN}"}
    assert [(one["name"], one["organization"]) for one in hub.made] == [("mine", "me")]
    assert hub.made[0].get("private") is True or hub.made[0].get("visibility") == "private"


def test_nothing_is_sent_to_a_public_repository_when_a_private_one_was_asked_for(hub: Standing, folder: Path) -> None:
    hub.private = False
    with pytest.raises(UserError, match="not private") as caught:
        pushing.push("huggingface", "me/mine", folder, private=True)
    assert caught.value.problems[0].key == "export_hub_model_id" and hub.files == {}
    pushing.push("huggingface", "me/mine", folder, private=False)
    assert hub.files == FILES


def test_a_refusal_is_told_without_the_token(hub: Standing, folder: Path) -> None:
    hub.status = 403
    with pytest.raises(UserError) as caught:
        pushing.push("huggingface", "me/mine", folder, private=True)
    (problem,) = caught.value.problems
    assert problem.key == "export_hub_model_id" and TOKEN not in str(problem.message)
    assert "HF_TOKEN" in str(problem.message) and hub.files == {}


@pytest.mark.parametrize(("given", "token", "words"), [
    ("mine", TOKEN, "no repository"), ("me/mine", "", "a token is needed"), ("../x/y", TOKEN, "no repository")
])  # fmt: skip
def test_what_can_be_told_before_is_told_before(monkeypatch: pytest.MonkeyPatch, given: str, token: str, words: str) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    (problem,) = pushing.problems_of("huggingface", given)
    assert words in str(problem.message) and problem.key == "export_hub_model_id"


def test_modelscope_needs_its_library_and_goes_through_it(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", TOKEN)
    (problem,) = pushing.problems_of("modelscope", "me/mine")
    assert "modelscope_hub" in str(problem.message)
    calls: list[Any] = []

    class Taken(Exception):
        pass

    class HubApi:
        def __init__(self, **given: Any) -> None:
            calls.append(given)

        def create_repo(self, *given: Any, **more: Any) -> None:
            calls.append((given, more))
            raise Taken

        def get_repo(self, *given: Any) -> Any:
            return SimpleNamespace(visibility=shown)

        def upload_folder(self, *given: Any, **more: Any) -> None:
            calls.append((given, more))

    shown = 5
    package, errors = ModuleType("modelscope_hub"), ModuleType("modelscope_hub.errors")
    package.__dict__.update(HubApi=HubApi, Visibility=SimpleNamespace(PRIVATE=1))
    errors.__dict__.update(AlreadyExistsError=Taken, HubError=RuntimeError)
    monkeypatch.setitem(sys.modules, "modelscope_hub", package)
    monkeypatch.setitem(sys.modules, "modelscope_hub.errors", errors)
    monkeypatch.delenv("MODELSCOPE_ENDPOINT", raising=False)
    assert pushing.push("modelscope", "me/mine", folder, private=False) == "https://modelscope.cn/models/me/mine"
    assert calls[0] == {"endpoint": "https://modelscope.cn", "token": TOKEN}
    assert calls[1] == (("me/mine", "model"), {"visibility": "public"}) and calls[2][0] == ("me/mine", "model", folder)
    assert {"proof.json", "export.json", "start.yaml"} <= set(calls[2][1]["ignore_patterns"])
    calls.clear()
    with pytest.raises(UserError, match="not private"):
        pushing.push("modelscope", "me/mine", folder, private=True)
    assert len(calls) == 2
    shown = 1
    pushing.push("modelscope", "me/mine", folder, private=True)
    assert calls[-1][0] == ("me/mine", "model", folder)
