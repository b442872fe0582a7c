"""A serve run as a process of its own: Ready, answers, Stop, and what it says when it can't begin. Echo: nothing is loaded."""

import shutil
import socket
import time
from typing import Any

import psutil
import pytest

from workbench import runs
from workbench.events import Failed, Ready
from workbench.problems import UserError
from workbench.runs import Run
from workbench.specs import ServeSpec, read_flat
from workbench.talk import ask, model_names
from workbench.workspace import Workspace

USER = [{"role": "user", "content": "who are you"}]


def start(workspace: Workspace, **values: Any) -> Run:
    given = {"model_name_or_path": "models/tiny", "infer_backend": "echo", **values}
    run = runs.create(workspace, read_flat(ServeSpec, given).unwrap())
    run.start()
    return run


def wait_ready(run: Run, patience_s: float = 20) -> Ready:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and (view := run.view()).ended is None:
        if view.ready is not None:
            return view.ready
        time.sleep(0.05)
    raise AssertionError(f"{run.view().ended} {run.log_tail()}")


def test_it_answers_until_it_is_stopped(workspace: Workspace) -> None:
    run = start(workspace)
    ready = wait_ready(run)
    assert list(ready.models) == ["base"] == model_names(ready.url)
    assert "".join(ask(ready.url, "base", USER)) == "base: who are you"
    assert run.state() == "running"
    assert run.view().phase.name == "serving"
    run.stop()
    assert run.wait(5) == "stopped"
    with pytest.raises(UserError, match="No server answers"):
        model_names(ready.url)


def test_it_ends_when_its_folder_is_gone(workspace: Workspace) -> None:
    run = start(workspace)
    ready = wait_ready(run)
    started = run.view().started
    assert started is not None
    shutil.rmtree(run.folder)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _alive(started.pid):
        time.sleep(0.05)
    assert not _alive(started.pid)
    with pytest.raises(UserError, match="No server answers"):
        model_names(ready.url)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_is_in_its_way_stands_beside_its_field(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("API_KEY", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        cases = {
            "api_port": ({"api_port": taken.getsockname()[1]}, "is taken by another program"),
            "api_host": ({"api_host": "0.0.0.0"}, "no key is set"),
            "adapter_name_or_path": ({"adapter_name_or_path": "saves/none"}, "no adapter_config.json"),
            "template": ({"template": "no-such"}, "No chat template named 'no-such'"),
        }
        begun = {key: start(workspace, **values) for key, (values, _) in cases.items()}
        for key, (_, words) in cases.items():
            assert begun[key].wait(20) == "failed"
            ended = begun[key].view().ended
            assert isinstance(ended, Failed)
            assert [(problem.key, words in str(problem.message)) for problem in ended.problems] == [(key, True)]


def test_with_a_key_it_serves_other_machines(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "open sesame")
    run = start(workspace, api_host="0.0.0.0")
    ready = wait_ready(run)
    assert ready.url.startswith("http://127.0.0.1:")
    with pytest.raises(UserError, match="refused the key"):
        model_names(ready.url)
    assert "".join(ask(ready.url, "base", USER, key="open sesame")) == "base: who are you"
    run.stop()
    assert run.wait(5) == "stopped"
