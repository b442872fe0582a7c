"""Words: keys from their place, messages that travel, languages laid over English, and the choice among them."""

import json
from pathlib import Path

import pytest

from workbench.problems import Problem, UserError
from workbench.text import ENGLISH, Locale, Message, Text, choose_locale, load_locales, placeholders, verbatim


class Say:
    plain = Text("All is well.")
    braces = Text("Write {{name}} for {what}.")
    low = Text("above {low}")
    outer = Text("{label} is '{given}'. Accepted: {accepted}.")


CHINESE = Locale(
    "zh",
    {
        f"{__name__}.plain": "一切正常。",
        f"{__name__}.low": "大于 {low}",
        f"{__name__}.outer": "{label}是“{given}”，应为{accepted}。",
        "fields.rate.label": "学习率",
    },
)


def key(text: Text) -> str:
    return text.key


def test_a_text_takes_its_key_from_its_place() -> None:
    assert key(Say.low) == f"{__name__}.low"
    assert Say.low(low=3) == Message(f"{__name__}.low", "above {low}", {"low": 3})


def test_words_become_words_in_the_readers_language() -> None:
    message = Say.outer(label=Message("fields.rate.label", "Rate"), given="{odd}", accepted=Say.low(low=0))
    assert str(message) == ENGLISH(message) == "Rate is '{odd}'. Accepted: above 0."
    assert CHINESE(message) == "学习率是“{odd}”，应为大于 0。"
    assert (ENGLISH(Say.plain), CHINESE(Say.plain), CHINESE(Say.plain())) == (
        "All is well.",
        "一切正常。",
        "一切正常。",
    )
    assert CHINESE(Say.braces(what="x")) == ENGLISH(Say.braces(what="x")) == "Write {name} for x."


def test_a_message_travels_as_json_and_stays_translatable() -> None:
    message = Say.outer(label=Message("fields.rate.label", "Rate"), given=[1, 2.5, None], accepted=Say.low(low=0))
    back = Message.from_json(json.loads(json.dumps(message.to_json())))
    assert back == message
    assert CHINESE(back) == CHINESE(message)


@pytest.mark.parametrize("data", ["plain {words}", 17, None, ["a"], {"no": "english"}])
def test_what_is_no_message_is_said_as_it_stands(data: object) -> None:
    assert str(Message.from_json(data)) == (data if isinstance(data, str) else json.dumps(data))


def test_a_translation_that_wants_more_than_an_old_message_says_falls_back_to_english() -> None:
    newer = Locale("zh", {f"{__name__}.low": "大于 {low}，小于 {high}"})
    assert newer(Say.low(low=1)) == "above 1"
    assert newer(Say.low) == "大于 {low}，小于 {high}"


def test_an_old_message_without_its_arguments_is_still_said() -> None:
    assert ENGLISH(Message("x", "above {low}, below {high}", {"low": 1})) == "above {low}, below {high}"
    assert ENGLISH(Message("x", "a lone {", {"low": 1})) == "a lone {"


def test_verbatim_words_are_never_a_format() -> None:
    for words in ("{0} {name} }{", "", "100 %"):
        assert str(verbatim(words)) == CHINESE(verbatim(words)) == words


def test_placeholders() -> None:
    assert placeholders("{a} and {b.c} and {{d}} and {a!r:>3}") == {"a", "b.c"}
    assert placeholders("nothing") == frozenset()


def test_locales_lie_over_english(tmp_path: Path) -> None:
    (tmp_path / "en.yaml").write_text(f"{__name__}.plain: written\n", "utf-8")
    (tmp_path / "zh.yaml").write_text(f"{__name__}.plain: 一切正常。\n", "utf-8")
    (tmp_path / "ja.yaml").write_text("", "utf-8")
    locales = load_locales(tmp_path)
    assert sorted(locales) == ["en", "ja", "zh"]
    assert [locales[name](Say.plain) for name in ("en", "ja", "zh")] == ["All is well.", "All is well.", "一切正常。"]
    assert list(load_locales(tmp_path / "none")) == ["en"]


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("", "en"), ("zh", "zh"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en-US,en;q=0.9,zh;q=0.8", "en"), ("fr-FR,zh;q=0.5", "zh"),
        ("zh_CN.UTF-8", "zh"), ("ZH-Hant-TW", "zh"), ("C.UTF-8", "en"), ("de", "en"), ("*", "en"), (" zh ;q=1", "zh"),
        ("en:zh", "en"), ("en;q=0.3, zh;q=0.9", "zh"), ("zh;q=0, en", "en"), ("zh;q=bad,en", "en"),
    ],
)  # fmt: skip
def test_the_best_known_language_is_chosen(wanted: str, name: str) -> None:
    assert choose_locale({"en": ENGLISH, "zh": CHINESE}, wanted) == name


def test_a_user_error_carries_every_problem() -> None:
    error = UserError(Problem(Say.low(low=1), "a"), Say.plain(), key="b")
    assert [(problem.key, str(problem.message)) for problem in error.problems] == [
        ("a", "above 1"),
        ("b", "All is well."),
    ]
    assert str(error) == "a: above 1\nb: All is well."
    assert str(Problem(Say.plain())) == "All is well."
