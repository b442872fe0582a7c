"""Whether a JSON value is as a schema says (JSON Schema 2020-12, the keywords below). Fetches no schema from anywhere.

A keyword that is not known here is refused rather than passed over, since an answer would else pass that should not.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.evaluating.patterns import compiled, found
from workbench.problems import UserError
from workbench.text import Text

Schema = Mapping[str, Any] | bool
MOST_DEEP = 60


class Say:
    no_json = Text("The schema is no JSON: {reason}. Accepted: a schema such as {example}, in one line. Mend it.")
    no_schema = Text("'{given}' is no schema. Accepted: a JSON object, true or false, such as {example}. Mend it.")
    unknown = Text("The schema's keyword '{given}' is not known. Accepted: {known}. Take it out.")
    value = Text("The schema's '{keyword}' can't be {given}. Accepted: {accepted}. Mend it.")
    no_part = Text(
        "The schema has no part '{given}'. Accepted: # and the path of a part of this schema. Mend the '$ref'."
    )
    deep = Text("The schema's parts are more than {most} deep in each other. Accepted: fewer. Make it plainer.")


EXAMPLE = '{"type": "object", "required": ["name"]}'

TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: is_number(value),
    "integer": lambda value: is_number(value) and math.isfinite(value) and value == int(value),
}


def is_number(value: Any) -> bool:
    """Whether JSON calls it a number; Python takes true for one."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(left: Any, right: Any) -> bool:
    """Equal as JSON: 1 and 1.0 are, 1 and true are not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def _distinct(value: Sequence[Any]) -> bool:
    return not any(same(one, other) for place, one in enumerate(value) for other in value[:place])


LIMITS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "minimum": ("number", lambda value, limit: value >= limit),
    "maximum": ("number", lambda value, limit: value <= limit),
    "exclusiveMinimum": ("number", lambda value, limit: value > limit),
    "exclusiveMaximum": ("number", lambda value, limit: value < limit),
    "minLength": ("string", lambda value, limit: len(value) >= limit),
    "maxLength": ("string", lambda value, limit: len(value) <= limit),
    "minItems": ("array", lambda value, limit: len(value) >= limit),
    "maxItems": ("array", lambda value, limit: len(value) <= limit),
    "minProperties": ("object", lambda value, limit: len(value) >= limit),
    "maxProperties": ("object", lambda value, limit: len(value) <= limit),
}
"""Keywords that hold a number, the type they are about, and when a value keeps to them."""
ONE, SEVERAL, NAMED = (
    ("items", "additionalProperties", "not"),
    ("anyOf", "oneOf", "allOf"),
    ("properties", "$defs", "definitions"),
)
"""Keywords that hold a schema, a list of schemas, and schemas by name."""
PLAIN = ("type", "enum", "const", "required", "pattern", "uniqueItems", "$ref")
NOTES = (
    "title",
    "description",
    "default",
    "examples",
    "format",
    "$schema",
    "$id",
    "$comment",
    "deprecated",
    "readOnly",
    "writeOnly",
)
"""Keywords that say something to people only; so does format, as the standard has it."""
KNOWN = (*PLAIN, *LIMITS, *ONE, *SEVERAL, *NAMED)


def read_schema(text: str) -> "Rules":
    """The schema ready to hold values against; UserError for what can't be read or is not known."""
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(Say.no_json(reason=str(error)[:200], example=EXAMPLE)) from error
    rules = Rules(schema)
    rules.take(schema)
    rules.take_references()
    return rules


