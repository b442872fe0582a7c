"""The window and the terminal open in seconds: importing them leaves the heavy libraries alone."""

import subprocess
import sys

import pytest

from tests.contracts.tree import ROOT

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "datasets",
    "accelerate",
    "bitsandbytes",
    "safetensors.torch",
    "matplotlib",
)
PAGE = """
from pathlib import Path
from workbench.ui.window import build
from workbench.workspace import Workspace
build(Workspace(Path(sys.argv[1])), "en")
"""
TERMINAL = """
import io
import contextlib
from pathlib import Path
from workbench.cli import commands, main
from workbench.sockets import plugin_names
from workbench.workspace import Workspace
for name in plugin_names(commands):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main([name, "--help"], Workspace(Path(sys.argv[1]))) == 0
    assert said.getvalue()
assert len(plugin_names(commands)) >= 5
"""


def loaded_by(program: str, workspace: str) -> set[str]:
    """The names of the modules that are loaded once the program has run, in a process of its own."""
    code = f"import sys\n{program}\nprint('LOADED', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, workspace], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("LOADED ")[2].split())


@pytest.mark.slow
def test_the_page_is_built_without_torch_and_its_kin(tmp_path) -> None:
    loaded = loaded_by(PAGE, str(tmp_path))
    assert "workbench.ui.window" in loaded and "gradio" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.slow
def test_the_terminal_answers_without_torch_and_without_the_page(tmp_path) -> None:
    loaded = loaded_by(TERMINAL, str(tmp_path))
    assert "workbench.cli.commands.train" in loaded
    assert not loaded & {*HEAVY, "gradio", "fastapi"}
