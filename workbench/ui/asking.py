"""The left side of Train: the fields of a run, the line that tells what it would do, and its buttons."""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr

from workbench import estimates
from workbench.checking import Checked, check_train
from workbench.data.datasets import Catalogue, chosen_entries, read_catalogue
from workbench.data.samples import asked_placeholders
from workbench.fields import Knob
from workbench.plans import rows_a_step
from workbench.problems import UserError
from workbench.runs import worker_environment
from workbench.spares import spare
from workbench.specs import TrainSpec
from workbench.text import Locale, Text
from workbench.ui.data.tokens import whole
from workbench.ui.desk import BROWSER_KEY, Arrival, Desk, static
from workbench.ui.topbar import KEYS as TOP_KEYS

VALUE_BOXES = 6
ROWS = (
    ("learning_rate", "num_train_epochs", "per_device_train_batch_size"),
    ("gradient_accumulation_steps", "cutoff_len", "val_size"),
    ("lora_rank", "output_dir"),
)
LATER = {"data.datasets.none_chosen", "data.samples.no_values", "models.none", "runs.exists", "runs.running"}
"""What is only not yet filled in, or what has come of it already, as the name of the run just begun: said in the line above Start,
and beside the field once Start was pressed."""


class Say:
    simple = Text("simple")
    advanced = Text("advanced")
    mode = Text("Form")
    start = Text("Start")
    preview = Text("Preview")
    save = Text("Save")
    load = Text("Load")
    name = Text("Name")
    author = Text("Author")
    fill_in = Text("Nothing stands for {mark} yet. Accepted: any text. Fill it in.")
    value_help = Text("Stands wherever the set says {mark}.")
    plan = Text("{rows} rows, {held} held out. {steps} steps of {batch} rows.")
    plan_about = Text("About {rows} rows, {held} held out. About {steps} steps of {batch} rows.")
    first_question = Text("Who are you?")


