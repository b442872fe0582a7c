"""A run watched from a terminal: lines, the bar, Ctrl-C once and twice, and how it ended. The worker is a stand-in
process that holds the lock and says events as the real one does."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.bad_inputs import GOOD
from workbench.cli.display import Bar, Lines
from workbench.cli.follow import follow, say_ending
from workbench.cli.interrupts import counted
from workbench.cli.screen import Screen
from workbench.events import State
from workbench.runs import Run, create
from workbench.specs import TrainSpec, read_flat
from workbench.text import ENGLISH, verbatim
from workbench.view import View
from workbench.workspace import Workspace, source_folder

WORKER = """
import os, sys, time
from pathlib import Path
from workbench import locks
from workbench.events import *
from workbench.problems import Problem
from workbench.text import verbatim
folder = Path(sys.argv[1])
lock = locks.hold(folder / "lock")
log = EventLog(folder / "events.jsonl")
log.write(Started(os.getpid()))
say = log.write
stop = folder / "stop"
print("ready", flush=True)
"""
STEPS = """
say(Phase("model")); say(Note(verbatim("told before"))); say(Note(verbatim("new to you"), "warning")); say(Phase("training"))
for step in range(1, 101):
    say(Step(step, 100, step / 100, 1.0 / step, 2e-4, 1.0, 50, 0, 0.1, 10**9))
say(Eval(100, 0.5)); say(Sample(100, "Who?", "I am\\nAurora.")); say(Saved(100, "checkpoint-100"))
say(Phase("saving")); say(Saved(100, "."))
"""
UNTIL_STOPPED = """
while not stop.exists():
    time.sleep(0.02)
say(Stopped(7))
"""
SCREEN = Screen(ENGLISH)


@contextmanager
def worker(workspace: Workspace, does: str) -> Iterator[Run]:
    """A run whose worker does this."""
    run = create(workspace, read_flat(TrainSpec, {**GOOD, "output_dir": "mine"}).unwrap())
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER + does, str(run.folder)], cwd=source_folder(), stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield run
    finally:
        process.kill()
        process.communicate()


def watch(run: Run, presses: int = 0) -> State:
    """Follow the run to its end, Ctrl-C being pressed so many times, half a second apart."""

    def press() -> None:
        for _ in range(presses):
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGINT)

    with counted() as pressed:
        threading.Thread(target=press, daemon=True).start()
        seen = View()
        state = follow(run, SCREEN, pressed, seen, 0, [verbatim("told before")])
        say_ending(run, SCREEN, seen, state)
    return state


def test_a_run_is_told_in_plain_lines(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    with worker(workspace, STEPS + 'say(Finished({"steps": 100, "loss": 0.01, "eval_loss": 0.5}))') as run:
        (run.folder / "adapter_config.json").write_text("{}", "utf-8")
        assert watch(run) == "finished"
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert not set("\r\x1b") & set(out)
    assert lines[:2] == ["loading the model", "new to you"]
    assert "told before" not in out
    assert "step 100: validation loss 0.5000" in lines
    assert "step 100: Who? -> I am Aurora." in lines
    assert "step 100: saved checkpoint-100" in lines
    assert "step 100: saved the final weights" in lines
    assert any(line.startswith("training 100 / 100, loss 0.0100, ") and "500 tokens/s, 1.0 GB" in line for line in lines)
    assert lines[-5] == "Finished: tiny/lora/mine"
    assert lines[-4].startswith("100 steps in ")
    assert lines[-4].endswith("loss 0.0100, validation 0.5000")
    assert lines[-3:-1] == ["Weights: saves/tiny/lora/mine", "Talk to it: python app.py chat tiny/lora/mine"]
    assert lines[-1] == "Train it on: python app.py runs extend tiny/lora/mine --epochs 1"


def test_a_failure_is_told_with_its_problems(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    does = 'say(Failed([Problem(verbatim("Too few."), "dataset"), Problem(verbatim("Odd."))], "Traceback"))'
    with worker(workspace, does) as run:
        assert watch(run) == "failed"
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "Failed: tiny/lora/mine",
        "dataset: Too few.",
        "Odd.",
        "What the process printed: saves/tiny/lora/mine/worker.log",
    ]
    assert "python app.py runs resume tiny/lora/mine --follow" in out


@pytest.mark.slow
def test_ctrl_c_stops_gracefully(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    with worker(workspace, UNTIL_STOPPED) as run:
        assert watch(run, presses=1) == "stopped"
        assert run.stop_file.exists()
    out, _ = capsys.readouterr()
    assert "Stopping: this step is finished and saved." in out
    assert "Stopped at step 7: tiny/lora/mine" in out


@pytest.mark.slow
def test_a_second_ctrl_c_ends_the_process(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    with worker(workspace, "time.sleep(60)") as run:
        began = time.monotonic()
        assert watch(run, presses=2) == "stopped"
        assert time.monotonic() - began < 10
    out, err = capsys.readouterr()
    assert "Ended. Nothing since the last checkpoint is kept." in out
    assert "Stopped at step 0: tiny/lora/mine" in out
    assert err == ""


@pytest.mark.slow
def test_a_worker_that_dies_is_told(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    with worker(workspace, "os._exit(1)") as run:
        assert watch(run) == "lost"
    assert "Lost: the worker of tiny/lora/mine ended without a word." in capsys.readouterr().err


def test_lines_are_few_and_the_last_step_is_among_them(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Lines(SCREEN)
    for done in range(1, 100_001):
        shown.count("training", done, 100_000, "")
    lines = capsys.readouterr().out.splitlines()
    assert 20 <= len(lines) <= 22
    assert lines[-1] == "training 100,000 / 100,000"
    shown.count("fetching", 12_000_000, 270_000_000, "", sized=True)
    assert capsys.readouterr().out == "fetching 12 MB / 270 MB\n"


def test_the_bar_stands_below_the_lines_and_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Bar(SCREEN)
    shown.count("training", 3, 10, "loss 0.5")
    shown.line("a line that stays")
    shown.count("training", 4, 10, "loss 0.4")
    shown.count("fetching", 12_000_000, 270_000_000, "", sized=True)
    shown.close()
    out = capsys.readouterr().out
    assert "12.0MB / 270MB" in out
    assert "3 / 10, loss 0.5" in out
    assert "4 / 10, loss 0.4" in out
    assert any(part == "a line that stays\n" for part in out.replace("\r", "\r\n").splitlines(keepends=True))
    assert out.split("\r")[-2].strip() == "", "the last thing drawn is blank"
