"""The left side of Evaluate: who is measured, on what, the line that tells what would be asked, the buttons.

Knows the fields of an evaluation as a whole; those in plain sight by name.
"""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from workbench import metrics
from workbench.checking import Checked, check_eval
from workbench.data.datasets import chosen_entries, read_catalogue
from workbench.data.samples import count_set
from workbench.metrics import public
from workbench.problems import Problem, UserError
from workbench.sockets import plugins
from workbench.specs import EvalSpec, ReportSpec
from workbench.suite import TASKS
from workbench.text import Locale, Message, Text
from workbench.ui.asking import VALUE_BOXES
from workbench.ui.data.room import filled
from workbench.ui.data.shelf import SHAPES
from workbench.ui.desk import Desk
from workbench.ui.evaluating.whom import learned, spec_values, trained
from workbench.ui.form import Form, furnish_folds
from workbench.ui.loading import answerers

SHARED = ("model_name_or_path", "hub", "template")
"""Fields of the bar above that say who is measured; picking a run sets them."""
TOLD = ("dataset", "dataset_dir", "max_samples", "task", "compare_base", "own_checks")
"""Fields that decide what the line above Start says."""
CHECKS = "contains Aurora\nnumber 1..10"
"""What own checks look like: words of the checks themselves, the same in every language."""
PLAIN_SIGHT = (("max_samples", "max_new_tokens"),)
REPORT_FIELDS = ("report_rows", "report_suite", "identity_questions")
"""Those that a person sets; the run is the one that is picked, the language the visitor's."""
LATER = {"evaluating.beforehand.nothing", "models.none", "data.samples.no_values", "data.datasets.none_chosen"}
"""What is only not yet filled in: said in the line above Start, and beside the field once Start was pressed."""


class Say:
    who = Text("What is measured")
    who_help = Text("A trained run or one of its checkpoints, beside the base model; or the base model in the bar above alone.")
    start = Text("Start")
    report = Text("Report")
    preview = Text("Preview")
    advanced = Text("Advanced")
    rows = Text("{rows} rows are asked of {whom}.")
    about_rows = Text("About {rows} rows are asked of {whom}.")
    of_benchmarks = Text("Benchmarks: {names}.")
    base = Text("the base model")
    tuned = Text("the tuned one")
    both = Text("the base model and the tuned one")
    learned = Text(
        "This run learned from {names}: the scores say how well it holds what it saw. A set that it never saw says more."
    )
    nothing_trained = Text("No trained run is picked, so the base model is measured alone.")


@dataclass
class Asking:
    """The components of the left side, and the values in them as a spec."""

    desk: Desk
    form: Form
    report_form: Form
    """The fields of a report, beyond the run that is picked."""
    who: Any = None
    names: Any = None
    """The placeholders that the boxes stand for, as JSON. The page holds it, so that it always fits the sets and boxes that
    come with it: a state of the server may be newer than they are."""
    boxes: list[Any] = field(default_factory=list)
    marked: Any = None
    line: Any = None
    preview: Any = None
    report: Any = None
    start: Any = None

    @property
    def shared(self) -> list[Any]:
        """The components of the bar above that count here."""
        return [self.desk.form.fields[key] for key in SHARED]

    @property
    def heads(self) -> list[Any]:
        """What every handler of the left side takes first."""
        return [self.desk.language, self.who, self.names, *self.shared, *self.boxes]

    @property
    def inputs(self) -> list[Any]:
        """What ``check`` takes, in its order."""
        return [*self.heads, *self.form.components]

    @property
    def telling(self) -> list[Any]:
        """What ``told`` takes, in its order."""
        return [*self.heads, *(self.form.fields[key] for key in TOLD)]

    def check(self, who: str, names: str, values: Sequence[Any]) -> Checked[EvalSpec]:
        """The whole form as a spec, or every problem in its way."""
        count = len(SHARED) + len(self.boxes)
        return self._checked(who, names, values[:count], self.form.flat(values[count:]))

    def check_told(self, who: str, names: str, values: Sequence[Any]) -> Checked[EvalSpec]:
        """The same with every field that the line does not tell of at its default."""
        count = len(SHARED) + len(self.boxes)
        return self._checked(who, names, values[:count], dict(zip(TOLD, values[count:], strict=True)))

    def _checked(self, who: str, names: str, heads: Sequence[Any], own: Mapping[str, Any]) -> Checked[EvalSpec]:
        shared = dict(zip(SHARED, heads, strict=False))
        given = {**own, "dataset_values": filled([listed(names), *heads[len(SHARED) :]])}
        try:
            return check_eval(self.desk.workspace, spec_values(self.desk.workspace, who, given, shared))
        except UserError as error:
            return Checked(None, error.problems)


def listed(names: str) -> list[str]:
    """The placeholders that the page holds as JSON."""
    return [str(name) for name in json.loads(names or "[]")]


