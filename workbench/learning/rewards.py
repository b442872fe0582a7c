"""What an answer is worth by rules that a person chose, each between 0 and 1, or by a judge. Knows no model and no trainer."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from workbench.learning.scoring import post
from workbench.problems import UserError
from workbench.text import Text, verbatim

FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
MARK = re.compile(r"\d+(?:\.\d+)?")
BEST_MARK = 10.0
TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool,
    "null": type(None),
}  # fmt: skip
SCHEMA_KEYS = {
    "type", "enum", "const", "required", "properties", "additionalProperties", "items", "minItems", "maxItems", "minimum",
    "maximum", "minLength", "maxLength", "pattern", "title", "description", "$schema",
}  # fmt: skip
"""What is understood of JSON Schema."""


class Say:
    bad_pattern = Text(
        "The pattern can't be read: {reason}. Accepted: a regular expression. Mend it, for example ^\\d+$."
    )
    bad_schema = Text("The schema can't be read: {reason}. Accepted: JSON Schema. Mend it, or leave it empty.")
    strange_key = Text("the key '{key}' is not understood; known are {known}")
    no_judge = Text("The judge at {url} gave no mark: {reason} Accepted: an OpenAI-compatible server. Check it.")


@dataclass(frozen=True)
class Answer:
    """One drawn answer, with its question, the answer in the row, and its number of tokens."""

    question: str
    text: str
    reference: str
    tokens: int


Reward = Callable[[Sequence[Answer]], list[float]]


def each(score: Callable[[Answer], float]) -> Reward:
    """A reward that looks at one answer at a time."""
    return lambda answers: [score(answer) for answer in answers]


def same(answer: Answer) -> float:
    """1 where it says what the row says, capital letters and white space apart."""
    return float(_plain(answer.text) == _plain(answer.reference))


def contains(answer: Answer) -> float:
    """1 where what the row says stands somewhere in it."""
    return float(_plain(answer.reference) in _plain(answer.text))


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def matching(pattern: str) -> Reward:
    """1 where the regular expression is found; UserError for one that can't be read."""
    try:
        found = re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise UserError(Say.bad_pattern(reason=verbatim(str(error))), key="reward_pattern") from None
    return each(lambda answer: float(found.search(answer.text) is not None))


def length(target: int) -> Reward:
    """1 at so many tokens, less the further away, 0 from twice as many on."""
    return each(lambda answer: max(0.0, 1 - abs(answer.tokens - target) / target))


def valid_json(schema: str) -> Reward:
    """1 where it is JSON that the schema allows, with or without a fence around it; half for other JSON."""
    rules = read_schema(schema)

    def score(answer: Answer) -> float:
        fenced = FENCE.match(answer.text)
        try:
            value = json.loads(fenced[1] if fenced else answer.text)
        except (ValueError, RecursionError):
            return 0.0
        return 1.0 if allowed(value, rules) else 0.5

    return each(score)


def read_schema(text: str) -> Mapping[str, Any]:
    """The schema; UserError beside ``reward_schema`` for what is none, or says more than is understood."""
    try:
        rules = json.loads(text or "{}")
    except ValueError as error:
        raise UserError(Say.bad_schema(reason=verbatim(str(error))), key="reward_schema") from None
    for key in _keys(rules):
        if key not in SCHEMA_KEYS:
            reason = Say.strange_key(key=key, known=", ".join(sorted(SCHEMA_KEYS)))
            raise UserError(Say.bad_schema(reason=reason), key="reward_schema")
    return rules if isinstance(rules, dict) else {}


def _keys(rules: Any) -> list[str]:
    """Every key of a schema and of those inside it."""
    if not isinstance(rules, dict):
        return [] if isinstance(rules, bool) else [str(rules)]
    inner = [*rules.get("properties", {}).values(), *([rules["items"]] if "items" in rules else [])]
    extra = rules.get("additionalProperties")
    return [*rules, *(key for part in [*inner, *([extra] if isinstance(extra, dict) else [])] for key in _keys(part))]


def allowed(value: Any, rules: Any) -> bool:
    """Whether the schema allows the value (json-schema.org, draft 2020-12, the keys of SCHEMA_KEYS)."""
    if isinstance(rules, bool):
        return rules
    kinds = rules.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return False
    if ("enum" in rules and value not in rules["enum"]) or ("const" in rules and value != rules["const"]):
        return False
    if isinstance(value, dict):
        return _object_allowed(value, rules)
    if isinstance(value, list):
        return _between(len(value), rules, "Items") and all(allowed(item, rules.get("items", True)) for item in value)
    if isinstance(value, str):
        return _between(len(value), rules, "Length") and re.search(rules.get("pattern", ""), value) is not None
    if _is(value, "number"):
        return bool(rules.get("minimum", value) <= value <= rules.get("maximum", value))
    return True


def _object_allowed(value: Mapping[str, Any], rules: Mapping[str, Any]) -> bool:
    named, others = rules.get("properties", {}), rules.get("additionalProperties", True)
    missing = set(rules.get("required", [])) - set(value)
    return not missing and all(allowed(item, named.get(key, others)) for key, item in value.items())


def _between(size: int, rules: Mapping[str, Any], what: str) -> bool:
    return bool(rules.get(f"min{what}", size) <= size <= rules.get(f"max{what}", size))


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, TYPES.get(kind, ()))


def judged(url: str, model: str, instruction: str, key: str = "") -> Reward:
    """The mark that an OpenAI-compatible server gives each answer, the first number from 0 to 10 that it writes, as 0 to 1."""
    address = url.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"

    def score(answer: Answer) -> float:
        asked = f"{instruction}\n\nQuestion:\n{answer.question}\n\nRight answer:\n{answer.reference}\n\nAnswer:\n{answer.text}"
        data = {"model": model, "messages": [{"role": "user", "content": asked}], "temperature": 0, "max_tokens": 512}
        try:
            said = str(post(address, data, key)["choices"][0]["message"]["content"])
        except (OSError, HTTPException, ValueError, KeyError, TypeError, IndexError) as error:
            reason = verbatim(f"{type(error).__name__}: {error}")
            raise UserError(Say.no_judge(url=url, reason=reason), key="judge_url") from error
        return mark_in(said)

    return each(score)


def mark_in(said: str) -> float:
    """The first number of a judge's words, 0 to 10, as 0 to 1; 0 where there is none."""
    found = MARK.search(said)
    return min(float(found[0]), BEST_MARK) / BEST_MARK if found else 0.0
