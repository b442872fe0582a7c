"""One declaration per field: type, range, default, label and sentence in one place. Knows no field by name.

A section is a pydantic model; the sentence under a field is its docstring. ``knobs()`` walks them, and from the
knobs follow the form, the command line, the YAML keys, the locale keys, docs/fields.md and the error messages.
"""

import json
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from workbench.problems import Problem
from workbench.text import Locale, Message, Text

Kind = Literal["int", "float", "bool", "str", "choice", "list", "dict"]
Widget = Literal["", "model", "dataset", "template", "values", "adapter", "lines", "cards", "metrics", "benchmarks"]


class Say:
    invalid = Text("{label} is '{given}'. Accepted: {accepted}. Enter, for example, {example}.")
    whole_number = Text("a whole number {span}")
    number = Text("a number {span}")
    any_size = Text("of any size")
    at_least = Text("of at least {low}")
    above = Text("above {low}")
    at_most = Text("of at most {high}")
    below = Text("below {high}")
    both = Text("{lower} and {upper}")
    one_of = Text("one of {choices}")
    yes_no = Text("true or false")
    names = Text("names separated by commas")
    names_of = Text("names separated by commas, of {choices}")
    lines = Text("text, one line for each")
    pairs = Text("pairs of a name and a value")
    words = Text("text")
    or_empty = Text("{accepted}, or nothing")
    nothing = Text("nothing")


class Section(BaseModel):
    """A group of fields that belong together; its first docstring line is its title."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Ui:
    """What a form must know of a field beyond its type. ``simple``: a first run needs it."""

    label: str
    simple: bool = False
    widget: Widget = ""
    when: tuple[str, ...] = ()
    """The key of another field, and the values of it with which this one has an effect. Empty: always."""


@dataclass(frozen=True)
class Knob:
    """One field as a form, a command line or a document sees it."""

    key: str
    place: str
    plugin: str | None
    section: str
    ui: Ui
    help: str
    kind: Kind
    optional: bool
    default: Any
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False
    owners: tuple[str, ...] = ()
    """All plugins of the place that have this field; ``plugin`` is the first."""

    def applies(self, flat: Mapping[str, Any]) -> bool:
        """Whether the field has an effect beside the other values, those that are not there being none of its own."""
        key, *values = self.ui.when or ("",)
        return key not in flat or plain(flat[key]) in values

    def label(self, locale: Locale) -> str:
        return locale.word(f"fields.{self.key}.label", self.ui.label)

    def sentence(self, locale: Locale) -> str:
        return locale.word(f"fields.{self.key}.help", self.help)

    def accepted(self) -> Message:
        """What may be entered, in words."""
        said = {
            "int": lambda: Say.whole_number(span=self._span()),
            "float": lambda: Say.number(span=self._span()),
            "bool": lambda: Say.yes_no(),
            "choice": lambda: Say.one_of(choices=", ".join(self.choices)),
            "list": self._names,
            "dict": lambda: Say.pairs(),
            "str": lambda: Say.words(),
        }[self.kind]()
        return Say.or_empty(accepted=said) if self.optional else said

    def _names(self) -> Message:
        if self.choices:
            return Say.names_of(choices=", ".join(self.choices))
        return Say.lines() if self.ui.widget == "lines" else Say.names()

    def _span(self) -> Message:
        lower = upper = None
        if self.low is not None:
            lower = (Say.above if self.low_open else Say.at_least)(low=plain(self.low))
        if self.high is not None:
            upper = (Say.below if self.high_open else Say.at_most)(high=plain(self.high))
        if lower and upper:
            return Say.both(lower=lower, upper=upper)
        return lower or upper or Say.any_size()

    def invalid(self, given: Any) -> Problem:
        """The problem that ``given`` is not accepted here."""
        example = Say.nothing() if self.default in (None, "", [], {}) else plain(self.default)
        shown = Say.nothing() if given in ("", None) else plain(given)
        label = Message(f"fields.{self.key}.label", self.ui.label)
        said = Say.invalid(label=label, given=shown, accepted=self.accepted(), example=example)
        return Problem(said, self.key)


def shortened(text: str, longest: int) -> str:
    """A text in one line, cut after ``longest`` letters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[:longest]}..."


