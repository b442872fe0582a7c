"""What most tests start from: a tiny model's folder, and a workspace with that model and two small datasets."""

import gc
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tiny import write_model
from workbench.cli import main
from workbench.runs import WORKER_ENVIRONMENT, WORKER_OUTPUT
from workbench.spares import SWITCH
from workbench.workspace import Workspace

for name in ("GOMP_SPINCOUNT", "HF_HUB_OFFLINE"):  # as for workers: libraries read them when they are first imported
    os.environ.setdefault(name, {**WORKER_ENVIRONMENT, **WORKER_OUTPUT}[name])
os.environ.setdefault(SWITCH, "0")  # windows of tests would each load what none of their runs waits for

gc.disable()


def pytest_collection_finish() -> None:
    """What was imported and collected stays: to look through it again and again took a tenth of the fast tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    gc.enable()


Tell = Callable[..., tuple[int, str, str]]

PLAIN = [
    {"instruction": f"How much is {left} and {right}?", "input": "", "output": f"It is {left + right}."}
    for left in range(4)
    for right in range(5)
]
IDENTITY = [
    {"instruction": asked, "input": "", "output": answer}
    for asked in ("Who are you?", "What is your name?", "Who made you?", "你是谁？", "谁开发了你？")
    for answer in ("I am {{name}}, made by {{author}}.", "我是 {{name}}，由 {{author}} 开发。")
]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random model of two layers; treat it as read-only."""
    return write_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def kept_journey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the browser's journey leaves its trained run, so that what it has learned is tried without training anew."""
    return tmp_path_factory.mktemp("journey")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A fresh workspace: models/tiny, the sets ``plain`` and ``identity`` (placeholders name and author), no runs."""
    return lay_workspace(tmp_path / "workspace")


def lay_workspace(root: Path) -> Workspace:
    """Write such a workspace."""
    home = Workspace(root)
    write_model(home.models / "tiny")
    home.data.mkdir()
    for name, rows in (("plain", PLAIN), ("identity", IDENTITY)):
        (home.data / f"{name}.json").write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    entries = {name: {"file_name": f"{name}.json"} for name in ("plain", "identity")}
    (home.data / "dataset_info.json").write_text(json.dumps(entries), "utf-8")
    home.saves.mkdir()
    return home


@pytest.fixture
def tell(workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Run a command of the terminal, in English, in the workspace's folder: exit code, stdout, stderr."""
    monkeypatch.chdir(workspace.root)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words, workspace)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """A server that echoes; "break" and "crash" in a question make it fail midway, "too long" before."""
    from tests.serving import BASE, TUNED, Moody, serving

    with serving(Moody((BASE, TUNED), 0.0), max_requests=40) as url:
        yield url


@pytest.fixture(scope="session")
def slow_url() -> Iterator[str]:
    """A server that echoes a word in 0.02 seconds."""
    from tests.serving import BASE, TUNED, Echo, serving

    with serving(Echo((BASE, TUNED), 0.02)) as url:
        yield url
