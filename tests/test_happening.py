"""The presses beside a run, without a browser and without training."""

import os
from typing import Any

import pytest

from tests.test_chatting import tuned_run
from workbench.checking import check_train
from workbench.runs import Run, list_runs
from workbench.text import ENGLISH
from workbench.ui import happening
from workbench.ui.asking import told_line
from workbench.ui.desk import Desk
from workbench.workspace import Workspace


def test_the_name_of_the_run_just_begun_is_no_fault_of_the_form(workspace: Workspace) -> None:
    tuned_run(workspace, "mine")
    checked = check_train(workspace, {"model_name_or_path": "models/tiny", "dataset": ["plain"], "output_dir": "mine"})
    line = told_line(ENGLISH, checked)
    assert 'class="plan later"' in line and "exists already" in line


@pytest.fixture
def begun(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run without a name of its own that has just begun; none that is begun from here really starts."""
    monkeypatch.setattr(Run, "state", lambda run: "running")
    monkeypatch.setattr(Run, "start", lambda run: None)
    made = tuned_run(workspace, "").folder  # its name is that of this second, in which the next one begins too
    return Run(workspace, made.rename(made.with_name("begun")))


def press(workspace: Workspace, spec: Any) -> Run:
    run, problems = happening._start(Desk(workspace, "en", None, None), spec)
    assert run is not None, [str(one.message) for one in problems]
    return run


def test_start_pressed_twice_is_one_run(begun: Run) -> None:
    assert press(begun.workspace, begun.read_spec().spec).name == begun.name
    assert len(list_runs(begun.workspace)) == 1


@pytest.mark.parametrize("other", ["later", "another spec", "it has ended"])
def test_what_else_is_pressed_is_a_run_of_its_own(begun: Run, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = begun.read_spec().spec
    assert spec is not None
    if other == "later":
        os.utime(begun.folder / "spec.yaml", (1.7e9, 1.7e9))
    if other == "another spec":
        spec = spec.model_copy(update={"optim": spec.optim.model_copy(update={"learning_rate": 1e-5})})  # type: ignore[attr-defined]
    if other == "it has ended":
        monkeypatch.setattr(Run, "state", lambda run: "finished")
    assert press(begun.workspace, spec).name != begun.name
    assert len(list_runs(begun.workspace)) == 2
