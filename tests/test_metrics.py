"""Metrics: the same figures as those of the libraries that define them, on 200 made pairs and at the edges."""

import importlib.util
import json
import random
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from workbench import metrics
from workbench.evaluating.languages import language_of
from workbench.evaluating.llamafactory_figures import NAMES, figures, figures_of
from workbench.likeness.words import segmented, spaced
from workbench.metrics import fitting, public
from workbench.sockets import plugins

KNOWN = plugins(metrics)
ENGLISH = """a the river house green quickly Dr. isn't 3.5 1,200 bread, "and" to open window (small) THE An over_there
 paper-thin walks; e-mail 20% mother's again light? yes! no"""
CHINESE = (
    "我们 今天 北京 天气 很好 ，学习 机器 语言 模型 的 了 。打开 窗户 GPU 3.5 苹果 ！喜欢 研究 生命 起源 ？a 的确 她"
)
EDGES = [
    "",
    " ",
    "x",
    "好",
    "😀",
    "😀 👍",
    "。",
    "...",
    "the",
    "The THE",
    "1",
    "\n\n",
    "ab " * 40,
    "好" * 40,
    "Ünïcode",
]


def made(words: list[str], glue: str, lot: random.Random) -> tuple[str, str]:
    """A text, and another that shares much, little or nothing with it."""
    reference = [lot.choice(words) for _ in range(lot.randint(1, 30))]
    kept = lot.random()
    answer = [word if lot.random() < kept else lot.choice(words) for word in reference][: lot.randint(1, 30)]
    if lot.random() < 0.2:
        lot.shuffle(answer)
    return glue.join(answer) + lot.choice(("", "", " 😀", "。")), glue.join(reference)


def pairs_of(line: str, glue: str, edges: list[str]) -> list[tuple[str, str]]:
    """100 pairs of one language: 70 made ones and 30 with an edge on one side or both."""
    lot, words = random.Random(7), line.split()
    found = [made(words, glue, lot) for _ in range(70)]
    for edge in edges:
        found += [(edge, found[lot.randrange(70)][1]), (found[lot.randrange(70)][0], edge)]
    return found[:100]


EN = pairs_of(
    ENGLISH,
    " ",
    [one for one in EDGES if "好" not in one and one not in ("。", "Ünïcode")] + ["b c d", "-", "Q", "Hi!"],
)
ZH = pairs_of(CHINESE, "", EDGES)
BOTH = [("en", *pair) for pair in EN] + [("zh", *pair) for pair in ZH]
ALIKE = [(edge, edge) for edge in EDGES]


