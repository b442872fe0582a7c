"""The offline suite: counts, balance, no twins, right answers; and that lm-eval reads it from any working directory."""

import json
import re
from collections import Counter
from difflib import SequenceMatcher
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from workbench.checks.near_duplicate import normalised
from workbench.lettering import script_of_text
from workbench.suite import CATEGORIES, LOCALES, MOST_SHOTS, TASKS, folder, general
from workbench.suite.rows import splits
from workbench.workspace import source_folder

COUNTS = {"knowledge": 50, "arithmetic": 30, "reading": 30, "following": 40}
ALIKE = 0.9
GENERAL = 40

Row = dict[str, Any]


@cache
def rows(locale: str) -> list[Row]:
    return [
        json.loads(line) for line in (folder() / f"everyday_{locale}.jsonl").read_bytes().decode("utf-8").splitlines()
    ]


def choices(locale: str) -> list[Row]:
    return [row for row in rows(locale) if row["category"] != "following"]


def twins(texts: list[str]) -> list[tuple[str, str]]:
    """Pairs that are nearly the same; quick bounds first, since there are ten thousand pairs."""
    found = []
    for one, other in combinations(texts, 2):
        if normalised(one) == normalised(other):
            found.append((one, other))
            continue
        judge = SequenceMatcher(None, one, other, autojunk=False)
        if judge.real_quick_ratio() > ALIKE and judge.quick_ratio() > ALIKE and judge.ratio() > ALIKE:
            found.append((one, other))
    return found


@pytest.mark.parametrize("locale", LOCALES)
def test_every_category_has_its_questions_and_examples(locale: str) -> None:
    counted = Counter((row["category"], row["split"]) for row in rows(locale))
    assert counted == {
        (name, split): count
        for name in CATEGORIES
        for split, count in (("test", COUNTS[name]), ("fewshot", MOST_SHOTS))
    }
    assert sum(COUNTS.values()) == 150
    assert len({row["id"] for row in rows(locale)}) == len(rows(locale))
    assert Counter(row["level"] for row in rows(locale) if row["split"] == "test")[3] >= 30


@pytest.mark.parametrize("locale", LOCALES)
def test_the_right_answer_stands_in_every_place_equally_often(locale: str) -> None:
    for category in CATEGORIES[:3]:
        places = Counter(
            row["answer"] for row in choices(locale) if row["category"] == category and row["split"] == "test"
        )
        assert set(places) == {0, 1, 2, 3}
        assert max(places.values()) - min(places.values()) <= 1


@pytest.mark.parametrize("locale", LOCALES)
def test_four_different_options_and_the_answer_is_not_the_longest_too_often(locale: str) -> None:
    longest = 0
    for row in choices(locale):
        assert len(row["choices"]) == len({normalised(one) for one in row["choices"]}) == 4, row
        assert all(one == one.strip() and one for one in row["choices"]), row
        right = len(row["choices"][row["answer"]])
        longest += all(right > len(one) for at, one in enumerate(row["choices"]) if at != row["answer"])
    assert longest / len(choices(locale)) < 0.35, "length alone would give the answer away"


@pytest.mark.parametrize("locale", LOCALES)
def test_arithmetic_is_right_and_its_wrong_options_are_wrong(locale: str) -> None:
    sums = [row for row in rows(locale) if row["category"] == "arithmetic"]
    for row in sums:
        assert re.fullmatch(r"[\d+\-*/() ]+", row["expression"])
        result = eval(row["expression"])  # digits and signs only
        assert [float(one) == result for one in row["choices"]].index(True) == row["answer"], row
        assert sum(float(one) == result for one in row["choices"]) == 1, row
        if row["lead"].endswith("="):
            shown = row["lead"].rstrip("= ").replace("x", "*").replace("×", "*").replace("÷", "/")
            assert shown == row["expression"], row
            assert re.findall(r"\d+", row["question"]) == re.findall(r"\d+", row["expression"]), row
    assert sum(row["lead"].endswith("=") for row in sums) >= 15


@pytest.mark.parametrize("locale", LOCALES)
def test_short_answers_pass_their_own_rule_and_wrong_case_does_not(locale: str) -> None:
    task = yaml.load(
        (folder() / f"everyday_{locale}_following.yaml").read_text("utf-8").replace("!function ", ""), yaml.SafeLoader
    )
    ignored = task["metric_list"][0]["regexes_to_ignore"]

    def bare(text: str) -> str:
        for pattern in ignored:
            text = re.sub(pattern, "", text)
        return text

    for row in rows(locale):
        if row["category"] == "following":
            assert row["answers"] and all(bare(one) for one in row["answers"]), row
            assert len({bare(one) for one in row["answers"]}) == len(row["answers"]), row
            assert all(len(one) <= 60 and "\n" not in one for one in row["answers"]), row
    assert bare('"RIVER".') == bare("**RIVER**") == "RIVER" != bare("river")
    assert bare("1, 2, 3") == bare("1,2,3") and bare("5 4 3") != bare("543")
    assert bare("“小”。") == "小"


