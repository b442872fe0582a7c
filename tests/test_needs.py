"""Under the line above Start: what would make a run fit, and measuring it, as the page's functions answer."""

from collections.abc import Sequence
from typing import Any

import gradio as gr
import pytest

from tests.bad_inputs import GOOD
from workbench.checking import check_train
from workbench.estimates import estimate, grounds
from workbench.estimates.measuring import measure_spec
from workbench.events import EventLog, Failed, Finished, Note, Phase, Started, Step
from workbench.machine import Machine
from workbench.models import Say as Models
from workbench.problems import Problem
from workbench.runs import Run, create
from workbench.text import verbatim
from workbench.ui import needs
from workbench.ui.asking import Asking, told_line
from workbench.ui.desk import Desk
from workbench.workspace import Workspace

WIDE = {**GOOD, "per_device_train_batch_size": 64, "cutoff_len": 256, "packing": True, "precision": "fp32"}


class Form(Asking):
    """The left side, filled in with a flat mapping instead of components."""

    given: dict[str, Any] = GOOD  # type: ignore[assignment]

    def flat(self, names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
        return dict(self.given)


@pytest.fixture
def desk(workspace: Workspace) -> Desk:
    return Desk(workspace, "en", None, None)


@pytest.fixture
def form(desk: Desk) -> Form:
    form = Form(desk)
    form.given = dict(WIDE)
    return form


def lay_room(workspace: Workspace, share: float) -> None:
    """Let the machine have so much of the memory that the wide run needs."""
    why = Models.auto_fp32()
    grounds.keep(workspace, Machine("2", "cpu", "", [], 2, ["fp32"], "fp32", why, False))
    checked = check_train(workspace, WIDE)
    needed = estimate(workspace, checked.unwrap(), checked.plan)
    assert needed is not None
    file = workspace.cache / grounds.FILE
    text = file.read_text().replace(f'"room_bytes": {needed.room_bytes}', f'"room_bytes": {round(share * needed.total_bytes)}')
    file.write_text(text)


def test_the_line_tells_time_and_memory(workspace: Workspace, desk: Desk, form: Form) -> None:
    lay_room(workspace, 2)
    line = told_line(desk.locale("en"), form.check([], []))
    assert "steps of" in line and "needs" in line and "MB of 1." in line
    lay_room(workspace, 0.9)
    line = told_line(desk.locale("en"), form.check([], []))
    assert "will not fit" in line and 'class="plan unwise"' in line


def test_changes_are_offered_only_where_the_run_does_not_fit(workspace: Workspace, desk: Desk, form: Form) -> None:
    lay_room(workspace, 2)
    column, found, *rest = needs.change_updates(desk, desk.locale("en"), form.check([], []))
    assert column["visible"] is False and found == [] and len(rest) == 2 * needs.MOST_CHANGES
    lay_room(workspace, 1.02)
    column, found, *rest = needs.change_updates(desk, desk.locale("en"), form.check([], []))
    assert column["visible"] is True and found[0]["gradient_accumulation_steps"] > 2
    assert "Batch size " in rest[0]["value"] and rest[needs.MOST_CHANGES]["visible"] is True
    lay_room(workspace, 0.1)
    column, found, *rest = needs.change_updates(desk, desk.locale("en"), form.check([], []))
    assert found == [] and "smaller model" in rest[0]["value"] and rest[needs.MOST_CHANGES]["visible"] is False


def test_a_form_with_problems_is_not_measured(workspace: Workspace, desk: Desk, form: Form) -> None:
    form.given["learning_rate"] = "fast"
    status, timer, name, _, line = needs.press(desk, form, "", "en", [])
    assert "without open problems" in status and name == "" and "plan wrong" in line
    assert not (workspace.saves / ".measure").exists()


def test_a_measurement_is_told_until_it_ends(
    workspace: Workspace, desk: Desk, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "begin", lambda home, spec: create(home, measure_spec(spec)))
    status, timer, name, button, _ = needs.press(desk, form, "", "en", [])
    assert isinstance(timer, gr.Timer) and button["value"] == "Stop measuring" and "reading the spec" in status
    run = Run(workspace, workspace.saves / name)
    log = EventLog(run.events)
    monkeypatch.setattr(Run, "state", lambda run: "running")
    log.write(Started(1))
    log.write(Phase("model"))
    assert "loading the model" in needs.tick(desk, form, name, "en", [])[0]
    log.write(Phase("training"))
    log.write(Step(1, 3))
    assert "step 2 of 3" in needs.tick(desk, form, name, "en", [])[0]
    log.write(Note(verbatim("Measured: all of it.")))
    log.write(Finished())
    monkeypatch.setattr(Run, "state", lambda run: "finished")
    status, _, name, button, line = needs.tick(desk, form, name, "en", [])
    assert "Measured: all of it." in status and name == "" and button["value"] == "Measure here" and "plan" in line


def test_a_measurement_that_failed_says_why(workspace: Workspace, desk: Desk, form: Form) -> None:
    run = create(workspace, measure_spec(form.check([], []).unwrap()))
    log = EventLog(run.events)
    log.write(Started(1))
    log.write(Failed([Problem(verbatim("Memory ended <here>."))]))
    assert "Memory ended &lt;here&gt;." in needs.tick(desk, form, run.name, "en", [])[0]
    assert needs.tick(desk, form, "../elsewhere", "en", [])[0] == ""
