"""Tool calls and thoughts: what every chat template writes is read back as it was, and what the server makes of it."""

import json
from typing import Any

import httpx
import pytest

from tests.serving import USER, post
from tests.templates import ENTRIES, EOS, NAMES, render
from tests.test_api import events
from workbench.api.reading import Part, Reader, Thought, Words
from workbench.api.shapes import BY_FAMILY, DEEPSEEK, EVERY, JSON, TAGGED, Call, CallShape
from workbench.api.template_marks import call_shapes

ARGUMENTS: dict[str, Any] = {"city": 'Köln "am" {Rhein}\n<b>', "days": 3, "deep": {"list": [1, "two", None, True]}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "d", "parameters": SCHEMA}}
    for name in ("get_weather", "roll.dice-2")
]
SPECIAL = ("<|assistant|>", "<|tool_call|>", "<|/tool_call|>", "[TOOL_CALLS]", "[TOOL_CALLS] ")
"""Marks that are special tokens, which engines leave out."""


def read(shapes: Any, text: str, size: int, **more: Any) -> list[Part]:
    """The parts of a text that comes in pieces of so many characters, neighbours of a kind joined."""
    reader = Reader(shapes, TOOLS, **more)
    found: list[Part] = []
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    for part in [*(part for piece in pieces for part in reader.add(piece)), *reader.add("", True)]:
        if found and isinstance(part, Words) and isinstance(found[-1], Words):
            found[-1] = Words(found[-1].text + part.text)
        elif found and isinstance(part, Thought) and isinstance(found[-1], Thought):
            found[-1] = Thought(found[-1].text + part.text)
        else:
            found.append(part)
    return found


def every_size(shapes: Any, text: str, **more: Any) -> list[Part]:
    """The same however the text is cut."""
    found = read(shapes, text, len(text), **more)
    for size in (1, 2, 3, 5, 17):
        assert read(shapes, text, size, **more) == found
    return found


def said(words: str, calls: int, thought: str = "") -> dict[str, Any]:
    made = [
        {"id": "abcdefgh1", "type": "function", "function": {"name": tool["function"]["name"], "arguments": ARGUMENTS}}
        for tool in TOOLS[:calls]
    ]
    return {"role": "assistant", "content": words, "tool_calls": made, "reasoning_content": thought}


def generated(name: str, message: dict[str, Any]) -> str:
    """What a model writes that was trained with the template: without its end of turn."""
    _, (span,) = render(name, [{"role": "user", "content": "q"}, message], tools=TOOLS)
    entry = ENTRIES[name]
    for end in (str(entry["end_of_turn"]).replace("{eos}", EOS), "<|observation|>"):
        span = span.removesuffix(end) if end else span
    return span


@pytest.mark.parametrize("stripped", [False, True], ids=["marks", "no marks"])
@pytest.mark.parametrize("words", ["", "Let me see."])
@pytest.mark.parametrize("name", NAMES)
def test_what_a_template_writes_is_read_back(name: str, words: str, stripped: bool) -> None:
    text = generated(name, said(words, 1))
    for mark in SPECIAL if stripped else ():
        text = text.replace(mark, "")
    *before, call = every_size(call_shapes(name, ""), text)
    assert isinstance(call, Call)
    assert (call.name, json.loads(call.arguments)) == ("get_weather", ARGUMENTS)
    heard = "".join(part.text for part in before if isinstance(part, Words))
    assert heard.replace("<|assistant|>", "").strip() == words


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"glm4", "chatglm3", "llama3.1"}])
def test_several_calls_and_a_thought_are_read_back(name: str) -> None:
    text = generated(name, said("", 2, "What now?"))
    found = every_size(call_shapes(name, ""), text)
    assert [part.text.strip() for part in found if isinstance(part, Thought)] == ["What now?"]
    assert [part.name for part in found if isinstance(part, Call)] == ["get_weather", "roll.dice-2"]
    assert not [part for part in found if isinstance(part, Words) and part.text.strip()]
    one = every_size(call_shapes(name, ""), text + " And so on.", one=True)
    assert [part.name for part in one if isinstance(part, Call)] == ["get_weather"]


def test_every_family_that_has_a_form_of_its_own_is_known() -> None:
    assert {str(entry.get("tools", "")) for entry in ENTRIES.values()} == set(BY_FAMILY)
    assert len(NAMES) >= 60


