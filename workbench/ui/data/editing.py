"""Edit: a table of the set's rows to correct, add to and leave out from, page by page, saved as a set of its own."""

import html
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from workbench.data.datasets import Entry
from workbench.data.registry import register, seen_columns
from workbench.data.samples import count_set, settled
from workbench.problems import Problem, UserError
from workbench.text import Locale, Message, Text
from workbench.ui.data.draft import free_name
from workbench.ui.data.room import QUIET, Room, problems, quiet, tell
from workbench.ui.data.rows import PAGE_ROWS, num_rows, span
from workbench.ui.data.shelf import SHAPES
from workbench.ui.data.versions import Edits, Sheet, read_sheet, write_version
from workbench.ui.data.working import Done, bar, beside


class Say:
    title = Text("Edit")
    previous = Text("Previous")
    next = Text("Next")
    add = Text("Add a row")
    name = Text("Name of the new version")
    save = Text("Save as a new set")
    keep = Text("keep")
    explain = Text(
        "Lists and objects stand as JSON. The original stays as it is; the changes become a set of their own."
    )
    changed = Text("{rows} rows changed, {out} left out, {new} added")
    unchanged = Text("Nothing is changed yet. Accepted: at least one change. Correct a cell, untick a row, or add one.")
    saved = Text("'{name}' is saved with {rows} rows. The original is as it was.")
    lost = Text("{count} places of the file could not be read and are not in it.")


@dataclass
class Editing:
    """The components of the view. ``state``: {"edits", "sheet", "page"} of the chosen set."""

    room: Room
    state: Any = None
    previous: Any = None
    next: Any = None
    told: Any = None
    add: Any = None
    table: Any = None
    name: Any = None
    save: Any = None
    notice: Any = None

    @property
    def outputs(self) -> list[Any]:
        return [self.state, self.previous, self.next, self.told, self.table, self.name, self.notice]

    def fill(self, chosen: Mapping[str, Any], language: str) -> dict[Any, Any]:
        """The first page of a set, nothing changed."""
        try:
            entry = self.room.entry(chosen)
            named = {self.name: free_name(f"{entry.name}_v2", self.room.catalogue().entries), self.notice: ""}
            return {**self.show(entry, 0, Edits(), language), **named}
        except UserError as error:
            locale = self.room.desk.locale(language)
            return {
                self.state: None,
                self.table: gr.update(value=[]),
                self.notice: problems(locale, error),
                self.told: "",
            }

    def show(self, entry: Entry, page: int, edits: Edits, language: str) -> dict[Any, Any]:
        """One page."""
        locale = self.room.desk.locale(language)
        sheet, count = read_sheet(entry, page * PAGE_ROWS, PAGE_ROWS), count_set(entry, {}, None, SHAPES)
        last = (page + 1) * PAGE_ROWS >= num_rows(count) if count.exact else not sheet.originals
        return {
            self.state: {"edits": edits, "sheet": sheet, "page": page},
            self.table: grid(locale, sheet, edits),
            self.told: told(locale, page, sheet, edits, span(locale, page * PAGE_ROWS, len(sheet.originals), count)),
            self.previous: gr.update(interactive=page > 0),
            self.next: gr.update(interactive=not last),
        }

    def turn(
        self, step: int, chosen: Mapping[str, Any], state: dict[str, Any] | None, cells: Any, language: str
    ) -> dict[Any, Any]:
        """Another page, or with step 0 the same with one more row; what was typed is kept."""
        if state is None:
            return {self.notice: ""}
        locale = self.room.desk.locale(language)
        edits, wrong = state["sheet"].taken(rows_of(cells), state["edits"])
        if wrong:
            return {self.notice: told_wrong(locale, wrong)}
        if not step:
            edits = Edits(edits.rows, edits.out, [*edits.new, {}])
        try:
            return {
                **self.show(self.room.entry(chosen), max(0, state["page"] + step), edits, language),
                self.notice: "",
            }
        except UserError as error:
            return {self.notice: problems(locale, error)}

    def put(
        self, chosen: Mapping[str, Any], state: dict[str, Any] | None, cells: Any, name: str, language: str
    ) -> Iterator[dict[Any, Any]]:
        """Save what is changed as a set of its own."""
        locale = self.room.desk.locale(language)
        if state is None:
            return
        edits, wrong = state["sheet"].taken(rows_of(cells), state["edits"])
        if wrong or not edits:
            yield {self.notice: told_wrong(locale, wrong or [Say.unchanged()])}
            return
        try:
            work = partial(save_version, self.room, self.room.entry(chosen), edits, (name or "").strip())
            for news in beside(lambda heard: work()):
                if isinstance(news, Done):
                    entry, rows, lost = news.result
                    words = locale(Say.saved(name=entry.name, rows=f"{rows:,}"))
                    words += f" {locale(Say.lost(count=f'{lost:,}'))}" if lost else ""
                    tell(words)
                    yield self.room.changed(entry.name)
                else:
                    yield {self.notice: bar(news)}
        except UserError as error:
            yield {self.notice: problems(locale, error)}