def furnish_asking(desk: Desk) -> Asking:
    """The fields in their place; nothing bound yet."""
    asking = Asking(desk, Form(desk, EvalSpec, prefix="eval"), Form(desk, ReportSpec, prefix="report"))
    form = asking.form
    asking.names, asking.marked = gr.Textbox("[]", visible=False), gr.State([])
    asking.who = desk.words(
        gr.Dropdown,
        lambda locale: {
            "label": locale(Say.who),
            "info": locale(Say.who_help),
            "choices": answerers(desk.workspace, locale),
        },
        value="",
        elem_id="eval-who",
        elem_classes=["field"],
    )
    form.field("dataset")
    with gr.Row(elem_classes=["fields"]):
        for number in range(VALUE_BOXES):
            name = f"eval-value-{number}"
            asking.boxes.append(gr.Textbox(visible=False, label="", elem_id=name, elem_classes=["field"], min_width=120))
    form.field("task", choices=list(TASKS))
    form.field("own_checks", placeholder=CHECKS)
    for keys in PLAIN_SIGHT:
        with gr.Row(elem_classes=["fields"]):
            for key in keys:
                form.field(key, min_width=100)
    form.field("compare_base")
    _furnish_sections(asking)
    asking.line = gr.HTML("", elem_id="eval-plan", apply_default_css=False)
    with gr.Row(elem_id="eval-buttons"):
        asking.preview = desk.button(Say.preview, min_width=80, elem_id="eval-preview")
        asking.report = desk.button(Say.report, min_width=80, visible=False, elem_id="eval-report")
        asking.start = desk.button(Say.start, variant="primary", min_width=140, elem_id="eval-start")
    return asking


def _furnish_sections(asking: Asking) -> None:
    """Every field that has no place yet, in closed sections."""
    desk, form = asking.desk, asking.form
    elsewhere = [*SHARED, "adapter_name_or_path", *(key for key, knob in form.knobs.items() if knob.ui.widget == "values")]
    advanced = desk.words(
        gr.Accordion,
        lambda locale: {"label": locale(Say.advanced)},
        open=False,
        elem_id="eval-advanced",
        elem_classes=["section"],
    )
    with advanced, gr.Column(elem_id="eval-sections"):
        furnish_folds(form, elsewhere, _choices)
        _furnish_report(asking)


def _furnish_report(asking: Asking) -> None:
    """What a report asks, in a closed section of its own."""
    desk, form = asking.desk, asking.report_form
    dress = desk.words(
        gr.Accordion,
        lambda locale: {"label": locale(Say.report)},
        open=False,
        elem_id="eval-section-report",
        elem_classes=["section"],
    )
    with dress:
        for key in REPORT_FIELDS:
            form.field(key, min_width=0)


def _choices(key: str) -> dict[str, Any]:
    """What a field of this form offers beyond its declaration."""
    return {"choices": [public(name) for name in plugins(metrics)]} if key == "metrics" else {}


def plan_line(desk: Desk, locale: Locale, who: str, checked: Checked[EvalSpec]) -> str:
    """The line above Start: what will be asked of whom, or what is in the way."""
    if checked.spec is None:
        return problem_line(locale, checked.problems)
    texts, unwise = told(desk, who, checked.spec)
    texts += checked.warnings
    return _line(locale, "unwise" if unwise or checked.warnings else "ready", texts)


def problem_line(locale: Locale, problems: Sequence[Problem]) -> str:
    """The same line where something is in the way."""
    kind = "later" if all(problem.message.key in LATER for problem in problems) else "wrong"
    return _line(locale, kind, [problem.message for problem in problems])


def _line(locale: Locale, kind: str, texts: Sequence[Message]) -> str:
    lines = "".join(f"<p>{html.escape(locale(text))}</p>" for text in texts)
    return f'<div class="plan {kind}" role="status">{lines}</div>'


def told(desk: Desk, who: str, spec: EvalSpec) -> tuple[list[Message], bool]:
    """What would be asked, and whether something about it is unwise."""
    tuned, sets = bool(spec.model.adapter_name_or_path), spec.sets
    whom = Say.both() if tuned and spec.evaluating.compare_base else Say.tuned() if tuned else Say.base()
    said: list[Message] = []
    if sets.dataset:
        entries = chosen_entries(read_catalogue(desk.workspace, sets.dataset_dir), sets.dataset)
        counts = [count_set(entry, sets.dataset_values, sets.max_samples, SHAPES) for entry in entries if entry.files()]
        exact = all(count.exact for count in counts) and len(counts) == len(entries)
        said.append((Say.rows if exact else Say.about_rows)(rows=f"{sum(c.samples for c in counts):,}", whom=whom))
    if spec.evaluating.task:
        said.append(Say.of_benchmarks(names=", ".join(spec.evaluating.task)))
    if not tuned:
        said.append(Say.nothing_trained())
    known = learned(trained(desk.workspace, who), sets.dataset)
    return said + ([Say.learned(names=", ".join(known))] if known else []), bool(known)

