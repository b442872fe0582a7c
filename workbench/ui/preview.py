"""Preview, Save and Load: the form's spec as text, the command that does the same, and a spec file into the form."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from workbench.problems import Problem
from workbench.specs import TrainSpec, read_yaml
from workbench.text import Text
from workbench.ui.asking import Asking, restore, restored, told_line
from workbench.ui.desk import TOLD_S, Desk
from workbench.ui.form import shown


class Say:
    preview = Text("Preview")
    save = Text("Save")
    load = Text("Load")
    the_spec = Text("The spec of this run")
    the_command = Text("The same in a terminal")
    loaded = Text("Loaded. What the file does not say has its default.")


HIDDEN: Mapping[str, Any] = {"interactive": False, "visible": False}
"""The browser fetches the code of what shows text with colours, a third of all code, only when that is first seen."""
DOWNLOAD = """(text) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/yaml" }));
  link.download = "spec.yaml";
  link.click();
  URL.revokeObjectURL(link.href);
}"""
SEEN = """async () => {
  for (let tries = 0; tries < 40; tries++) {
    if (document.querySelector("#preview-panel .cm-editor")) {
      document.querySelector("#preview-panel").scrollIntoView({ block: "nearest", behavior: "smooth" });
      return;
    }
    await new Promise(done => setTimeout(done, 50));
  }
}"""
"""Scrolls to the panel as soon as it is drawn: it opens below what is seen of the form."""


def build_preview(desk: Desk, asking: Asking) -> None:
    """What the three buttons do, and the panel that Preview opens and closes."""
    with gr.Column(visible=False, elem_id="preview-panel") as panel:
        spec = desk.words(
            gr.Code, lambda locale: {"label": locale(Say.the_spec)}, language="yaml", max_lines=18, **HIDDEN
        )
        command = desk.words(gr.Code, lambda locale: {"label": locale(Say.the_command)}, language="shell", **HIDDEN)
    opened = gr.State(False)
    saved = gr.Textbox(visible=False)

    def show(opened: bool, language: str, names: list[str], *values: Any) -> list[Any]:
        closed = [False, *[gr.update(visible=False)] * 3]
        if opened:
            return [*closed, gr.skip(), gr.skip(), *[gr.skip()] * len(desk.form.fields)]
        checked = asking.check(names, values)
        updates, marked = desk.form.mark(checked.problems, [], language)
        line = told_line(desk.locale(language), checked)
        if checked.spec is None:
            return [*closed, line, marked, *updates]
        texts = [gr.update(visible=True, value=text) for text in (checked.spec.to_yaml(), command_of(checked.spec))]
        return [True, gr.update(visible=True), *texts, line, marked, *updates]

    outputs = [opened, panel, spec, command, asking.line, asking.marked, *desk.form.components]
    pressed = asking.preview.click(show, [opened, *asking.inputs], outputs, show_progress="hidden")
    pressed.then(None, None, None, js=SEEN)

    def text(language: str, names: list[str], *values: Any) -> str:
        checked = asking.check(names, values)
        if checked.spec is None:
            raise gr.Error(" ".join(desk.locale(language)(problem.message) for problem in checked.problems))
        return checked.spec.to_yaml()

    asking.save.click(text, asking.inputs, saved, show_progress="hidden").success(
        None,
        saved,
        None,
        js=DOWNLOAD,
    )

    def read_file(file: str, language: str) -> list[Any]:
        locale = desk.locale(language)
        with open(file, encoding="utf-8-sig", errors="replace") as opened_file:
            flat, problems = spec_values(opened_file.read())
        if problems:
            raise gr.Error(" ".join(locale(problem.message) for problem in problems), duration=TOLD_S)
        gr.Info(locale(Say.loaded))
        return restore(desk, asking, flat, language)

    asking.load.upload(read_file, [asking.load, desk.language], restored(desk, asking), show_progress="hidden")


def spec_values(text: str) -> tuple[Mapping[str, Any], Sequence[Problem]]:
    """A file's values for the form, or why it is no spec that the form can show."""
    reading = read_yaml(TrainSpec, text)
    return (reading.spec.flat() if reading.spec else {}), reading.problems


def command_of(spec: TrainSpec) -> str:
    """The command that does the same: only what differs from the defaults is said."""
    defaults = TrainSpec().flat()
    said = []
    for key, value in spec.flat().items():
        if value != defaults[key]:
            knob = TrainSpec.knobs()[key]
            text = shown(knob, value)
            said.append(f"{key}={','.join(text) if isinstance(text, list) else text}")
    return " \\\n  ".join(["python app.py train", *(shlex.quote(one) for one in said)])
