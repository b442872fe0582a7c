"""Questions in other words by a chosen model: kept, not asked twice, and nothing is made up where none came."""

from collections.abc import Generator
from typing import Any

import pytest

from workbench import reports
from workbench.desk import Desk
from workbench.evaluating.records import Question
from workbench.examining import rewording
from workbench.examining.rewording import REWORDED, in_other_words, reword, reworded
from workbench.jobs import report
from workbench.jobs.report.rows import IDENTITY, REPHRASED, TRAIN, Plan
from workbench.runs import Run
from workbench.specs import ReportSpec, read_flat
from workbench.talk import Ending
from workbench.workspace import Workspace


def question(kind: str, row: int, text: str) -> Question:
    return Question(kind, row, [{"role": "system", "content": "s"}, {"role": "user", "content": text}], "right")


LEARNED = [question(TRAIN, row, f"q{row}") for row in range(4)]


@pytest.fixture
def desk(workspace: Workspace) -> Desk:
    run = Run(workspace, workspace.saves / "e")
    run.folder.mkdir(parents=True)
    return Desk(run, None, False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A model that says it louder, after a thought; of q2 it says nothing new, of q3 nothing at all."""
    heard: list[str] = []

    def ask(url: str, model: str, messages: Any, sampling: Any, key: Any) -> Generator[str, None, Ending]:
        text = messages[0]["content"].rpartition("\n")[2]
        heard.append(text)
        yield from ("<think>\nhm", "</think>\n\n", {"q2": "q2", "q3": ""}.get(text, f'"{text.upper()}!"'))
        return Ending(model, "stop")

    monkeypatch.setattr(rewording, "ask", ask)
    return heard


def test_words_are_kept_and_not_asked_for_twice(desk: Desk, asked: list[str]) -> None:
    words = reword("http://x/v1", "m", LEARNED, desk.run.folder, desk)
    assert words == {"train:0": "Q0!", "train:1": "Q1!"} and sorted(asked) == ["q0", "q1", "q2", "q3"]
    file = desk.run.folder / REWORDED
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]) + lines[2][:5])
    reword("http://x/v1", "m", LEARNED, desk.run.folder, desk)
    assert len(asked) == 6
    said = list(in_other_words(LEARNED, words, REPHRASED))
    assert [(one.place, one.messages[-1]["content"], one.messages[0]) for one in said] == [
        (f"rephrased:{row}", f"Q{row}!", {"role": "system", "content": "s"}) for row in (0, 1)
    ]


@pytest.mark.parametrize(("said", "finish", "words"), [
    ("<think>\nThe user wants", "stop", ""),
    ("The user wants other words", "length", ""),
    ("<think>hm</think> <think>again", "stop", ""),
    ("<think>hm</think>\n“Who?”", "stop", "Who?"),
    ('What is the meaning of "hello"', "stop", 'What is the meaning of "hello"'),
    ('"Hello" and "bye"', "stop", '"Hello" and "bye"'),
    ('"', "stop", '"'),
])  # fmt: skip
def test_a_cut_thought_is_no_question_and_only_quotes_around_the_whole_go(said: str, finish: str, words: str) -> None:
    assert reworded(said, finish) == words


def test_they_stand_in_the_place_of_the_rules_words(desk: Desk, asked: list[str]) -> None:
    given = {"report_run": "r", "paraphrase_url": "http://x/v1", "paraphrase_model": "m"}
    spec = read_flat(ReportSpec, given).unwrap()
    by_rules = [question(REPHRASED, row, f"please q{row}") for row in (0, 2)]
    plan = Plan([*LEARNED, *by_rules, question(IDENTITY, 0, "who")])
    report.ask_in_other_words(spec, plan, desk)
    told = {one.place: one.messages[-1]["content"] for one in plan.questions}
    assert {place: text for place, text in told.items() if not place.startswith(TRAIN)} == {
        "rephrased:0": "Q0!", "rephrased:1": "Q1!", "rephrased:2": "please q2", "identity:0": "who", "identity:1": "WHO!",
    }  # fmt: skip
    assert len(told) == len(plan.questions)


@pytest.mark.parametrize(("given", "key"), [
    ({"paraphrase_url": "localhost:1"}, "paraphrase_url"), ({"paraphrase_url": "http://x/v1"}, "paraphrase_model")
])  # fmt: skip
def test_a_server_without_a_scheme_or_a_model_is_told(given: dict[str, str], key: str) -> None:
    spec = read_flat(ReportSpec, {"report_run": "r", **given}).unwrap()
    assert [problem.key for problem in reports._no_server(spec)] == [key]