V3 = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{}\n```json\n{}\n```<｜tool▁call▁end｜>"
V31 = "<｜tool▁call▁begin｜>{}<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
OTHERS: list[tuple[str, CallShape, str]] = [
    ("DeepSeek-V3", DEEPSEEK, f"<｜tool▁calls▁begin｜>{V3.format('f', '{}')}\n{V3.format('g', '{}')}<｜tool▁calls▁end｜>"),
    ("DeepSeek-V3.1", DEEPSEEK, f"<｜tool▁calls▁begin｜>{V31.format('f', '{}')}{V31.format('g', '{}')}<｜tool▁calls▁end｜>"),
    ("Mistral 3", JSON, "[TOOL_CALLS]f[ARGS]{}[TOOL_CALLS]g[ARGS]{}"),
    ("Llama 3.2", JSON, '<|python_tag|>{"name": "f", "parameters": {}};\n<|python_tag|>{"name": "g", "parameters": {}}'),
    ("Qwen3-Coder", TAGGED, "<tool_call>\n<function=f>\n</function>\n</tool_call>\n<tool_call>\n<function=g>\n</function>\n</tool_call>"),
]


@pytest.mark.parametrize(("shape", "text"), [case[1:] for case in OTHERS], ids=[case[0] for case in OTHERS])
def test_forms_of_models_with_templates_of_their_own(shape: CallShape, text: str) -> None:
    assert shape in EVERY
    for offered in ((shape,), EVERY):
        assert every_size(offered, f"Well.\n{text}") == [Words("Well."), Call("f", "{}"), Call("g", "{}")]


def test_arguments_between_tags_have_the_types_of_the_tool() -> None:
    text = "<tool_call>\n<function=get_weather>\n<parameter=city>\n5\n</parameter>\n<parameter=days>\n5\n</parameter>\n"
    [call] = every_size((TAGGED,), text + "</function>\n</tool_call>")
    assert isinstance(call, Call)
    assert json.loads(call.arguments) == {"city": "5", "days": 5}


NO_CALLS = [
    "a <tool_call> that is none",
    "<tool_call>\n{broken}\n</tool_call>",
    '{"name": "somebody", "age": 5}',
    '[1, 2] and {"a": "b"} and [x](y)',
    "Action: run!\nAction Output: none",
    "Action: get_weather\nAction Input: tomorrow",
    "get_weather\nis the name of a tool",
    "[TOOL_CALLS] are marks; <|python_tag|> too",
    "<｜tool▁calls▁begin｜>nothing<｜tool▁calls▁end｜>",
    "white space at the end \n\n",
    "[TOOL_",
]


@pytest.mark.parametrize("text", NO_CALLS)
@pytest.mark.parametrize("family", [*BY_FAMILY, "every"])
def test_what_only_looks_like_a_call_is_shown_as_it_stands(family: str, text: str) -> None:
    shapes = EVERY if family == "every" else BY_FAMILY[family]
    assert every_size(shapes, text) == [Words(text)]


THOUGHTS: list[tuple[str, bool, list[Part]]] = [
    ("<think>\nhm\n\nhm\n</think>\n\nyes", False, [Thought("hm\n\nhm"), Words("yes")]),
    ("<think>\n\n</think>\n\nyes", False, [Words("yes")]),
    ("hm</think>yes", True, [Thought("hm"), Words("yes")]),
    ("<think>never ends\n", False, [Thought("never ends\n")]),
    (" <th>no</think>", False, [Words(" <th>no</think>")]),
    ("<thi", False, [Words("<thi")]),
    ("  ", False, [Words("  ")]),
    ("a <think>b</think> c", False, [Words("a <think>b</think> c")]),
    ("<think>a < b </ c</think>\n\n<think>d", False, [Thought("a < b </ c"), Words("<think>d")]),
]


@pytest.mark.parametrize(("text", "opened", "parts"), THOUGHTS, ids=[text[:9] for text, _, _ in THOUGHTS])
def test_thoughts_stand_apart(text: str, opened: bool, parts: list[Part]) -> None:
    for shapes in ((), EVERY):
        assert every_size(shapes, text, opened=opened) == parts


