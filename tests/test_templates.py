"""Every chat template: it compiles, conversations only ever grow, and the trained spans are the answers and their ends."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

SOURCE = Path(__file__).resolve().parent.parent / "workbench"
FILES = {path.stem: path for path in sorted((SOURCE / "templates").glob("*.jinja"))}
ENTRIES: dict[str, dict[str, Any]] = yaml.safe_load((SOURCE / "templates" / "templates.yaml").read_text("utf-8"))
CATALOGUE: list[dict[str, Any]] = yaml.safe_load((SOURCE / "catalogue.yaml").read_text("utf-8"))
BOS, EOS = "<bos:1>", "<eos:2>"
KNOWN_KEYS = {"note", "end_of_turn", "stop", "default_system", "lead", "no_thought", "aliases"}

Messages = list[dict[str, str]]


def conversation(system: str | None, *texts: str) -> Messages:
    """User and assistant in turn, after a system message if there is one."""
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return turns if system is None else [{"role": "system", "content": system}, *turns]


CONVERSATIONS = {
    "one turn": conversation(None, "What is 2 + 2?", "4"),
    "system": conversation("You are terse.", "Hello", "Hi"),
    "many turns": conversation(None, "a", "b", "c", "d", "e", "f"),
    "system and many turns": conversation("Line one\nline two", "Hi", "Hello", " spaced ", "also spaced  "),
    "unicode": conversation("你是一个助手。", "你是谁？", "我是极光 🌈，由张三开发。", "再说一遍", "𠮷野家\n「はい」"),
    "empty system": conversation("", "Who are you?", "Me.", "Sure?", "Yes {{ really }} {% raw %} <b>&amp;</b>"),
}


def render(name: str, messages: Messages, *, prompt: bool = False, **kwargs: Any) -> tuple[str, list[str]]:
    """The text of a conversation and its trained spans, as transformers renders them."""
    texts, spans = render_jinja_template(
        [messages],
        chat_template=FILES[name].read_text("utf-8"),
        return_assistant_tokens_mask=True,
        add_generation_prompt=prompt,
        bos_token=BOS,
        eos_token=EOS,
        **kwargs,
    )
    return texts[0], [texts[0][start:end] for start, end in spans[0]]


def trained(name: str, answer: str) -> str:
    """What is to be trained of one answer."""
    entry = ENTRIES[name]
    end = str(entry["end_of_turn"]).replace("{eos}", EOS)
    return str(entry.get("no_thought", "")) + str(entry.get("lead", "")) + answer + end


def test_every_file_has_an_entry_and_every_entry_a_file() -> None:
    assert set(FILES) == set(ENTRIES)
    assert len(FILES) >= 20


def test_entries_hold_known_keys_and_say_what_ends_an_answer() -> None:
    for name, entry in ENTRIES.items():
        assert set(entry) <= KNOWN_KEYS, name
        assert entry["note"].strip().endswith("."), name
        end = entry["end_of_turn"]
        assert end in ("", "{eos}") or end in entry["stop"], name


def test_names_and_aliases_are_unique() -> None:
    names = [*ENTRIES, *(alias for entry in ENTRIES.values() for alias in entry.get("aliases", []))]
    assert len(names) == len(set(names))


def test_every_template_of_the_catalogue_exists() -> None:
    named = {model["template"] for family in CATALOGUE for model in family["models"]}
    assert len(named) >= 10
    assert named <= set(FILES)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_conversation_only_ever_grows(name: str, messages: Messages) -> None:
    whole = render(name, messages)[0]
    for count in range(1, len(messages)):
        assert whole.startswith(render(name, messages[:count])[0])
        if messages[count]["role"] == "assistant":
            prompt = render(name, messages[:count], prompt=True)[0]
            assert render(name, messages[: count + 1])[0].startswith(prompt)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_the_trained_spans_are_the_answers_and_their_ends(name: str, messages: Messages) -> None:
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    text, spans = render(name, messages)
    assert spans == [trained(name, answer) for answer in answers]
    prompt = render(name, messages[:-1], prompt=True)[0]
    assert text[len(prompt) :].startswith(spans[-1]), "what is trained is what comes after the generation prompt"


@pytest.mark.parametrize("name", FILES)
def test_every_word_of_the_conversation_is_in_the_text_once(name: str) -> None:
    text = render(name, conversation("[sys]", "[q1]", "[a1]", "[q2]", "[a2]"))[0]
    marks = ["[sys]", "[q1]", "[a1]", "[q2]", "[a2]"]
    assert [text.count(mark) for mark in marks] == [1] * 5
    assert sorted(marks, key=text.index) == marks
    assert text.count(BOS) <= 1


@pytest.mark.parametrize("name", FILES)
def test_the_default_system_text_is_the_one_that_the_entry_states(name: str) -> None:
    default = ENTRIES[name].get("default_system", "")
    plain, said = conversation(None, "hi", "ho"), conversation(default or "other", "hi", "ho")
    assert (render(name, plain)[0] == render(name, said)[0]) == bool(default)
    assert default in render(name, plain)[0]
    assert default not in render(name, conversation("other", "hi"))[0] or not default
    assert render(name, conversation("", "hi"))[0] == render(name, conversation(None, "hi"))[0]


@pytest.mark.parametrize("name", FILES)
def test_a_tokenizer_without_begin_and_end_tokens_renders_too(name: str) -> None:
    texts, _ = render_jinja_template([CONVERSATIONS["system"]], chat_template=FILES[name].read_text("utf-8"))
    assert "None" not in texts[0]
    assert "Hi" in texts[0]


@pytest.mark.parametrize("name", FILES)
def test_a_role_without_a_place_is_refused_aloud(name: str) -> None:
    for role in ("tool", "system"):
        with pytest.raises(TemplateError, match="Accepted"):
            render(name, [*CONVERSATIONS["one turn"], {"role": role, "content": "x"}])


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if "no_thought" in entry])
def test_thoughts(name: str) -> None:
    nothing = ENTRIES[name]["no_thought"]
    thought = conversation(None, "q", "<think>\nhm\n</think>\n\nso", "q", "<think>\nhm\n</think>\n\nthen")
    _, on = render(name, thought)
    assert [span.startswith("<think>\nhm\n</think>\n\n") for span in on] == [True, True]
    text, off = render(name, thought, enable_thinking=False)
    assert [span.startswith(answer) for span, answer in zip(off, ("so", "then"), strict=True)] == [True, True]
    assert "hm" not in text
    assert text.count(nothing) == 2
    prompt = render(name, thought[:-1], prompt=True, enable_thinking=False)[0]
    assert prompt.endswith(nothing)
    assert text.startswith(prompt)


LITERAL = {
    "chatml": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n",
    "llama3": f"{BOS}<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>"
    "\n\nQ<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|>",
    "mistral": f"{BOS}[INST] S\n\nQ[/INST] A{EOS}",
    "ministral": f"{BOS}[INST]S\n\nQ[/INST]A{EOS}",
    "gemma": f"{BOS}<start_of_turn>user\nS\n\nQ<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n",
    "phi": "<|system|>\nS<|end|>\n<|user|>\nQ<|end|>\n<|assistant|>\nA<|end|>\n",
    "phi4": "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>Q<|im_end|>"
    "<|im_start|>assistant<|im_sep|>A<|im_end|>",
    "phi4_mini": "<|system|>S<|end|><|user|>Q<|end|><|assistant|>A<|end|>",
    "deepseek3": f"{BOS}S<｜User｜>Q<｜Assistant｜>A{EOS}",
    "deepseekr1": f"{BOS}S<｜User｜>Q<｜Assistant｜><think>\n\n</think>\n\nA{EOS}",
    "glm4": "[gMASK]<sop><|system|>\nS<|user|>\nQ<|assistant|>\nA<|user|>",
    "chatglm3": "[gMASK]sop<|system|>\nS<|user|>\nQ<|assistant|>\nA<|user|>",
    "baichuan2": f"S<reserved_106>Q<reserved_107>A{EOS}",
    "alpaca": f"S### Instruction:\nQ\n\n### Response:\nA{EOS}\n\n",
    "vicuna": f"SUSER: Q ASSISTANT:A{EOS}",
    "default": f"System: S{EOS}\nHuman: Q{EOS}\nAssistant:A{EOS}\n",
    "empty": "SQA",
}
LITERAL |= dict.fromkeys(["qwen", "qwen3_nothink", "yi", "smollm", "smollm2"], LITERAL["chatml"])
LITERAL |= {"internlm2": BOS + LITERAL["chatml"]}
LITERAL |= {"qwen3": LITERAL["chatml"].replace("\nA<", "\n<think>\n\n</think>\n\nA<")}


def test_the_literal_text_of_every_template() -> None:
    assert set(LITERAL) == set(FILES)
    for name, text in LITERAL.items():
        assert render(name, conversation("S", "Q", "A"))[0] == text, name
