"""The left side of Export: what goes where, the fields that matter there, the line above Start, the buttons. Knows no job."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from workbench.checking import Checked, check_export
from workbench.exporting.beforehand import usual_name
from workbench.exporting.folder import check_folder, export_folder
from workbench.problems import Problem, UserError
from workbench.specs import ExportSpec
from workbench.text import Locale, Message, Text, verbatim
from workbench.ui.desk import Desk
from workbench.ui.evaluating.whom import spec_values
from workbench.ui.exporting.destinations import CHOOSER, Destination, destination, destinations, plain_sight
from workbench.ui.form import Form, furnish_folds
from workbench.ui.loading import GGUF, answerers

SHARED = ("model_name_or_path", "hub", "template")
"""Fields of the bar above that say what is exported; picking a run sets them."""
OTHERS = "adapter_name_or_path"
LATER = {"models.none"}
"""What is only not yet filled in."""


class Say:
    who = Text("What is exported")
    who_help = Text("A trained run or one of its checkpoints, with its base model; or the base model in the bar above alone.")
    where = Text("Where to")
    more = Text("More")
    others = Text("Further adapters")
    others_help = Text("Other runs over the same base, laid in beside the first; how strongly, says 'Weights of the adapters'.")
    start = Text("Start")
    preview = Text("Preview")
    goes = Text("{what} goes to {folder} as '{kind}'.")
    base = Text("The base model")
    proved = Text("Then {count} prompts are asked before and after: it counts as done when the answers agree.")
    proved_held = Text("Then ten prompts are asked before and after: it counts as done when the answers agree.")
    pushed = Text("At the end it is pushed to {repository}.")
    created = Text("At the end it is created in Ollama as '{name}'.")
    replaced = Text("What lies in {folder} now is replaced.")
    nothing_trained = Text("No trained run is picked, so the base model goes as it is.")


@dataclass
class Asking:
    """The components of the left side, and the values in them as a spec."""

    desk: Desk
    form: Form
    who: Any = None
    where: Any = None
    told: Any = None
    others: Any = None
    marked: Any = None
    line: Any = None
    preview: Any = None
    start: Any = None

    @property
    def shared(self) -> list[Any]:
        """The components of the bar above that count here."""
        return [self.desk.form.fields[key] for key in SHARED]

    @property
    def inputs(self) -> list[Any]:
        """What ``check`` takes, after the language."""
        return [self.desk.language, self.who, self.where, self.others, *self.shared, *self.form.components]

    def check(self, who: str, where: str, others: Sequence[str], values: Sequence[Any]) -> Checked[ExportSpec]:
        """The whole form as a spec, or every problem in its way."""
        shared, own = dict(zip(SHARED, values, strict=False)), values[len(SHARED) :]
        flat = self.form.chosen(destination(where).settled(dict(zip(self.form.fields, own, strict=True))))
        try:
            given = spec_values(self.desk.workspace, who, flat, shared)
            given[OTHERS] = [*given.get(OTHERS, []), *(others or [])]
            checked = check_export(self.desk.workspace, given)
            if checked.spec is not None:  # a run that goes on finds its own export there; one to come does not
                check_folder(_folder(self.desk, checked.spec), checked.spec.exporting, [])
            return checked
        except UserError as error:
            return Checked(None, error.problems)


def exportable(desk: Desk, locale: Locale) -> list[tuple[str, str]]:
    """What can be exported: the base, and the runs; a GGUF file is one already."""
    return [(shown, value) for shown, value in answerers(desk.workspace, locale) if not value.endswith(GGUF)]


def furnish_asking(desk: Desk) -> Asking:
    """The fields in their place; nothing bound yet."""
    asking = Asking(desk, Form(desk, ExportSpec, prefix="export"))
    asking.marked = gr.State([])
    asking.who = desk.words(
        gr.Dropdown,
        lambda locale: {"label": locale(Say.who), "info": locale(Say.who_help), "choices": exportable(desk, locale)},
        value="",
        elem_id="export-who",
        elem_classes=["field"],
    )
    first = destinations()[0]
    asking.where = desk.words(
        gr.Radio,
        lambda locale: {"label": locale(Say.where), "choices": [(locale(one.words), one.name) for one in destinations()]},
        value=first.name,
        elem_id="export-where",
        elem_classes=["field", "cards"],
    )
    asking.told = gr.HTML(told(desk.locale(desk.first), first), elem_id="export-told", apply_default_css=False)
    _furnish_plain(asking.form, first)
    _furnish_more(asking)
    asking.line = gr.HTML("", elem_id="export-plan", apply_default_css=False)
    with gr.Row(elem_id="export-buttons"):
        asking.preview = desk.button(Say.preview, min_width=80, elem_id="export-preview")
        asking.start = desk.button(Say.start, variant="primary", min_width=140, elem_id="export-start")
    return asking


def _furnish_plain(form: Form, first: Destination) -> None:
    """The fields in plain sight, each seen where it matters."""
    given = {**first.usual, CHOOSER: first.offered[0]}
    used = form.used(given)
    for key in plain_sight():
        more: dict[str, Any] = {"choices": first.offered} if key == CHOOSER else {}
        value = {"value": given[key]} if key in given else {}
        form.field(key, visible=key in used and first.shows(key), **more, **value)


def _furnish_more(asking: Asking) -> None:
    """Every other field, in closed sections."""
    desk, form = asking.desk, asking.form
    more = desk.words(
        gr.Accordion, lambda locale: {"label": locale(Say.more)}, open=False, elem_id="export-more", elem_classes=["section"]
    )
    with more, gr.Column(elem_id="export-sections"):
        asking.others = desk.words(
            gr.Dropdown,
            lambda locale: {"label": locale(Say.others), "info": locale(Say.others_help)},
            choices=[],
            value=[],
            multiselect=True,
            elem_id="export-others",
            elem_classes=["field"],
        )
        furnish_folds(form, (*SHARED, OTHERS, *(["lm_studio"] if "lm_studio" in form.knobs else [])))


def told(locale: Locale, where: Destination) -> str:
    """What a destination means, under the choice."""
    return f'<p class="quiet">{html.escape(locale(where.told))}</p>'


def plan_line(desk: Desk, locale: Locale, checked: Checked[ExportSpec]) -> str:
    """The line above Start: what goes where, or what is in the way."""
    if checked.spec is None:
        return problem_line(locale, checked.problems)
    texts, unwise = planned(desk, checked.spec)
    return _line(locale, "unwise" if unwise or checked.warnings else "ready", [*texts, *checked.warnings])


def problem_line(locale: Locale, problems: Sequence[Problem]) -> str:
    """The same line where something is in the way."""
    kind = "later" if all(problem.message.key in LATER for problem in problems) else "wrong"
    return _line(locale, kind, [problem.message for problem in problems])


def _line(locale: Locale, kind: str, texts: Sequence[Message]) -> str:
    lines = "".join(f"<p>{html.escape(locale(text))}</p>" for text in texts)
    return f'<div class="plan {kind}" role="status">{lines}</div>'


def planned(desk: Desk, spec: ExportSpec) -> tuple[list[Message], bool]:
    """What will be done, and whether something about it is unwise."""
    section, given = spec.exporting, spec.model.adapter_name_or_path
    folder = _folder(desk, spec)
    shown = verbatim(folder.relative_to(desk.workspace.root).as_posix())
    what = verbatim(", ".join(one.rstrip("/").rsplit("/", 1)[-1] for one in given)) if given else Say.base()
    said = [Say.goes(what=what, folder=shown, kind=spec.exporter.export_format)]
    said.append(Say.proved(count=len(section.proof_prompts)) if section.proof_prompts else Say.proved_held())
    said += [Say.created(name=section.ollama_name)] if section.ollama_name else []
    said += [Say.pushed(repository=section.export_hub_model_id)] if section.export_hub_model_id else []
    replaced = folder.is_dir() and any(folder.iterdir())
    said += [Say.replaced(folder=shown)] if replaced else []
    return said + ([] if given else [Say.nothing_trained()]), replaced or not given


def _folder(desk: Desk, spec: ExportSpec) -> Path:
    return export_folder(desk.workspace, spec.exporting, usual_name(spec))
