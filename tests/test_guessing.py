"""Guessing: columns under many names, messages under many keys, and how sure a guess is."""

import json
from typing import Any

import pytest

from workbench import formats
from workbench.data.guessing import LABELS, columns_for, guess
from workbench.formats import COLUMN_NAMES, Fault, Layout, Sample
from workbench.sockets import plugins

FORMATS = plugins(formats)
SHORT, LONG = "What is it?", "It is a rather long answer that explains the matter in some words."
TALK = [{"from": "human", "value": SHORT}, {"from": "gpt", "value": LONG}]
CHAT = [{"role": "user", "content": SHORT}, {"role": "assistant", "content": LONG}]
VALUES: dict[str, Any] = {
    "Q": SHORT, "A": LONG, "S": "Be brief.", "T": LONG * 3, "+": True, "0": 1, "w": "true", "[]": [["q", "a"]],
    "talk": TALK, "chat": CHAT, "": "", "n": None, "id": "a7f3", "g": CHAT[1:], "c": CHAT,
}  # fmt: skip
"""What a letter in a header stands for."""

HEADERS: list[tuple[str, str, str, bool]] = [
    ("instruction:Q input: output:A", "alpaca", "prompt=instruction query=input response=output", True),
    ("instruction:Q input:Q output:A system:S history:[]", "alpaca",
     "prompt=instruction query=input response=output system=system history=history", True),
    ("input:Q output:A", "alpaca", "prompt=input response=output", True),
    ("question:Q answer:A", "alpaca", "prompt=question response=answer", True),
    ("Question:Q Answer:A", "alpaca", "prompt=Question response=Answer", True),
    ("query:Q response:A", "alpaca", "prompt=query response=response", True),
    ("prompt:Q response:A", "alpaca", "prompt=prompt response=response", True),
    ("prompt:Q completion:A", "prompt_completion", "prompt=prompt completion=completion", True),
    ("问题:Q 答案:A", "alpaca", "prompt=问题 response=答案", True),
    ("提问:Q 回答:A 系统:S", "alpaca", "prompt=提问 response=回答 system=系统", True),
    ("指令:Q 输入:Q 输出:A", "alpaca", "prompt=指令 query=输入 response=输出", True),
    ("输入:Q 输出:A", "alpaca", "prompt=输入 response=输出", True),
    ("提示词:S 问题:Q 回复:A", "alpaca", "prompt=问题 response=回复 system=提示词", True),
    ("提示词:Q 回复:A", "alpaca", "prompt=提示词 response=回复", True),
    ("问题:Q 思考:S 回答:A", "alpaca", "prompt=问题 response=回答 reasoning=思考", True),
    ("question:Q system_prompt:S response:A", "alpaca", "prompt=question response=response system=system_prompt", True),
    ("id:id 题目:Q 答案:A 类别:id", "alpaca", "prompt=题目 response=答案", True),
    ("content:Q summary:A", "alpaca", "prompt=content response=summary", False),
    ("prompt:Q text:A", "alpaca", "prompt=prompt response=text", False),
    ("甲:Q 乙:A", "alpaca", "prompt=甲 response=乙", False),
    ("乙:A 甲:Q", "alpaca", "prompt=甲 response=乙", False),
    ("a b:Q c-d:A", "alpaca", "prompt=a b response=c-d", False),
    ("问题:Q 内文:A", "alpaca", "prompt=问题 response=内文", False),
    ("某某:Q 答案:A", "alpaca", "prompt=某某 response=答案", False),
    ("text:T", "text", "text=text", True),
    ("内容:T", "text", "text=内容", True),
    ("文本:T id:id", "text", "text=文本", True),
    ("title:Q text:T", "text", "text=text", False),
    ("正文甲:T", "text", "text=正文甲", False),
    ("conversations:talk", "sharegpt", "messages=conversations", True),
    ("conversations:talk tools:n", "sharegpt", "messages=conversations tools=tools", True),
    ("messages:chat", "openai", "messages=messages", True),
    ("conversations:chat", "openai", "messages=conversations", True),
    ("messages:talk", "sharegpt", "messages=messages", True),
    ("对话:chat 系统:S", "openai", "messages=对话 system=系统", True),
    ("某列:chat", "openai", "messages=某列", False),
    ("messages:chat label:+", "openai", "messages=messages kto_tag=label", True),
    ("prompt:Q completion:A label:+", "kto", "prompt=prompt completion=completion kto_tag=label", True),
    ("prompt:Q completion:A label:w", "kto", "prompt=prompt completion=completion kto_tag=label", True),
    ("问题:Q 回答:A 标签:0", "kto", "prompt=问题 completion=回答 kto_tag=标签", True),
    ("instruction:Q input:Q output:A label:+", "alpaca", "prompt=instruction query=input response=output kto_tag=label", True),
    ("prompt:Q chosen:A rejected:S", "preference", "prompt=prompt chosen=chosen rejected=rejected", True),
    ("question:Q chosen:A rejected:S", "preference", "prompt=question chosen=chosen rejected=rejected", True),
    ("问题:Q 优选:A 拒绝:S", "preference", "prompt=问题 chosen=优选 rejected=拒绝", True),
    ("chosen:c rejected:c", "preference", "chosen=chosen rejected=rejected", True),
    ("prompt:Q chosen:g rejected:g", "preference", "prompt=prompt chosen=chosen rejected=rejected", True),
    ("某问:Q chosen:A rejected:S", "preference", "prompt=某问 chosen=chosen rejected=rejected", False),
]  # fmt: skip