@dataclass
class Asking:
    """The components of the left side that others read or write."""

    desk: Desk
    boxes: list[Any] = field(default_factory=list)
    names: Any = None
    marked: Any = None
    line: Any = None
    under: Any = None
    """The place under the line, where others say what would help."""
    preview: Any = None
    save: Any = None
    load: Any = None
    start: Any = None
    draft: Any = None
    """What this browser keeps: every value of the form as it was last told, those of plugins not chosen too."""
    filled: Any = None
    """What was filled in since the page was opened, as JSON; on the page this is one component instead of all."""
    changes: Any = None
    """What marks the fields that differ from their defaults, each with a press that takes it back, and tells those that the
    simple form does not show."""
    used: Any = None
    """The fields that are seen, so that only those that appear or go are touched."""
    sections: list[tuple[Any, Sequence[str]]] = field(default_factory=list)
    """The closed sections, each with the keys of its fields."""

    @property
    def inputs(self) -> list[Any]:
        """What ``flat`` takes, in its order."""
        return [self.desk.language, self.names, self.draft, self.filled]

    def flat(self, names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
        """The form as a flat mapping: boxes become dataset_values."""
        flat: dict[str, Any] = self.desk.form.chosen(self.whole(names, values))
        return flat

    def whole(self, names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
        """The same with the values of plugins that are not chosen."""
        draft, filled = dict(values[0] or {}), json.loads(values[1] or "{}")
        boxes, kept = names[:VALUE_BOXES], draft.get("dataset_values") or {}
        typed = {name: filled.get(f"value-{at}", kept.get(name)) or "" for at, name in enumerate(boxes)}
        given = {key: value for key, value in filled.items() if key in self.desk.form.fields}
        return {**self.desk.form.defaults(), **draft, **given, "dataset_values": typed}

    def check(self, names: Sequence[str], values: Sequence[Any]) -> Checked[TrainSpec]:
        """The form as a spec and what it would do, or every problem in its way."""
        return self.check_flat(self.flat(names, values))

    def check_flat(self, flat: Mapping[str, Any]) -> Checked[TrainSpec]:
        """The same for values that are flat already, such as the draft, which follows the form."""
        spare.prepare(worker_environment())  # somebody fills in the form: what a run has to load may be loaded meanwhile
        checked = check_train(self.desk.workspace, flat)
        if checked.spec is None:
            return checked
        return replace(checked, needed=estimates.estimate(self.desk.workspace, checked.spec, checked.plan))


def build_asking(desk: Desk) -> Asking:
    """Fields in plain sight, the rest in closed sections, then the line and the buttons."""
    asking = Asking(desk)
    form = desk.form
    asking.draft = gr.BrowserState({}, storage_key="workbench-draft", secret=BROWSER_KEY)
    asking.filled = gr.Textbox("{}", visible=False)
    asking.marked, asking.names, asking.used = gr.State([]), gr.State([]), gr.State(sorted(form.used({})))
    with gr.Row(elem_id="asking-head"):
        form.field("stage", scale=3, min_width=140)
        mode = desk.words(
            gr.Radio,
            lambda locale: {
                "choices": [(locale(Say.simple), "simple"), (locale(Say.advanced), "advanced")],
                "label": locale(Say.mode),
            },
            value="simple",
            elem_id="mode",
            scale=2,
            min_width=150,
            show_label=False,
            container=False,
        )
    form.field("dataset")
    with gr.Row(elem_classes=["fields"]):
        for number in range(VALUE_BOXES):
            asking.boxes.append(
                gr.Textbox(visible=False, label="", elem_id=f"value-{number}", elem_classes=["field"], min_width=120)
            )
    for keys in ROWS:
        with gr.Row(elem_classes=["fields"]):
            for key in keys:
                form.field(key, min_width=100)
    desk.filled = [asking.names, *asking.boxes]
    form.field("watch_prompts")
    _build_sections(desk, asking, mode)
    asking.changes = gr.HTML(
        {"fields": {}, "sections": [], "deep": ""},
        html_template='<p class="quiet"></p>',
        js_on_load=static("form.js"),
        elem_id="changes-marked",
        apply_default_css=False,
    )
    asking.line = gr.HTML("", elem_id="plan", apply_default_css=False)
    asking.under = gr.Column(elem_id="needs")
    with gr.Row(elem_id="buttons"):
        asking.preview = desk.button(Say.preview, min_width=80, elem_id="preview")
        asking.save = desk.button(Say.save, min_width=80, elem_id="save")
        asking.load = desk.words(
            gr.UploadButton,
            lambda locale: {"label": locale(Say.load)},
            file_types=[".yaml", ".yml"],
            min_width=80,
            elem_id="load",
        )
        asking.start = desk.button(Say.start, variant="primary", min_width=140, elem_id="start")
    return asking


def _build_sections(desk: Desk, asking: Asking, mode: Any) -> None:
    """Every field that has no place yet, section by section, seen in advanced mode."""
    form = desk.form
    left = [
        knob
        for key, knob in form.knobs.items()
        if key not in form.fields and key not in TOP_KEYS and knob.ui.widget != "values"
    ]
    with gr.Column(visible=False, elem_id="sections") as sections:
        groups: dict[tuple[str, str | None], list[Knob]] = {}
        for knob in left:
            shared = len(knob.owners) > 1
            groups.setdefault((knob.place, None) if shared else (knob.section, knob.plugin), []).append(knob)
        for knobs in groups.values():
            _build_section(desk, asking, knobs)
    mode.input(lambda chosen, prefs: (gr.update(visible=chosen == "advanced"), {**prefs, "advanced": chosen == "advanced"}),
               [mode, desk.prefs], [sections, desk.prefs], show_progress="hidden")  # fmt: skip
    desk.arrivals.append(
        Arrival(
            lambda language, prefs: [
                "advanced" if prefs.get("advanced") else "simple",
                gr.update(visible=bool(prefs.get("advanced"))),
            ],
            [mode, sections],
        )
    )


def _build_section(desk: Desk, asking: Asking, knobs: Sequence[Knob]) -> None:
    """One closed section; fields that several plugins share stand under the name of the choice among these."""
    first = knobs[0]

    def dress(locale: Locale) -> dict[str, Any]:
        if len(first.owners) > 1:
            return {"label": desk.form.knobs[desk.form.kind.CHOICES[first.place][1]].label(locale)}
        return {"label": locale.word(f"sections.{first.section}", first.section)}

    keys = [knob.key for knob in knobs]
    seen = bool(desk.form.used({}) & set(keys))
    name = f"section-{len(asking.sections)}"
    with desk.words(gr.Accordion, dress, open=False, visible=seen, elem_id=name, elem_classes=["section"]) as section:
        for key in keys:  # laid out by the style sheet: a row for every three would be two more components
            desk.form.field(key, min_width=0)
    asking.sections.append((section, keys))


def restored(desk: Desk, asking: Asking) -> list[Any]:
    """The components that ``restore`` updates."""
    return [asking.names, *asking.boxes, *desk.form.components]


def restore(
    desk: Desk, asking: Asking, flat: Mapping[str, Any], language: str, fresh: bool = False
) -> list[Any]:
    """The form with the values of ``flat``, its boxes for the chosen sets included."""
    values = flat.get("dataset_values") or {}
    names = value_names(desk, flat)
    return [names, *box_updates(desk.locale(language), names, values), *desk.form.fill(flat, fresh)]


def catalogue(desk: Desk, flat: Mapping[str, Any]) -> Catalogue:
    """The datasets of the form's data folder; an empty one where the folder is not accepted."""
    try:
        return read_catalogue(desk.workspace, str(flat.get("dataset_dir") or "data"))
    except UserError as error:
        return Catalogue(desk.workspace.data, {}, list(error.problems))


def value_names(desk: Desk, flat: Mapping[str, Any]) -> list[str]:
    """The placeholders of the chosen sets that a person is asked for; a set that can't be read has none, and its problem
    is told by the plan."""
    try:
        chosen = [*(flat.get("dataset") or []), *(flat.get("eval_dataset") or [])]
        entries = chosen_entries(catalogue(desk, flat), chosen)
        limit = whole(flat.get("max_samples"), 0)
        names = list(dict.fromkeys(name for entry in entries for name in asked_placeholders(entry, limit)))
    except UserError:
        return []
    return names


def box_updates(locale: Locale, names: Sequence[str], values: Mapping[str, Any] | None) -> list[Any]:
    """A box for each placeholder; ``values`` None leaves what was typed. A hidden box keeps its text."""
    updates = []
    for number in range(VALUE_BOXES):
        if number >= len(names):
            updates.append(gr.update(visible=False))
            continue
        name = names[number]
        known = {"name": Say.name, "author": Say.author}
        words = {
            "label": locale(known[name]) if name in known else name,
            "info": locale(Say.value_help(mark=f"{{{{{name}}}}}")),
        }
        typed = {} if values is None else {"value": values.get(name, "")}
        updates.append(gr.update(visible=True, **words, **typed))
    return updates


def box_marks(locale: Locale, names: Sequence[str], values: Mapping[str, str], wrong: bool) -> list[Any]:
    """An update for every box: those that are empty carry a mark if ``wrong``, all others none."""
    updates = []
    for number in range(VALUE_BOXES):
        name = names[number] if number < len(names) else ""
        help_words = locale(Say.value_help(mark=f"{{{{{name}}}}}"))
        if wrong and name and not values.get(name, "").strip():
            words = {"info": locale(Say.fill_in(mark=f"{{{{{name}}}}}")), "elem_classes": ["field", "wrong"]}
        else:
            words = {"info": help_words, "elem_classes": ["field"]}
        updates.append(gr.update(**words) if name else gr.skip())
    return updates


def told_line(locale: Locale, checked: Checked[TrainSpec]) -> str:
    """The line above Start: what will happen, or what is in the way."""
    if checked.spec is None:
        kind = "later" if all(problem.message.key in LATER for problem in checked.problems) else "wrong"
        texts = [locale(problem.message) for problem in checked.problems]
    else:
        planned = checked.plan
        batch = rows_a_step(checked.spec)
        said = Say.plan if planned.exact else Say.plan_about
        held = f"{planned.validation_rows:,}"
        needed = checked.needed
        steps = needed.steps if needed and not planned.exact else planned.steps  # packed rows are known by their tokens
        told = said(rows=f"{planned.rows:,}", held=held, steps=f"{steps:,}", batch=batch)
        first = [*([told] if planned.steps else []), *([estimates.told(needed)] if needed else [])]
        texts = [" ".join(locale(one) for one in first), *(locale(warning) for warning in checked.warnings)]
        kind = "unwise" if checked.warnings or (needed and not needed.fits) else "ready"
    lines = "".join(f"<p>{html.escape(text)}</p>" for text in texts if text)
    return f'<div class="plan {kind}" role="status">{lines}</div>'
