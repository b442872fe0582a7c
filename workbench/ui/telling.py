"""What the form tells while it is filled in: marks, boxes for placeholders, the line above Start, the browser's draft.

Knows the form as a whole and no field by name, except those that a first visit fills in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from workbench.data.datasets import read_catalogue
from workbench.estimates.grounds import ground
from workbench.fields import plain, shortened
from workbench.text import Text
from workbench.ui.asking import LATER, Asking, box_marks, box_updates, told_line, value_names
from workbench.ui.asking import Say as Words
from workbench.ui.desk import Arrival, Desk, over
from workbench.ui.form import default_words

FIRST_STEPS = ("model_name_or_path", "dataset", "watch_prompts")
"""What a first visit finds filled in: fields with no default that would be worth going back to."""
NOTE = 'value => JSON.stringify(Object.assign(globalThis.filled ??= {}, { "%s": value }))'
"""What a change of one field does, in the browser alone: it joins what was filled in. An event that took all fields as its
inputs would cost the browser half a second for every key that is pressed."""
LONGEST = 40
"""Letters of a value that the simple form tells."""
PAUSE = """async () => {
  const turn = globalThis.turn = (globalThis.turn ?? 0) + 1;
  await new Promise(done => setTimeout(done, 40));
  return turn === globalThis.turn ? String(turn) : { __type__: "update" };
}"""
"""Changes that come together, as on arrival, are told once."""
AGAIN = "() => [JSON.stringify(globalThis.filled ?? {}), String(globalThis.turn = (globalThis.turn ?? 0) + 1)]"
"""What was typed while the last answer was on its way is told once more, should the page have missed it."""


class Say:
    back = Text("Back to {default}")
    deep = Text("Set under 'advanced': {settings}.")


@dataclass(frozen=True)
class Telling:
    """Answers every change of the form."""

    desk: Desk
    asking: Asking

    @property
    def inputs(self) -> list[Any]:
        """What ``react`` takes."""
        asking = self.asking
        return [self.desk.language, asking.marked, asking.used, *asking.inputs[1:]]

    @property
    def outputs(self) -> list[Any]:
        """What ``tell`` updates."""
        asking = self.asking
        heads = [asking.names, asking.marked, asking.used, asking.line, asking.draft, asking.changes]
        return [*heads, *self._folds, *asking.boxes, *self.desk.form.components]

    @property
    def _folds(self) -> list[Any]:
        return [section for section, _ in self.asking.sections]

    def react(
        self, language: str, marked: list[str], seen: list[str], names: list[str], *values: Any, anew: bool = False
    ) -> list[Any]:
        """All that the form tells of these values; ``anew``: in another language."""
        whole, locale = self.asking.whole(names, values), self.desk.locale(language)
        now, filled = value_names(self.desk, whole), whole["dataset_values"]
        if now != names:
            boxes = box_updates(locale, now, filled if any(filled.values()) else None)
        else:
            wrong = "dataset_values" in marked
            boxes = box_updates(locale, now, None) if anew else box_marks(locale, now, filled, wrong)
        whole["dataset_values"] = {name: filled.get(name, "") for name in now}
        return self.tell(language, whole, now, boxes, marked, seen, values[1])

    def tell(
        self,
        language: str,
        whole: Mapping[str, Any],
        names: list[str],
        boxes: Sequence[Any],
        marked: Sequence[str] = (),
        seen: Sequence[str] = (),
        heard: str | None = None,
    ) -> list[Any]:
        """Updates of ``outputs``. ``marked``: the fields that carry a mark now; ``seen``: those that are shown now;
        ``heard``: what the browser had noted when it asked."""
        form, asking = self.desk.form, self.asking
        flat = form.chosen(whole)
        checked = asking.check_flat(flat)
        wrong = [problem for problem in checked.problems if problem.message.key not in LATER]
        used = form.used(flat)
        turned = {key: key in used for key in form.fields if (key in used) != (key in seen)}
        updates, marks = form.mark(wrong, marked, language, turned)
        still = ["dataset_values"] if "dataset_values" in marked else []
        folds = [gr.update(visible=bool(used & set(keys))) if turned else gr.skip() for _, keys in asking.sections]
        changes = {**self.changes(flat, used, language), "heard": heard}
        told = [told_line(self.desk.locale(language), checked), whole, changes]
        return [names, [*marks, *still], sorted(used), *told, *folds, *boxes, *updates]

    def changes(self, flat: Mapping[str, Any], used: set[str], language: str) -> dict[str, Any]:
        """What the page marks as changed: fields, each with the words of the press that takes it back, and sections; and the
        words for those that the simple form does not show."""
        form, locale = self.desk.form, self.desk.locale(language)
        keys = [key for key in form.changed(flat) if key in used and key not in FIRST_STEPS]
        back = {f"field-{key}": locale(Say.back(default=default_words(form.knobs[key], locale))) for key in keys}
        folds = [section.elem_id for section, held in self.asking.sections if set(held) & set(keys)]
        deep = [key for _, held in self.asking.sections for key in held if key in keys]
        settings = "; ".join(f"{form.knobs[key].label(locale)} {shortened(plain(flat[key]), LONGEST)}".strip() for key in deep)
        return {"fields": back, "sections": folds, "deep": locale(Say.deep(settings=settings)) if deep else ""}

    def back(self, event: gr.EventData) -> dict[Any, Any]:
        """A field at its default again."""
        form, key = self.desk.form, str(event.field).removeprefix("field-")
        return {form.fields[key]: form.default(key)} if key in form.fields else {self.asking.changes: gr.skip()}

    def arrive(self, language: str, prefs: Mapping[str, Any], draft: Mapping[str, Any]) -> list[Any]:
        """A visitor finds the form as it was left, or one that is nearly ready for a first run."""
        desk, form = self.desk, self.desk.form
        known = list(read_catalogue(desk.workspace).entries)
        begun = draft or first_steps(desk, language, known)
        whole = {"dataset_values": {}, **form.defaults(), **begun}
        names = value_names(desk, whole)
        boxes = box_updates(desk.locale(language), names, whole["dataset_values"])
        told = self.tell(language, whole, names, boxes, (), sorted(form.used({})))
        count = len(form.fields)
        filled = [over(mark, value) for mark, value in zip(told[-count:], form.fill(whole, fresh=True), strict=True)]
        for at, key in enumerate(form.fields):
            if form.knobs[key].ui.widget == "dataset":
                filled[at] = over(filled[at], gr.update(choices=known, value=whole.get(key) or []))
            elif form.knobs[key].ui.widget == "cards":
                cards = [(f"{number}: {name}", str(number)) for number, name in enumerate(ground(desk.workspace).cards)]
                filled[at] = over(filled[at], gr.update(choices=cards, value=whole.get(key) or []))
        return [*told[:-count], *filled]


def bind_telling(desk: Desk, asking: Asking) -> None:
    """On every change by the person or another part of the page, on arrival, and in another language."""
    telling = Telling(desk, asking)
    pause = gr.Textbox("", visible=False)
    quiet: dict[str, Any] = {"show_progress": "hidden"}
    boxes = {f"value-{at}": box for at, box in enumerate(asking.boxes)}
    for key, component in {**boxes, **desk.form.fields}.items():
        component.change(None, component, asking.filled, js=NOTE % key, **quiet)
    asking.filled.change(None, None, pause, js=PAUSE, **quiet)
    pause.change(telling.react, telling.inputs, telling.outputs, trigger_mode="always_last", **quiet)
    asking.changes.input(None, None, [asking.filled, pause], js=AGAIN, **quiet)
    asking.changes.click(telling.back, None, [asking.changes, *desk.form.components], **quiet)
    desk.retellings.append((partial(telling.react, anew=True), telling.inputs, telling.outputs))
    desk.arrivals.append(Arrival(telling.arrive, telling.outputs, [asking.draft]))


def first_steps(desk: Desk, language: str, datasets: Sequence[str]) -> dict[str, Any]:
    """What the form shows to somebody who was never here: the identity set of the language, and a question to watch."""
    locale = desk.locale(language)
    wanted = f"identity_{locale.name}"
    first = wanted if wanted in datasets else next(iter(datasets), "")
    return {
        "model_name_or_path": desk.form.fields["model_name_or_path"].value,
        "dataset": [first] if first else [],
        "watch_prompts": locale(Words.first_question),
    }