ASK = [{"role": "user", "content": 'call get_weather {"city": "Köln"} and call roll.dice-2 {"days": 2}'}]


def heard(response: httpx.Response) -> dict[str, Any]:
    """The message of the only choice, put together from a stream or as it came, and why it ended."""
    if not response.headers["content-type"].startswith("text/event-stream"):
        choice = response.json()["choices"][0]
        for call in choice["message"].get("tool_calls", []):
            assert len(call.pop("id")) == 9
        return {**choice["message"], "finish": choice["finish_reason"]}
    message: dict[str, Any] = {"role": "", "content": None, "finish": None}
    for event in events(response):
        [choice] = event["choices"]
        message["finish"] = choice["finish_reason"] or message["finish"]
        for key, value in choice["delta"].items():
            if key != "tool_calls":
                message[key] = (message.get(key) or "") + value or message.get(key)
            for call in value if key == "tool_calls" else ():
                calls = message.setdefault("tool_calls", [])
                if call["index"] == len(calls):
                    assert len(call["id"]) == 9
                    calls.append({"type": call["type"], "function": dict(call["function"])})
                else:
                    calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    return message


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
class TestTools:
    def test_calls_come_apart_from_words(self, url: str, stream: bool) -> None:
        message = heard(post(url, messages=ASK, tools=TOOLS, stream=stream))
        assert message["content"] is None
        assert message["finish"] == "tool_calls"
        assert [call["function"]["name"] for call in message["tool_calls"]] == ["get_weather", "roll.dice-2"]
        assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"city": "Köln"}
        one = heard(post(url, messages=ASK, tools=TOOLS, stream=stream, parallel_tool_calls=False))
        assert [call["function"]["name"] for call in one["tool_calls"]] == ["get_weather"]

    def test_a_result_is_answered(self, url: str, stream: bool) -> None:
        call = {"id": "abcdefgh1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
        chat = [
            *ASK,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "abcdefgh1", "content": "sunny"},
        ]
        message = heard(post(url, messages=chat, tools=TOOLS, stream=stream))
        assert (message["content"], message["finish"]) == ("base: sunny", "stop")

    def test_none_is_called_when_none_may_be(self, url: str, stream: bool) -> None:
        for asked in ({"tools": TOOLS, "tool_choice": "none"}, {"tools": []}, {}):
            message = heard(post(url, messages=ASK, stream=stream, **asked))
            assert "tool_calls" not in message
            assert message["content"].startswith("base: call get_weather")

    def test_one_must_be_called(self, url: str, stream: bool) -> None:
        schema = {**SCHEMA, "required": ["city"]}
        tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
        named = {"type": "function", "function": {"name": "f"}}
        for choice in ("required", named):
            message = heard(post(url, messages=USER, tools=tools, tool_choice=choice, stream=stream))
            [call] = message["tool_calls"]
            assert call == {"type": "function", "function": {"name": "f", "arguments": '{"city": ""}'}}
            assert message["finish"] == "tool_calls"

    def test_thinking_stands_apart_and_is_chosen_in_both_ways(self, url: str, stream: bool) -> None:
        for asked in ({"enable_thinking": True}, {"chat_template_kwargs": {"enable_thinking": True}}):
            message = heard(post(url, messages=USER, stream=stream, **asked))
            assert message["reasoning_content"] == "I was asked: hi there"
            assert message["content"] == "base: hi there"
        assert "reasoning_content" not in heard(post(url, messages=USER, stream=stream, enable_thinking=False))

    def test_the_answer_has_the_form_that_was_asked_for(self, url: str, stream: bool) -> None:
        forms: list[tuple[dict[str, Any], Any]] = [
            ({"type": "json_object"}, {}),
            ({"type": "json_schema", "json_schema": {"name": "n", "schema": {**SCHEMA, "required": ["days"]}}}, {"days": 0}),
            ({"type": "json_schema", "json_schema": {"schema": {"type": "array", "minItems": 1}}}, [""]),
        ]
        for form, expected in forms:
            for more in ({}, {"enable_thinking": True}, {"tools": TOOLS}):
                message = heard(post(url, messages=USER, response_format=form, stream=stream, **more))
                assert json.loads(message["content"]) == expected
                assert "tool_calls" not in message
