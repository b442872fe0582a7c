"""kill -9 at half of an evaluation of 300 questions: what was answered stays, the rest is asked, the result is the same."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from workbench import runs
from workbench.evaluating.records import ANSWERS, RESULTS, SAMPLES
from workbench.runs import Run
from workbench.specs import EvalSpec, read_flat
from workbench.workspace import Workspace

pytestmark = pytest.mark.slow

ROWS = 300


def evaluation(workspace: Workspace, name: str) -> Run:
    given = {"model_name_or_path": "models/tiny", "dataset": "many", "max_new_tokens": 24, "output_dir": name, "template": "chatml"}
    return runs.create(workspace, read_flat(EvalSpec, given).unwrap())


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_killed_evaluation_goes_on_and_ends_as_if_never_killed(workspace: Workspace) -> None:
    rows = [{"instruction": f"How much is {at} and {at * 7 % 11}?", "output": f"It is {at + at * 7 % 11}."} for at in range(ROWS)]
    (workspace.data / "many.json").write_text(json.dumps(rows), "utf-8")
    (workspace.data / "dataset_info.json").write_text(json.dumps({"many": {"file_name": "many.json"}}), "utf-8")
    whole = evaluation(workspace, "whole")
    whole.start()
    assert whole.wait(300) == "finished", whole.log_tail()

    killed = evaluation(workspace, "killed")
    killed.start()
    answers, deadline = killed.folder / ANSWERS, time.monotonic() + 120
    while not answers.exists() or answers.read_bytes().count(b"\n") < ROWS / 2:
        assert time.monotonic() < deadline and killed.state() == "running", killed.log_tail()
        time.sleep(0.005)
    killed.kill()
    before = answers.read_bytes()
    before = before[: before.rfind(b"\n") + 1]
    assert ROWS / 2 <= before.count(b"\n") < ROWS
    killed.resume()
    assert killed.wait(300) == "finished", killed.log_tail()

    assert answers.read_bytes().startswith(before)
    asked = Counter(str(one["place"]) for one in lines(answers) if "answer" in one)
    assert len(asked) == ROWS and set(asked.values()) == {1}
    assert (killed.folder / SAMPLES).read_bytes() == (whole.folder / SAMPLES).read_bytes()
    found, wanted = (json.loads((run.folder / RESULTS).read_text("utf-8")) for run in (killed, whole))
    assert {**found, "seconds": {}} == {**wanted, "seconds": {}}
