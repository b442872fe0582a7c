"""The preview of what a form asks for: its spec as text and as a file, and the command that does the same. Knows no form."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.checking import Checked
from workbench.text import Text
from workbench.ui.data.room import QUIET
from workbench.ui.desk import Desk
from workbench.ui.preview import DOWNLOAD, HIDDEN

COMMAND = "python app.py {command} spec.yaml"
Look = Callable[..., tuple[Checked[Any], list[Any]]]
"""What the form says, from the values of its components, and the marks of every problem."""


class Say:
    the_spec = Text("The spec of this evaluation")
    the_command = Text("The same in a terminal")
    save = Text("Save as spec.yaml")


@dataclass(frozen=True)
class Preview:
    """The panel below the buttons. ``name``: the word of the terminal that does the same."""

    name: str
    opened: Any
    panel: Any
    spec: Any
    command: Any
    save: Any

    @property
    def outputs(self) -> list[Any]:
        """What ``show`` updates, before the marks."""
        return [self.opened, self.panel, self.spec, self.command]

    def show(self, look: Look) -> Callable[..., list[Any]]:
        """Opens the panel, or closes it; problems are marked instead."""

        def show(opened: bool, *values: Any) -> list[Any]:
            checked, marks = look(*values)
            if opened or checked.spec is None:
                return [False, *[gr.update(visible=False)] * 3, *(self._skipped(marks) if opened else marks)]
            shown = (checked.spec.to_yaml(), COMMAND.format(command=self.name))
            texts = [gr.update(visible=True, value=text) for text in shown]
            return [True, gr.update(visible=True), *texts, *marks]

        return show

    def _skipped(self, marks: Sequence[Any]) -> list[Any]:
        return [gr.skip()] * len(marks)


def furnish_preview(desk: Desk, title: Text = Say.the_spec, prefix: str = "eval") -> Preview:
    """The panel, closed."""
    with gr.Column(visible=False, elem_id=f"{prefix}-preview-panel") as panel:
        spec = desk.words(gr.Code, lambda locale: {"label": locale(title)}, language="yaml", max_lines=18, **HIDDEN)
        command = desk.words(gr.Code, lambda locale: {"label": locale(Say.the_command)}, language="shell", **HIDDEN)
        save = desk.button(Say.save, size="sm", elem_id=f"{prefix}-save")
    save.click(None, spec, None, js=DOWNLOAD, **QUIET)
    return Preview(prefix, gr.State(False), panel, spec, command, save)
