"""Spec -> components, components -> spec, errors -> the field they belong to. Knows no field by name and no tab."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from workbench.fields import Knob, plain
from workbench.problems import Problem
from workbench.specs import Spec
from workbench.text import Locale, Text
from workbench.ui.desk import Desk

SEVERAL = ("dataset", "adapter", "cards", "metrics", "benchmarks")
"""Widgets that choose several of a list, or what is typed."""


class Say:
    default_is = Text("{sentence} Accepted: {accepted}. Default: {default}.")
    nothing = Text("empty")


@dataclass
class Form:
    """The fields of one kind of spec as components, each by its flat key."""

    desk: Desk
    kind: type[Spec]
    fields: dict[str, Any] = field(default_factory=dict)
    prefix: str = "field"
    """Before a key it makes the name of its component on the page, where a field of two forms stands twice."""

    @property
    def knobs(self) -> Mapping[str, Knob]:
        return self.kind.knobs()

    def field(self, key: str, **properties: Any) -> Any:
        """The component of one field, made now, in the place of the page where this is called."""
        knob = self.knobs[key]
        properties.setdefault("visible", key in self.used({}))
        component = self.desk.words(
            _component(knob, properties.pop("value", shown(knob, knob.default)), properties),
            lambda locale: {"label": knob.label(locale), "info": sentence(knob, locale)},
            elem_id=f"{self.prefix}-{key}",
            elem_classes=["field"],
        )
        self.fields[key] = component
        return component

    @property
    def components(self) -> list[Any]:
        return list(self.fields.values())

    def flat(self, values: Sequence[Any]) -> dict[str, Any]:
        """The values of ``components`` as a flat mapping, without fields of plugins that are not chosen."""
        return self.chosen(dict(zip(self.fields, values, strict=True)))

    def chosen(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """The values without fields that have no effect beside the others, which are not seen either."""
        used = self.used(flat)
        return {key: value for key, value in flat.items() if key not in self.knobs or key in used}

    def default(self, key: str) -> Any:
        """The default of a field as its component holds it."""
        return shown(self.knobs[key], self.knobs[key].default)

    def defaults(self) -> dict[str, Any]:
        return {key: self.default(key) for key in self.fields}

    def changed(self, flat: Mapping[str, Any]) -> list[str]:
        """The fields whose values, as their components hold them, are not their defaults."""
        return [
            key for key, value in flat.items() if key in self.fields and not _same(self.knobs[key], value, self.default(key))
        ]


    def used(self, flat: Mapping[str, Any]) -> set[str]:
        """The fields that have an effect beside these values; what is not there has its default."""
        whole = {key: flat.get(key, knob.default) for key, knob in self.knobs.items()}
        return {key for key, knob in self.knobs.items() if self._is_chosen(knob, whole) and knob.applies(whole)}

    def _is_chosen(self, knob: Knob, flat: Mapping[str, Any]) -> bool:
        """Whether the field is every run's, or of a plugin that is chosen."""
        if knob.plugin is None:
            return True
        chooser = self.kind.CHOICES[knob.place][1]
        return flat.get(chooser, self.knobs[chooser].default) in (knob.owners or (knob.plugin,))

    @property
    def turners(self) -> list[str]:
        """The fields that decide whether others have an effect."""
        deciding = {knob.ui.when[0] for knob in self.knobs.values() if knob.ui.when}
        deciding |= {chooser for _, chooser in self.kind.CHOICES.values()}
        return [key for key in self.fields if key in deciding]

    @property
    def turned(self) -> list[str]:
        """The fields that come and go with them."""
        return [key for key in self.fields if self.knobs[key].plugin or self.knobs[key].ui.when]

    def fill(self, flat: Mapping[str, Any], fresh: bool = False) -> list[Any]:
        """An update for every component that shows the values of ``flat``, defaults for those that it lacks.

        ``fresh``: the page has just been opened, so that only what differs from the defaults is touched.
        """
        updates = []
        for key in self.fields:
            knob = self.knobs[key]
            value = flat.get(key, knob.default)
            same = fresh and shown(knob, value) == shown(knob, knob.default)
            updates.append(gr.skip() if same else gr.update(value=shown(knob, value)))
        return updates

    def mark(
        self,
        problems: Iterable[Problem],
        marked: Sequence[str],
        language: str,
        turned: Mapping[str, bool] | None = None,
    ) -> tuple[list[Any], list[str]]:
        """An update for every component so that each problem stands beside its field, and the keys now marked.

        Only components that change are touched. ``marked``: the keys that carry a mark now; ``turned``: the fields that
        appear (True) or go (False).
        """
        locale = self.desk.locale(language)
        said: dict[str, str] = {}
        for problem in problems:
            if problem.key in self.fields:
                words = locale(problem.message)
                said[problem.key] = f"{said[problem.key]} {words}" if problem.key in said else words
        updates = []
        for key in self.fields:
            change: dict[str, Any] = {"visible": turned[key]} if turned and key in turned else {}
            if key in said:
                change |= {"info": said[key], "elem_classes": ["field", "wrong"]}
            elif key in marked:
                change |= {"info": sentence(self.knobs[key], locale), "elem_classes": ["field"]}
            updates.append(gr.update(**change) if change else gr.skip())
        return updates, list(said)


