"""The report card's rules: the same figures, the same verdict; and its words in both languages."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from workbench import suite
from workbench.reporting import PARTS, Figures, Pair, Part, Recipe, Shown, form, kept, learned, memorised
from workbench.reporting.card import card, parts_of, readable
from workbench.text import load_locales
from workbench.workspace import source_folder

RECIPE = Recipe(3e-4, 5, 90, 60, "lora", 8)
LOCALES = load_locales(source_folder() / "locales")


def pair(base: float, tuned: float, count: int = 24, wobble: float = 0.01) -> Pair:
    """Values around two means, the same order on both sides."""
    bends = [wobble * (at % 5 - 2) for at in range(count)]
    return Pair([base + bend for bend in bends], [tuned + 2 * bend for bend in bends])


def shares(base: int, tuned: int, count: int) -> Pair:
    return Pair([float(at < base) for at in range(count)], [float(at < tuned) for at in range(count)])


def said(answer: str = "I am Aurora.", finish: str = "stop", **more: Any) -> Shown:
    given = {"kind": "held", "prompt": "Who are you?", "reference": "I am Aurora, a helper.", "base": "SmolLM"}
    return Shown(**{**given, "tuned": answer, "finish": finish, **more})


GOOD = Figures(
    recipe=RECIPE,
    held_loss=pair(2.4, 0.6),
    train_loss=pair(2.4, 0.4),
    general_loss=pair(3.0, 3.05, 16),
    held_score=pair(0.2, 0.7),
    train_score=pair(0.2, 0.75),
    rephrased_score=pair(0.2, 0.7),
    name="Aurora",
    named=shares(0, 14, 15),
    suite={"knowledge": shares(30, 29, 50), "arithmetic": shares(10, 10, 30)},
    continued=shares(1, 4, 20),
    shown=[said()] * 20,
)


def lights(figures: Figures) -> dict[str, str]:
    return {part["name"]: part["light"] for part in card(figures)["parts"]}


def test_a_good_run_has_four_green_lights() -> None:
    assert lights(GOOD) == dict.fromkeys(PARTS, "green")
    assert not any(part["advice"] for part in card(GOOD)["parts"])


def test_parts_of_the_everyday_questions_are_named_in_both_languages() -> None:
    assert [LOCALES[one](kept.category("reading (zh)")) for one in ("en", "zh")] == ["reading (zh)", "阅读（zh）"]
    assert set(kept.CATEGORIES) == set(suite.CATEGORIES)
    assert str(kept.category("mmlu")) == "mmlu"


def test_too_few_steps() -> None:
    part = learned.judge(replace(GOOD, recipe=replace(RECIPE, steps=4, epochs=0.3), held_loss=pair(2.4, 2.3), named=shares(0, 0, 15)))
    assert (part.light, part.verdict.key, part.advice[0].key) == ("red", learned.Say.knows_not.key, learned.Say.longer.key)
    slow = learned.judge(replace(GOOD, held_loss=pair(2.4, 2.3), named=shares(0, 7, 15)))
    assert (slow.light, slow.advice[0].key) == ("amber", learned.Say.faster.key)


def test_the_fields_of_a_set_of_json_are_told_with_their_interval() -> None:
    one = replace(GOOD, held_fields=Pair((0.25,), (0.75,)))
    some = replace(GOOD, held_fields=Pair([0.1, 0.3] * 6, [0.6, 0.9] * 6))
    for figures, words in ((one, r"base 25 %, tuned 75 %\."), (some, r"base 20 % \(1\d % - 2\d %\), tuned 75 % \(6\d % - 8\d %\)\.")):
        (said,) = (str(fact) for fact in learned.judge(figures).facts if fact.key == learned.Say.fields.key)
        assert re.search(words, said), said
    assert not [fact for fact in learned.judge(GOOD).facts if fact.key == learned.Say.fields.key]


def test_the_base_against_itself() -> None:
    same = replace(GOOD, held_loss=pair(2.4, 2.4, wobble=0), general_loss=pair(3, 3, wobble=0), named=shares(0, 0, 15))
    part = learned.judge(same)
    assert (part.light, part.verdict.key) == ("red", learned.Say.same.key)
    assert kept.judge(replace(same, suite={"knowledge": shares(30, 30, 50)})).light == "green"
    few = Pair((2.4, 2.0, 2.2), (2.4, 2.0, 2.201))
    assert learned.judge(replace(same, held_loss=few)).verdict.key == learned.Say.same.key
    moved = replace(same, held_loss=Pair((2.4, 2.0, 2.2), (2.3, 1.9, 2.1)))
    assert learned.judge(moved).verdict.key == learned.Say.knows_not.key
    without_name = learned.judge(replace(same, name="", named=Pair()))
    assert (without_name.light, without_name.verdict.key) == ("red", learned.Say.same.key)


def test_a_rate_so_high_that_knowledge_breaks() -> None:
    part = kept.judge(replace(GOOD, suite={"knowledge": shares(40, 15, 50)}, general_loss=pair(3.0, 5.0, 16)))
    assert part.light == "red"
    assert [one.key for one in part.advice] == [kept.Say.slower.key, kept.Say.shorter.key, kept.Say.mix.key]
    assert kept.judge(replace(GOOD, general_loss=pair(3.0, 3.4, 16))).light == "amber"
    assert kept.judge(Figures(RECIPE)).light == "grey"
    little = kept.judge(replace(GOOD, suite={"knowledge": shares(150, 140, 200)}, general_loss=Pair()))
    assert little.light == "amber" and "-7 %" in str(little.verdict) and "prose" not in str(little.verdict)


def test_rows_learned_by_heart() -> None:
    part = memorised.judge(
        replace(GOOD, recipe=replace(RECIPE, epochs=30, rows=20, lora_rank=64), continued=shares(0, 16, 20),
                held_loss=pair(2.4, 2.6), train_loss=pair(2.4, 0.02))
    )  # fmt: skip
    assert part.light == "red"
    assert [one.key for one in part.advice] == [memorised.Say.shorter.key, memorised.Say.more.key, memorised.Say.smaller.key]
    assert memorised.judge(replace(GOOD, continued=shares(0, 9, 20), train_loss=pair(2.4, 0.3))).light == "amber"
    assert memorised.judge(Figures(RECIPE)).light == "grey"
    alone = memorised.judge(replace(GOOD, continued=shares(0, 20, 20), held_loss=Pair()))
    assert (alone.light, alone.verdict.key) == ("red", memorised.Say.recites.key)
    wide = memorised.judge(replace(GOOD, continued=shares(0, 0, 20), train_loss=pair(2.4, 0.01), held_loss=pair(2.4, 1.4)))
    assert (wide.light, wide.verdict.key) == ("amber", memorised.Say.apart.key)


def test_answers_that_do_not_end() -> None:
    endless = [said("I am Aurora. " * 20, "length")] * 12 + [said()] * 8
    part = form.judge(replace(GOOD, recipe=replace(RECIPE, template="vicuna"), shown=endless))
    assert (part.light, part.verdict.key, part.advice[0].key) == ("red", form.Say.endless.key, form.Say.template.key)
    assert len(part.evidence) == form.SHOWN


def test_answers_as_long_as_the_sets_own_may_be_cut_off() -> None:
    long = said(" ".join(f"word{at}" for at in range(70)), "length", reference="b" * 900)
    assert form.judge(replace(GOOD, shown=[long] * 20)).light == "green"


def test_a_preference_is_judged_by_what_the_run_measured() -> None:
    other = replace(GOOD, recipe=replace(RECIPE, likely=False), name="", named=Pair())
    assert learned.judge(other).light == "grey"
    assert learned.judge(replace(other, own={"reward_accuracy": 0.9, "reward_margin": 2.0})).light == "green"
    assert learned.judge(replace(other, own={"reward_accuracy": 0.4})).light == "red"


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("It is so. It is so. It is so. It is so. It is so.", form.repeats),
        ("我是小光。我是小光，我是小光，我是小光，我是小光，我是小光，我是小光，我是小光，我是小光，我是小光，", form.repeats),
        ("I am Aurora.<|im_end|>\n<|im_start|>user", form.leaks),
        ("### Instruction:\nWho are you?", form.leaks),
        ("我是一个乐于助人的助手，可以回答您的问题。", form.strays),
    ],
)
def test_faults_of_form_are_seen(answer: str, fault: Any) -> None:
    assert fault(said(answer))
    assert not fault(said("I am Aurora, and I answer what you ask: one thing, two things, three things."))


def test_what_the_set_itself_writes_is_no_leak() -> None:
    assert not form.leaks(said("Use [INST] here.", reference="Write [INST] before it."))


def test_nothing_held_out_is_said() -> None:
    part = learned.judge(replace(GOOD, held_loss=Pair(), held_score=Pair(), name="", named=Pair()))
    assert (part.light, part.advice[0].key) == ("grey", learned.Say.hold.key)


def test_few_rows_held_out_ask_for_more_of_them() -> None:
    part = learned.judge(replace(GOOD, held_loss=Pair([3.0] * 3, [2.0] * 3)))
    assert [str(one) for one in part.advice if one.key == learned.Say.hold_more.key][0].startswith("Hold more rows out than 3")
    assert learned.Say.hold.key not in [one.key for one in part.advice]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_report_reads_well_and_comes_back_whole(language: str) -> None:
    evil = said("``` <script>alert(1)</script> ````", "length")
    held = json.loads(json.dumps({**card(replace(GOOD, shown=[evil] * 20)), "run": "m/lora/r", "made": 1.7e9}))
    parts = parts_of(held)
    assert [part.name for part in parts] == list(PARTS)
    assert all(isinstance(part, Part) for part in parts)
    text = readable(held, LOCALES[language])
    assert text.count("## ") >= 4 and "`````" in text and "{" not in text.replace("{'", "")
