"""Set: what can be done with an entry itself: another name, another mapping, fetching it, taking it out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from workbench.data.hub_datasets import is_fetched
from workbench.data.registry import edit, remove, rename
from workbench.data.samples import settled
from workbench.fields import plain
from workbench.problems import UserError
from workbench.text import Text
from workbench.ui.data.draft import fetch, with_mapping
from workbench.ui.data.mapping import MapForm, Mapped, otherwise
from workbench.ui.data.room import QUIET, Room, problems, tell
from workbench.ui.data.rows import first_reads
from workbench.ui.data.turns import reads_html
from workbench.ui.data.versions import read_sheet
from workbench.ui.data.working import Done, bar, beside

SEEN_ROWS = 3
LOOKED_ROWS = 100


class Say:
    title = Text("Set")
    name = Text("Name")
    rename = Text("Rename")
    save = Text("Save the mapping")
    saved = Text("The mapping of '{name}' is saved.")
    renamed = Text("'{old}' is now called '{name}'.")
    fetch = Text("Fetch from the hub")
    fetched = Text("'{name}' is fetched.")
    delete = Text("Delete")
    rows_too = Text("Delete its rows from the disk too")
    sure = Text("Delete for good")
    leave = Text("Keep it")
    num_samples = Text("Rows to take")
    num_samples_help = Text("So many rows are drawn by lot, each as often as the others. Empty: all of them.")
    not_a_number = Text("'Rows to take' is '{given}'. Accepted: a whole number of at least 1, or nothing. Mend it.")


@dataclass
class Keeping:
    """The components of the view. ``columns``: those of the chosen set's file."""

    room: Room
    form: MapForm
    columns: Any = None
    name: Any = None
    rename: Any = None
    save: Any = None
    fetch: Any = None
    delete: Any = None
    asking: Any = None
    rows_too: Any = None
    sure: Any = None
    leave: Any = None
    notice: Any = None
    preview: Any = None
    mapping: Any = None
    num_samples: Any = None

    @property
    def outputs(self) -> list[Any]:
        own = [self.columns, self.name, self.fetch, self.asking, self.notice, self.preview, self.mapping]
        own.append(self.num_samples)
        return [*own, *self.form.shown]

    def fill(self, chosen: Mapping[str, Any], language: str) -> dict[Any, Any]:
        """The entry as it is."""
        locale, name = self.room.desk.locale(language), str(chosen.get("name") or "")
        updates: dict[Any, Any] = {
            self.name: name,
            self.notice: "",
            self.preview: "",
            self.asking: gr.update(visible=False),
            self.mapping: gr.update(visible=False),
            self.fetch: gr.update(visible=False),
        }
        try:
            entry = self.room.entry(chosen)
            updates[self.fetch] = gr.update(
                visible=entry.source is not None and not is_fetched(entry.place, entry.source)
            )
            entry, _ = settled(entry)
            columns = list(read_sheet(entry, 0, LOOKED_ROWS).columns)
        except UserError as error:
            return {**updates, self.notice: problems(locale, error)}
        named = {ours: theirs for ours, theirs in entry.layout.columns.items() if theirs in columns}
        mapped = Mapped(entry.format, named, entry.layout.tags, entry.layout.ranking)
        drawn = "" if entry.num_samples is None else str(entry.num_samples)
        shown = {self.columns: columns, self.mapping: gr.update(visible=True), self.num_samples: drawn}
        return {**updates, **shown, **self.form.show(locale, mapped, columns)}

    def reform(self, chosen: Mapping[str, Any], columns: list[str], language: str, *values: Any) -> dict[Any, Any]:
        """Another format, or rows with two answers, have other columns."""
        before = self.form.read(values)
        mapped = otherwise(before.format, before.ranking, before, columns or [])
        return {
            **self.form.show(self.room.desk.locale(language), mapped, columns or []),
            **self.look(chosen, mapped, language),
        }

    def remap(self, chosen: Mapping[str, Any], language: str, *values: Any) -> dict[Any, Any]:
        return self.look(chosen, self.form.read(values), language)

    def look(self, chosen: Mapping[str, Any], mapped: Mapped, language: str) -> dict[Any, Any]:
        """The first rows as they would be read."""
        locale = self.room.desk.locale(language)
        try:
            reads = first_reads(with_mapping(self.room.entry(chosen), mapped), SEEN_ROWS)
        except UserError as error:
            return {self.preview: problems(locale, error)}
        return {self.preview: reads_html(locale, reads)}

    def put(self, chosen: Mapping[str, Any], language: str, given: str, *values: Any) -> dict[Any, Any]:
        """Save the mapping, and how many rows are taken."""
        locale, mapped, name = self.room.desk.locale(language), self.form.read(values), str(chosen.get("name"))
        said = (mapped.format, mapped.columns, mapped.tags, mapped.ranking)
        try:
            edit(self.room.desk.workspace, name, *said, num_samples=_number(given))
        except UserError as error:
            return {self.notice: problems(locale, error)}
        tell(locale(Say.saved(name=name)))
        return self.room.changed(name)

    def call(self, chosen: Mapping[str, Any], new: str, language: str) -> dict[Any, Any]:
        """Rename."""
        locale, old = self.room.desk.locale(language), str(chosen.get("name"))
        try:
            entry = rename(self.room.desk.workspace, old, (new or "").strip())
        except UserError as error:
            return {self.notice: problems(locale, error)}
        tell(locale(Say.renamed(old=old, name=entry.name)))
        return self.room.changed(entry.name)

    def take_out(self, chosen: Mapping[str, Any], rows_too: bool, language: str) -> dict[Any, Any]:
        """Delete, and choose the first of the sets that are left."""
        locale = self.room.desk.locale(language)
        try:
            told = remove(self.room.desk.workspace, str(chosen.get("name")), bool(rows_too))
        except UserError as error:
            return {self.notice: problems(locale, error)}
        tell(locale(told))
        return self.room.changed(next(iter(self.room.catalogue().entries), ""))

    def bring(self, chosen: Mapping[str, Any], language: str) -> Iterator[dict[Any, Any]]:
        """Fetch the rows of a hub's set."""
        locale = self.room.desk.locale(language)
        try:
            entry = self.room.entry(chosen)
            assert entry.source is not None
            for news in beside(partial(fetch, self.room.desk.workspace, entry.source)):
                if isinstance(news, Done):
                    tell(locale(Say.fetched(name=entry.name)))
                    yield self.room.changed(entry.name)
                else:
                    yield {self.notice: bar(news)}
        except UserError as error:
            yield {self.notice: problems(locale, error)}


