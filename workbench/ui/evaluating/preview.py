"""The preview of an evaluation: its spec as text and as a file, and the command that does the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.text import Text
from workbench.ui.data.room import QUIET
from workbench.ui.desk import Desk
from workbench.ui.evaluating.asking import Asking
from workbench.ui.preview import DOWNLOAD, HIDDEN

COMMAND = "python app.py eval spec.yaml"


class Say:
    the_spec = Text("The spec of this evaluation")
    the_command = Text("The same in a terminal")
    save = Text("Save as spec.yaml")


@dataclass(frozen=True)
class Preview:
    """The panel below the buttons."""

    asking: Asking
    opened: Any
    panel: Any
    spec: Any
    command: Any
    save: Any

    @property
    def outputs(self) -> list[Any]:
        """What ``show`` updates, before the marks."""
        return [self.opened, self.panel, self.spec, self.command]

    def show(self, mark: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        """Opens the panel, or closes it; problems are marked instead."""

        def show(opened: bool, language: str, who: str, names: str, *values: Any) -> list[Any]:
            checked = self.asking.check(who or "", names, values)
            marks = mark(language, who or "", names, checked, values)
            if opened or checked.spec is None:
                return [False, *[gr.update(visible=False)] * 3, *(self._skipped(marks) if opened else marks)]
            texts = [gr.update(visible=True, value=text) for text in (checked.spec.to_yaml(), COMMAND)]
            return [True, gr.update(visible=True), *texts, *marks]

        return show

    def _skipped(self, marks: Sequence[Any]) -> list[Any]:
        return [gr.skip()] * len(marks)


def furnish_preview(desk: Desk, asking: Asking) -> Preview:
    """The panel, closed."""
    with gr.Column(visible=False, elem_id="eval-preview-panel") as panel:
        spec = desk.words(
            gr.Code, lambda locale: {"label": locale(Say.the_spec)}, language="yaml", max_lines=18, **HIDDEN
        )
        command = desk.words(gr.Code, lambda locale: {"label": locale(Say.the_command)}, language="shell", **HIDDEN)
        save = desk.button(Say.save, size="sm", elem_id="eval-save")
    save.click(None, spec, None, js=DOWNLOAD, **QUIET)
    return Preview(asking, gr.State(False), panel, spec, command, save)
