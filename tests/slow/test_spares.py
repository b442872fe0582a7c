"""A spare process becomes the worker of the next run, and nothing depends on it."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import lay_workspace
from tests.training import lay_rows, spec_of
from workbench import runs, spares
from workbench.runs import create, worker_environment
from workbench.spares import Spare
from workbench.workspace import Workspace

pytestmark = pytest.mark.slow
PATIENCE_S = 120


@pytest.fixture
def spare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spare]:
    """One that is ready."""
    monkeypatch.setenv(spares.SWITCH, "1")
    monkeypatch.setattr(spares, "PAUSE_S", 0.0)
    made = Spare()
    monkeypatch.setattr(runs, "spare", made)
    made.prepare(worker_environment())
    yield made
    made.end()


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    return lay_rows(lay_workspace(tmp_path / "workspace"))


def ready(spare: Spare) -> psutil.Process:
    assert spare._ready.wait(PATIENCE_S)
    assert spare._process is not None
    return psutil.Process(spare._process.pid)


def test_it_becomes_the_worker_of_a_run_and_outlives_what_began_it(spare: Spare, home: Workspace) -> None:
    process = ready(spare)
    spare.prepare(worker_environment())
    assert spare._process is not None and spare._process.pid == process.pid, "there is one already"
    run = create(home, spec_of(output_dir="first", max_steps=2, watch_prompts=[]))
    run.start({"TOLD_TO_IT_ALONE": "yes"})
    started = run.view().started
    assert started is not None and started.pid == process.pid
    assert process.environ().get("GOMP_SPINCOUNT") == "10000"
    assert run.wait(PATIENCE_S) == "finished", run.log_tail()
    assert "Loading weights" in run.log.read_text("utf-8"), "what it prints is in the run's log"
    assert run.view().step.step == 2
    second = create(home, spec_of(output_dir="second", max_steps=2, watch_prompts=[]))
    second.start()
    began = second.view().started
    assert began is not None and began.pid != process.pid, "a worker is started as ever where there is no spare"
    assert second.wait(PATIENCE_S) == "finished"
    weights = [(one.folder / "adapter_model.safetensors").read_bytes() for one in (run, second)]
    assert weights[0] == weights[1]


def test_a_run_begins_though_the_spare_was_killed(spare: Spare, home: Workspace) -> None:
    ready(spare).kill()
    run = create(home, spec_of(output_dir="run", max_steps=1, watch_prompts=[]))
    run.start()
    assert run.wait(PATIENCE_S) == "finished", run.log_tail()


def test_it_goes_when_it_is_not_needed(spare: Spare) -> None:
    process = ready(spare)
    spare.end()
    process.wait(10)
    assert not process.is_running()


@pytest.mark.parametrize("told", ["0", "1"])
def test_none_is_prepared_where_that_is_switched_off_or_memory_is_short(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(spares.SWITCH, told)
    monkeypatch.setattr(spares, "PAUSE_S", 0.0)
    monkeypatch.setattr(spares, "ROOM_BYTES", 1 << 60)
    made = Spare()
    made.prepare(worker_environment())
    time.sleep(0.3)
    assert made._process is None
