"""A window of the workbench in a process of its own, on a fresh workspace, and Chromium before it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.chromium import installed
from tests.tiny import write_model
from workbench.runs import list_runs
from workbench.workspace import Workspace, source_folder

expect.set_options(timeout=30_000)
ARTEFACTS = source_folder() / "test-artefacts"
OPEN = """
import sys
from pathlib import Path
from workbench.ui.window import open_window
from workbench.runs import list_runs
from workbench.workspace import Workspace
open_window(Workspace(Path(sys.argv[1])), port=int(sys.argv[2]), lang="en", browser=False)
"""


@dataclass
class Window:
    """A running window: its address, its workspace, and its process."""

    workspace: Workspace
    url: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End the process as a power cut would."""
        self.process.kill()
        self.process.wait()


def open_process(workspace: Workspace, port: int, modules: Path | None = None) -> Window:
    """A new window on the workspace, ready to answer; its processes find Python's modules in ``modules`` first."""
    log = (workspace.root / "window.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-c", OPEN, str(workspace.root), str(port)],
        cwd=source_folder(),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(one) for one in (modules, source_folder()) if one)},
    )
    log.close()
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return Window(workspace, url, process)
        except httpx.TransportError:
            time.sleep(0.2)
    process.kill()
    raise AssertionError(f"no answer from {url}: {(workspace.root / 'window.log').read_text()[-2000:]}")


def free_port() -> int:
    """A port that nobody holds now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    """A workspace with our demo data, the starter model and a tiny one, and no runs."""
    return lay_home(tmp_path / "workspace")


def lay_home(root: Path) -> Workspace:
    """Write such a workspace."""
    workspace = Workspace(root)
    shutil.copytree(source_folder() / "data", workspace.data)
    workspace.models.mkdir()
    write_model(workspace.models / "tiny")
    starter = source_folder() / "models" / "SmolLM2-135M-Instruct"
    assert starter.is_dir(), "run ./test.sh once: it makes the starter model"
    (workspace.models / starter.name).symlink_to(starter)
    workspace.saves.mkdir()
    return workspace


@pytest.fixture
def window(home: Workspace) -> Iterator[Window]:
    opened = open_process(home, free_port())
    yield opened
    opened.kill()
    for served in list_runs(home, "serve"):
        served.kill()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Window]:
    """The window that the tests of a module share: to open one takes longer than most tests."""
    opened = open_process(lay_home(tmp_path_factory.mktemp("shared") / "workspace"), free_port())
    yield opened
    opened.kill()


@pytest.fixture
def shared(opened: Window) -> Iterator[Window]:
    """That window without runs; what a test started ends with it. For tests that leave data, models and process alone."""
    yield opened
    for served in list_runs(opened.workspace, "serve"):
        served.kill()
    for run in [*list_runs(opened.workspace), *list_runs(opened.workspace, "evaluate")]:
        if run.state() == "running":
            run.kill()
    shutil.rmtree(opened.workspace.saves)
    opened.workspace.saves.mkdir()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=installed(),
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """``visit(url, locale=...)``: a visitor with a browser of its own; fails on script errors and outside requests."""
    contexts, wrong = [], []

    def open_page(url: str, locale: str = "en-US", width: int = 1440, height: int = 900, dark: bool = False) -> Page:
        context = chromium.new_context(
            locale=locale, viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
        page.on("request", lambda request: _note_outside(request.url, wrong))
        page.goto(url)
        page.wait_for_selector("#live .live > *")
        page.wait_for_selector("#plan .plan")
        page.wait_for_selector("#field-dataset .token")  # what a visitor finds has arrived, and undoes nothing any more
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def _note_outside(url: str, wrong: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1", "data:", "blob:")):
        wrong.append(f"outside request: {url}")


def picture(page: Page, name: str) -> Path:
    """A screenshot among the test artefacts."""
    ARTEFACTS.mkdir(exist_ok=True)
    path = ARTEFACTS / f"{name}.png"
    page.screenshot(path=path)
    return path
