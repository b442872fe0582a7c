"""Tools, their calls and results, and thoughts: in every chat template they have a place, or are refused aloud."""

from typing import Any

import pytest
from jinja2.exceptions import TemplateError

from tests.templates import ENTRIES, NAMES, Messages, conversation, render, trained
from workbench.chats import template_text

TOOLS = [
    {
        "type": "function",
        "function": {"name": "[tool]", "description": "[what]", "parameters": {"type": "object", "properties": {}}},
    }
]
THINKING = [name for name, entry in ENTRIES.items() if "thinking" in entry]
OTHERS = [name for name in NAMES if name not in THINKING]
ONE_CALL = {"glm4", "chatglm3", "llama3.1"}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def thought(words: str, content: str, *calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "reasoning_content": words, "tool_calls": list(calls)}


USE: Messages = [
    {"role": "system", "content": "[sys]"},
    {"role": "user", "content": "[q1]"},
    {"role": "assistant", "content": "[a1]", "tool_calls": [call("[call]", key="[value]")]},
    {"role": "tool", "content": "[result]"},
    {"role": "assistant", "content": "[a2]"},
    {"role": "user", "content": "[q2]"},
    {"role": "assistant", "content": "[a3]"},
]


@pytest.mark.parametrize("name", NAMES)
def test_tools_calls_and_results_are_in_the_text_once(name: str) -> None:
    text, spans = render(name, USE, tools=TOOLS)
    marks = ["[sys]", "[q1]", "[a1]", "[call]", "[value]", "[result]", "[a2]", "[q2]", "[a3]"]
    if name == "llama3.1":
        assert text.index("[sys]") < text.index("[tool]") < text.index("[q1]")
    assert [text.count(mark) for mark in marks] == [1] * len(marks)
    assert [text.index(mark) for mark in marks] == sorted(text.index(mark) for mark in marks)
    assert text.count("[tool]") == (2 if ENTRIES[name].get("tools") == "glm4" else 1)
    assert text.count("[what]") == 1
    assert text.index("[tool]") < text.index("[q1]")
    assert len(spans) == 3
    assert all(mark in spans[0] for mark in ("[a1]", "[call]", "[value]"))
    assert spans[1:] == [trained(name, "[a2]", last=False), trained(name, "[a3]")]


@pytest.mark.parametrize("name", NAMES)
def test_a_conversation_with_tools_only_grows_too(name: str) -> None:
    whole = render(name, USE, tools=TOOLS)[0]
    for place, message in enumerate(USE):
        if message["role"] == "assistant":
            assert whole.startswith(render(name, USE[:place], tools=TOOLS, prompt=True)[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_call_without_words_ends_as_its_family_ends_it(name: str) -> None:
    turns: Messages = [*conversation(None, "q"), {"role": "assistant", "content": "", "tool_calls": [call("f", a=1)]}]
    _, (span,) = render(name, turns)
    end = trained(name, "").removeprefix(str(ENTRIES[name].get("lead", "")) + str(ENTRIES[name].get("no_thought", "")))
    assert span.endswith("<|observation|>" if "<|observation|>" in ENTRIES[name].get("stop", []) else end)
    assert "f" in span
    assert "1" in span


@pytest.mark.parametrize("name", NAMES)
def test_several_calls_are_written_or_refused(name: str) -> None:
    turns: Messages = [
        *conversation(None, "q"),
        {"role": "assistant", "content": "", "tool_calls": [call("[one]"), call("[two]")]},
        {"role": "tool", "content": "[r1]"},
        {"role": "tool", "content": "[r2]"},
    ]
    if name in ONE_CALL:
        with pytest.raises(TemplateError, match="Accepted: one"):
            render(name, turns)
        return
    text, (span,) = render(name, turns, prompt=True)
    assert span.index("[one]") < span.index("[two]")
    assert text.count("[one]") == text.count("[two]") == text.count("[r1]") == text.count("[r2]") == 1


@pytest.mark.parametrize("name", [name for name in NAMES if "opens the first user" in template_text(name)])
def test_tools_that_need_a_first_question_are_refused_without_one(name: str) -> None:
    with pytest.raises(TemplateError, match="first user message"):
        render(name, [{"role": "assistant", "content": "a"}], tools=TOOLS)


THOUGHTS: Messages = [
    {"role": "user", "content": "q1"},
    thought("[t1]", "[a1]"),
    {"role": "user", "content": "q2"},
    thought("[t2]", "[a2]", call("f")),
    {"role": "tool", "content": "r"},
    thought("[t3]", "[a3]"),
]


@pytest.mark.parametrize("name", OTHERS)
def test_families_without_thoughts_keep_them_before_every_answer(name: str) -> None:
    text, spans = render(name, THOUGHTS)
    for number, span in enumerate(spans, 1):
        assert f"<think>\n[t{number}]\n</think>\n\n[a{number}]" in span
    off, spans = render(name, THOUGHTS, enable_thinking=False)
    assert "[t" not in off
    assert all(f"[a{number}]" in span for number, span in enumerate(spans, 1))
    assert render(name, THOUGHTS, enable_thinking=True)[0] == text


@pytest.mark.parametrize("name", THINKING)
def test_only_what_answers_the_last_question_keeps_its_thought(name: str) -> None:
    _, (first, second, third) = render(name, THOUGHTS)
    assert "[t1]" not in first
    assert "<think>" not in first
    assert "<think>\n[t2]\n</think>\n\n[a2]" in second
    assert "<think>\n[t3]\n</think>\n\n[a3]" in third
    assert render(name, THOUGHTS, enable_thinking=True) == render(name, THOUGHTS)
    for place in (1, 3, 5):
        short = [{**turn, "reasoning_content": ""} if at < 2 else turn for at, turn in enumerate(THOUGHTS)]
        assert render(name, THOUGHTS)[0].startswith(render(name, short[:place], prompt=True)[0])


@pytest.mark.parametrize("name", THINKING)
def test_thoughts_in_the_text_are_thoughts(name: str) -> None:
    apart = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "reasoning_content": "hm"}]
    within = conversation(None, "q", "<think>\nhm\n</think>\n\na")
    for enable in (True, False):
        assert render(name, within, enable_thinking=enable) == render(name, apart, enable_thinking=enable)


@pytest.mark.parametrize("name", THINKING)
def test_thinking_off_leaves_thoughts_out_and_asks_with_an_empty_one(name: str) -> None:
    nothing, lead = ENTRIES[name]["no_thought"], str(ENTRIES[name].get("lead", ""))
    turns = [{"role": "user", "content": "q"}, thought("[t]", "[a]")]
    text, (span,) = render(name, turns, enable_thinking=False)
    assert "[t]" not in text
    assert span == trained(name, "[a]").removeprefix(lead + nothing)
    prompt = render(name, turns[:1], prompt=True, enable_thinking=False)[0]
    assert prompt.endswith(lead + nothing)
    assert text.startswith(prompt + span)
    assert not render(name, turns[:1], prompt=True)[0].endswith(nothing)


@pytest.mark.parametrize("name", THINKING)
def test_with_thinking_an_answer_without_a_thought_learns_an_empty_one(name: str) -> None:
    turns = conversation(None, "q", "a")
    for options in ({}, {"enable_thinking": True}):
        assert render(name, turns, **options)[1] == [trained(name, "a")]