def _number(given: str | None) -> int | None:
    """What stands in the box as a number, None for nothing; UserError for anything else."""
    text = (given or "").strip()
    if text and not (text.isdecimal() and int(text)):
        raise UserError(Say.not_a_number(given=plain(text)))
    return int(text) if text else None


def build_keeping(room: Room) -> Keeping:
    """Name, mapping, and the two steps of deleting."""
    desk, view = room.desk, Keeping(room, MapForm(room.desk, "set"), gr.State([]))
    with gr.Row(elem_classes=["pressing"]):
        view.name = desk.words(
            gr.Textbox, lambda locale: {"label": locale(Say.name)}, elem_id="set-name", scale=3, min_width=180
        )
        view.rename = desk.button(Say.rename, elem_id="set-rename", scale=0, min_width=90)
        view.fetch = desk.button(Say.fetch, elem_id="set-fetch", scale=0, min_width=140, visible=False)
        view.delete = desk.button(Say.delete, elem_id="set-delete", scale=0, min_width=80)
    with gr.Row(visible=False, elem_classes=["pressing"], elem_id="set-asking") as view.asking:
        view.rows_too = desk.words(
            gr.Checkbox, lambda locale: {"label": locale(Say.rows_too)}, elem_id="set-rows-too", min_width=200
        )
        view.sure = desk.button(Say.sure, variant="stop", elem_id="set-sure", scale=0, min_width=130)
        view.leave = desk.button(Say.leave, elem_id="set-leave", scale=0, min_width=90)
    view.notice = gr.HTML("", elem_id="set-notice", apply_default_css=False)
    with gr.Column(visible=False) as view.mapping:
        view.form.build()
        with gr.Row(elem_classes=["pressing"]):
            view.num_samples = desk.words(
                gr.Textbox,
                lambda locale: {"label": locale(Say.num_samples), "info": locale(Say.num_samples_help)},
                elem_id="set-num-samples",
                scale=3,
                min_width=200,
            )
            view.save = desk.button(Say.save, variant="primary", elem_id="set-save", scale=0, min_width=150)
    view.preview = gr.HTML("", elem_classes=["reads"], elem_id="set-rows", apply_default_css=False)
    return view


def bind_keeping(view: Keeping) -> None:
    """What each press does."""
    room, form, language = view.room, view.form, view.room.desk.language
    changing = [view.notice, *room.changing]
    view.rename.click(view.call, [room.chosen, view.name, language], changing, **QUIET)
    view.fetch.click(view.bring, [room.chosen, language], changing, **QUIET)
    view.delete.click(lambda: gr.update(visible=True), None, view.asking, **QUIET)
    view.leave.click(lambda: gr.update(visible=False), None, view.asking, **QUIET)
    view.sure.click(view.take_out, [room.chosen, view.rows_too, language], changing, **QUIET)
    view.save.click(view.put, [room.chosen, language, view.num_samples, *form.components], changing, **QUIET)
    gr.on(
        [form.format.input, form.ranking.input],
        view.reform,
        [room.chosen, view.columns, language, *form.components],
        [view.preview, *form.shown],
        **QUIET,
    )
    gr.on(
        [one.input for one in [*form.slots, *form.tags]],
        view.remap,
        [room.chosen, language, *form.components],
        view.preview,
        trigger_mode="always_last",
        **QUIET,
    )