def save_version(room: Room, entry: Entry, edits: Edits, name: str) -> tuple[Entry, int, int]:
    """Write the version beside everything and register it: the new set, its rows, the places that could not be read."""
    entry, workspace = settled(entry)[0], room.desk.workspace
    layout, drawn = entry.layout, entry.num_samples
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "version.jsonl"
        rows, lost = write_version(entry, edits, out)
        there = seen_columns(out)
        columns = {ours: theirs for ours, theirs in layout.columns.items() if not theirs or theirs in there}
        made = register(workspace, out, name, entry.format, columns, layout.tags, layout.ranking, num_samples=drawn)
    return made, rows, lost


def grid(locale: Locale, sheet: Sheet, edits: Edits) -> Any:
    """The table's update."""
    headers = ["#", locale(Say.keep), *sheet.columns]
    kinds = ["str", "bool", *["str"] * len(sheet.columns)]
    return gr.update(value={"headers": headers, "data": sheet.cells(edits)}, headers=headers, datatype=kinds)


def rows_of(cells: Any) -> Sequence[Sequence[Any]]:
    """The table's rows; an empty one where the browser has none."""
    return [row for row in cells or [] if len(row) > 1]


def told(locale: Locale, page: int, sheet: Sheet, edits: Edits, where: str) -> str:
    """Which rows are seen, and how much is changed."""
    counts = Say.changed(rows=f"{len(edits.rows):,}", out=f"{len(edits.out):,}", new=f"{len(edits.new):,}")
    words = f"{where} · {locale(counts)}" if edits else where
    return f'<p class="quiet">{html.escape(words)}</p>'


def told_wrong(locale: Locale, wrong: Sequence[Message]) -> str:
    return problems(locale, [Problem(message) for message in wrong])


def build_editing(room: Room) -> Editing:
    """The table and what is around it."""
    desk, view = room.desk, Editing(room, gr.State(None))
    desk.words(gr.HTML, lambda locale: {"value": quiet(locale(Say.explain))}, apply_default_css=False)
    with gr.Row(elem_classes=["pressing"]):
        view.previous = desk.button(Say.previous, elem_id="edit-previous", scale=0, min_width=80)
        view.told = gr.HTML("", elem_id="edit-told", apply_default_css=False)
        view.next = desk.button(Say.next, elem_id="edit-next", scale=0, min_width=80)
        view.add = desk.button(Say.add, elem_id="edit-add", scale=0, min_width=100)
    view.table = gr.Dataframe(
        headers=["#"],
        type="array",
        interactive=True,
        wrap=True,
        static_columns=[0],
        max_height=560,
        show_label=False,
        elem_id="edit-table",
    )
    with gr.Row(elem_classes=["pressing"]):
        view.name = desk.words(
            gr.Textbox, lambda locale: {"label": locale(Say.name)}, elem_id="version-name", scale=3, min_width=180
        )
        view.save = desk.button(Say.save, variant="primary", elem_id="version-save", scale=0, min_width=150)
    view.notice = gr.HTML("", elem_id="edit-notice", apply_default_css=False)
    return view


def bind_editing(view: Editing) -> None:
    """Turning pages, adding a row, saving."""
    room, language = view.room, view.room.desk.language
    at = [room.chosen, view.state, view.table]
    for button, step in ((view.previous, -1), (view.next, 1), (view.add, 0)):
        button.click(partial(view.turn, step), [*at, language], view.outputs, **QUIET)
    view.save.click(view.put, [*at, view.name, language], [view.notice, *room.changing], **QUIET)
