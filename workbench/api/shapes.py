"""How families write tool calls, and reading them back from an answer that grows. Knows no HTTP and no template's text.

A shape says at which marks a call may begin, and reads the calls that stand at the beginning of a text.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Tools = Sequence[Mapping[str, Any]]
"""In OpenAI's form: an object with ``function`` in each."""


@dataclass(frozen=True)
class Call:
    """One call: the function and its arguments as JSON."""

    name: str
    arguments: str


class NoCall(Exception):
    """What looked like the beginning of a call is none."""


@dataclass(frozen=True)
class Found:
    """Calls at the beginning of a text, and how many of its characters they take."""

    calls: Sequence[Call]
    length: int


Read = Callable[[str, Tools, bool], Found | None]
"""The calls at the beginning of a text; None when it must go on first, which an ended one can't. NoCall otherwise."""


@dataclass(frozen=True)
class CallShape:
    """One way to write calls."""

    marks: Callable[[Tools], Sequence[str]]
    read: Read


def names_of(tools: Tools) -> dict[str, Mapping[str, Any]]:
    """The functions on offer by name."""
    return {str(tool["function"]["name"]): tool["function"] for tool in tools}


def written(arguments: Any) -> str:
    """Arguments as JSON."""
    return json.dumps(arguments, ensure_ascii=False)


READER = json.JSONDecoder(strict=False)
"""Models write line ends into strings as they are."""
NEAR_END = 8
"""A word, a number or an escape that is not whole yet makes an error so near to the end."""


def _value(text: str, start: int, ended: bool) -> tuple[Any, int] | None:
    """The JSON value at a place and where it ends; None while it is not whole; NoCall when it is none."""
    try:
        return READER.raw_decode(text, start)
    except RecursionError:
        raise NoCall from None
    except json.JSONDecodeError as error:
        growing = error.msg.startswith("Unterminated string") or error.pos >= len(text) - NEAR_END
        if ended or not growing:
            raise NoCall from None
        return None


# <tool_call> ... </tool_call>: Hermes and Qwen with JSON, GLM-4.5 and Qwen3-Coder with a tag for each argument

