"""A judge: asked twice with the order swapped, what it chose, what it costs to go on."""

from collections.abc import Mapping
from typing import Any

import pytest

from workbench.checking import check_eval
from workbench.desk import Desk
from workbench.evaluating.records import ANSWERS, Answer, Kept, Question
from workbench.evaluating.results import JUDGE, samples_of, summary
from workbench.evaluating.section import EvaluatingSection
from workbench.examining import judging
from workbench.examining.judging import JUDGED, Judgement, choice, judge_all, written
from workbench.runs import Run
from workbench.workspace import Workspace

QUESTIONS = [Question("s", row, [{"role": "user", "content": f"q{row}"}], "right") for row in range(1, 9)]


def laid(workspace: Workspace) -> tuple[Kept, Desk]:
    run = Run(workspace, workspace.saves / "e")
    run.folder.mkdir(parents=True)
    kept = Kept(run.folder / ANSWERS)
    for one in QUESTIONS:
        kept.add(Answer("base", one.place, "poor"))
        kept.add(Answer("tuned", one.place, "good" if one.row > 2 else "poor"))
    return kept, Desk(run, None, False)


def a_judge(asked: list[str]) -> Any:
    """It chooses the answer 'good'; between two alike it says the first."""

    def ask(url: str, model: str, messages: Any, sampling: Any, key: Any) -> list[str]:
        text = messages[0]["content"]
        asked.append(text)
        first, second = text.split("Answer A:\n")[1].split("\n\nAnswer B:\n")
        return ["Well, ", "B" if (first, second) == ("poor", "good") else "A"]

    return ask


def test_the_order_is_swapped_and_what_was_judged_is_not_judged_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(judging, "ask", a_judge(asked))
    kept, desk = laid(workspace)
    found = judge_all("http://x", "m", QUESTIONS, kept, desk.run.folder, desk)
    assert len(asked) == 16
    assert [one.agrees for one in found.values()] == [False, False, *[True] * 6]
    assert {place: one.score() for place, one in found.items()} == {"s:1": 0.5, "s:2": 0.5, **{f"s:{row}": 1.0 for row in range(3, 9)}}
    lines = (desk.run.folder / JUDGED).read_bytes().splitlines(keepends=True)
    (desk.run.folder / JUDGED).write_bytes(b"".join(lines[:9]) + lines[9][:8])
    assert judge_all("http://x", "m", QUESTIONS, kept, desk.run.folder, desk) == found
    assert len(asked) == 16 + 7
    samples = samples_of(QUESTIONS, kept, ["base", "tuned"], EvaluatingSection(), {p: one.score() for p, one in found.items()})
    change = summary(samples, kept, ["base", "tuned"]).metrics[JUDGE]["change"]
    assert (change["verdict"], change["mean"]) == ("better", 0.75)


@pytest.mark.parametrize(
    ("said", "first", "chosen"),
    [("A", "base", "base"), ("A", "tuned", "tuned"), ("b.", "base", "tuned"), ("Tie", "base", "tie"), ("neither", "base", "unclear"),
     ("A is long, so B", "base", "tuned")],
)  # fmt: skip
def test_the_last_choice_counts(said: str, first: str, chosen: str) -> None:
    assert choice(said, first) == chosen


def test_a_word_that_is_no_choice_is_no_score() -> None:
    assert Judgement("unclear", "tuned").score() is None
    assert Judgement("tie", "tie").score() == 0.5
    assert Judgement("base", "base").score() == 0.0


def test_the_judge_reads_both_answers_and_the_right_one() -> None:
    text = written(QUESTIONS[0], {"base": "one", "tuned": "two"}, "tuned")
    assert text.index("Answer A:\ntwo") < text.index("Answer B:\none") and "right" in text and "q1" in text


@pytest.mark.parametrize(
    ("values", "key"),
    [({"judge_url": "here"}, "judge_url"), ({"judge_url": "http://x"}, "judge_model"),
     ({"judge_url": "http://x", "judge_model": "m"}, "judge_url")],
)  # fmt: skip
def test_a_judge_that_can_not_be_asked(workspace: Workspace, values: Mapping[str, Any], key: str) -> None:
    checked = check_eval(workspace, {"model_name_or_path": "models/tiny", "dataset": "plain", **values})
    assert key in {problem.key for problem in checked.problems}


