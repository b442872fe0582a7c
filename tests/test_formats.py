"""Formats: rows and the samples or faults that they are, mends that can be read, and round trips."""

import copy
import json
import random
from collections.abc import Mapping
from typing import Any

import pytest

from tests.format_rows import PROPOSED, RANKED, READ, SAFE, THOUGHT, UNREADABLE, a, q, s, said
from workbench import formats
from workbench.formats import Fault, Layout, Sample
from workbench.rows.order import misplaced
from workbench.rows.roles import OPENAI_TAGS
from workbench.sockets import plugins

FORMATS = plugins(formats)
JUNK: list[Any] = [
    None, "", " ", "x", 0, 2.5, float("nan"), True, [], {}, [[]], [{}], {"a": 1}, ["x"], [["a", "b"]], "[]", "{}", "[{}]", "null",
    b"x", ("a",), 10**400, "<think>\n", "\n\nHuman: x", "[" * 3000, {"type": 5}, [{"type": "text", "text": 1}],
    {"role": "assistant", "content": "A"}, [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}],
]  # fmt: skip
KEYS = (
    "tools",
    "system",
    "weight",
    "tool_calls",
    "reasoning_content",
    "images",
    "history",
    "kto_tag",
    "chosen",
    "type",
)


def layout(name: str, ranking: bool = False, **columns: str) -> Layout:
    module = FORMATS[name]
    return Layout({**module.COLUMNS, **columns}, module.TAGS, ranking)


def read(name: str, row: Mapping[str, Any], ranking: bool = False, **columns: str) -> Sample | Fault:
    result = FORMATS[name].sample(row, layout(name, ranking, **columns))
    assert isinstance(result, Sample | Fault)
    return result


def named(cases: list[Any]) -> list[Any]:
    return [pytest.param(name, *rest, id=f"{name}: {what}") for name, what, *rest in cases]


def alike(sample: Sample | Fault) -> str:
    """Samples compare by what they hold, whether in lists or tuples."""
    assert isinstance(sample, Sample), str(sample.reason)
    turns = [[*sample.turns], [*sample.chosen], [*sample.rejected]]
    inside = [[(turn.message(), turn.weight) for turn in part] for part in turns]
    return repr((inside, [*sample.tools], sample.label, sample.text))


@pytest.mark.parametrize(("name", "row", "expected"), named(READ))
def test_a_good_row_is_read_as_it_stands(name: str, row: dict[str, Any], expected: Sample) -> None:
    before = json.dumps(row)
    assert alike(read(name, row)) == alike(expected)
    assert json.dumps(row) == before


@pytest.mark.parametrize(("name", "row"), named(RANKED))
def test_a_ranked_row_is_a_pair(name: str, row: dict[str, Any]) -> None:
    expected = Sample([q()], chosen=[a()], rejected=[a("B")])
    assert alike(read(name, row, ranking=True)) == alike(expected)


@pytest.mark.parametrize(("name", "row", "key", "expected"), named(SAFE))
def test_what_changes_nothing_is_mended(name: str, row: dict[str, Any], key: str, expected: Sample) -> None:
    fault = read(name, row)
    assert isinstance(fault, Fault) and fault.safe and fault.mend is not None
    assert fault.reason.key == key and "{" not in str(fault.reason).replace('{"', "")
    assert alike(read(name, fault.mend)) == alike(expected)


@pytest.mark.parametrize(("name", "row", "key", "expected"), named(PROPOSED))
def test_what_changes_something_is_only_proposed(name: str, row: dict[str, Any], key: str, expected: Sample) -> None:
    before = json.dumps(row)
    fault = read(name, row)
    assert isinstance(fault, Fault) and not fault.safe and fault.mend is not None
    assert fault.reason.key == key and "{" not in str(fault.reason)
    assert alike(read(name, fault.mend)) == alike(expected)
    assert json.dumps(row) == before