RANKED: list[tuple[str, str, str]] = [
    (
        "instruction:Q input:Q chosen:A rejected:S",
        "alpaca",
        "prompt=instruction query=input chosen=chosen rejected=rejected",
    ),
    ("instruction:Q chosen:A rejected:S", "alpaca", "prompt=instruction chosen=chosen rejected=rejected"),
]


def table(header: str) -> list[dict[str, Any]]:
    """Twelve rows under a header of ``name:what`` parts; a name may hold a space."""
    parts = [part.rpartition(":") for part in header.replace("a b", "a\0b").split(" ")]
    return [{name.replace("\0", " "): VALUES[what] for name, _, what in parts}] * 12


def mapped(row: dict[str, Any], layout: Layout) -> str:
    """The columns of the layout that the row has."""
    return " ".join(f"{ours}={layout.columns[ours]}" for ours in LABELS if layout.columns.get(ours) in row)


def ordered(columns: str, names: Any = LABELS) -> str:
    given = dict(part.split("=") for part in columns.replace("a b", "a\0b").split(" "))
    return " ".join(f"{ours}={given[ours]}" for ours in names if ours in given).replace("\0", " ")


@pytest.mark.parametrize(("header", "name", "columns", "certain"), HEADERS, ids=[case[0] for case in HEADERS])
def test_a_header_says_what_it_is(header: str, name: str, columns: str, certain: bool) -> None:
    rows = table(header)
    found = guess(rows)
    assert (found.format, mapped(rows[0], found.layout)) == (name, ordered(columns))
    assert found.certain is certain
    assert found.layout.ranking is False or name != "preference"
    assert isinstance(FORMATS[name].sample(rows[0], found.layout), Sample | Fault)
    assert str(found.reasons[-1]) == "12 of the first 12 rows can be read this way."


@pytest.mark.parametrize(("header", "name", "columns"), RANKED, ids=[case[0] for case in RANKED])
def test_two_answers_beside_an_instruction_are_ranked(header: str, name: str, columns: str) -> None:
    rows = table(header)
    found = guess(rows)
    assert found.layout.ranking and found.certain
    assert (found.format, mapped(rows[0], found.layout)) == (name, ordered(columns))
    assert FORMATS[name].sample(rows[0], found.layout).shape == "preference"


def test_two_answers_beside_messages_are_ranked() -> None:
    found = guess([{"conversations": TALK[:1], "chosen": TALK[1], "rejected": TALK[1]}] * 3)
    assert (found.format, found.layout.ranking, found.certain) == ("sharegpt", True, True)


