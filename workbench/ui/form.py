"""Spec -> components, components -> spec, errors -> the field they belong to. Knows no field by name and no tab."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from workbench.fields import Knob, plain
from workbench.problems import Problem
from workbench.specs import Spec
from workbench.text import Locale, Text
from workbench.ui.desk import Desk


class Say:
    default_is = Text("{sentence} Accepted: {accepted}. Default: {default}.")
    nothing = Text("empty")


@dataclass
class Form:
    """The fields of one kind of spec as components, each by its flat key."""

    desk: Desk
    kind: type[Spec]
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def knobs(self) -> Mapping[str, Knob]:
        return self.kind.knobs()

    def field(self, key: str, **properties: Any) -> Any:
        """The component of one field, made now, in the place of the page where this is called."""
        knob = self.knobs[key]
        component = self.desk.words(
            _component(knob, properties.pop("value", shown(knob, knob.default)), properties),
            lambda locale: {"label": knob.label(locale), "info": sentence(knob, locale)},
            elem_id=f"field-{key}",
            elem_classes=["field"],
        )
        self.fields[key] = component
        return component

    @property
    def components(self) -> list[Any]:
        return list(self.fields.values())

    def flat(self, values: Sequence[Any]) -> dict[str, Any]:
        """The values of ``components`` as a flat mapping; those that the form does not show keep their defaults."""
        return dict(zip(self.fields, values, strict=True))

    def fill(self, flat: Mapping[str, Any]) -> list[Any]:
        """An update for every component that shows the values of ``flat``, defaults for those that it lacks."""
        return [gr.update(value=shown(self.knobs[key], flat.get(key, self.knobs[key].default))) for key in self.fields]

    def mark(self, problems: Iterable[Problem], marked: Sequence[str], language: str) -> tuple[list[Any], list[str]]:
        """An update for every component so that each problem stands beside its field, and the keys now marked.

        Only components whose mark changes are touched. ``marked``: the keys that carry a mark now.
        """
        locale = self.desk.locale(language)
        said: dict[str, str] = {}
        for problem in problems:
            if problem.key in self.fields:
                words = locale(problem.message)
                said[problem.key] = f"{said[problem.key]} {words}" if problem.key in said else words
        updates = []
        for key in self.fields:
            if key in said:
                updates.append(gr.update(info=said[key], elem_classes=["field", "wrong"]))
            elif key in marked:
                updates.append(gr.update(info=sentence(self.knobs[key], locale), elem_classes=["field"]))
            else:
                updates.append(gr.skip())
        return updates, list(said)


def sentence(knob: Knob, locale: Locale) -> str:
    """The tooltip of a field: what it is, what it takes, what it is unless changed."""
    default = locale(Say.nothing) if knob.default in (None, "", [], {}) else plain(knob.default)
    if knob.kind in ("bool", "dict", "str", "list", "choice"):
        return knob.sentence(locale)
    return locale(Say.default_is(sentence=knob.sentence(locale), accepted=knob.accepted(), default=default))


def shown(knob: Knob, value: Any) -> Any:
    """A value as its component holds it: numbers as text, so that 2e-4 may be typed; lines for lists of sentences."""
    if knob.kind in ("bool", "choice"):
        return value
    if knob.ui.widget in ("dataset", "adapter"):
        return list(value or [])
    if knob.ui.widget == "lines":
        return value if isinstance(value, str) else "\n".join(value or [])
    return plain(value)


def _component(knob: Knob, value: Any, properties: dict[str, Any]) -> Any:
    def make(**words: Any) -> Any:
        if knob.kind == "bool":
            return gr.Checkbox(value=value, **words, **properties)
        if knob.kind == "choice":
            return gr.Dropdown(choices=list(knob.choices), value=value, **words, **properties)
        if knob.ui.widget in ("dataset", "adapter"):
            return gr.Dropdown(value=value, multiselect=True, allow_custom_value=True, **words, **properties)
        if knob.ui.widget in ("model", "template"):
            return gr.Dropdown(value=value, allow_custom_value=True, **words, **properties)
        lines = 2 if knob.ui.widget == "lines" else 1
        room = {"lines": lines, "max_lines": max(3, lines), **properties}
        return gr.Textbox(value=value, **words, **room)

    return make
