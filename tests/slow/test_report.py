"""The report card end to end: a tiny run's, also after a kill; and six runs of the starter model, each with its own verdict."""

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from tests.conftest import Tell
from tests.training import SMALL, lay_rows, trained
from workbench import reports, runs
from workbench.evaluating.records import ANSWERS
from workbench.reporting import PARTS, READABLE
from workbench.reporting import learned as learned_part
from workbench.runs import Run
from workbench.specs import ReportSpec, TrainSpec, read_flat
from workbench.workspace import Workspace, source_folder

pytestmark = pytest.mark.slow


def reported(trained_run: Run, **more: Any) -> Mapping[str, Any]:
    """The report of a run, made by a worker."""
    spec = read_flat(ReportSpec, {"report_run": trained_run.name, **more}).unwrap()
    made = reports.begin(trained_run.workspace, spec)
    assert made.wait(1800) == "finished", made.log_tail()
    held = reports.read(trained_run)
    assert held is not None
    return held


def test_a_report_of_a_tiny_run(workspace: Workspace, tell: Tell) -> None:
    done = trained(lay_rows(workspace), "r", watch_prompts=[])
    tell("runs", "list")  # what training in this process has printed is not the report's
    code, out, err = tell("report", "r", "report_rows=6", "report_suite=false")
    assert (code, err) == (0, ""), err
    assert out.count("Learned:") == 1 and "report.md" in out
    held = reports.read(done.run)
    assert held is not None and [part["name"] for part in held["parts"]] == list(PARTS)
    assert held["figures"]["held_loss"]["tuned"] and held["figures"]["general_loss"]["base"]
    assert (done.run.folder / READABLE).read_text("utf-8").startswith("# Report on tiny/lora/r")
    assert runs.list_runs(workspace)[0].name == "tiny/lora/r" and len(runs.list_runs(workspace)) == 1
    code, _, err = tell("report", "nobody")
    assert code == 2 and "No run named 'nobody'" in err


def test_a_run_reports_at_its_end_if_asked(workspace: Workspace) -> None:
    given = {**SMALL, "watch_prompts": [], "output_dir": "r", "report_at_end": True}
    run = runs.create(lay_rows(workspace), read_flat(TrainSpec, given).unwrap())
    run.start()
    assert run.wait(300) == "finished", run.log_tail()
    made, deadline = reports.maker(run), time.monotonic() + 300
    while not made.events.exists() or made.state() == "running":
        assert time.monotonic() < deadline, run.log_tail()
        time.sleep(0.2)
    assert made.state() == "finished", made.log_tail()
    assert reports.read(run) is not None


def test_a_killed_report_asks_nothing_twice(workspace: Workspace) -> None:
    done = trained(lay_rows(workspace), "r", watch_prompts=[])
    whole = reported(done.run, report_rows=8, report_suite=False)
    answers = reports.maker(done.run).folder / ANSWERS
    kept = answers.read_bytes()
    reports.maker(done.run).delete()
    spec = read_flat(ReportSpec, {"report_run": done.run.name, "report_rows": 8, "report_suite": False}).unwrap()
    made = reports.begin(workspace, spec)
    deadline = time.monotonic() + 120
    while not answers.exists() or answers.read_bytes().count(b"\n") < 5:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    made.kill()
    before = answers.read_bytes()[: answers.read_bytes().rfind(b"\n") + 1]
    again = reports.begin(workspace, spec)
    assert again.folder == made.folder and again.wait(300) == "finished", again.log_tail()
    assert answers.read_bytes().startswith(before)
    places = [(one["model"], one["place"], "answer" in one) for one in map(json.loads, answers.read_text("utf-8").splitlines())]
    assert len(places) == len(set(places)) == kept.count(b"\n")
    found = reports.read(done.run)
    assert found is not None and found["parts"] == whole["parts"]


QUICK = {"watch_prompts": [], "eval_strategy": "no"}
SIX: Mapping[str, Mapping[str, Any]] = {
    "well": {},
    "few_steps": {"max_steps": 2},
    "too_fast": {"learning_rate": 8e-3},
    "by_heart": {"max_samples": 24, "val_size": 4, "num_train_epochs": 30, "lora_rank": 32, "learning_rate": 5e-4},
    "no_end": {"template": "empty"},
    "untouched": {"max_steps": 1, "learning_rate": 1e-9},
}
"""What each changes in examples/quickstart.yaml."""
VERDICTS: Mapping[str, Mapping[str, set[str]]] = {
    "well": {"learned": {"green"}, "kept": {"green", "amber"}, "memorised": {"green", "amber"}, "form": {"green"}},
    "few_steps": {"learned": {"red"}, "kept": {"green"}},
    "too_fast": {"kept": {"red"}},
    "by_heart": {"memorised": {"red"}},
    "no_end": {"form": {"red"}},
    "untouched": {"learned": {"red"}, "kept": {"green"}, "memorised": {"green"}},
}


@pytest.mark.proof
@pytest.mark.parametrize("name", SIX)
def test_six_runs_are_told_apart(starter_home: Workspace, name: str) -> None:
    text = (source_folder() / "examples" / "quickstart.yaml").read_text("utf-8")
    flat = {**yaml.safe_load(text), **QUICK, **SIX[name], "output_dir": name}
    run = runs.create(starter_home, read_flat(TrainSpec, flat).unwrap())
    run.start()
    assert run.wait(3600) == "finished", run.log_tail()
    began = time.monotonic()
    held = reported(run)
    took = time.monotonic() - began
    parts = {part["name"]: part for part in held["parts"]}
    print(f"{name}: report in {took:.0f} s; " + "; ".join(f"{key} {part['light']}" for key, part in parts.items()))
    print((run.folder / READABLE).read_text("utf-8"))
    for part, lights in VERDICTS[name].items():
        assert parts[part]["light"] in lights, parts[part]
    if name == "untouched":
        assert parts["learned"]["verdict"]["key"] == learned_part.Say.same.key