@pytest.mark.parametrize(
    ("talk", "tags"),
    [
        ([{"role": "human", "content": "Q"}, {"role": "gpt", "content": "A"}], {"user_tag": "human", "assistant_tag": "gpt"}),
        ([{"from": "user", "value": "Q"}, {"from": "assistant", "value": "A"}], {"user_tag": "user", "assistant_tag": "assistant"}),
        ([{"角色": "用户", "内容": "Q"}, {"角色": "助手", "内容": "A"}],
         {"role_tag": "角色", "content_tag": "内容", "user_tag": "用户", "assistant_tag": "助手"}),
        ([{"role": "user", "text": "Q"}, {"role": "model", "text": "A"}], {"content_tag": "text", "assistant_tag": "model"}),
        ([{"from": "system", "value": "S"}, {"from": "USER", "value": "Q"}, {"from": "Bot", "value": "A"}],
         {"system_tag": "system", "user_tag": "USER", "assistant_tag": "Bot"}),
        ([{"from": "human", "value": "Q"}, {"from": "tool_call", "value": '{"name": "x", "arguments": {}}'}, {"from": "tool", "value": "R"},
          {"from": "gpt", "value": "A"}], {"function_tag": "tool_call", "observation_tag": "tool"}),
    ],
)  # fmt: skip
def test_roles_go_by_their_words(talk: list[dict[str, str]], tags: dict[str, str]) -> None:
    found = guess([{"messages": talk}] * 4)
    assert {tag: found.layout.tags[tag] for tag in tags} == tags
    assert found.certain
    assert isinstance(FORMATS[found.format].sample({"messages": talk}, found.layout), Sample)


def test_roles_that_nobody_knows_go_by_their_places() -> None:
    talk = [{"role": "小明", "content": "Q"}, {"role": "小红", "content": "A"}]
    found = guess([{"messages": talk}] * 4)
    assert (found.layout.tags["user_tag"], found.layout.tags["assistant_tag"]) == ("小明", "小红")
    assert not found.certain and "小明, 小红" in str(found.reasons[0])
    assert isinstance(FORMATS["openai"].sample({"messages": talk}, found.layout), Sample)


def test_a_table_whose_cells_hold_lists_as_text() -> None:
    found = guess([{"messages": json.dumps(CHAT)}] * 4)
    assert (found.format, found.certain) == ("openai", True)


def test_a_name_that_lies_is_not_believed() -> None:
    found = guess([{"messages": SHORT, "conversations": "x", "question": SHORT, "answer": LONG}] * 4)
    assert (found.format, found.layout.columns["prompt"], found.layout.columns["response"]) == (
        "alpaca",
        "question",
        "answer",
    )


def test_a_usual_name_that_is_taken_is_not_read_twice() -> None:
    found = guess([{"input": SHORT, "target": LONG}] * 4)
    assert (found.layout.columns["prompt"], found.layout.columns["query"]) == ("input", "")


def test_rows_that_can_not_be_read_make_a_guess_uncertain() -> None:
    found = guess([{"instruction": "Q", "output": "A"}] * 3 + [{"instruction": "Q", "output": ""}] * 2)
    assert not found.certain
    assert str(found.reasons[-1]) == "3 of the first 5 rows can be read this way."


@pytest.mark.parametrize("rows", [[], [{}], [{"a": 1, "b": 2.5}], [{"id": "x"}], [{"a": None}]])
def test_where_nothing_fits_a_person_is_asked(rows: list[dict[str, Any]]) -> None:
    found = guess(rows)
    assert found.format == "alpaca" and not found.certain
    assert "Choose the columns" in str(found.reasons[0])


@pytest.mark.parametrize("name", FORMATS)
def test_the_example_of_a_format_is_guessed_as_that_format(name: str) -> None:
    found = guess([FORMATS[name].EXAMPLE] * 3)
    assert (found.format, found.certain) == (name, True)
    assert isinstance(FORMATS[name].sample(FORMATS[name].EXAMPLE, found.layout), Sample)


def test_every_name_of_ours_has_words() -> None:
    assert set(LABELS) == set(COLUMN_NAMES)


@pytest.mark.parametrize(
    ("name", "ranking", "needed"),
    [
        ("alpaca", False, ["prompt", "response"]),
        ("alpaca", True, ["prompt", "chosen", "rejected"]),
        ("sharegpt", False, ["messages"]),
        ("openai", True, ["messages", "chosen", "rejected"]),
        ("preference", False, ["prompt", "chosen", "rejected"]),
        ("kto", False, ["prompt", "completion", "kto_tag"]),
        ("prompt_completion", False, ["prompt", "completion"]),
        ("text", False, ["text"]),
    ],
)
def test_a_form_knows_which_columns_are_needed(name: str, ranking: bool, needed: list[str]) -> None:
    columns = columns_for(name, ranking)
    assert [column.name for column in columns if column.needed] == needed
    assert {column.name for column in columns} == set(FORMATS[name].COLUMNS)
