"""The messages of a request: what they may hold, and in which order templates take them. Knows no engine and no HTTP.

Clients send system messages anywhere, questions in a row and an answer first. What is moved or joined is told.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from workbench.api.schema import Shape, Words
from workbench.problems import Problem, UserError
from workbench.text import Text

JOINT = "\n\n"
Message = dict[str, Any]


class Say:
    no_content = Text("'{field}' is {given}. Accepted: text; nothing only where an assistant calls tools. Write a text.")
    not_text = Text(
        "'{field}' is a part of the type '{given}', and the models of this server read text only. Accepted: parts of the "
        "type 'text'. Describe it in words."
    )


class Part(Shape):
    """A part of a message's content: text only; other types are refused in words."""

    type: str = Field(json_schema_extra={"enum": ["text"]})
    text: Words | None = None
    refusal: Words | None = None


class CalledFunction(Shape):
    """Which function is called, with what."""

    name: Words = Field(min_length=1)
    arguments: Words
    """A JSON object as text."""


class ToolCall(Shape):
    """A call that an assistant made."""

    id: Words | None = None
    type: Literal["function"] = "function"
    function: CalledFunction


def _told(schema: dict[str, Any]) -> None:
    """In the document a message has content: that of an assistant alone may be null."""
    content = schema["properties"]["content"]
    content["anyOf"] = [kind for kind in content["anyOf"] if kind.get("type") != "null"]
    content.pop("default", None)
    schema["required"] = ["role", "content"]


class Said(Shape):
    """One message of the chat."""

    model_config = ConfigDict(json_schema_extra=_told)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Words | list[Part] | None = None
    """Text, or parts of text; null only where an assistant calls tools."""
    name: Words | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: Words | None = None
    reasoning_content: Words | None = None

    def words(self) -> str:
        """The content as one text, parts on lines of their own."""
        if isinstance(self.content, list):
            return "\n".join(part.text or part.refusal or "" for part in self.content)
        return self.content or ""

    def problem(self, at: int) -> Problem | None:
        """What of its content can't be answered."""
        if isinstance(self.content, list):
            for number, part in enumerate(self.content):
                field = f"messages[{at}].content[{number}]"
                if part.type not in ("text", "refusal"):
                    return Problem(Say.not_text(field=field, given=part.type[:80]), f"{field}.type")
                if (part.text if part.type == "text" else part.refusal) is None:
                    return Problem(Say.no_content(field=f"{field}.text", given="null"), f"{field}.text")
        elif self.content is None and self.role != "assistant":
            return Problem(Say.no_content(field=f"messages[{at}].content", given="null"), f"messages[{at}].content")
        return None

    def message(self) -> Message:
        """As templates take it."""
        said: Message = {"role": "system" if self.role == "developer" else self.role, "content": self.words()}
        if self.role == "assistant" and self.reasoning_content:
            said["reasoning_content"] = self.reasoning_content
        if self.role == "assistant" and self.tool_calls:
            said["tool_calls"] = [_call(call) for call in self.tool_calls]
        if self.role == "tool":
            named = {"tool_call_id": self.tool_call_id, "name": self.name}
            said |= {key: value for key, value in named.items() if value}
        return said


Messages = Annotated[list[Said], Field(min_length=1)]


def _call(call: ToolCall) -> Message:
    """With the arguments as an object, which templates need that write one by one; as text where they are none."""
    arguments: Any = call.function.arguments
    try:
        read = json.loads(arguments or "{}")
        arguments = read if isinstance(read, dict) else arguments
    except (ValueError, RecursionError):
        pass
    function = {"name": call.function.name, "arguments": arguments}
    return {**({"id": call.id} if call.id else {}), "type": "function", "function": function}


def check(messages: Sequence[Said]) -> None:
    """UserError for every message whose content can't be answered."""
    problems = [problem for at, said in enumerate(messages) if (problem := said.problem(at))]
    if problems:
        raise UserError(*problems)


def arranged(messages: Sequence[Said]) -> tuple[list[Message], list[str]]:
    """The messages in the order of templates, and what was changed for that, in words of a header.

    Instructions are one system message at the beginning; one that comes last behind an answer asks for the next answer
    and becomes a question. Questions in a row are one question, and so are answers without calls.
    """
    told: list[str] = []
    plain = [said.message() for said in messages]
    if len(plain) > 2 and plain[-1]["role"] == "system" and plain[-2]["role"] == "assistant":
        plain[-1] = {**plain[-1], "role": "user"}
        told.append("the last system message became a user message")
    system = [one["content"] for one in plain if one["role"] == "system"]
    others = [one for one in plain if one["role"] != "system"]
    if any(one["role"] == "system" for one in plain[1:]):
        told.append("system messages were joined into one at the beginning")
    joined = _joined(others)
    if len(joined) < len(others):
        told.append("messages of the same role in a row were joined")
    head = [{"role": "system", "content": JOINT.join(system)}] if system else []
    return [*head, *joined], told


def _joined(messages: Sequence[Message]) -> list[Message]:
    found: list[Message] = []
    for one in messages:
        last = found[-1] if found else {"role": "", "content": ""}
        alike = one["role"] == last["role"] in ("user", "assistant") and not (one.keys() | last.keys()) - {"role", "content"}
        if alike:
            found[-1] = {**last, "content": JOINT.join(text for text in (last["content"], one["content"]) if text)}
        else:
            found.append(one)
    return found


def with_question(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]] | None:
    """For templates that begin with a question: the messages with an empty one before the first answer, or with the
    system text as the question where nothing else was said; None when they begin with a question already."""
    head, rest = list(messages[:1]), list(messages[1:])
    if head[0]["role"] != "system":
        head, rest = [], list(messages)
    if not rest:
        return [{**head[0], "role": "user"}]
    return None if rest[0]["role"] == "user" else [*head, {"role": "user", "content": ""}, *rest]
