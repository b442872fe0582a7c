"""The body of POST /v1/chat/completions: tools, forms of the answer, thinking. Knows no engine by name and no HTTP."""

from collections.abc import Container, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from workbench.api import messages
from workbench.api.messages import Messages
from workbench.api.schema import (
    MOST_LIKELY,
    Drawing,
    Shape,
    Unsupported,
    Words,
    lacking,
    refuse_lacking,
    unsupported,
)
from workbench.engines import Sampling
from workbench.fields import plain
from workbench.problems import Problem, UserError
from workbench.text import Text

FIELD_OF = {"json_schema": "response_format"}


class Say:
    no_tool = Text("'tool_choice' is '{given}'. Accepted: {known}. Choose a function that 'tools' offers.")
    needs_tools = Text("'tool_choice' is '{given}', and 'tools' offers none. Accepted: none, auto. Offer a function.")
    needs_schema = Text("'response_format.json_schema' is missing. Accepted: an object with name and schema. Add it.")
    needs_logprobs = Text("'top_logprobs' is {given}, and 'logprobs' is not true. Set 'logprobs' to true as well.")


class Function(Shape):
    """A function that the model may call."""

    name: Words = Field(min_length=1, max_length=200)
    description: Words | None = None
    parameters: dict[str, Any] | None = None
    """JSON schema of its arguments."""

    def schema_of(self) -> dict[str, Any]:
        """Of its arguments, which are an object with the properties that are listed, unless it says otherwise."""
        given = self.parameters or {"type": "object", "properties": {}}
        open_ended = {"additionalProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf"} & given.keys()
        return given if open_ended or "properties" not in given else {**given, "additionalProperties": False}


class Tool(Shape):
    """Something that the model may use: a function."""

    type: Literal["function"]
    function: Function


class Named(Shape):
    """The name of a function."""

    name: Words


class NamedTool(Shape):
    """The function that must be called."""

    type: Literal["function"]
    function: Named


class AnswerSchema(Shape):
    """A named JSON schema."""

    name: Words | None = None
    form: dict[str, Any] = Field(alias="schema")
    """The JSON schema itself."""


class ResponseFormat(Shape):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: AnswerSchema | None = None

    def schema_of(self) -> dict[str, Any] | None:
        """The schema that the answer must have; None: text."""
        if self.type == "json_schema" and self.json_schema is None:
            raise UserError(Say.needs_schema(), key="response_format.json_schema")
        if self.type == "json_schema" and self.json_schema:
            return self.json_schema.form
        return {} if self.type == "json_object" else None


class TemplateOptions(Shape):
    """What the chat template is told."""

    enable_thinking: bool | None = None


