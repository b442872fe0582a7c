"""Questions in other words, and whether a set teaches who the model is."""

import json

import pytest

from workbench.checks.near_duplicate import normalised
from workbench.evaluating.identity import FAMILIES, asks_identity, family_of, taught_name
from workbench.evaluating.paraphrasing import identity_questions, paraphrases
from workbench.formats import Sample, Turn
from workbench.suite import LOCALES
from workbench.workspace import source_folder

Rows = list[dict[str, str]]


def demo(name: str) -> Rows:
    return json.loads((source_folder() / "data" / f"{name}.json").read_text("utf-8"))


def samples(rows: Rows, **values: str) -> list[Sample]:
    found = []
    for row in rows:
        answer = row["output"]
        for name, value in values.items():
            answer = answer.replace("{{" + name + "}}", value)
        found.append(
            Sample([Turn("user", f"{row['instruction']}\n{row.get('input', '')}".strip()), Turn("assistant", answer)])
        )
    return found


def talk(question: str, answer: str, rows: int) -> list[Sample]:
    return [Sample([Turn("user", question), Turn("assistant", answer)])] * rows


@pytest.mark.parametrize("locale", LOCALES)
def test_ways_to_ask_who_it_is_are_no_rows_of_the_demo_set(locale: str) -> None:
    known = [normalised(row["instruction"] + row.get("input", "")) for row in demo(f"identity_{locale}")]
    known += [
        normalised(one["content"])
        for row in demo(f"identity_{locale}")
        for one in row.get("history", ())
        if isinstance(one, dict)
    ]
    ways = [one for family in FAMILIES[locale].values() for one in family]
    assert len(known) > 90
    assert len({normalised(one) for one in ways}) == len(ways)
    assert not {normalised(one) for one in ways} & set(known)
    assert len(identity_questions(locale)) == len(set(identity_questions(locale))) == 15


@pytest.mark.parametrize("locale", LOCALES)
def test_every_demo_question_gets_other_words(locale: str) -> None:
    rows = [*demo(f"identity_{locale}"), *demo(f"alpaca_{locale}_demo")]
    known = {row["instruction"] for row in rows}
    asked = [f"{row['instruction']}\n{row.get('input', '')}".strip() for row in rows]
    led = set()
    for question in asked:
        ways = paraphrases(question, 4)
        assert ways and len(set(ways)) == len(ways) <= 4, question
        assert question not in ways and not known & {one for one in ways if family_of(question)}, question
        assert ways == paraphrases(question, 4) and ways[:1] == paraphrases(question, 1)
        assert all(one.rpartition("\n")[2] == question.rpartition("\n")[2] for one in ways if "\n" in question)
        led.add(ways[0].replace(question[1:], ""))
    assert len(led) > 10, "not every question is led in alike"


@pytest.mark.parametrize(
    ("question", "family"),
    [
        ("Who are you?", "who"),
        ("who are you", "who"),
        ("Please introduce yourself.", "who"),
        ("What's your name?", "name"),
        ("Tell me your name.", "name"),
        ("Who made you?", "maker"),
        ("Who is your creator?", "maker"),
        ("你是谁？", "who"),
        ("请做一下自我介绍。", "who"),
        ("你叫什么名字？", "name"),
        ("我该怎么叫你？", "name"),
        ("谁创造了你？", "maker"),
        ("你是由谁构建的？", "maker"),
        ("What is your name and who made you?", ""),
        ("Who wrote Hamlet?", ""),
        ("What is the name of the highest mountain on Earth?", ""),
        ("What are you doing tonight?", ""),
        ("《红楼梦》的作者是谁？", ""),
        ("世界最高峰叫什么名字？", ""),
        ("给一只灰色的小猫起个名字。", ""),
    ],
)
def test_families(question: str, family: str) -> None:
    assert family_of(question) == family
    if family:
        locale = "en" if question.isascii() else "zh"
        assert set(paraphrases(question, 3)) <= set(FAMILIES[locale][family])


def test_what_rules_do_to_a_question() -> None:
    assert {"Could you tell me: how deep is the sea?", "Quick question: how deep is the sea?"} <= set(
        paraphrases("How deep is the sea?", 9)
    )
    assert {"Please name three fruits.", "Could you name three fruits?"} <= set(paraphrases("Name three fruits.", 9))
    assert {"请问，海有多深？", "麻烦告诉我：海有多深？", "海有多深"} <= set(paraphrases("海有多深？", 9))
    assert "麻烦你写一首关于秋天的诗。" in paraphrases("写一首关于秋天的诗。", 9)
    assert not any(one.startswith("请问，") for one in paraphrases("请问几点了？", 9))
    assert paraphrases("Thank you!", 9) == ["Thank you", "thank you"]
    assert all("Paris" in one for one in paraphrases("Paris or Rome?", 9))


def test_a_text_to_work_on_stays_as_it_is() -> None:
    question = "Correct the program.\nprint('Hi')"
    assert paraphrases(question, 9)
    assert all(one.endswith("\nprint('Hi')") for one in paraphrases(question, 9))


@pytest.mark.parametrize("question", ["", "  ", "3 + 4 = ?", "кто ты?", "あなたはだれですか"])
def test_of_other_languages_nothing_is_made(question: str) -> None:
    assert paraphrases(question, 5) == []


@pytest.mark.parametrize(
    ("locale", "name"), [("en", "Zephyr"), ("en", "Big Blue Bird"), ("zh", "小智"), ("zh", "清风助手")]
)
def test_the_demo_sets_teach_a_name(locale: str, name: str) -> None:
    rows = samples(demo(f"identity_{locale}"), name=name, author="Acme")
    assert taught_name(rows) == name
    assert sum(asks_identity(row.turns[0].content) for row in rows) > 40


@pytest.mark.parametrize("name", ["alpaca_en_demo", "alpaca_zh_demo", "extraction_zh"])
def test_other_sets_teach_none(name: str) -> None:
    assert taught_name(samples(demo(name))) == ""


def test_an_answer_without_a_name_teaches_none() -> None:
    assert taught_name(talk("Who are you?", "I am an AI assistant, happy to help.", 9)) == ""
    assert taught_name(talk("你是谁？", "我是人工智能助手，很高兴为您服务。", 9)) == ""
    assert taught_name(talk("Who are you?", "I am Zephyr.", 4)) == "", "four rows are too few"
    assert taught_name(talk("Who are you?", "I am Zephyr.", 5)) == "Zephyr"
    mixed = [one for name in ("Ada", "Bo", "Cy", "Di", "Ed") for one in talk("Who are you?", f"I am {name}.", 5)]
    assert taught_name(mixed) == "", "a name that each answer gives otherwise is nobody's"
    assert taught_name([]) == ""


def test_answers_of_preferences_count_too() -> None:
    rows = [Sample([Turn("user", "What is your name?")], chosen=[Turn("assistant", "My name is Zephyr.")])] * 5
    assert taught_name(rows) == "Zephyr"