def furnish_folds(form: Form, elsewhere: Collection[str], more: Callable[[str], Mapping[str, Any]] = lambda key: {}) -> None:
    """Every field that has no component yet, one closed fold for each place of the spec; not those that stand ``elsewhere``.

    ``more``: what a field offers beyond its declaration.
    """
    places: dict[str, list[str]] = {}
    for key, knob in form.knobs.items():
        if key not in form.fields and key not in elsewhere:
            places.setdefault(knob.place, []).append(key)
    for place, keys in places.items():

        def dress(locale: Locale, place: str = place, first: str = keys[0]) -> dict[str, Any]:
            chooser, section = form.kind.CHOICES.get(place), form.knobs[first].section
            title = form.knobs[chooser[1]].label(locale) if chooser else locale.word(f"sections.{section}", section)
            return {"label": title}

        name = f"{form.prefix}-section-{place}"
        with form.desk.words(gr.Accordion, dress, open=False, elem_id=name, elem_classes=["section"]):
            for key in keys:
                form.field(key, min_width=0, **more(key))


def sentence(knob: Knob, locale: Locale) -> str:
    """The tooltip of a field: what it is, what it takes, what it is unless changed."""
    default = default_words(knob, locale)
    if knob.kind in ("bool", "dict", "str", "list", "choice"):
        return knob.sentence(locale)
    return locale(Say.default_is(sentence=knob.sentence(locale), accepted=knob.accepted(), default=default))


def default_words(knob: Knob, locale: Locale) -> str:
    """The default of a field as a person reads it."""
    return locale(Say.nothing) if knob.default in (None, "", [], {}) else plain(knob.default)


def _same(knob: Knob, value: Any, default: Any) -> bool:
    """Whether two values as a component holds them mean the same: 0.0003 and 3e-4 do."""
    if knob.kind in ("int", "float"):
        with suppress(ValueError):
            return float(value) == float(default)
    return (value or "") == (default or "") if value is not False and default is not False else value == default


def shown(knob: Knob, value: Any) -> Any:
    """A value as its component holds it: numbers as text, so that 2e-4 may be typed; lines for lists of sentences."""
    if knob.kind == "choice" or (knob.kind == "bool" and not knob.optional):
        return value
    if knob.ui.widget in SEVERAL or (knob.kind == "list" and knob.choices):
        return list(value or [])
    if knob.ui.widget == "lines":
        return value if isinstance(value, str) else "\n".join(value or [])
    return plain(value)


def _component(knob: Knob, value: Any, properties: dict[str, Any]) -> Any:
    def make(**words: Any) -> Any:
        if knob.kind == "bool" and knob.optional:  # a box to tick can't say that nothing was chosen
            return gr.Dropdown(choices=["", "true", "false"], value=value, **words, **properties)
        if knob.kind == "bool":
            return gr.Checkbox(value=value, **words, **properties)
        if knob.kind == "choice":
            return gr.Dropdown(value=value, **words, **{"choices": list(knob.choices), **properties})
        if knob.kind == "list" and knob.choices:
            return gr.Dropdown(choices=list(knob.choices), value=value, multiselect=True, **words, **properties)
        if knob.ui.widget in SEVERAL:
            return gr.Dropdown(value=value, multiselect=True, allow_custom_value=True, **words, **properties)
        if knob.ui.widget in ("model", "template"):
            return gr.Dropdown(value=value, allow_custom_value=True, **words, **properties)
        lines = 2 if knob.ui.widget == "lines" else 1
        room = {"lines": lines, "max_lines": max(3, lines), **properties}
        return gr.Textbox(value=value, **words, **room)

    return make