@dataclass
class Rules:
    """A schema with its patterns made ready."""

    whole: Any
    patterns: dict[str, Any] = field(default_factory=dict)
    looked_through: list[Any] = field(default_factory=list)
    references: list[str] = field(default_factory=list)

    def take(self, schema: Any, deep: int = 0) -> None:
        """Look through the schema once, so that nothing in it surprises later."""
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            raise UserError(Say.no_schema(given=json.dumps(schema, ensure_ascii=False)[:100], example=EXAMPLE))
        if deep > MOST_DEEP:
            raise UserError(Say.deep(most=MOST_DEEP))
        self.looked_through.append(schema)
        for keyword, value in schema.items():
            self._take_keyword(keyword, value)
            for inner in parts(keyword, value):
                self.take(inner, deep + 1)

    def _take_keyword(self, keyword: str, value: Any) -> None:
        if keyword in NOTES:
            return
        if keyword not in KNOWN:
            raise UserError(Say.unknown(given=keyword, known=", ".join(KNOWN)))
        accepted = wrong_value(keyword, value)
        if accepted:
            given = json.dumps(value, ensure_ascii=False)[:100]
            raise UserError(Say.value(keyword=keyword, given=given, accepted=accepted))
        if keyword == "pattern":
            self.patterns[value] = compiled(value)
        if keyword == "$ref":
            self.references.append(value)

    def take_references(self) -> None:
        """Every reference means a part that was looked through."""
        for path in self.references:
            part = self._part(path)
            if not isinstance(part, bool) and not any(part is one for one in self.looked_through):
                raise UserError(Say.no_part(given=path))

    def _part(self, path: str) -> Any:
        """The part of the schema that a reference means."""
        part = self.whole
        names = path.removeprefix("#").split("/")[1:] if path.startswith("#") else [path]
        for name in (name.replace("~1", "/").replace("~0", "~") for name in names):
            if not isinstance(part, dict) or name not in part:
                raise UserError(Say.no_part(given=path))
            part = part[name]
        return part

    def hold(self, value: Any) -> bool | None:
        """Whether the value is as the schema says; None where a pattern takes too long or references lead too deep."""
        try:
            return self._holds(self.whole, value, 0)
        except TimeoutError:
            return None

    def _holds(self, schema: Any, value: Any, deep: int) -> bool:
        if isinstance(schema, bool):
            return schema
        if deep > MOST_DEEP:
            raise TimeoutError
        return all(self._keeps(keyword, wanted, schema, value, deep + 1) for keyword, wanted in schema.items())

    def _keeps(self, keyword: str, wanted: Any, schema: Mapping[str, Any], value: Any, deep: int) -> bool:
        """Whether the value keeps to one keyword of the schema."""
        if keyword in LIMITS:
            about, keeps = LIMITS[keyword]
            return not TYPES[about](value) or keeps(value, wanted)
        if keyword in SEVERAL or keyword in ("$ref", "not"):
            return self._combined(keyword, wanted, value, deep)
        if keyword == "type":
            return any(TYPES[name](value) for name in ([wanted] if isinstance(wanted, str) else wanted))
        if keyword in ("enum", "const"):
            return any(same(value, one) for one in (wanted if keyword == "enum" else [wanted]))
        if isinstance(value, str):
            return keyword != "pattern" or self._matches(wanted, value)
        if isinstance(value, list):
            return self._keeps_list(keyword, wanted, value, deep)
        return not isinstance(value, dict) or self._keeps_object(keyword, wanted, schema, value, deep)

    def _combined(self, keyword: str, wanted: Any, value: Any, deep: int) -> bool:
        if keyword == "$ref":
            return self._holds(self._part(wanted), value, deep)
        if keyword == "not":
            return not self._holds(wanted, value, deep)
        held = sum(self._holds(one, value, deep) for one in wanted)
        return {"anyOf": held >= 1, "oneOf": held == 1, "allOf": held == len(wanted)}[keyword]

    def _keeps_list(self, keyword: str, wanted: Any, value: list[Any], deep: int) -> bool:
        if keyword == "items":
            return all(self._holds(wanted, one, deep) for one in value)
        return keyword != "uniqueItems" or not wanted or _distinct(value)

    def _keeps_object(
        self, keyword: str, wanted: Any, schema: Mapping[str, Any], value: dict[str, Any], deep: int
    ) -> bool:
        if keyword == "properties":
            return all(self._holds(inner, value[name], deep) for name, inner in wanted.items() if name in value)
        if keyword == "required":
            return all(name in value for name in wanted)
        if keyword == "additionalProperties":
            others = set(value) - set(schema.get("properties", {}))
            return all(self._holds(wanted, value[name], deep) for name in others)
        return True

    def _matches(self, pattern: str, value: str) -> bool:
        matches = found(self.patterns[pattern], value)
        if matches is None:
            raise TimeoutError
        return matches


def parts(keyword: str, value: Any) -> Sequence[Any]:
    """The schemas that stand in a keyword's value."""
    if keyword in ONE:
        return [value]
    if keyword in SEVERAL:
        return list(value)
    return list(value.values()) if keyword in NAMED else []


def wrong_value(keyword: str, value: Any) -> str:
    """What a keyword accepts where this is not it, else nothing."""
    names = isinstance(value, list) and all(isinstance(one, str) for one in value)
    kinds = value if isinstance(value, list) else [value]
    ways: Mapping[str, tuple[bool, str]] = {
        "type": (bool(kinds) and all(isinstance(one, str) and one in TYPES for one in kinds), ", ".join(TYPES)),
        "enum": (isinstance(value, list), "[...]"),
        "const": (True, ""),
        "required": (names, '["..."]'),
        "pattern": (isinstance(value, str), '"..."'),
        "uniqueItems": (isinstance(value, bool), "true, false"),
        "$ref": (isinstance(value, str), '"#/$defs/..."'),
        **dict.fromkeys(LIMITS, (is_number(value), "0, 1, 2, ...")),
        **dict.fromkeys(ONE, (isinstance(value, dict | bool), "{...}")),
        **dict.fromkeys(SEVERAL, (isinstance(value, list) and bool(value), "[{...}]")),
        **dict.fromkeys(NAMED, (isinstance(value, dict), '{"...": {...}}')),
    }
    right, accepted = ways[keyword]
    return "" if right else accepted
