"""How messages are written: the keys of role and text, and the words for who speaks. Knows no format by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workbench.formats import Role

Kind = Literal["user", "assistant", "observation", "function", "system"]
KINDS: Sequence[Kind] = ("user", "assistant", "observation", "function", "system")
ROLES: Mapping[Kind, Role] = {
    "user": "user",
    "assistant": "assistant",
    "observation": "tool",
    "function": "assistant",
    "system": "system",
}
SHAREGPT_TAGS: Mapping[str, str] = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
OPENAI_TAGS: Mapping[str, str] = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function_call",
    "system_tag": "system",
}
ALSO: Mapping[str, Kind] = {"developer": "system", "function": "observation"}
"""Roles that OpenAI's own messages have besides, unless the tags say otherwise."""
ROLE_WORDS: Mapping[str, Kind] = {
    **dict.fromkeys(("human", "user", "prompter", "question", "用户", "提问", "人类", "问"), "user"),
    **dict.fromkeys(
        ("gpt", "bot", "ai", "assistant", "model", "chatgpt", "chatbot", "助手", "回答", "答"), "assistant"
    ),
    **dict.fromkeys(("observation", "tool", "tool_response", "function_response", "ipython", "工具"), "observation"),
    **dict.fromkeys(("function_call", "tool_call", "function-call", "工具调用"), "function"),
    **dict.fromkeys(("system", "developer", "系统"), "system"),
}
"""Words for roles that people write, by what they mean."""
ROLE_KEYS, CONTENT_KEYS = ("role", "from", "speaker", "角色"), ("content", "value", "text", "内容")


@dataclass(frozen=True, slots=True)
class Tongue:
    """How the messages of one set are written: two keys and the words for roles."""

    role: str
    content: str
    kinds: Mapping[str, Kind]
    words: Mapping[Kind, str]

    def known(self) -> str:
        return ", ".join(self.words.values())

    def keys(self) -> str:
        return f"'{self.role}', '{self.content}'"


def tongue(tags: Mapping[str, str]) -> Tongue:
    """The tongue of a layout's tags."""
    words: dict[Kind, str] = {kind: tags[f"{kind}_tag"] for kind in KINDS}
    kinds: dict[str, Kind] = dict(ALSO) if tags["role_tag"] == "role" else {}
    for kind in KINDS:
        kinds[words[kind]] = kind
    return Tongue(tags["role_tag"], tags["content_tag"], kinds, words)


def usual_tags(messages: Any) -> Mapping[str, str]:
    """The tags of messages in a format that names none: by the keys of the first message."""
    first = messages[0] if isinstance(messages, list | tuple) and messages else messages
    return SHAREGPT_TAGS if isinstance(first, Mapping) and "from" in first else OPENAI_TAGS
