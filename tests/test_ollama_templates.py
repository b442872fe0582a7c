"""The TEMPLATE for Ollama of every chat template: rendered by a Go engine, it is the text of the Jinja to the letter."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from jinja2 import TemplateError

from tests.golang import rendered
from tests.templates import BOS, ENTRIES, EOS, NAMES, TOKENS, Messages, conversation, render
from workbench.chats.answers import compiled
from workbench.ollama import Write
from workbench.ollama.gotemplate import literal, template_of
from workbench.ollama.pieces import Pieces
from workbench.ollama.probing import Unexplained, take_apart

TALK = ("How are you?", "Well. And you?", "{{ .System }} {% if x %} { } }} \"\"\" '''", "{四}", "再来一次：你是谁？🙂")
WIDE = ("  two before, two after  ", "\n lines \n\n", "\u3000全角\u3000", "\ttabs\t", " \n ")
CONVERSATIONS: dict[str, Messages] = {
    "a question": conversation(None, "Hello"),
    "system": conversation("Be brief.", "Hello"),
    "empty system": conversation("", "Hello"),
    "several turns": conversation(None, *TALK),
    "system and several turns": conversation("你是一个助手。\nYou are {{ .Name }}.", *TALK),
    "an answer to go on with": conversation("S", *TALK[:4]),
    "white space": conversation(" S \n", *WIDE),
    "white space in an answer to go on with": conversation(None, "Q", "  begun"),
    "nothing": conversation(None, "", "", ""),
    "nothing with a system text": conversation("S", ""),
}
FIRST = [[*conversation(system, "")[:-1], {"role": "assistant", "content": "Hi!"}, *conversation(None, "Hello")] for system in (None, "S")]
"""An answer comes first, as in a long chat whose beginning was left out."""
SYSTEM_IN_QUESTION = {"gemma", "llama2", "llama2_zh", "ministral", "mistral"}
THINKERS = {"deepseekr1", "ernie", "glm4_moe", "mimo", "qwen3"}
TRIMMED = {"gemma", "llama3", "llama3.1"}


def thinks(thinking: bool | None) -> dict[str, Any]:
    return {} if thinking is None else {"enable_thinking": thinking}


def writer(name: str) -> Write:
    """How transformers renders the template."""

    def write(messages: Sequence[Any], ask: bool, thinking: bool | None) -> str:
        try:
            return render(name, list(messages), prompt=ask, **thinks(thinking))[0]
        except TemplateError as error:
            raise ValueError(str(error)) from error

    return write


def wanted(name: str, messages: Messages, thinking: bool | None = None) -> str:
    """The Jinja's text up to where the model goes on: after the prompt, or in the last answer."""
    if messages[-1]["role"] != "assistant":
        return writer(name)(messages, True, thinking)
    text, spans = render(name, messages, **thinks(thinking))
    end = str(ENTRIES[name].get("closing", "")) + str(ENTRIES[name]["end_of_turn"]).replace("{eos}", EOS)
    assert spans[-1].endswith(end)
    return text[: text.rindex(spans[-1]) + len(spans[-1]) - len(end)]


@pytest.fixture(scope="module")
def pieces() -> Callable[[str], Pieces]:
    """The parts of a template, taken apart once."""
    return {name: take_apart(writer(name)) for name in NAMES}.__getitem__


def test_every_template_renders_every_conversation_as_the_jinja_does(pieces: Callable[[str], Pieces]) -> None:
    assert len(NAMES) >= 65 and len(CONVERSATIONS) >= 10
    for name in NAMES:
        template = template_of(pieces(name))
        for told, messages in CONVERSATIONS.items():
            assert rendered(template, messages) == wanted(name, messages), f"{name}: {told}"
        refused = 0
        for messages in FIRST:
            try:
                text = wanted(name, messages)
            except ValueError:  # the family has its system text in the first question
                refused += 1
            else:
                assert rendered(template, messages) == text, name
        assert refused == (2 if name == "llama2_zh" else name in SYSTEM_IN_QUESTION)


