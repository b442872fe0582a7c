"""A fold with the first rows of the chosen sets, as they stand in the file. Knows datasets, no form."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from workbench.datasets import chosen_entries, raw_rows, read_catalogue
from workbench.problems import UserError
from workbench.text import Locale, Text
from workbench.ui.desk import Desk

SEEN_ROWS = 20


class Say:
    look = Text("Look at the rows")
    rows_shown = Text("The first {shown} of {rows} rows, as they stand in the file.")


def build_rows(desk: Desk) -> None:
    """The fold, read when it is opened or the choice changes while it is."""
    with desk.words(gr.Accordion, lambda locale: {"label": locale(Say.look)}, open=False, elem_id="look") as fold:
        table = gr.HTML("", elem_id="rows", apply_default_css=False)
    dataset = desk.form.fields["dataset"]

    def look(language: str, chosen: list[str], folder: str) -> str:
        locale = desk.locale(language)
        try:
            entries = chosen_entries(read_catalogue(desk.workspace, folder or "data"), chosen or [])
            return "".join(rows_table(locale, entry.name, raw_rows(entry)) for entry in entries)
        except UserError as error:
            return "".join(f"<p>{html.escape(locale(problem.message))}</p>" for problem in error.problems)

    inputs = [desk.language, dataset, desk.form.fields["dataset_dir"]]
    fold.expand(look, inputs, table, show_progress="hidden")
    dataset.change(lambda: gr.update(open=False), None, fold, show_progress="hidden")


def rows_table(locale: Locale, name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The first rows of a set as a table; what people wrote is escaped."""
    seen = rows[:SEEN_ROWS]
    columns = list(dict.fromkeys(column for row in seen for column in row))
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(row.get(column, '')))}</td>" for column in columns) + "</tr>"
        for row in seen
    )
    said = html.escape(locale(Say.rows_shown(shown=len(seen), rows=f"{len(rows):,}")))
    return (
        f"<h4>{html.escape(name)}</h4><p>{said}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