@pytest.fixture(scope="module")
def jieba(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """jieba as it comes, with its cache in a folder of this test."""
    import logging

    import jieba

    jieba.dt.tmp_dir = str(tmp_path_factory.mktemp("jieba"))
    jieba.setLogLevel(logging.ERROR)
    return jieba


@pytest.fixture(scope="module")
def mlqa() -> ModuleType:
    """lm-eval's measure of MLQA, loaded without the library of datasets that its first lines ask for."""
    found = importlib.util.find_spec("lm_eval")
    assert found and found.submodule_search_locations
    path = Path(found.submodule_search_locations[0]) / "tasks/mlqa/utils.py"
    spec = importlib.util.spec_from_file_location("mlqa_utils", path)
    assert spec and spec.loader
    module, before = importlib.util.module_from_spec(spec), sys.modules.get("datasets")
    sys.modules["datasets"] = type("Stub", (ModuleType,), {"Dataset": object})("datasets")
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules.pop("datasets")
        if before:
            sys.modules["datasets"] = before
    return module


def test_words_are_cut_as_jieba_cuts_them_without_its_cache_or_its_talk(
    jieba: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from workbench.likeness import words

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    words._segmenter.cache_clear()
    text = "我来到北京清华大学，研究 deep learning 的起源。"
    assert segmented(text) == [word for word in jieba.lcut(text) if word.strip()]
    assert list(tmp_path.iterdir()) == [] and capfd.readouterr() == ("", "")


def test_the_pairs_are_as_many_as_promised_and_of_all_likenesses() -> None:
    assert (len(EN), len(ZH)) == (100, 100)
    likeness = [KNOWN["chrf"].score(answer, reference) for _, answer, reference in BOTH]
    assert min(likeness) == 0 and max(likeness) > 0.9 and sum(0.1 < one < 0.9 for one in likeness) > 100


def unspaced(language: str, answer: str, reference: str) -> bool:
    """Whether a pair is measured as Chinese: at the edges the reference decides, and without letters both together."""
    lettered = any(letter.isalpha() for letter in reference)
    text = reference if lettered else reference + answer
    return any("\u3400" <= letter <= "\u9fff" for letter in text)


def test_nearly_every_pair_is_measured_in_its_own_language() -> None:
    assert all(not unspaced(*one) for one in BOTH if one[0] == "en")
    assert sum(unspaced(*one) for one in BOTH if one[0] == "zh") >= 85


def test_bleu_is_sacrebleu() -> None:
    import sacrebleu

    for one in BOTH:
        tokenize = "zh" if unspaced(*one) else "13a"
        expected = sacrebleu.sentence_bleu(one[1], [one[2]], tokenize=tokenize, use_effective_order=True).score / 100
        assert KNOWN["bleu_4"].score(*one[1:]) == pytest.approx(expected, abs=1e-12), one


def test_chrf_is_sacrebleu() -> None:
    import sacrebleu

    for _, answer, reference in BOTH:
        expected = sacrebleu.sentence_chrf(answer, [reference]).score / 100
        assert KNOWN["chrf"].score(answer, reference) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("name", "theirs"), [("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")])
def test_rouge_of_words_with_spaces_is_rouge_score(name: str, theirs: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer, seen = RougeScorer([theirs]), 0
    for language, answer, reference in BOTH:
        if not unspaced(language, answer, reference):
            expected = scorer.score(reference, answer)[theirs].fmeasure
            assert KNOWN[name].score(answer, reference) == pytest.approx(expected, abs=1e-12), (answer, reference)
            seen += 1
    assert seen >= 100


@pytest.mark.parametrize("name", ["rouge_1", "rouge_2", "rouge_l"])
def test_rouge_of_chinese_is_rouge_chinese_over_the_words_of_jieba(name: str, jieba: Any) -> None:
    from rouge_chinese import Rouge

    rouge, seen = Rouge([public(name)], exclusive=False), 0
    for one in BOTH:
        if unspaced(*one):
            answer, reference = (" ".join(jieba.lcut(text)) for text in one[1:])
            empty = not answer.strip() or not reference.strip()  # rouge-chinese has no figure for these
            expected = 0.0 if empty else rouge.get_scores(answer, reference)[0][public(name)]["f"]
            assert KNOWN[name].score(*one[1:]) == pytest.approx(expected, abs=2e-8), one
            seen += 1
    assert seen >= 85


def test_token_f1_is_that_of_mlqa(mlqa: ModuleType) -> None:
    nothing = 0
    for language, answer, reference in BOTH:
        code = "zh" if unspaced(language, answer, reference) else "en"
        ours, theirs = (mlqa.normalize_answer(text, code) for text in (answer, reference))
        if not ours or not theirs:  # MLQA has no such question; SQuAD 2.0 says 1 where both are empty
            nothing += 1
            assert KNOWN["token_f1"].score(answer, reference) == float(ours == theirs)
        else:
            expected = mlqa.f1_score(answer, reference, code)
            assert KNOWN["token_f1"].score(answer, reference) == pytest.approx(expected, abs=1e-12), (answer, reference)
    assert 10 <= nothing <= 60


def test_exact_match_is_equality_but_for_white_space() -> None:
    score = KNOWN["exact_match"].score
    assert all(score(answer, reference) == (answer.split() == reference.split()) for _, answer, reference in BOTH)
    assert all(score(one, one) == 1 for one in EDGES)
    assert (score(" Yes\n", "Yes"), score("yes", "Yes"), score("", "Yes"), score("", " ")) == (1, 0, 0, 1)


@cache
def lf_reference() -> Any:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rouge_chinese import Rouge

    return Rouge(), lambda ours, theirs: sentence_bleu([theirs], ours, smoothing_function=SmoothingFunction().method3)


def test_llamafactorys_figures_are_nltk_over_characters_and_rouge_over_jiebas_words(jieba: Any) -> None:
    rouge, bleu = lf_reference()
    for _, answer, reference in BOTH:
        ours, theirs = " ".join(jieba.cut(answer)), " ".join(jieba.cut(reference))
        found = figures_of(answer, reference)
        if not ours.strip() or not theirs.strip():
            assert found == dict.fromkeys(NAMES, 0.0)
            continue
        shared = rouge.get_scores(ours, theirs)[0]
        assert found["bleu-4"] == round(bleu(list(answer), list(reference)) * 100, 4)
        assert all(found[name] == round(shared[name]["f"] * 100, 4) for name in NAMES[1:])


def test_llamafactorys_means_bear_the_names_of_its_file() -> None:
    found = figures([("It is 4.", "It is 4."), ("", "It is 4.")])
    assert list(found) == ["predict_bleu-4", "predict_rouge-1", "predict_rouge-2", "predict_rouge-l"]
    assert found["predict_bleu-4"] == 50.0 and found["predict_rouge-l"] == pytest.approx(50, abs=1e-3)
    assert figures([]) == {}


@pytest.mark.parametrize("name", KNOWN)
def test_a_metric_stays_between_nothing_and_all(name: str) -> None:
    scores = [KNOWN[name].score(answer, reference) for _, answer, reference in BOTH]
    told = [score for score in scores if score is not None]
    assert all(0 <= score <= 1 + 1e-12 for score in told)
    assert told == [] if "json" in name else len(told) == 200
    assert public(name) in {
        "bleu-4",
        "chrf",
        "exact-match",
        "json-fields",
        "rouge-1",
        "rouge-2",
        "rouge-l",
        "token-f1",
        "valid-json",
    }


@pytest.mark.parametrize("name", ["bleu_4", "chrf", "rouge_1", "rouge_l", "token_f1"])
@pytest.mark.parametrize("text", ["The river is green today.", "今天北京天气很好，我们学习。", "42", "今天"])
def test_an_answer_that_is_the_reference_has_all(name: str, text: str) -> None:
    assert KNOWN[name].score(text, text) == pytest.approx(1)
    assert KNOWN[name].score("zzz", text) == 0 or name == "chrf"


def test_words_of_other_scripts_count_too() -> None:
    assert KNOWN["rouge_1"].score("кошка спит", "Кошка ест") == pytest.approx(0.5)
    assert KNOWN["rouge_1"].score("un café", "un café noir") == pytest.approx(0.8)
    assert spaced("Ünï-code ❤️ x_y 3.5") == ["ünï", "code", "x", "y", "3", "5"]


JSON = '{"name": "Li Wei", "age": 30, "tags": ["a", "b"], "home": {"city": "北京"}}'


@pytest.mark.parametrize(
    ("answer", "valid", "shared"),
    [
        (JSON, 1, 1),
        ('{"home": {"city": " 北京 "}, "tags": ["b", "a"], "age": "30.0", "name": "Li  Wei"}', 1, 1),
        (f"```json\n{JSON}\n```", 0, 1),
        (f"Here [1] it is: {JSON} Good?", 0, 1),
        ('{"name": "Li Wei", "age": 31}', 1, 2 / 7),
        ('{"name": "Li Wei"}', 1, 2 / 6),
        ("{}", 1, 0),
        ("", 0, 0),
        ("[1, 2]", 0, 0),
        ("30", 0, 0),
        ('{"age": NaN}', 0, 0),
        ("{" * 5000, 0, 0),
        ('{"a":' * 5000, 0, 0),
        (JSON[:-1], 0, pytest.approx(0)),
    ],
)
def test_json_is_held_against_json(answer: str, valid: float, shared: float) -> None:
    assert KNOWN["valid_json"].score(answer, JSON) == valid
    assert KNOWN["json_fields"].score(answer, JSON) == pytest.approx(shared)


@pytest.mark.parametrize(
    ("left", "right", "alike"),
    [
        (1, 1.0, True),
        (1, "1", True),
        ("1,200.50", 1200.5, True),
        ("１２", 12, True),
        (1, True, False),
        ("true", True, False),
        (None, "null", False),
        ("007", 7, False),
        ("Li", "li", False),
        ([], {}, False),
        ([], [], True),
        (0.1, "0.10", True),
        (12345678901234567890, 12345678901234567891, False),
    ],
)
def test_values_that_say_the_same_are_equal(left: Any, right: Any, alike: bool) -> None:
    texts = [json.dumps({"x": value}) for value in (left, right)]
    assert KNOWN["json_fields"].score(*texts) == float(alike)


def test_a_list_of_references_is_read_as_one_and_others_are_not_judged() -> None:
    assert KNOWN["json_fields"].score('[{"a": 1}, {"a": 2}]', '[{"a": 2}, {"a": 3}]') == 0.5
    assert KNOWN["json_fields"].score("[]", "[]") == 1
    for reference in ("", "plain", "42", '"text"', "null"):
        assert KNOWN["json_fields"].score(JSON, reference) is KNOWN["valid_json"].score(JSON, reference) is None


def test_sets_choose_the_metrics_that_say_something_of_them() -> None:
    texts = {"bleu_4", "chrf", "exact_match", "rouge_1", "rouge_2", "rouge_l", "token_f1"}
    assert set(fitting(KNOWN, ["Yes.", "No."])) == texts
    assert set(fitting(KNOWN, [JSON, "[]", "none"])) == texts | {"valid_json", "json_fields"}
    assert fitting(KNOWN, ["", ""]) == fitting(KNOWN, []) == []


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The river is green.", "en"),
        ("今天天气很好。", "zh"),
        ("请用 print 打印 hello", "zh"),
        ('The word "你好" means hello to all of you.', "en"),
        ("こんにちは、元気ですか", "other"),
        ("Привет", "other"),
        ("42 😀", "other"),
        ("", "other"),
    ],
)
def test_the_language_of_a_text(text: str, language: str) -> None:
    assert language_of(text) == language