OPEN, CLOSE = "<tool_call>", "</tool_call>"
GLM_ARGUMENT = re.compile(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
CODER = re.compile(r"<function=([^>\n]+)>(.*?)(?:</function>|$)", re.DOTALL)
CODER_ARGUMENT = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", re.DOTALL)


def _read_tagged(text: str, tools: Tools, ended: bool) -> Found | None:
    end = text.find(CLOSE)
    if end < 0 and not ended:
        return None
    body = text[len(OPEN) : end if end >= 0 else len(text)].strip()
    length = end + len(CLOSE) if end >= 0 else len(text)
    if body.startswith(("{", "[")):
        return Found(_of_json(body), length)
    if coder := CODER.match(body):
        return Found([_of_pairs(coder[1].strip(), CODER_ARGUMENT.findall(coder[2]), tools)], length)
    name = body.partition("<arg_key>")[0].strip()
    if not name or len(name.split()) != 1 or end < 0:
        raise NoCall
    return Found([_of_pairs(name, GLM_ARGUMENT.findall(body), tools)], length)


def _of_pairs(name: str, pairs: Sequence[tuple[str, str]], tools: Tools) -> Call:
    """Values without quotes: text where the tool says so, else JSON where it is some."""
    schema = (names_of(tools).get(name) or {}).get("parameters") or {}
    known = schema.get("properties") if isinstance(schema, Mapping) else None
    arguments: dict[str, Any] = {}
    for key, given in pairs:
        kind = known.get(key.strip()) if isinstance(known, Mapping) else None
        arguments[key.strip()] = given
        if not (isinstance(kind, Mapping) and kind.get("type") == "string"):
            try:
                arguments[key.strip()] = json.loads(given)
            except (ValueError, RecursionError):
                continue
    return Call(name, written(arguments))


def _of_json(body: str) -> list[Call]:
    try:
        return calls_in(json.loads(body, strict=False))
    except (ValueError, RecursionError):
        raise NoCall from None


def calls_in(value: Any) -> list[Call]:
    """The calls of a JSON value: an object with name and arguments, or a list of them."""
    calls = []
    for one in value if isinstance(value, list) else [value]:
        one = one.get("function", one) if isinstance(one, dict) and isinstance(one.get("function"), dict) else one
        name = one.get("name") if isinstance(one, dict) else None
        arguments = one.get("arguments", one.get("parameters", {})) if isinstance(one, dict) else None
        if not (isinstance(name, str) and name and isinstance(arguments, dict | str)):
            raise NoCall
        calls.append(Call(name, arguments if isinstance(arguments, str) else written(arguments)))
    if not calls:
        raise NoCall
    return calls


# JSON alone or behind a mark: Llama 3, Mistral, Phi-4-mini. The marks are special tokens, which an engine may leave out.

SURE = ("[TOOL_CALLS]", "<|tool_call|>", "<|python_tag|>")
BEGINNINGS = ('{"name"', '[{"name"', '{"type":"function"', '[{"type":"function"', '{"function"', '[{"function"')
NAMED = re.compile(r"\s*([\w.-]+)\s*(?:\[ARGS\])?\s*(?=\{)")
GROWING_NAME = re.compile(r"[\w.-]*\s*(\[\w*\]?)?\s*")
END = "<|/tool_call|>"


def _read_json(text: str, tools: Tools, ended: bool) -> Found | None:
    if text.startswith(END):
        return Found((), len(END))
    if not ended and any(mark.startswith(text) for mark in SURE):
        return None
    mark = next((mark for mark in SURE if text.startswith(mark)), "")
    start = len(mark) + _blank(text[len(mark) :])
    rest = text[start:]
    if mark and (named := NAMED.match(rest)):
        return _named_behind_mark(text, start + named.end(), named[1], ended)
    if mark and not ended and not rest.startswith(("{", "[")):
        if GROWING_NAME.fullmatch(rest):
            return None
        raise NoCall
    compact = re.sub(r"\s", "", rest[:60])
    if not any(compact.startswith(begun) or (begun.startswith(compact) and not ended) for begun in BEGINNINGS):
        raise NoCall
    value = _value(text, start, ended)
    if value is None:
        return None
    calls = calls_in(value[0])
    if not mark and any(call.name not in names_of(tools) for call in calls):
        raise NoCall
    return Found(calls, value[1])


def _named_behind_mark(text: str, start: int, name: str, ended: bool) -> Found | None:
    value = _value(text, start, ended)
    return None if value is None else Found([Call(name, written(value[0]))], value[1])


def _blank(text: str) -> int:
    return len(text) - len(text.lstrip())


# A name on a line of its own, its arguments below: GLM-4, ChatGLM3


def _read_named(text: str, tools: Tools, ended: bool) -> Found | None:
    name = next((name for name in names_of(tools) if text.startswith(f"{name}\n")), None)
    if name is None:
        raise NoCall
    start = len(name) + 1
    if not text[start:].strip() and not ended:
        return None
    if not text[start:].lstrip().startswith("{"):
        raise NoCall
    value = _value(text, start + _blank(text[start:]), ended)
    return None if value is None else Found([Call(name, written(value[0]))], value[1])


# Action: name, Action Input: arguments: families without a form of their own

ACTION = re.compile(r"Action:[ \t]*(?P<name>[^\s]+)[ \t]*\r?\n\s*Action Input:\s*(?=\{)")
ACTION_BEGUN = re.compile(r"Action:[ \t]*(\S*[ \t]*(\r?\n\s*(?P<second>Action Input:\s*|[A-Z][A-Za-z ]*)?)?)?")


def _read_action(text: str, tools: Tools, ended: bool) -> Found | None:
    found = ACTION.match(text)
    if found is None:
        begun = ACTION_BEGUN.fullmatch(text)
        if ended or not begun or not "Action Input:".startswith((begun["second"] or "").rstrip()):
            raise NoCall
        return None
    value = _value(text, found.end(), ended)
    return None if value is None else Found([Call(found["name"], written(value[0]))], value[1])


# DeepSeek's own: marks around each call, the arguments in a code block (V3, R1) or bare (V3.1)

DEEPSEEK_BEGIN, DEEPSEEK_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
DEEPSEEK_CALL = re.compile(
    r"<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?(?P<name>[^\n<]+?)(?:<｜tool▁sep｜>|\n```json\n)"
    r"(?P<arguments>.*?)(?:\n```)?\s*<｜tool▁call▁end｜>",
    re.DOTALL,
)


def _read_deepseek(text: str, tools: Tools, ended: bool) -> Found | None:
    end = text.find(DEEPSEEK_END)
    if end < 0 and not ended:
        return None
    stop = end if end >= 0 else len(text)
    calls = [Call(one["name"].strip(), one["arguments"].strip()) for one in DEEPSEEK_CALL.finditer(text[:stop])]
    if not calls or any(_no_json(call.arguments) for call in calls):
        raise NoCall
    return Found(calls, stop + len(DEEPSEEK_END) if end >= 0 else stop)


def _no_json(text: str) -> bool:
    try:
        return not isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return True


TAGGED = CallShape(lambda tools: (OPEN,), _read_tagged)
JSON = CallShape(lambda tools: (*SURE, END, "{", "["), _read_json)
NAME_LINE = CallShape(lambda tools: [f"{name}\n" for name in names_of(tools)], _read_named)
ACTIONS = CallShape(lambda tools: ("Action:",), _read_action)
DEEPSEEK = CallShape(lambda tools: (DEEPSEEK_BEGIN,), _read_deepseek)
EVERY = (TAGGED, DEEPSEEK, JSON)
"""For a template of which nothing is known: what can hardly be meant otherwise."""
BY_FAMILY: Mapping[str, Sequence[CallShape]] = {
    "qwen": (TAGGED,),
    "glm4_moe": (TAGGED,),
    "llama3": (JSON, TAGGED),
    "mistral": (JSON, TAGGED),
    "phi4_mini": (JSON, TAGGED),
    "glm4": (NAME_LINE, TAGGED),
    "": (ACTIONS, TAGGED),
}
"""By what templates.yaml says of a template's tools. Tags are read always: engines that get calls apart write them so."""

