"""Gradio's scripts are changed in known places, and served so."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from tests.contracts.tree import ROOT
from workbench.ui.lean import ASSETS, EDITS, Lean, scripts


def ask(path: str, method: str = "GET", tag: bytes = b"") -> list[dict[str, Any]]:
    """What is sent for a request; ``elsewhere`` where the program below is asked."""
    sent: list[dict[str, Any]] = []

    async def below(scope: Any, receive: Any, send: Any) -> None:
        sent.append({"elsewhere": scope["path"]})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Lean(below)({"type": "http", "path": path, "method": method, "headers": [(b"if-none-match", tag)]}, None, send))
    return sent


def test_each_place_is_in_this_release_of_gradio_once() -> None:
    for names, wanted, _ in EDITS:
        (file,) = ASSETS.glob(names)
        found = len(wanted.findall(file.read_text("utf-8")))
        assert found == 1, f"{names} reads otherwise: see whether lean.py is still needed"


def test_nothing_else_is_changed() -> None:
    assert len(scripts()) == 2
    for end, text in scripts().items():
        before, after = (ASSETS / end.rsplit("/", 1)[1]).read_text("utf-8"), text.decode()
        rest = iter(after)
        assert all(letter in rest for letter in before), "something is only put in between"
        assert 0 < len(after) - len(before) < 80


def test_these_scripts_are_served_and_nothing_else() -> None:
    for end, text in scripts().items():
        start, body = ask(f"/some/prefix{end}")
        headers = dict(start["headers"])
        assert start["status"] == 200 and headers[b"content-type"].startswith(b"text/javascript")
        assert body["body"] == text and int(headers[b"content-length"]) == len(text)
        assert ask(end, "HEAD")[1]["body"] == b""
        again, nothing = ask(end, tag=headers[b"etag"])
        assert again["status"] == 304 and nothing["body"] == b""
    for path in ("/", "/assets/other.js", "/assets/../app.py", f"{next(iter(scripts()))}x"):
        assert ask(path) == [{"elsewhere": path}]


IMPORTS = """
import ast

def read(*_):
    raise SystemExit("Gradio read its own source")

ast.get_source_segment = read
{first}
import gradio

assert "Dropdown" in dir(gradio) and gradio.Textbox.EVENTS
"""


@pytest.mark.slow
@pytest.mark.parametrize(("first", "said"), [("import workbench.ui", ""), ("", "Gradio read its own source\n")])
def test_gradio_is_imported_without_reading_its_own_source(first: str, said: str) -> None:
    """Where it does not even without our help, as in another release, importing.py is no longer needed."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS.format(first=first)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1 if said else 0, said)
