"""A serve run as a process of its own: Ready, answers, Stop, and what it says when it can't begin. Echo: nothing is loaded."""

import shutil
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from workbench import runs
from workbench.api.shapes import BY_FAMILY
from workbench.desk import Desk
from workbench.events import Failed, Ready
from workbench.jobs.serve import find_adapter, read_keys, rules
from workbench.models import load_tokenizer
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_keys_stand_in_the_environment_and_in_a_file(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", " one, two ,,one")
    assert read_keys(workspace, "") == ["one", "two"]
    file = workspace.root / "keys.txt"
    file.write_text("\ufeffthree\r\n\n two\n", "utf-8")
    assert read_keys(workspace, "keys.txt") == ["one", "two", "three"]
    monkeypatch.delenv("API_KEY")
    assert read_keys(workspace, str(file)) == ["three", "two"]
    assert read_keys(workspace, "") == []
    file.write_text(" \n\n")
    for given, words in (("keys.txt", "holds none"), ("none.txt", "can't be read")):
        with pytest.raises(UserError, match=words) as caught:
            read_keys(workspace, given)
        assert caught.value.problems[0].key == "api_key_file"


def test_adapters_are_found_by_run_or_folder_inside_the_workspace_only(workspace: Workspace, tmp_path: Path) -> None:
    spec = read_flat(ServeSpec, {"model_name_or_path": "models/tiny", "infer_backend": "echo"}).unwrap()
    desk = Desk(runs.create(workspace, spec), None, False)
    inside, outside = workspace.saves / "tiny" / "lora" / "mine", tmp_path / "elsewhere"
    for folder in (inside, outside):
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
        (folder / "adapter_model.safetensors").write_bytes(b"")
    (inside / "spec.yaml").write_text("job: train\n")
    for given in ("mine", "tiny/lora/mine", "saves/tiny/lora/mine", str(inside)):
        assert find_adapter(spec, desk, "m", given) == inside.resolve()
    for given in (str(outside), "../elsewhere", "/etc", "none", "", ".", "a\0b", "x" * 5000):
        with pytest.raises(UserError, match="Nothing trained is found") as caught:
            find_adapter(spec, desk, "m", given)
        assert caught.value.problems[0].key == "lora_path"


def test_the_fields_of_serving_make_the_rules(workspace: Workspace) -> None:
    given = {"model_name_or_path": "models/tiny", "infer_backend": "echo", "template": "glm4"}
    spec = read_flat(ServeSpec, given).unwrap()
    desk = Desk(runs.create(workspace, spec), None, False)
    here, beyond = (rules(spec, desk, ["k"], local, []) for local in (True, False))
    assert (here.any_model_name, beyond.any_model_name) == (True, False)
    assert (list(here.allowed_origins()), list(beyond.allowed_origins())) == (["*"], [])
    assert here.shapes() == BY_FAMILY["glm4"]
    assert (here.base_name, here.max_requests, here.opens_thought(True)) == ("tiny", 256, False)
    more = {"any_model_name": True, "api_allowed_origins": "https://a, https://b", "api_max_requests": 5}
    chosen = rules(read_flat(ServeSpec, {**given, **more}).unwrap(), desk, [], False, [])
    assert (chosen.any_model_name, chosen.max_requests) == (True, 5)
    assert list(chosen.allowed_origins()) == ["https://a", "https://b"]


def test_a_template_that_begins_a_thought_is_seen(workspace: Workspace) -> None:
    spec = read_flat(ServeSpec, {"model_name_or_path": "models/tiny", "infer_backend": "echo"}).unwrap()
    desk = Desk(runs.create(workspace, spec), None, False)
    tokenizer = load_tokenizer(workspace.models / "tiny", False)
    assert not rules(spec, desk, [], True, [tokenizer]).opens_thought(None)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<think>\n' if enable_thinking is not false else '<think>\n\n</think>' }}{% endif %}"
    )
    opens = rules(spec, desk, [], True, [tokenizer]).opens_thought
    assert [opens(asked) for asked in (None, True, False)] == [True, True, False]
