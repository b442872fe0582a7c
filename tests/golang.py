"""A TEMPLATE of Ollama rendered as Ollama does it, by a Go template engine that is not ours. No tests here."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import gotpl

Messages = Sequence[Mapping[str, str]]


@lru_cache(maxsize=256)
def read(template: str) -> gotpl.Template:
    """The template as the engine has understood it; an error where it does not."""
    return gotpl.Template(template)


def rendered(template: str, messages: Messages, thinking: bool | None = None) -> str:
    """The prompt for these messages; ``thinking`` is what a request says of it, None for nothing."""
    system = "\n\n".join(one["content"] for one in messages if one["role"] == "system")
    turns = [
        {"Role": one["role"], "Content": one["content"], "Thinking": one.get("reasoning_content", ""), "ToolCalls": None}
        for one in messages
    ]
    data = {
        "System": system,
        "Messages": turns,
        "Tools": None,
        "Response": "",
        "Think": thinking is True,
        "ThinkLevel": "",
        "IsThinkSet": thinking is not None,
    }
    return str(read(template).render(data))
