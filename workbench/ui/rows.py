"""A fold with the first rows of the chosen sets, as they are read or as the model sees them. Knows datasets, no run."""

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.data.datasets import Entry, chosen_entries, read_catalogue
from workbench.data.samples import count_set
from workbench.problems import UserError
from workbench.text import Locale, Text
from workbench.ui.data.room import QUIET, SHARED, problems
from workbench.ui.data.rows import first_reads, num_rows
from workbench.ui.data.seeing import bind_seeing, build_seeing
from workbench.ui.data.shelf import SHAPES
from workbench.ui.data.tokens import asking
from workbench.ui.data.turns import reads_html
from workbench.ui.desk import Desk

SEEN_ROWS = 20
CLOSE = "() => ({ __type__: 'update', open: false })"


class Say:
    look = Text("Look at the rows")
    rows_shown = Text("The first {shown} of {rows} rows.")
    about_rows = Text("The first {shown} of about {rows} rows.")
    how = Text("Show the rows")
    as_read = Text("as they are read")
    as_seen = Text("as the model sees them")
    which = Text("Set")


@dataclass
class Look:
    """The components of the fold."""

    desk: Desk
    fold: Any = None
    how: Any = None
    which: Any = None
    table: Any = None
    seeing: Any = None
    """A Seeing of the first of the chosen sets, or another one."""

    @property
    def folder(self) -> Any:
        return self.desk.form.fields["dataset_dir"]

    def entries(self, chosen: Sequence[str] | None, folder: str) -> list[Entry]:
        return chosen_entries(read_catalogue(self.desk.workspace, folder or "data"), list(chosen or []))

    def read(self, how: str, language: str, chosen: list[str], folder: str) -> dict[Any, Any]:
        """The rows as they are read, or the choice of the set whose tokens are seen."""
        names = list(chosen or [])
        first = {"name": names[0] if names else "", "dataset_dir": folder or "data"}
        picked = {self.which: gr.update(choices=names, value=names[0] if names else None), self.seeing.chosen: first}
        updates = {**picked, **self.seeing.clear()}
        if how == "seen":
            return updates
        locale = self.desk.locale(language)
        try:
            words = "".join(set_rows(locale, entry) for entry in self.entries(chosen, folder))
        except UserError as error:
            words = problems(locale, error)
        return {**updates, self.table: words}

    def see(self, how: str, chosen: dict[str, Any], row: int, language: str, *values: Any) -> Iterator[str]:
        """The tokens, when they are what is looked at."""
        if how == "seen":
            yield from self.seeing.draw(chosen, row, language, *values)
        else:
            yield ""


def build_rows(desk: Desk) -> None:
    """The fold, read when it is opened. Which of its halves is seen is a matter of the style sheet: a fold closes itself
    when the visibility of what is inside changes."""
    look = Look(desk)
    with desk.words(gr.Accordion, lambda locale: {"label": locale(Say.look)}, open=False, elem_id="look") as look.fold:
        look.how = desk.words(
            gr.Radio,
            lambda locale: {
                "choices": [(locale(Say.as_read), "read"), (locale(Say.as_seen), "seen")],
                "label": locale(Say.how),
            },
            value="read",
            elem_id="look-how",
            elem_classes=["switch"],
            show_label=False,
            container=False,
        )
        look.table = gr.HTML("", elem_id="rows", elem_classes=["reads"], apply_default_css=False)
        with gr.Column(elem_id="look-seen"):
            look.which = desk.words(gr.Dropdown, lambda locale: {"label": locale(Say.which)}, elem_id="look-which")
            look.seeing = build_seeing(desk, gr.State({"name": ""}), "rows-tokens")
    desk.finishings.append(lambda: _bind(look))


def _bind(look: Look) -> None:
    desk, seeing = look.desk, look.seeing
    dataset = desk.form.fields["dataset"]
    inputs = [look.how, desk.language, dataset, look.folder]
    outputs = [look.table, look.which, seeing.chosen, *seeing.outputs]
    tokens = [look.how, seeing.chosen, seeing.row, desk.language, *asking(desk)]
    opened = gr.on([look.fold.expand, look.how.input], look.read, inputs, outputs, **QUIET)
    opened.then(look.see, tokens, seeing.page, **QUIET)
    look.which.input(
        lambda name, folder: [{"name": name or "", "dataset_dir": folder or "data"}, 1],
        [look.which, look.folder],
        [seeing.chosen, seeing.row],
        **QUIET,
    ).then(look.see, tokens, seeing.page, **QUIET)
    dataset.change(None, None, look.fold, js=CLOSE, **SHARED)
    bind_seeing(seeing)


def set_rows(locale: Locale, entry: Entry) -> str:
    """The first rows of a set under its name; what people wrote is escaped."""
    reads, count = first_reads(entry, SEEN_ROWS), count_set(entry, {}, None, SHAPES)
    words = Say.rows_shown if count.exact else Say.about_rows
    told = html.escape(locale(words(shown=len(reads), rows=f"{num_rows(count):,}")))
    return f'<h4>{html.escape(entry.name)}</h4><p class="quiet">{told}</p>{reads_html(locale, reads)}'
