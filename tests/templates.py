"""What the tests of chat templates share: the templates, and how transformers renders them. No tests here."""

from pathlib import Path
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

from workbench.chats import template_facts, template_names, template_text

SOURCE = Path(__file__).resolve().parent.parent / "workbench"
NAMES = template_names()
ENTRIES = template_facts()
BOS, EOS = "<bos:1>", "<eos:2>"
TOKENS = {"bos_token": BOS, "eos_token": EOS}

Messages = list[dict[str, Any]]


def conversation(system: str | None, *texts: str) -> Messages:
    """User and assistant in turn, after a system message if there is one."""
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return turns if system is None else [{"role": "system", "content": system}, *turns]


def render(
    name: str, messages: Messages, *, prompt: bool = False, tokens: dict[str, str] = TOKENS, **more: Any
) -> tuple[str, list[str]]:
    """The text of a conversation and its trained spans, as transformers renders the template that is saved."""
    texts, spans = render_jinja_template(
        [messages],
        chat_template=template_text(name),
        return_assistant_tokens_mask=True,
        add_generation_prompt=prompt,
        **tokens,
        **more,
    )
    return texts[0], [texts[0][start:end] for start, end in spans[0]]


def trained(name: str, answer: str, *, last: bool = True) -> str:
    """What is to be trained of one answer without a thought."""
    entry = ENTRIES[name]
    end = str(entry.get("closing", "")) + str(entry["end_of_turn"]).replace("{eos}", EOS)
    return str(entry.get("lead", "")) + (str(entry.get("no_thought", "")) if last else "") + answer + end