@pytest.mark.parametrize("locale", LOCALES)
def test_no_question_is_asked_twice(locale: str) -> None:
    asked = {name: [row for row in rows(locale) if row["category"] == name] for name in CATEGORIES}
    words = [row["question"] for name in ("knowledge", "following") for row in asked[name]]
    assert not twins(words)
    assert not twins([row["passage"] for row in asked["reading"]])
    sums = [row["question"] for row in asked["arithmetic"]]
    assert len({normalised(one) for one in sums}) == len(sums), "other numbers make another question"


@pytest.mark.parametrize("locale", LOCALES)
def test_words_are_in_the_language(locale: str) -> None:
    script = {"en": "latin", "zh": "zh"}[locale]
    for row in rows(locale):
        text = row.get("passage", "") + row["question"]
        assert script_of_text(text) == script, row
        assert locale == "zh" or text.isascii(), row


def test_nothing_of_it_stands_in_the_demo_sets() -> None:
    """Else a model that learned a demo set would seem to have kept more than it did."""
    demo = b"".join(normalised(path.read_text("utf-8")) for path in sorted((source_folder() / "data").glob("*_*.*")))
    asked = [row for locale in LOCALES for row in rows(locale)]
    assert len(demo) > 100_000
    for row in asked:
        words = normalised(row.get("passage") or row["question"])
        assert len(words) < 15 or words not in demo, row
    for paragraph in [*general("en"), *general("zh")]:
        assert normalised(paragraph[:40]) not in demo


@pytest.mark.parametrize("locale", LOCALES)
def test_general_prose_is_forty_paragraphs_of_like_length(locale: str) -> None:
    found = general(locale)
    lengths = [len(one.split()) if locale == "en" else len(one) for one in found]
    least, most = (60, 120) if locale == "en" else (110, 220)
    assert len(found) == GENERAL
    assert all(least <= length <= most for length in lengths), lengths
    assert not twins([one[:60] for one in found])
    assert all(script_of_text(one) == {"en": "latin", "zh": "zh"}[locale] and "\n" not in one for one in found)


def test_files_are_plain_utf_8() -> None:
    files = [path for path in folder().iterdir() if path.is_file()]
    assert len(files) >= 16
    for path in files:
        text = path.read_bytes().decode("utf-8")
        assert "\r" not in text and "\ufeff" not in text and "\ufffd" not in text and text.endswith("\n"), path
        assert not re.search(r"\b20\d\d\b|ChatGPT|OpenAI", text), path


def test_rows_of_one_category_by_split() -> None:
    found = splits("everyday_zh", "reading", version=1)
    assert {split: len(found[split]) for split in found} == {"test": 30, "fewshot": MOST_SHOTS}
    assert {row["category"] for row in found["test"]} == {"reading"}


@pytest.mark.filterwarnings("ignore")  # lm-eval and what it imports warn of much
@pytest.mark.slow
def test_lm_eval_reads_it_from_any_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Knowing(LM):
        """Likes the last option best, and answers by the last example that it was shown."""

        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def loglikelihood(self, requests: Any) -> Any:
            self.seen += [one.args[0] for one in requests]
            return [(float(one.idx), False) for one in requests]

        def loglikelihood_rolling(self, requests: Any) -> Any:
            raise NotImplementedError

        def generate_until(self, requests: Any) -> Any:
            self.seen += [one.args[0] for one in requests]
            return ["\n yes." for _ in requests]

    monkeypatch.chdir(tmp_path)
    manager = TaskManager(include_path=str(folder()), include_defaults=False)
    assert set(TASKS) < set(manager.all_tasks)
    for num_fewshot in (None, MOST_SHOTS):
        model = Knowing()
        told = simple_evaluate(
            model, tasks=list(TASKS), num_fewshot=num_fewshot, task_manager=manager, bootstrap_iters=0
        )
        results = told["results"]
        for locale in LOCALES:
            last = [row["answer"] == 3 for row in choices(locale) if row["split"] == "test"]
            assert results[f"everyday_{locale}"]["acc,none"] == pytest.approx(sum(last) / len(last))
            assert results[f"everyday_{locale}"]["sample_count"] == {"acc,none": 110, "exact_match,first-line": 40}
            assert results[f"everyday_{locale}_knowledge"]["alias"] == "knowledge"
        assert results["everyday_en_following"]["exact_match,first-line"] == 2 / 40
        shots = {text.count("Instruction:") - 1 for text in model.seen if "Instruction:" in text}
        assert shots == {num_fewshot or 4}
        asked = {text.count("Question:") - 1 for text in model.seen if "Question:" in text}
        assert asked == {num_fewshot or 0}
