"""Conversations as OpenAI's messages: read from anywhere, kept in saves/chats/, and as they are sent. Knows no page."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.fields import plain
from workbench.naming import RESERVED
from workbench.naming import Say as Names
from workbench.problems import UserError
from workbench.text import Text
from workbench.workspace import Workspace

Turn = dict[str, Any]
"""One message: role, content, and where there are any reasoning_content, tool_calls, tool_call_id, name."""
ROLES = ("user", "assistant", "tool")
LONGEST_NAME = 80


class Say:
    bad_name = Text("'{given}' can't be the name of a conversation. Accepted: letters, digits, spaces, - _ and dots. Rename it.")
    none = Text("There is no conversation '{given}' in saves/chats. Accepted: {known}. Choose one of these.")
    not_json = Text("The file is no JSON ({reason}). Accepted: a list of OpenAI messages, or an object with 'messages'. Mend it.")
    no_messages = Text("The file holds no messages. Accepted: a list of OpenAI messages, or an object with 'messages'. Mend it.")
    bad_tools = Text("The tools are no JSON ({reason}). Accepted: a list of functions in OpenAI's shape. Mend them.")
    not_tools = Text(
        "Tool {number} has no name. Accepted: {{\"type\": \"function\", \"function\": {{\"name\": ..., \"parameters\": ...}}}}. Mend it."
    )


@dataclass(frozen=True)
class Conversation:
    """What is kept of a chat: its system prompt, its turns, its tools."""

    messages: Sequence[Turn] = ()
    system: str = ""
    tools: Sequence[Mapping[str, Any]] = ()
    panes: Sequence[Sequence[Turn]] = ()
    """What others answered beside it."""

    def to_json(self) -> str:
        """A file that any program for OpenAI's messages can read."""
        head = [{"role": "system", "content": self.system}] if self.system.strip() else []
        held: dict[str, Any] = {"messages": [*head, *self.messages]}
        held |= {"tools": list(self.tools)} if self.tools else {}
        held |= {"panes": [list(one) for one in self.panes]} if any(self.panes) else {}
        return json.dumps(held, ensure_ascii=False, indent=1)


def read_conversation(text: str) -> Conversation:
    """A conversation from a file's text: a list of messages, or an object that holds them; UserError for anything else."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(Say.not_json(reason=str(error)[:120])) from error
    held = data if isinstance(data, dict) else {"messages": data}
    given = held.get("messages")
    system = [_words(one.get("content")) for one in _objects(given) if one.get("role") in ("system", "developer")]
    turns = turns_of(given)
    if not turns and not system:
        raise UserError(Say.no_messages())
    beside = held.get("panes")
    panes = [turns_of(one) for one in beside] if isinstance(beside, list) else []
    tools: list[Mapping[str, Any]] = []
    with suppress(UserError):
        tools = read_tools(json.dumps(held.get("tools") or []))
    return Conversation(turns, "\n\n".join(system), tools, panes)


def turns_of(given: Any) -> list[Turn]:
    """The turns of what may be anything; what is no turn is left out."""
    return [_turn(one) for one in _objects(given) if one.get("role") in ROLES and "content" in one]


def _turn(one: Mapping[str, Any]) -> Turn:
    turn: Turn = {"role": one["role"], "content": _words(one["content"])}
    if one["role"] == "tool":
        turn |= {key: str(one[key]) for key in ("tool_call_id", "name") if one.get(key)}
    if one["role"] == "assistant" and (thought := _words(one.get("reasoning_content"))):
        turn["reasoning_content"] = thought
    calls = [_call(at, call) for at, call in enumerate(_objects(one.get("tool_calls")))]
    return {**turn, "tool_calls": calls} if calls and one["role"] == "assistant" else turn


def _call(at: int, call: Mapping[str, Any]) -> Turn:
    function = call.get("function") if isinstance(call.get("function"), Mapping) else {}
    assert isinstance(function, Mapping)
    name = {"name": str(function.get("name") or ""), "arguments": str(function.get("arguments") or "")}
    return {"id": str(call.get("id") or f"call_{at}"), "type": "function", "function": name}


def _objects(given: Any) -> list[Mapping[str, Any]]:
    return [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []


def _words(content: Any) -> str:
    """Text, or parts of text on lines of their own."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in _objects(content))
    return content if isinstance(content, str) else "" if content is None else json.dumps(content, ensure_ascii=False)


def asked_with(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As they are sent: thoughts of earlier answers are not, since some servers refuse them; those since the last question are."""
    last = max((at for at, one in enumerate(messages) if one["role"] == "user"), default=-1)
    return [
        {key: value for key, value in one.items() if key != "reasoning_content" or at > last}
        for at, one in enumerate(messages)
    ]


def read_tools(text: str) -> list[Mapping[str, Any]]:
    """Functions in OpenAI's shape, from JSON as somebody typed it; one alone is a list of one; UserError when they are none."""
    if not text.strip():
        return []
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(Say.bad_tools(reason=str(error)[:120]), key="tools") from error
    tools: list[Mapping[str, Any]] = []
    for number, one in enumerate(data if isinstance(data, list) else [data], 1):
        held = one.get("function", one) if isinstance(one, Mapping) else None
        if not isinstance(held, Mapping) or not isinstance(held.get("name"), str) or not held["name"]:
            raise UserError(Say.not_tools(number=number), key="tools")
        tools.append({"type": "function", "function": held})
    return tools


def folder(workspace: Workspace) -> Path:
    """Where conversations are kept."""
    return workspace.saves / "chats"


def names(workspace: Workspace) -> list[str]:
    """The conversations that are kept, the newest first."""
    found = sorted(folder(workspace).glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.stem for path in found]


def save(workspace: Workspace, name: str, conversation: Conversation) -> str:
    """Keep it under that name, in place of an older one; returns the name."""
    path = _file(workspace, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}")
    beside.write_text(conversation.to_json(), "utf-8")
    beside.replace(path)
    return path.stem


def load(workspace: Workspace, name: str) -> Conversation:
    """The conversation of that name; UserError when there is none."""
    path = _file(workspace, name)
    if not path.is_file():
        raise UserError(Say.none(given=plain(name), known=", ".join(names(workspace)[:20]) or "-"))
    return read_conversation(path.read_text("utf-8", errors="replace"))


def _file(workspace: Workspace, name: str) -> Path:
    given = name.strip().removesuffix(".json")
    if RESERVED.fullmatch(given):
        raise UserError(Names.reserved(given=given))
    odd = not re.fullmatch(r"\w[\w .-]*", given) or given.endswith((".", " "))
    if odd or len(given.encode()) > LONGEST_NAME * 3:
        raise UserError(Say.bad_name(given=plain(name)))
    return workspace.inside(folder(workspace), f"{given}.json")
