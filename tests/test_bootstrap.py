"""The one command: its flags, what it hands over, old Pythons, and the quick second start."""

import ast
import json
import os
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bootstrap import parse
from workbench.setup.install import Install, torch_pin
from workbench.setup.starter import FILES, WEIGHTS, WEIGHTS_BYTES, starter_folder

ROOT = Path(__file__).resolve().parent.parent
posix = pytest.mark.skipif(sys.platform == "win32", reason="start.bat has its own finder")


def test_flags_of_the_window_are_passed_on_in_their_order() -> None:
    flags = ["--port", "7861", "--host", "0.0.0.0", "--lang", "zh", "--no-browser", "--auth", "me:secret"]
    wish = parse([*flags[:2], "--torch-index", "https://mirror.example/whl", *flags[2:]])
    assert list(wish.passed) == flags
    assert wish.torch_index == "https://mirror.example/whl"
    assert not wish.test and not wish.help and not wish.prepare_only and wish.starter
    assert wish.program[-1].endswith("app.py")


def test_commands_are_passed_on_with_all_that_follows() -> None:
    wish = parse(["train", "examples/quickstart.yaml", "learning_rate=1e-4", "--do_train", "True", "--help"])
    assert list(wish.passed) == ["train", "examples/quickstart.yaml", "learning_rate=1e-4", "--do_train", "True", "--help"]
    assert not wish.help


def test_own_flags_are_not_passed_on() -> None:
    wish = parse(["--prepare-only", "--no-starter", "--torch-index=https://mirror.example/whl"])
    assert wish.prepare_only and not wish.starter
    assert wish.passed == ()


def test_test_runs_the_tests_instead() -> None:
    wish = parse(["test", "fast", "-k", "word"])
    assert wish.test
    assert wish.program == ("-m", "tests.run")
    assert wish.passed == ("fast", "-k", "word")


def test_an_old_python_gets_a_sentence_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    with pytest.raises(SystemExit) as ending:
        runpy.run_path(str(ROOT / "bootstrap.py"), run_name="__main__")
    assert "This is Python 3.9. Needed: 3.11 or newer." in str(ending.value)
    assert "当前 Python 为 3.9" in str(ending.value)


def test_an_old_python_can_read_as_far_as_that_sentence() -> None:
    ast.parse((ROOT / "bootstrap.py").read_text("utf-8"), feature_version=(3, 7))


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A folder in which everything was installed before, with an app.py that tells its arguments."""
    root = tmp_path / "a folder 文件夹"
    shutil.copytree(ROOT / "workbench", root / "workbench", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("bootstrap.py", "requirements.txt", "start.sh"):
        shutil.copy(ROOT / name, root)
    (root / "app.py").write_text("import json, sys; print(json.dumps([sys.executable, *sys.argv[1:]]))", "utf-8")
    install = Install(root)
    install.python.parent.mkdir(parents=True)
    install.python.symlink_to(sys.executable)
    install.record("torch", f"{torch_pin(root)} pip")
    install.record("requirements.txt", install.digest("requirements.txt"))
    folder = starter_folder(root / "models")
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).touch()
    os.truncate(folder / WEIGHTS, WEIGHTS_BYTES + 1)
    return root


@posix
def test_a_second_start_is_quick_and_becomes_the_program(ready: Path) -> None:
    command = [sys.executable, ready / "bootstrap.py", "--port", "7861", "--lang", "zh", "--auth", "a b:c"]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    assert time.monotonic() - start < 3
    assert json.loads(done.stdout) == [str(Install(ready).python), "--port", "7861", "--lang", "zh", "--auth", "a b:c"]
    assert not (ready / ".setup.lock").exists()


@posix
def test_prepare_only_stops_before_the_program(ready: Path) -> None:
    command = [sys.executable, ready / "bootstrap.py", "--prepare-only"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""


@posix
def test_help_installs_nothing(tmp_path: Path, ready: Path) -> None:
    shutil.rmtree(ready / ".venv")
    done = subprocess.run([sys.executable, ready / "bootstrap.py", "--help"], capture_output=True, text=True, check=True)
    assert "--torch-index" in done.stdout and "--auth" in done.stdout
    assert not (ready / ".venv").exists()


@posix
def test_start_passes_over_pythons_that_are_too_old(ready: Path, tmp_path: Path) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, python in (("python3.13", "exit 127"), ("python3", "exit 1"), ("python", f'exec "{sys.executable}" "$@"')):
        (bin_folder / name).write_text(f"#!/bin/sh\n{python}\n", "utf-8")
        (bin_folder / name).chmod(0o755)
    for name in ("sh", "dirname"):
        (bin_folder / name).symlink_to(str(shutil.which(name)))
    environment = {"PATH": str(bin_folder)}
    done = subprocess.run([ready / "start.sh", "--port", "1"], capture_output=True, text=True, check=True, env=environment)
    assert json.loads(done.stdout)[1:] == ["--port", "1"]
    (bin_folder / "python").unlink()
    done = subprocess.run([ready / "start.sh"], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "No Python 3.11 or newer was found" in done.stderr and "没有找到" in done.stderr
