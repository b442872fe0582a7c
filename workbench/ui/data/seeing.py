"""The view of one row as the model will see it, on the Data tab and in Train's look at the rows. Knows no tokenizer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.text import Text
from workbench.ui.data.room import QUIET, filled
from workbench.ui.data.tokens import asked_of, asking, seen
from workbench.ui.desk import Desk, static


class Say:
    title = Text("Tokens")
    again = Text("See it anew")


@dataclass
class Seeing:
    """The page of one row's tokens. ``chosen`` is a state of ``{"name": the set}``."""

    desk: Desk
    chosen: Any
    row: Any = None
    again: Any = None
    page: Any = None

    @property
    def outputs(self) -> list[Any]:
        return [self.row, self.page]

    def clear(self) -> dict[Any, Any]:
        """Another set begins with its first row."""
        return {self.row: 1, self.page: ""}

    def draw(self, chosen: Mapping[str, Any], row: int, language: str, *values: Any) -> Iterator[str]:
        """The tokens of one row; a bar until they are there."""
        if not chosen.get("name"):
            yield ""
            return
        asked, fills = asked_of(self.desk.form, values)
        locale = self.desk.locale(language)
        yield from seen(self.desk.inspector, locale, chosen, row, filled(fills), asked)

    def turn(self, row: int, event: gr.EventData) -> int:
        """Another row: the pager counts from 0, a person from 1."""
        if event.action == "page":
            return max(1, int(event.at) + 1)
        digits = "".join(one for one in str(event.value) if one.isdecimal())
        return max(1, int(digits)) if digits else row


def build_seeing(desk: Desk, chosen: Any, elem_id: str) -> Seeing:
    """The button and the page."""
    view = Seeing(desk, chosen, gr.State(1))
    with gr.Row(elem_classes=["pressing"]):
        view.again = desk.button(Say.again, elem_id=f"{elem_id}-again", scale=0, min_width=110)
    view.page = gr.HTML(
        "", js_on_load=static("data.js"), elem_id=elem_id, elem_classes=["seen"], apply_default_css=False
    )
    return view


def bind_seeing(view: Seeing) -> None:
    """Turning pages and asking anew, say after another template was chosen."""
    inputs = [view.chosen, view.row, view.desk.language, *asking(view.desk)]
    view.again.click(view.draw, inputs, view.page, **QUIET)
    view.page.click(view.turn, view.row, view.row, **QUIET).then(view.draw, inputs, view.page, **QUIET)
