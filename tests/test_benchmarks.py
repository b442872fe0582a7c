"""Benchmarks over an engine: what is asked of it, that nothing is asked twice, and what comes out of lm-eval."""

import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from workbench import suite
from workbench.engines import BASE, Chat, Frame, Piece, Prompt, Raw, Row, Sampling, Scored
from workbench.engines.echo import Echo
from workbench.examining import benchmarks
from workbench.examining.benchmarks import Marked, TaskResult, load_tasks, number_of, run_tasks, task_name
from workbench.examining.examinee import Answered, Examinee, drawn, shown_chat, windows, written_chat
from workbench.jobs.evaluate import task_figures
from workbench.problems import UserError

TUNED = "my-run"


class Killed(Exception):
    pass


@dataclass
class Letters(Echo):
    """Echo to which a letter is a token; it keeps what it was asked, and may end after so many questions."""

    scored: list[tuple[str, Row]] = field(default_factory=list)
    asked: list[tuple[str, Prompt, Sampling]] = field(default_factory=list)
    context: int = 200
    prefix: Sequence[int] = ()
    ends_after: int = 10**9
    turn: threading.Lock = field(default_factory=threading.Lock)

    def tokens(self, prompt: Prompt) -> Sequence[int]:
        if isinstance(prompt, Chat):
            return [7, *map(ord, str(prompt.messages[-1]["content"])), 8]
        return list(map(ord, prompt.given)) if isinstance(prompt.given, str) else prompt.given

    def frame(self, model: str) -> Frame:
        return Frame(self.context, 1, self.prefix)

    def score(self, model: str, rows: Sequence[Row], likeliest: int | None = None) -> Sequence[Scored]:
        self.scored += [(model, row) for row in rows]
        return super().score(model, self.counted(rows))

    def stream(self, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        with self.turn:
            self.asked.append((model, prompt, sampling))
            self.counted(prompt)
        return super().stream(model, prompt, sampling, gone)

    def counted(self, what: Any) -> Any:
        if len(self.asked) + len(self.scored) > self.ends_after:
            raise Killed
        return what


def letters(**more: Any) -> Letters:
    return Letters((BASE, TUNED), 0.0, **more)


def examinee(engine: Letters, folder: Path) -> Examinee:
    return Examinee(engine, BASE, "base", Answered(folder / "answers.jsonl"))


def ignore(*_: int) -> None:
    pass


def test_a_continuation_is_scored_behind_its_context(tmp_path: Path) -> None:
    one = examinee(letters(), tmp_path)
    assert one.row("ab", " c") == (list(map(ord, "ab c")), 2)
    assert one.row("ab ", "c") == (list(map(ord, "ab c")), 2)
    assert one.row("", "cd") == ([1, *map(ord, "cd")], 1)
    assert one.row("", "\x01d") == ([1, ord("d")], 1)
    long, index = one.row("x" * 300, "yz")
    assert (len(long), index, long[-2:]) == (201, 199, list(map(ord, "yz")))
    chat = written_chat([{"role": "user", "content": "q"}])
    assert one.row(chat, "a") == ([7, ord("q"), 8, ord("a")], 3)
    begun = written_chat([{"role": "user", "content": "q"}, {"role": "assistant", "content": "The"}])
    assert one.row(begun, "a") == ([7, ord("q"), 8, *map(ord, "The"), ord("a")], 6)
    assert shown_chat(begun) == "q\nThe"
    dressed = examinee(letters(prefix=[1]), tmp_path)
    assert dressed.row("ab", "c") == ([1, *map(ord, "abc")], 3)
    assert dressed.row("\x01ab", "c") == ([1, *map(ord, "abc")], 3)


@pytest.mark.parametrize("length", [1, 4, 5, 6, 13, 20])
def test_a_long_text_is_scored_in_parts_as_lm_eval_divides_it(length: int) -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    ids, context = list(range(10, 10 + length)), 5
    parts = get_rolling_token_windows(token_list=ids, prefix_token=1, max_seq_len=context, context_len=1)
    theirs = [([*before, *after], len(before)) for before, after in map(make_disjoint_window, parts)]
    ours = list(windows(ids, 1, context))
    assert ours == theirs
    assert [token for row, index in ours for token in row[index:]] == ids


def test_equal_requests_are_asked_once_and_kept_ones_never(tmp_path: Path) -> None:
    engine, done = letters(), list[int]()
    pairs = [("ab", " c"), ("ab", " d"), ("ab", " c")]
    first = examinee(engine, tmp_path).pairs(pairs, done.append)
    assert (len(engine.scored), sorted(done), first[0] == first[2] != first[1]) == (2, [0, 1, 2], True)
    file = tmp_path / "answers.jsonl"
    file.write_bytes(file.read_bytes() + b'{"key": "torn')
    again = examinee(engine, tmp_path)
    assert again.pairs([*pairs, ("ab", " e")], done.append)[:3] == first
    assert len(engine.scored) == 3
    again.pairs([("ab", " e")], ignore)
    assert len(engine.scored) == 3
    assert len(file.read_text().splitlines()) == 3


def test_answers_are_drawn_as_the_task_says(tmp_path: Path) -> None:
    engine = letters()
    one = examinee(engine, tmp_path)
    settings = {"until": ["\n"], "max_gen_toks": 3, "do_sample": False, "temperature": 0.9}
    assert one.answers([("a", settings), ("a", settings)], ignore) == ["base: 97"] * 2
    assert [(prompt, sampling) for _, prompt, sampling in engine.asked] == [(Raw([97]), Sampling(3, 0.0, 1.0, stop=["\n"]))]
    random = {"do_sample": True, "temperature": 0.5, "top_k": 4, "until": "x"}
    one.answers([("b", random), ("b", random)], ignore)
    first, second = (sampling for _, _, sampling in engine.asked[1:])
    assert first.seed != second.seed
    assert (first.temperature, first.top_p, first.top_k, first.max_tokens, first.stop) == (0.5, 1.0, 4, 256, ["x"])
    one.answers([("z" * 500, {"max_tokens": 50})], ignore)
    assert engine.asked[-1][1] == Raw([ord("z")] * 150)
    assert drawn({}, 1) == Sampling(256, 0.0, 1.0, stop=[])


def run(engine: Letters, folder: Path, tasks: Sequence[str], **more: Any) -> tuple[Any, list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    models = {"base": BASE, "tuned": TUNED}
    answered = Answered(folder / "answers.jsonl")
    given = {"num_fewshot": None, "limit": 3, **more}
    return run_tasks(engine, models, tasks, told=lambda *one: told.append(one), answered=answered, **given), told


@pytest.mark.filterwarnings("ignore")  # of lm-eval's own
def test_a_group_has_a_score_its_parts_and_its_questions(tmp_path: Path) -> None:
    results, told = run(letters(context=4000), tmp_path, ["everyday_en"])
    assert told == [(at, 24) for at in range(1, 25)]
    base = results["base"]["everyday_en"]
    assert list(base.categories) == ["knowledge", "arithmetic", "reading", "following"]
    assert [one.category for one in base.questions[::3]] == list(base.categories)
    scores = [one.score for one in base.questions]
    assert base.score == pytest.approx(sum(scores) / 12)
    assert all(one.score == float(one.answer == one.target) for one in base.questions[:9])
    assert base.questions[0].prompt.startswith("Question: ")
    assert [one.prompt for one in results["tuned"]["everyday_en"].questions] == [one.prompt for one in base.questions]


@pytest.mark.filterwarnings("ignore")
def test_after_a_kill_it_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    tasks = ["everyday_zh_knowledge", "everyday_zh_following"]
    whole = letters(context=4000)
    (tmp_path / "whole").mkdir()
    expected, _ = run(whole, tmp_path / "whole", tasks)
    killed = letters(context=4000, ends_after=20)
    with pytest.raises(Killed):
        run(killed, tmp_path, tasks)
    kept = {json.loads(line)["key"] for line in (tmp_path / "answers.jsonl").read_text().splitlines()}
    assert kept
    engine = letters(context=4000)
    results, told = run(engine, tmp_path, tasks)
    assert results == expected
    assert len(engine.scored) + len(engine.asked) == len(whole.scored) + len(whole.asked) - len(kept)
    assert told[-1] == (12, 12)


@pytest.mark.filterwarnings("ignore")
def test_examples_stand_before_a_question_and_a_chat_is_asked_in_the_template(tmp_path: Path) -> None:
    engine = letters(context=4000)
    results, _ = run(engine, tmp_path, ["everyday_en_knowledge"], num_fewshot=2, limit=1)
    assert results["base"]["everyday_en_knowledge"].questions[0].prompt.count("Question:") == 3
    assert not results["base"]["everyday_en_knowledge"].categories
    run(engine, tmp_path, ["everyday_en_following"], limit=1, chat=True)
    assert isinstance(engine.asked[-1][1], Raw)
    assert engine.asked[-1][1].given[0] == 7
    remote = letters(lacks=frozenset({"tokens", "score"}))
    (tmp_path / "remote").mkdir()
    run(remote, tmp_path / "remote", ["everyday_en_following"], limit=1, chat=True)
    assert isinstance(remote.asked[-1][1], Chat)


@pytest.mark.filterwarnings("ignore")
def test_what_can_not_be_asked_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="asks how likely given answers are") as caught:
        run(letters(lacks=frozenset({"score"})), tmp_path, ["everyday_en"])
    assert caught.value.problems[0].key == "task"
    assert [task_name(one) for one in ("mmlu_test", "ceval_validation", "cmmlu_test", "gsm8k")] == [
        "mmlu", "ceval-valid", "cmmlu", "gsm8k",
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_data_that_can_not_be_had_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "folder", lambda: tmp_path)
    (tmp_path / "mine.yaml").write_text(
        f"task: mine\ndataset_path: json\ndataset_kwargs: {{data_files: {tmp_path}/none.jsonl}}\ntest_split: train\n"
        "output_type: generate_until\ndoc_to_text: a\ndoc_to_target: b\n"
    )
    with pytest.raises(UserError, match=r"The data of the benchmark 'mine' can't be had: Unable to find"):
        run(letters(), tmp_path, ["mine"])


@pytest.mark.filterwarnings("ignore")
def test_a_file_of_a_task_is_no_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval import tasks

    manager = tasks.TaskManager
    monkeypatch.setattr(tasks, "TaskManager", lambda include_path, include_defaults=False: manager(None, include_path, False))
    (tmp_path / "mine.yaml").write_text("task: mine\ndataset_path: json\ndoc_to_text: !function mine.run\n")
    with pytest.raises(UserError, match="There is no benchmark named '.*mine"):
        run(letters(), tmp_path, [str(tmp_path / "mine.yaml")])


@dataclass
class Other:
    """A task of lm-eval, as far as its examples go."""

    num_fewshot: int | None
    config: Any = field(default_factory=lambda: SimpleNamespace(metadata={"config_source": "/elsewhere/task.yaml"}))

    def get_config(self, key: str) -> int | None:
        return self.num_fewshot

    def set_config(self, key: str, value: int) -> None:
        self.num_fewshot = value


@pytest.mark.parametrize(("own", "asked", "shown", "told"), [(0, 5, 0, 1), (0, 0, 0, 0), (0, None, 0, 0), (None, 5, 5, 0), (8, None, 8, 0)])
def test_examples_that_a_task_does_not_show_are_told(
    own: int | None, asked: int | None, shown: int, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Other(own)
    monkeypatch.setattr(benchmarks, "_manager", lambda tasks: SimpleNamespace(load=lambda names: {"tasks": {"x": task}}))
    notes = load_tasks(["x", "x"], asked).notes
    assert (task.num_fewshot, len(notes)) == (shown, told)
    assert all("'x' brings its examples" in str(note) for note in notes)


@pytest.mark.parametrize(("given", "number"), [(math.nan, None), ("N/A", None), (math.inf, None), (1, 1.0), (True, 1.0), (0.25, 0.25)])
def test_a_figure_that_is_no_number_is_none(given: Any, number: float | None) -> None:
    assert number_of(given) == number


def result(score: float | None, marks: Sequence[float], higher_is_better: bool = True) -> TaskResult:
    questions = [Marked("", at, "q", "t", "a", mark) for at, mark in enumerate(marks)]
    return TaskResult("m", score, higher_is_better, {}, questions)


def test_an_interval_stands_only_beside_the_mean_that_it_is_of() -> None:
    base, tuned = [0.0, 1.0] * 10, [1.0] * 20
    held = task_figures({"base": result(0.5, base), "tuned": result(1.0, tuned)})
    assert held["base"]["low"] < 0.5 < held["base"]["high"] and held["change"]["verdict"] == "better"
    other = task_figures({"base": result(0.7, base, False), "tuned": result(None, tuned, False)})
    assert [other[label][side] for label in ("base", "tuned") for side in ("low", "high")] == [None] * 4
    assert (other["base"]["score"], other["tuned"]["score"], other["change"]["verdict"]) == (0.7, None, "worse")
