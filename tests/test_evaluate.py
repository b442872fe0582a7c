"""Evaluations inside the test's own process: asked, kept, gone on with, scored. The echo answers; nothing is loaded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.bad_inputs import GOOD
from tests.conftest import Tell
from workbench import runs
from workbench.checking import check_eval, check_report
from workbench.data.datasets import read_catalogue
from workbench.data.samples import read_set
from workbench.desk import Desk
from workbench.engines import echo
from workbench.evaluating.records import ANSWERS, Answer, Kept, Loss, Question
from workbench.evaluating.results import samples_of, summary
from workbench.evaluating.section import EvaluatingSection
from workbench.events import EventLog, Phase, tail
from workbench.examining.questions import as_asked
from workbench.formats import Sample, ToolCall, Turn
from workbench.jobs import evaluate
from workbench.problems import UserError
from workbench.runs import Run
from workbench.specs import EvalSpec, TrainSpec, read_flat
from workbench.workspace import Workspace

ECHO = {"model_name_or_path": "models/tiny", "infer_backend": "echo", "dataset": "plain"}


def begun(workspace: Workspace, **more: Any) -> tuple[EvalSpec, Desk]:
    spec = read_flat(EvalSpec, {**ECHO, **more}).unwrap()
    run = runs.create(workspace, spec)
    return spec, Desk(run, EventLog(run.events), False)


def read(run: Run, name: str) -> Any:
    return json.loads((run.folder / name).read_text("utf-8"))


def test_every_row_is_asked_and_scored(workspace: Workspace) -> None:
    spec, desk = begun(workspace, max_samples=6, own_checks=["contains How much", "not_contains base"], output_dir="e")
    numbers = evaluate.run(spec, desk)
    assert desk.run.name == "tiny/eval/e"
    held = read(desk.run, "results.json")
    assert (held["models"], held["samples"], numbers["samples"]) == (["base"], 6, 6)
    assert held["metrics"]["contains How much"]["base"] == {"mean": 1.0, "low": pytest.approx(0.61, abs=0.01), "high": 1.0, "count": 6}
    assert held["metrics"]["not_contains base"]["base"]["mean"] == 0
    assert held["losses"]["base"]["loss"] > 0 and held["losses"]["base"]["rows"] == 6
    lines = [json.loads(line) for line in (desk.run.folder / "samples.jsonl").read_text("utf-8").splitlines()]
    assert [one["row"] for one in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[0]["base"]["answer"] == f"base: {lines[0]['prompt'][-1]['content']}"
    theirs = [json.loads(line) for line in (desk.run.folder / "generated_predictions.jsonl").read_text().splitlines()]
    assert [list(one) for one in theirs] == [["prompt", "predict", "label"]] * 6
    assert {"predict_bleu-4", "predict_rouge-1", "predict_rouge-2", "predict_rouge-l"} <= set(read(desk.run, "predict_results.json"))


@pytest.mark.slow
def test_a_worker_that_goes_on_asks_nothing_twice(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_spec, whole = begun(workspace, max_samples=12, output_dir="whole")
    evaluate.run(whole_spec, whole)
    spec, desk = begun(workspace, max_samples=12, output_dir="torn")
    lines = (whole.run.folder / ANSWERS).read_bytes().splitlines(keepends=True)
    (desk.run.folder / ANSWERS).write_bytes(b"".join(lines[:7]) + lines[7][:20])
    asked: list[str] = []
    stream = echo.Echo.stream

    def counted(self: echo.Echo, model: str, prompt: Any, *rest: Any) -> Any:
        asked.append(prompt.messages[-1]["content"])
        return stream(self, model, prompt, *rest)

    monkeypatch.setattr(echo.Echo, "stream", counted)
    evaluate.run(spec, desk)
    kept = {json.loads(line)["place"] for line in lines[:7]}
    assert len(asked) == 12 - len(kept) == 5
    assert (desk.run.folder / "samples.jsonl").read_bytes() == (whole.run.folder / "samples.jsonl").read_bytes()
    phases = [one.event for one in tail(desk.run.events, 0)[0] if isinstance(one.event, Phase) and one.event.name == "asking"]
    assert (phases[0].done, phases[-1].done, phases[-1].total) == (7, 12, 12)


def test_rows_that_can_not_be_read_are_told(workspace: Workspace) -> None:
    rows = [{"instruction": "Q", "output": "A"}, {"instruction": "", "output": ""}, {"instruction": "P", "output": "B"}]
    (workspace.data / "plain.json").write_text(json.dumps(rows), "utf-8")
    spec, desk = begun(workspace)
    evaluate.run(spec, desk)
    assert read(desk.run, "results.json")["samples"] == 2
    told = [str(note.message) for note in desk.run.view().notes]
    assert any("row 2" in one for one in told), told


@pytest.mark.parametrize(
    ("values", "key", "words"),
    [
        ({"dataset": ""}, "dataset", "Neither a dataset nor a benchmark"),
        ({"dataset": "plian"}, "dataset", "plain"),
        ({"adapter_name_or_path": "a,b"}, "adapter_name_or_path", "2 adapters are chosen"),
        ({"metrics": "rouge"}, "metrics", "rouge-"),
        ({"own_checks": ["looks fine"]}, "own_checks", "is no check"),
        ({"template": "qwen9"}, "template", "qwen9"),
        ({"model_name_or_path": "models/none"}, "model_name_or_path", "models/none"),
        ({"max_samples": 0}, "max_samples", "Max samples"),
        ({"output_dir": "../../x"}, "output_dir", "x"),
        ({"task": "tasks/mine.yaml"}, "task", "is a file's path"),
        ({"task": r"C:\mine"}, "task", "is a file's path"),
        ({"task": "everyday_fr"}, "task", "Accepted: everyday_en, everyday_en_knowledge"),
        ({"task": "everyday_zh", "n_shot": 6}, "n_shot", "Accepted: 0 to 5"),
    ],
)
def test_what_can_not_be_evaluated_is_told_beside_its_field(
    workspace: Workspace, values: Mapping[str, Any], key: str, words: str
) -> None:
    checked = check_eval(workspace, {**ECHO, "infer_backend": "transformers", **values})
    assert checked.spec is None
    assert key in {problem.key for problem in checked.problems}
    assert any(words in str(problem) for problem in checked.problems if problem.key == key)


def test_a_training_is_never_overwritten_by_an_evaluation(workspace: Workspace) -> None:
    trained = runs.create(workspace, read_flat(TrainSpec, {**GOOD, "output_dir": "kept"}).unwrap())
    checked = check_eval(workspace, {**ECHO, "output_dir": trained.name, "overwrite_output_dir": True})
    assert {problem.key for problem in checked.problems} == {"output_dir"} and "does something else" in str(checked.problems[0])
    with pytest.raises(UserError, match="does something else"):
        begun(workspace, output_dir=trained.name, overwrite_output_dir=True)
    assert runs.job_of(trained.folder) == "train"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "No run is named"),
        ({"report_run": "nobody"}, "No run named 'nobody'"),
        ({"report_run": "one"}, "is no training run"),
        ({"report_run": "kept"}, "holds no weights"),
        ({"report_run": "kept", "report_rows": 1}, "Rows to ask"),
    ],
)
def test_what_no_report_can_be_made_of(workspace: Workspace, values: Mapping[str, Any], words: str) -> None:
    begun(workspace, output_dir="one")
    runs.create(workspace, read_flat(TrainSpec, {**GOOD, "output_dir": "kept"}).unwrap())
    checked = check_report(workspace, values)
    assert checked.spec is None and any(words in str(problem) for problem in checked.problems), checked.problems


def test_evaluations_and_trainings_are_listed_apart(workspace: Workspace) -> None:
    _, desk = begun(workspace, output_dir="one")
    desk.log and desk.log.close()
    assert [run.name for run in runs.list_runs(workspace, "evaluate")] == ["tiny/eval/one"]
    assert runs.list_runs(workspace) == []
    assert runs.find_run(workspace, "one").name == "tiny/eval/one"


@pytest.mark.slow
def test_the_terminal_asks_and_says_what_came_out(workspace: Workspace, tell: Tell) -> None:
    code, out, err = tell("eval", "infer_backend=echo", "model_name_or_path=models/tiny", "dataset=plain", "max_samples=3")
    assert (code, err) == (0, "")
    assert "rouge-l" in out and "3 questions were asked" in out and "saves/tiny/eval/plain-" in out
    code, out, err = tell("eval", "infer_backend=echo", "model_name_or_path=models/tiny")
    assert code == 2 and "Neither a dataset nor a benchmark" in err


def test_the_last_answer_is_asked_for() -> None:
    turns = [Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"), Turn("assistant", "d"), Turn("user", "e")]
    question, sample = as_asked(Sample(turns), "s", 3)
    assert question is not None
    assert ([one["content"] for one in question.messages], question.reference, question.place) == (["a", "b", "c"], "d", "s:3")
    assert [turn.content for turn in sample.turns] == ["a", "b", "c", "d"]
    pair = Sample([Turn("user", "q")], chosen=[Turn("assistant", "good")], rejected=[Turn("assistant", "bad")])
    asked, dialogue = as_asked(pair, "s", 1)
    assert asked and (asked.reference, dialogue.shape) == ("good", "dialogue")
    called = Turn("assistant", "", tool_calls=[ToolCall("look", {"city": "Xi'an"})])
    asked, _ = as_asked(Sample([Turn("user", "q"), called]), "s", 1)
    assert asked and json.loads(asked.reference.splitlines()[1]) == {"name": "look", "arguments": {"city": "Xi'an"}}
    assert as_asked(Sample(text="running"), "s", 1)[0] is None


def test_base_and_tuned_are_compared_row_by_row(tmp_path: Path) -> None:
    kept = Kept(tmp_path / ANSWERS)
    questions = [Question("s", row, [{"role": "user", "content": "q"}], "right answer") for row in range(1, 31)]
    for one in questions:
        kept.add(Answer("base", one.place, "wrong" if one.row % 3 else "right answer"))
        kept.add(Answer("tuned", one.place, "right answer"))
        kept.add(Loss("base", one.place, 4.0, 2))
        kept.add(Loss("tuned", one.place, 3.0, 2))
    again = Kept(tmp_path / ANSWERS)
    assert (again.answers, again.losses) == (kept.answers, kept.losses)
    models, section = ["base", "tuned"], EvaluatingSection(metrics=["exact-match"])
    held = summary(samples_of(questions, kept, models, section), kept, models).to_json()
    assert list(held["metrics"]) == ["exact-match"]
    change = held["metrics"]["exact-match"]["change"]
    assert (change["verdict"], round(change["mean"], 3)) == ("better", 0.667)
    assert held["losses"]["change"]["verdict"] == "better"
    assert (held["losses"]["base"]["loss"], held["losses"]["tuned"]["loss"]) == (2.0, 1.5)


def test_demo_sets_can_all_be_asked(workspace: Workspace) -> None:
    from workbench.workspace import default_workspace

    asked, catalogue = 0, read_catalogue(default_workspace())
    for entry in catalogue.entries.values():
        for read_row in read_set(entry):
            if read_row.sample and read_row.sample.shape in ("dialogue", "preference"):
                question, sample = as_asked(read_row.sample, entry.name, read_row.number)
                assert question and question.reference and question.messages[-1]["role"] in ("user", "tool")
                assert sample.shape == "dialogue"
                asked += 1
    assert asked >= 500