def plain(value: Any) -> str:
    """A value as a person writes it: 0.0002 as 2e-4, a list with commas, true and false in small letters."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: ""}[value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        if value and (abs(value) < 0.001 or abs(value) >= 1e7):
            mantissa, _, exponent = f"{value:e}".partition("e")
            return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        return str(int(value)) if value == int(value) else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _unwrap(annotation: Any) -> tuple[Any, bool]:
    """The type inside Optional, and whether None is accepted."""
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [arg for arg in get_args(annotation) if arg is not type(None)]
        return inner[0], len(inner) < len(get_args(annotation))
    return annotation, False


def _kind(annotation: Any) -> Kind:
    origin = get_origin(annotation)
    if origin is Literal:
        return "choice"
    if origin in (list, dict):
        return typing.cast(Kind, origin.__name__)
    return typing.cast(Kind, annotation.__name__)


def _choices(annotation: Any) -> tuple[str, ...]:
    """The values of a Literal, or of a list of them."""
    if get_origin(annotation) is list:
        return _choices(get_args(annotation)[0])
    return tuple(get_args(annotation)) if get_origin(annotation) is Literal else ()


def knob(key: str, info: FieldInfo, section: type[Section], place: str, plugin: str | None) -> Knob:
    """The knob of one field; a field without a label or a sentence is a mistake of ours."""
    ui = next((item for item in info.metadata if isinstance(item, Ui)), None)
    assert ui is not None, f"{section.__name__}.{key} has no Ui"
    assert info.description, f"{section.__name__}.{key} has no sentence"
    annotation, optional = _unwrap(info.annotation)
    low = high = None
    low_open = high_open = False
    for item in info.metadata:
        match item:
            case Ge():
                low = typing.cast(float, item.ge)
            case Gt():
                low, low_open = typing.cast(float, item.gt), True
            case Le():
                high = typing.cast(float, item.le)
            case Lt():
                high, high_open = typing.cast(float, item.lt), True
    return Knob(
        key=key,
        place=place,
        plugin=plugin,
        section=(section.__doc__ or section.__name__).strip().splitlines()[0].rstrip("."),
        ui=ui,
        help=" ".join(info.description.split()),
        kind=_kind(annotation),
        optional=optional,
        default=info.get_default(call_default_factory=True, validated_data={}),
        choices=_choices(annotation),
        low=low,
        high=high,
        low_open=low_open,
        high_open=high_open,
        owners=() if plugin is None else (plugin,),
    )


def section_knobs(section: type[Section], place: str, plugin: str | None = None) -> Iterator[Knob]:
    """The knobs of one section, in the order of their declaration."""
    for key, info in section.model_fields.items():
        if any(isinstance(item, Ui) for item in info.metadata) or plugin is None:
            yield knob(key, info, section, place, plugin)


def read_value(knob: Knob, value: Any) -> Any:
    """A value from a file, a form or a command line, brought nearer to the field's type; validation comes after."""
    if isinstance(value, str):
        value = value.strip()
        if knob.optional and value.lower() in ("", "none", "null"):
            return None
        if knob.kind == "list":
            value = re.split("\n" if knob.ui.widget == "lines" else "[,，]", value)
        elif knob.kind == "dict":
            value = _pairs(value)
        elif value == "" and knob.kind in ("int", "float"):
            return "nothing"
    if knob.kind == "list":
        items = [] if value is None else [value] if _is_number(value) else value
        texts = [_as_text(item) for item in items] if isinstance(items, list) else items
        return [text for text in texts if text != ""] if isinstance(texts, list) else texts
    if knob.kind == "dict":
        return {name: _as_text(item) for name, item in value.items()} if isinstance(value, dict) else value or {}
    if knob.kind in ("int", "float") and isinstance(value, bool):
        return plain(value)
    return _as_text(value) if knob.kind == "str" else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_text(value: Any) -> Any:
    """A number that a file writes without quotes where text is meant, and text without white space around it."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if _is_number(value) else value


def _pairs(value: str) -> Any:
    if not value:
        return {}
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def problems_of(error: ValidationError, known: dict[str, Knob]) -> list[Problem]:
    """Every error that pydantic found, in our words, beside its field, each field once."""
    found: dict[str, Problem] = {}
    for item in error.errors(include_url=False):
        key = next((part for part in item["loc"][1:] if part in known), None)  # the first part is the section
        assert isinstance(key, str), f"an error without a field: {item}"
        found.setdefault(key, known[key].invalid(item["input"]))
    return list(found.values())
