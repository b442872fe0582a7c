"""Tools on offer, calls of them, and thoughts, as rows write them. Knows no format and no template."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.formats import Row, ToolCall
from workbench.rows.values import Wrong, blank, shown
from workbench.text import Text

THOUGHT = re.compile(r"<think>\n(?!\n)(.+?)(?<!\n)\n</think>\n\n(?!\n)", re.DOTALL)
"""A thought before an answer, written as the templates of thinking models write it."""
OPENING, CLOSING = "<think>", "</think>"
TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>\s*", re.DOTALL)
OPENINGS = re.compile(r"[{\[]")
TRIES = 50
"""How many brackets are tried as the beginning of the calls after a text."""


class Say:
    tools_json = Text("'{column}' is no JSON: {reason}. Accepted: a list of tools with name and parameters. Mend it.")
    tools = Text("'{column}' is {given}. Accepted: a list of tools with name and parameters. Mend it.")
    tool = Text("Tool {number} of '{column}' is {given}. Accepted: an object with name and parameters. Mend it.")
    call = Text(
        "Message {number} of '{column}' calls no function: {given}. "
        "Accepted: JSON with name and arguments, one or a list. Mend it."
    )
    arguments = Text(
        "Message {number} of '{column}' calls '{name}' with {given}. Accepted: arguments as a JSON object. Mend them."
    )


def tools_in(row: Row, column: str) -> Sequence[Mapping[str, Any]]:
    """The tools of a row in the form ``{"type": "function", "function": {...}}``, from a list or its JSON."""
    value = row.get(column)
    if not value:
        return ()
    if isinstance(value, str):
        if blank(value):
            return ()
        try:
            value = json.loads(value)
        except (json.JSONDecodeError, RecursionError) as error:
            raise Wrong(Say.tools_json(column=column, reason=str(error))) from None
    if isinstance(value, Mapping):
        value = [value]
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise Wrong(Say.tools(column=column, given=shown(value)))
    return [_tool(tool, number, column) for number, tool in enumerate(value, 1)]


def _tool(tool: Any, number: int, column: str) -> Mapping[str, Any]:
    if isinstance(tool, str):
        try:
            tool = json.loads(tool)
        except (json.JSONDecodeError, RecursionError):
            raise Wrong(Say.tool(number=number, column=column, given=shown(tool))) from None
    function = tool.get("function", tool) if isinstance(tool, Mapping) else None
    if not (isinstance(function, Mapping) and isinstance(function.get("name"), str) and function["name"]):
        raise Wrong(Say.tool(number=number, column=column, given=shown(tool)))
    if function is tool:
        return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}
    return tool if "type" in tool else {"type": "function", **tool}


def calls_of(value: Any) -> list[ToolCall]:
    """The calls of a message's ``tool_calls``, or of JSON already read: one or a list."""
    items = value if isinstance(value, list | tuple) else [value]
    calls = [_call(item) for item in items]
    if not calls:
        raise Wrong(Say.call(given=shown(value)))
    return calls


def _call(item: Any) -> ToolCall:
    if isinstance(item, str):
        try:
            item = json.loads(item)
        except (json.JSONDecodeError, RecursionError):
            raise Wrong(Say.call(given=shown(item))) from None
    function = item.get("function", item) if isinstance(item, Mapping) else None
    if not (isinstance(function, Mapping) and isinstance(function.get("name"), str) and function["name"]):
        raise Wrong(Say.call(given=shown(item)))
    arguments = given = function.get("arguments", function.get("parameters"))
    if isinstance(given, str):
        try:
            arguments = json.loads(given) if not blank(given) else {}
        except (json.JSONDecodeError, RecursionError):
            arguments = given
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, Mapping):
        raise Wrong(Say.arguments(name=function["name"], given=shown(given)))
    return ToolCall(function["name"], arguments)


def text_and_calls(content: str) -> tuple[str, list[ToolCall]]:
    """A turn that is a call: the text before the calls, without white space at its end, and the calls."""
    tagged = TAGGED.findall(content)
    if tagged and not TAGGED.sub("", content[content.index("<tool_call>") :]):
        return content[: content.index("<tool_call>")].rstrip(), calls_of(tagged)
    for tried, found in enumerate(OPENINGS.finditer(content)):
        try:
            value = json.loads(content[found.start() :])
        except (json.JSONDecodeError, RecursionError):
            if tried >= TRIES:
                break
            continue
        return content[: found.start()].rstrip(), calls_of(value)
    raise Wrong(Say.call(given=shown(content)))


def thought_and_answer(content: str) -> tuple[str, str]:
    """The thought at the start of an answer, and the answer.

    Only what is written exactly as ``<think>\\n...\\n</think>\\n\\n...`` comes apart, since a template puts just that
    back, to the byte. A thought written otherwise stays in the answer as it is.
    """
    if not content.startswith(OPENING):
        return "", content
    found = THOUGHT.match(content)
    if not found or OPENING in found[1] or CLOSING in found[1] or CLOSING in content[found.end() :]:
        return "", content
    return found[1], content[found.end() :]
