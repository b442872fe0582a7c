"""The chat template as others read it: whole in itself, without marks for training, with what was chosen beside it. Knows no model."""

import json
import re
from typing import Any

MARK = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")
OWN_LINE = re.compile(r"^[ \t]*\{%- (?:end)?generation %\}\n(?=\s*\{[{%#]-)", re.MULTILINE)


def plain_template(template: str, default_system: str = "", enable_thinking: bool | None = None) -> str:
    """The template with generation marks gone and a person's choices as its own defaults; it writes the same text.

    A mark on a line of its own goes with the line. Elsewhere it becomes a condition that always holds, since what it does
    to the spaces around it must stay.
    """
    shorter = OWN_LINE.sub("", template)
    if MARK.search(shorter):
        shorter = MARK.sub(lambda mark: f"{{%{mark[1]} {'endif' if mark[2] else 'if true'} {mark[3]}%}}", template)
    return _defaults(default_system, enable_thinking) + shorter


def _defaults(system: str, enable_thinking: bool | None) -> str:
    """Lines before a template that set what a conversation does not say."""
    lines = ""
    if enable_thinking is not None:
        told = "true" if enable_thinking else "false"
        lines += f"{{%- if enable_thinking is not defined %}}{{%- set enable_thinking = {told} %}}{{%- endif %}}\n"
    if system:
        words = json.dumps(system, ensure_ascii=False)
        given = f"[{{'role': 'system', 'content': {words}}}]"
        lines += "{%- if not messages or messages[0].role != 'system' %}\n"
        lines += f"    {{%- set messages = {given} + messages %}}\n"
        lines += "{%- elif not (messages[0].content or '') | trim %}\n"
        lines += f"    {{%- set messages = {given} + messages[1:] %}}\n"
        lines += "{%- endif %}\n"
    return lines


def make_plain(tokenizer: Any, default_system: str = "", enable_thinking: bool | None = None) -> None:
    """Give the tokenizer such templates, one or several by name."""
    own = tokenizer.chat_template
    if isinstance(own, dict):
        tokenizer.chat_template = {name: plain_template(one, default_system, enable_thinking) for name, one in own.items()}
    elif own:
        tokenizer.chat_template = plain_template(own, default_system, enable_thinking)