@pytest.mark.parametrize(("name", "row", "key"), named(UNREADABLE))
def test_what_only_a_person_can_mend_says_why(name: str, row: dict[str, Any], key: str) -> None:
    fault = read(name, row)
    assert isinstance(fault, Fault) and fault.mend is None and not fault.safe
    assert fault.reason.key == key
    assert "Accepted: " in str(fault.reason) and "{column}" not in str(fault.reason)


def test_there_are_many_cases() -> None:
    assert len(READ) + len(RANKED) + len(SAFE) + len(PROPOSED) + len(UNREADABLE) >= 150


def test_everything_that_was_put_right_is_said_once() -> None:
    fault = read("alpaca", {"instruction": 1, "output": 7, "history": [["q", 1], ["q", 2]], "kto_tag": "no"})
    assert isinstance(fault, Fault) and fault.safe
    assert [str(fault.reason).count(f"'{column}'") for column in ("instruction", "output", "history", "kto_tag")] == [
        1
    ] * 4


# Names of a layout


def test_columns_and_tags_go_by_the_layout() -> None:
    row = {"chat": [{"who": "me", "says": "Q"}, {"who": "it", "says": "A"}], "sys": "S"}
    tags = {**OPENAI_TAGS, "role_tag": "who", "content_tag": "says", "user_tag": "me", "assistant_tag": "it"}
    module = FORMATS["sharegpt"]
    sample = module.sample(row, Layout({**module.COLUMNS, "messages": "chat", "system": "sys"}, tags))
    assert alike(sample) == alike(Sample([s(), q(), a()]))


def test_a_question_in_the_column_of_inputs_is_asked_once() -> None:
    row = {"input": "Q", "target": "A"}
    assert alike(read("alpaca", row, prompt="input", response="target")) == alike(Sample([q(), a()]))


def test_a_completion_may_be_called_a_response() -> None:
    row = {"prompt": "Q", "answer": "A", "label": True}
    assert alike(read("kto", row, response="answer")) == alike(Sample([q(), a()], label=True))


def test_a_pair_and_a_label_do_not_go_together() -> None:
    fault = read("sharegpt", {**RANKED[3][2], "kto_tag": True}, ranking=True)
    assert isinstance(fault, Fault) and fault.reason.key == "rows.pairs.both"


def test_a_question_that_ends_with_an_answer_is_proposed_without_it() -> None:
    fault = read("sharegpt", {"conversations": said("h Q", "g A"), "chosen": "B", "rejected": "C"}, ranking=True)
    assert isinstance(fault, Fault) and fault.mend is not None and fault.reason.key == "rows.repairs.last"
    assert "a question at the end" in str(fault.reason)
    assert alike(read("sharegpt", fault.mend, ranking=True)) == alike(Sample([q()], chosen=[a("B")], rejected=[a("C")]))


# Round trips


def as_messages(sample: Sample) -> dict[str, Any]:
    """The row of OpenAI's format that says what the sample says."""
    row: dict[str, Any] = {"messages": sample.messages(), "tools": json.dumps([*sample.tools])}
    if sample.chosen:
        row |= {"chosen": [turn.message() for turn in sample.chosen]}
        row |= {"rejected": [turn.message() for turn in sample.rejected]}
    return row if sample.label is None else {**row, "kto_tag": sample.label}


@pytest.mark.parametrize(("name", "row", "expected"), named([case for case in READ if "weight" not in str(case)]))
def test_every_sample_can_be_written_as_messages_and_read_again(
    name: str, row: dict[str, Any], expected: Sample
) -> None:
    if expected.shape == "text" or any(turn.weight != 1 for turn in expected.turns):
        return
    again = read("openai", as_messages(expected), ranking=expected.shape == "preference")
    assert alike(again) == alike(expected)


