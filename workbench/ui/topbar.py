"""The bar above the tabs: model, hub, method, adapter, template. One model for the whole page; knows no tab."""

from typing import Any

import gradio as gr

from workbench.chats import template_names
from workbench.models import known_template, local_models, model_choices
from workbench.runs import list_runs
from workbench.ui.desk import Arrival, Desk

KEYS = ("model_name_or_path", "hub", "finetuning_type", "adapter_name_or_path", "template")


def build_topbar(desk: Desk) -> None:
    """The five fields; choosing a model chooses its template."""
    with gr.Row(elem_id="topbar"):
        # A visitor's own list comes a little later; until then the list can be opened.
        models = model_choices(desk.workspace, "huggingface")
        desk.form.field("model_name_or_path", value=first_model(desk), choices=models, scale=5, min_width=220)
        desk.form.field("hub", scale=2, min_width=120)
        desk.form.field("finetuning_type", scale=2, min_width=100)
        desk.form.field("adapter_name_or_path", scale=4, min_width=180)
        desk.form.field("template", choices=["auto", *template_names()], scale=2, min_width=120)
    fields = desk.form.fields
    fields["model_name_or_path"].input(
        lambda model: known_template(model or ""),
        fields["model_name_or_path"],
        fields["template"],
        show_progress="hidden",
    )
    fields["hub"].input(
        lambda hub: gr.update(choices=model_choices(desk.workspace, hub)),
        fields["hub"],
        fields["model_name_or_path"],
        show_progress="hidden",
    )
    fields["adapter_name_or_path"].focus(
        lambda: gr.update(choices=adapters(desk)), None, fields["adapter_name_or_path"], show_progress="hidden"
    )
    desk.arrivals.append(
        Arrival(
            lambda language, prefs: [
                gr.update(choices=model_choices(desk.workspace, "huggingface")),
                gr.update(choices=adapters(desk)),
            ],
            [fields["model_name_or_path"], fields["adapter_name_or_path"]],
        )
    )


def first_model(desk: Desk) -> str:
    """The first model that lies here, so that a first run needs no choice."""
    here = local_models(desk.workspace)
    return f"models/{here[0]}" if here else ""


def adapters(desk: Desk) -> list[Any]:
    """The runs whose weights can be gone on from: (shown name, value)."""
    return [(run.name, f"saves/{run.name}") for run in list_runs(desk.workspace) if run.has_adapter()]