def test_thoughts_are_written_and_left_out_as_the_family_does(pieces: Callable[[str], Pieces]) -> None:
    assert {name for name in NAMES if pieces(name).thought} == THINKERS
    earlier = conversation(None, "Q", "A", "Again")
    earlier[1]["reasoning_content"] = "because"
    last = conversation("S", "Q", "A")
    last[2]["reasoning_content"] = "for\nthis"
    for name in THINKERS:
        template = template_of(pieces(name))
        for thinking in (True, False):
            for messages in [earlier, last, *CONVERSATIONS.values()]:
                assert rendered(template, messages, thinking) == wanted(name, messages, thinking), (name, thinking, messages)
        assert "because" not in rendered(template, earlier)
        assert "<think>\nfor\nthis\n</think>\n\nA" in rendered(template, last)
        assert "<think>\n{{ .Thinking }}\n</think>\n\n{{" in template  # Ollama reads the marks off these texts


def test_what_the_runner_puts_before_a_text_is_left_out(pieces: Callable[[str], Pieces]) -> None:
    opened = [name for name in NAMES if pieces(name).opens_with(BOS)]
    assert len(opened) >= 15 and "llama2" in opened and "qwen" not in opened
    for name in opened:
        template = template_of(pieces(name), BOS)
        for messages in list(CONVERSATIONS.values())[::3]:
            assert BOS + rendered(template, messages) == wanted(name, messages), name


def test_white_space_is_cut_off_where_the_family_does_so(pieces: Callable[[str], Pieces]) -> None:
    assert {name for name in NAMES if pieces(name).trimmed} == TRIMMED
    long = " \n\u3000" * 30 + "x 五" + "\u00a0\t" * 30
    for name in TRIMMED:
        assert rendered(template_of(pieces(name)), conversation(None, long)) == wanted(name, conversation(None, long))


def test_a_literal_stands_for_itself_whatever_is_in_it() -> None:
    for text in ("{{ .System }}", "a{", "{{{", '"""', 'x""""', "\u200d\u3000\t\r\n\x0b", "}} {", "\U000f0000", "`'\\n"):
        written = literal(text)
        assert rendered(f"{{{{ .System }}}}{written}{{{{ .System }}}}", []) == text
        assert '"""' not in written and all(one.isprintable() or one == "\n" for one in written)


def own(jinja: str) -> Write:
    """A template that somebody brings."""
    template = compiled(jinja)

    def write(messages: Sequence[Any], ask: bool, thinking: bool | None) -> str:
        try:
            return str(template.render(messages=messages, add_generation_prompt=ask, **TOKENS))
        except TemplateError as error:
            raise ValueError(str(error)) from error

    return write


@pytest.mark.parametrize(
    ("jinja", "reason"),
    [
        ("{{ messages | length }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}", "its parts give"),
        ("{% for m in messages %}[{{ m.role }}]{{ m.content | upper }}{% endfor %}", "leaves out or changes"),
        ("{% for m in messages | reverse %}[{{ m.role }}]{{ m.content }}{% endfor %}", "leaves out or changes"),
        ("{% for m in messages[-1:] %}[{{ m.role }}]{{ m.content }}{% endfor %}", "leaves out or changes"),
        ("{% for m in messages %}[{{ m.role }}]{{ m.content | replace('One', '1') }}{% endfor %}", "its parts give"),
    ],
)
def test_a_template_that_its_parts_do_not_explain_is_refused(jinja: str, reason: str) -> None:
    with pytest.raises(Unexplained, match=reason):
        take_apart(own(jinja))


def test_a_template_of_somebody_is_written_too() -> None:
    write = own("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}\n{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}")
    template = template_of(take_apart(write))
    for messages in CONVERSATIONS.values():
        if messages[-1]["role"] == "user":
            assert rendered(template, messages) == write(messages, True, None)


def test_a_family_that_refuses_a_system_text_gets_it_before_the_first_question() -> None:
    strict = (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' or (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('no') }}{% endif %}<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}"
    )
    pieces = take_apart(own(strict))
    template = template_of(pieces)
    for name in ("a question", "several turns", "white space"):
        talk = [one for one in CONVERSATIONS[name] if one["role"] != "system"]
        assert rendered(template, talk) == own(strict)(talk, True, None)
    assert rendered(template, CONVERSATIONS["system"]) == f"{BOS}<user>Be brief.\n\nHello</>"
    assert pieces.opens_with(BOS) and rendered(template_of(pieces, BOS), CONVERSATIONS["a question"]) == "<user>Hello</>"
