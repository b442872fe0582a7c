"""Every chat template: it compiles, a conversation only grows, and the trained spans are the answers and their ends."""

import re
from itertools import pairwise
from typing import Any

import pytest
import yaml
from jinja2.exceptions import TemplateError

from tests.templates import BOS, ENTRIES, NAMES, SOURCE, conversation, render, trained
from workbench.chats import template_text

CATALOGUE: list[dict[str, Any]] = yaml.safe_load((SOURCE / "catalogue.yaml").read_text("utf-8"))
KNOWN_KEYS = {
    "note", "end_of_turn", "stop", "default_system", "lead", "closing", "no_thought", "thinking", "tools", "aliases"
}  # fmt: skip
TOOL_FORMS = {"qwen", "llama3", "mistral", "glm4", "glm4_moe", "phi4_mini"}
PROMISED = """default empty alpaca vicuna zephyr chatml chatml_de llama2 llama2_zh llama3 llama3.1 llama4 mistral
    mistral_small ministral ministral3 mixtral gemma gemma2 gemma3 phi phi_small phi4 phi4_mini qwen qwen3
    qwen3_nothink deepseek deepseek3 deepseekr1 deepseekcoder yi yi_vl baichuan baichuan2 chatglm2 chatglm3 glm4
    glm4_moe internlm2 intern2 openchat openchat-3.6 solar starchat falcon cohere granite3 granite4 hunyuan smollm
    smollm2 exaone olmo telechat2 xverse bluelm orion aquila fewshot index yuan xuanyuan sailor seed_coder opencoder
    moonlight mimo ernie ernie_nothink""".split()  # noqa: SIM905

CONVERSATIONS = {
    "one turn": conversation(None, "What is 2 + 2?", "4"),
    "system": conversation("You are terse.", "Hello", "Hi"),
    "many turns": conversation(None, "a", "b", "c", "d", "e", "f"),
    "system and many turns": conversation("Line one\nline two", "Hi", "Hello", " spaced ", "also spaced  "),
    "unicode": conversation("你是一个助手。", "你是谁？", "我是极光 🌈，由张三开发。", "再说一遍", "𠮷野家\n「はい」"),
    "empty system": conversation("", "Who are you?", "Me.", "Sure?", "Yes {{ really }} {% raw %} <b>&amp;</b>"),
}
TRIM = {"gemma", "llama3", "llama3.1"}
"""As their own templates do, these take the white space from around a text."""
EMPTY_IS_SAID = {"qwen3", "qwen3_nothink", "llama3", "gemma", "smollm2"}
"""As their own templates do, these write an empty system message as one that says nothing."""


def test_every_file_has_an_entry_and_every_entry_a_file() -> None:
    assert set(NAMES) == set(ENTRIES)
    assert len(NAMES) >= 60


def test_every_promised_name_is_a_template_or_an_alias() -> None:
    aliases = [alias for entry in ENTRIES.values() for alias in entry.get("aliases", [])]
    assert set(PROMISED) <= {*NAMES, *aliases}
    names = [*ENTRIES, *aliases]
    assert len(names) == len(set(names))


def test_entries_hold_known_keys_and_say_what_ends_an_answer() -> None:
    for name, entry in ENTRIES.items():
        assert set(entry) <= KNOWN_KEYS, name
        assert entry["note"].strip().endswith("."), name
        end = entry["end_of_turn"]
        assert end in ("", "{eos}") or end in entry["stop"], name
        assert entry.get("tools") in {*TOOL_FORMS, None}, name
        assert ("tools" in entry) == ("These tools can be used" not in template_text(name)), name
        assert ("thinking" in entry) == ("no_thought" in entry), name


def test_a_template_is_saved_whole_and_without_our_marks() -> None:
    for name in NAMES:
        text = template_text(name)
        assert "include" not in text, name
        assert len(re.findall(r"{%-? (?:end)?generation %}", text)) == 2, name


def test_every_template_of_the_catalogue_exists() -> None:
    named = {model["template"] for family in CATALOGUE for model in family["models"]}
    assert len(named) >= 10
    assert named <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_conversation_only_ever_grows(name: str) -> None:
    for messages in CONVERSATIONS.values():
        whole = render(name, messages)[0]
        for count in range(1, len(messages)):
            if messages[count]["role"] == "assistant":
                prompt = render(name, messages[:count], prompt=True)[0]
                assert whole.startswith(prompt)
                assert render(name, messages[: count + 1])[0].startswith(prompt)
            elif "thinking" in ENTRIES[name]:
                continue  # the last answer has a thought, if only an empty one, which goes when more follows
            assert whole.startswith(render(name, messages[:count])[0])


@pytest.mark.parametrize("name", NAMES)
def test_the_trained_spans_are_the_answers_and_their_ends(name: str) -> None:
    for messages in CONVERSATIONS.values():
        answers = [message["content"] for message in messages if message["role"] == "assistant"]
        answers = [answer.strip() if name in TRIM else answer for answer in answers]
        text, spans = render(name, messages)
        assert spans == [trained(name, answer, last=at == len(answers)) for at, answer in enumerate(answers, 1)]
        prompt = render(name, messages[:-1], prompt=True)[0]
        assert text[len(prompt) :].startswith(spans[-1]), "what is trained is what comes after the generation prompt"


@pytest.mark.parametrize("name", NAMES)
def test_every_word_of_the_conversation_is_in_the_text_once(name: str) -> None:
    text = render(name, conversation("[sys]", "[q1]", "[a1]", "[q2]", "[a2]"))[0]
    marks = ["[sys]", "[q1]", "[a1]", "[q2]", "[a2]"]
    assert [text.count(mark) for mark in marks] == [1] * 5
    assert all(text.index(one) < text.index(other) for one, other in pairwise(marks))
    assert text.count(BOS) <= (2 if name.startswith("llama2") else 1), "Llama 2 begins every round with it"


@pytest.mark.parametrize("name", NAMES)
def test_the_default_system_text_is_the_one_that_the_entry_states(name: str) -> None:
    default = ENTRIES[name].get("default_system", "")
    plain, said = conversation(None, "hi", "ho"), conversation(default or "other", "hi", "ho")
    assert (render(name, plain)[0] == render(name, said)[0]) == bool(default)
    assert default in render(name, plain)[0]
    assert default not in render(name, conversation("other", "hi"))[0] or not default
    empty = render(name, conversation("", "hi"))[0]
    assert (empty == render(name, conversation(None, "hi"))[0]) == (name not in EMPTY_IS_SAID)


@pytest.mark.parametrize("name", NAMES)
def test_a_tokenizer_without_begin_and_end_tokens_renders_too(name: str) -> None:
    text, _ = render(name, CONVERSATIONS["system"], tokens={})
    assert "None" not in text
    assert "Hi" in text


@pytest.mark.parametrize("name", NAMES)
def test_a_role_without_a_place_is_refused_aloud(name: str) -> None:
    for role in ("critic", "system"):
        with pytest.raises(TemplateError, match="Accepted"):
            render(name, [*CONVERSATIONS["one turn"], {"role": role, "content": "x"}])