@pytest.mark.parametrize(
    ("content", "thought"),
    [
        (THOUGHT, "Let me see."),
        ("<think>\na\n\nb\n</think>\n\n c ", "a\n\nb"),
        ("<think>\n a \n</think>\n\nb", " a "),
        ("<think>\n\n</think>\n\nA", ""),
        ("<think>a</think>b", ""),
        ("<think>\na\n</think>\nb", ""),
        ("<think>\n\na\n</think>\n\nb", ""),
        ("<think>\na\n\n</think>\n\nb", ""),
        ("<think>\na\n</think>\n\n\nb", ""),
        ("<think>\na</think> b\n</think>\n\nc", ""),
        ("<think>\na", ""),
        ("x <think>\na\n</think>\n\nb", ""),
        ("<think>\na\n</think>\n\nb <think>\nc\n</think>\n\nd", ""),
    ],
)
def test_no_byte_of_a_thought_is_lost(content: str, thought: str) -> None:
    sample = read("openai", {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": content}]})
    assert isinstance(sample, Sample)
    turn = sample.turns[-1]
    assert turn.reasoning == thought
    assert (f"<think>\n{thought}\n</think>\n\n{turn.content}" if thought else turn.content) == content


def test_a_long_talk_of_other_names_is_mended_at_once() -> None:
    talk = [{"role": role, "content": number} for number in range(1, 101) for role in ("human", "ai")]
    fault = read("openai", {"messages": talk})
    assert isinstance(fault, Fault) and fault.safe and fault.mend is not None
    sample = read("openai", fault.mend)
    assert isinstance(sample, Sample) and len(sample.turns) == 200


# Anything at all


def spoilt(value: Any, chance: random.Random) -> Any:
    """The value with something in it put wrong."""
    if chance.random() < 0.25:
        return copy.deepcopy(chance.choice(JUNK))
    if isinstance(value, dict) and value:
        key = chance.choice([*value])
        rest = {name: one for name, one in value.items() if name != key}
        if chance.random() < 0.3:
            return {**value, chance.choice(KEYS): copy.deepcopy(chance.choice(JUNK))}
        return rest if chance.random() < 0.2 else {**value, key: spoilt(value[key], chance)}
    if isinstance(value, list) and value:
        at, kind = chance.randrange(len(value)), chance.random()
        inside = [] if kind < 0.2 else [value[at], value[at]] if kind < 0.4 else [spoilt(value[at], chance)]
        return [*value[:at], *inside, *value[at + 1 :]]
    return value


@pytest.mark.parametrize("ranking", [False, True])
def test_whatever_a_row_holds_is_a_sample_or_a_fault_whose_mend_can_be_read(ranking: bool) -> None:
    chance, samples, mends = random.Random(7), 0, 0
    cases: list[Any] = [*RANKED] if ranking else [*READ, *SAFE, *PROPOSED, *UNREADABLE]
    for _ in range(3000):
        name, _, whole, *_ = chance.choice(cases)
        row = spoilt(spoilt(whole, chance), chance)
        if not isinstance(row, dict):
            continue
        before, result = repr(row), read(name, row, ranking)
        assert repr(row) == before
        if isinstance(result, Fault):
            assert "{column}" not in str(result.reason) and result.reason.to_json()
            assert result.mend is not None or not result.safe
            if result.mend is None:
                continue
            mends, result = mends + 1, read(name, result.mend, ranking)
        assert isinstance(result, Sample)
        samples += 1
        roles = [turn.role for turn in result.turns]
        assert result.shape == "text" or misplaced(roles, "question" if result.chosen else "whole") is None
    assert samples > 300 and mends > 30


@pytest.mark.parametrize("given", [True, 1, 1.0, "true", "True", "1", False, 0, 0.0, "false", " FALSE ", "0"])
def test_a_label_as_programs_write_it_needs_no_mend(given: Any) -> None:
    sample = read("kto", {"prompt": "Q", "completion": "A", "label": given})
    assert isinstance(sample, Sample)
    assert sample.label is (str(given).strip().lower() in ("true", "1", "1.0"))