class ChatRequest(Drawing):
    """A chat to answer. Fields that are not listed are named in the header X-Ignored-Fields."""

    messages: Messages
    max_completion_tokens: int | None = Field(None, ge=1)
    """The same as max_tokens; the smaller one counts."""
    logprobs: bool | None = None
    """With each token its log-probability."""
    top_logprobs: int | None = Field(None, ge=0, le=MOST_LIKELY)
    """And those of so many of the likeliest."""
    response_format: ResponseFormat | None = None
    """text, json_object, or json_schema: the answer is drawn so that it can't be otherwise."""
    tools: list[Tool] | None = Field(None, max_length=128)
    """Functions that the model may call, told to it by its chat template."""
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    """required, or a function's name: the answer is drawn so that it is a call."""
    parallel_tool_calls: bool | None = None
    """false: at most one call in an answer."""
    chat_template_kwargs: TemplateOptions | None = None
    """enable_thinking alone is read."""
    enable_thinking: bool | None = None
    """Whether the model may think first; not given: as the server was told."""

    def check(self, lacks: Container[str]) -> None:
        """UserError for every field that can't be done, Unsupported where the engine can't."""
        messages.check(self.messages)
        if self.top_logprobs and not self.logprobs:
            raise UserError(Say.needs_logprobs(given=self.top_logprobs), key="top_logprobs")
        self._check_choice()
        if self.offered() and "tools" in lacks:
            lacking(Problem(unsupported("tools", [tool.function.name for tool in self.offered()]), "tools"))
        old = [name for name in ("functions", "function_call") if (self.model_extra or {}).get(name)]
        lacking(*(Problem(unsupported(name, (self.model_extra or {})[name]), name) for name in old))
        if self.forces_call() and "json_schema" in lacks:
            raise Unsupported(unsupported("tool_choice", self._choice(), "none, auto"), key="tool_choice")
        refuse_lacking(self.sampling(), lacks, FIELD_OF)

    def _check_choice(self) -> None:
        if not self.forces_call():
            return
        known = [tool.function.name for tool in self.tools or []]
        if not known:
            raise UserError(Say.needs_tools(given=plain(self._choice())), key="tool_choice")
        if isinstance(self.tool_choice, NamedTool) and self._choice() not in known:
            raise UserError(Say.no_tool(given=plain(self._choice()), known=", ".join(known)), key="tool_choice")

    def _choice(self) -> str:
        return self.tool_choice.function.name if isinstance(self.tool_choice, NamedTool) else self.tool_choice or "auto"

    def forces_call(self) -> bool:
        """Whether the answer must be a call."""
        return isinstance(self.tool_choice, NamedTool) or self.tool_choice == "required"

    def named(self) -> str | None:
        """The function that must be called, if one is named."""
        return self._choice() if isinstance(self.tool_choice, NamedTool) else None

    def offered(self) -> Sequence[Tool]:
        """The tools that the model is told of."""
        return () if self.tool_choice == "none" else self.tools or ()

    def told_tools(self) -> list[dict[str, Any]]:
        """The offered tools as templates take them."""
        return [tool.model_dump(exclude_none=True) for tool in self.offered()]

    def json_schema(self) -> Mapping[str, Any] | None:
        """The schema that the answer must have: the asked form, calls, or either; None: any text."""
        form = self.response_format.schema_of() if self.response_format else None
        if (name := self.named()) is not None:
            return next(tool.function.schema_of() for tool in self.offered() if tool.function.name == name)
        if self.tool_choice == "required" or (form is not None and self.offered()):
            calls = _calls_schema([tool.function for tool in self.offered()], self.parallel_tool_calls is False)
            return calls if form is None or self.forces_call() else _either(form or {"type": "object"}, calls)
        return form

    def thinking(self) -> bool | None:
        """Whether the model may think first; an answer of a given form leaves no room for it."""
        if self.json_schema() is not None:
            return False
        inner = self.chat_template_kwargs.enable_thinking if self.chat_template_kwargs else None
        return self.enable_thinking if self.enable_thinking is not None else inner

    def sampling(self) -> Sampling:
        """How the answer is drawn."""
        limits = [limit for limit in (self.max_tokens, self.max_completion_tokens) if limit is not None]
        logprobs = (self.top_logprobs or 0) if self.logprobs else None
        return self.drawn(min(limits, default=Sampling().max_tokens), logprobs, self.json_schema())

    def ignored(self) -> list[str]:
        """Names of the given fields that change nothing."""
        inside = {f"messages.{name}" for said in self.messages for name in said.unlisted()}
        inside |= {"messages.name" for said in self.messages if said.name and said.role != "tool"}
        inside |= {f"chat_template_kwargs.{name}" for name in (self.chat_template_kwargs or TemplateOptions()).unlisted()}
        return [*self.strangers(), *sorted(inside)]


def _calls_schema(functions: Sequence[Function], one: bool) -> dict[str, Any]:
    """A list of calls as the JSON shape reads them; definitions come to the top, where references look for them."""
    defined: dict[str, Any] = {}
    kinds = []
    for function in functions:
        schema = dict(function.schema_of())
        for place in ("$defs", "definitions"):
            defined[place] = {**defined.get(place, {}), **(schema.pop(place, None) or {})}
        properties = {"name": {"const": function.name}, "arguments": schema}
        kinds.append(
            {"type": "object", "properties": properties, "required": ["name", "arguments"], "additionalProperties": False}
        )
    most = {"maxItems": 1} if one else {}
    told = {place: one for place, one in defined.items() if one}
    return {"type": "array", "minItems": 1, **most, "items": {"anyOf": kinds}, **told}


def _either(form: Mapping[str, Any], calls: Mapping[str, Any]) -> dict[str, Any]:
    parts = [dict(form), dict(calls)]
    told: dict[str, Any] = {}
    for place in ("$defs", "definitions"):
        found = {name: one for part in parts for name, one in (part.pop(place, None) or {}).items()}
        told |= {place: found} if found else {}
    return {"anyOf": parts, **told}
