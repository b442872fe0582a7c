"""Adding a set: a file is dropped or a hub's id typed, the mapping is shown to be corrected, and it is registered."""

import html
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from workbench.data.datasets import HubSource
from workbench.problems import UserError
from workbench.tables import suffixes
from workbench.text import Locale, Text
from workbench.ui.data.draft import Draft, bare, fetch, free_name, read_draft
from workbench.ui.data.mapping import MapForm, otherwise
from workbench.ui.data.room import QUIET, Room, problems, tell
from workbench.ui.data.shelf import HUBS
from workbench.ui.data.turns import reads_html
from workbench.ui.data.working import Doing, Done, bar, beside


class Say:
    drop = Text("Drop a file of rows here")
    hub = Text("From a hub")
    hub_name = Text("Hub")
    hub_id = Text("Id: owner/name")
    subset = Text("Subset")
    split = Text("Split")
    fetch = Text("Fetch")
    new_set = Text("New set from {file}")
    unsure = Text("The columns are a guess. Compare the rows below, and correct the drop-downs.")
    name = Text("Name of the set")
    register = Text("Register")
    cancel = Text("Cancel")
    preview = Text("The first rows as they will be read")
    registered = Text("'{name}' is registered, and can be chosen on the Train tab.")


@dataclass
class Adding:
    """The components of adding; ``panel`` is seen while there is a draft, ``others`` while there is none."""

    room: Room
    form: MapForm
    draft: Any = None
    file: Any = None
    hub: Any = None
    hub_id: Any = None
    subset: Any = None
    split: Any = None
    fetch: Any = None
    told: Any = None
    panel: Any = None
    others: Any = None
    head: Any = None
    name: Any = None
    register: Any = None
    cancel: Any = None
    notice: Any = None
    preview: Any = None

    def drop(self, file: str | None, language: str) -> dict[Any, Any]:
        """A file was dropped."""
        if not file:
            return {self.told: ""}
        try:
            return self.show(read_draft(Path(file), Path(file).name), language)
        except UserError as error:
            # Who drops a file wants that one: the form of an earlier one must not stand there as if it were it.
            return {**self.leave(), self.told: problems(self.room.desk.locale(language), error), self.file: None}

    def show(self, draft: Draft, language: str) -> dict[Any, Any]:
        """The panel for a draft."""
        locale = self.room.desk.locale(language)
        return {
            self.draft: draft,
            self.told: "",
            self.file: None,
            self.panel: gr.update(visible=True),
            self.others: gr.update(visible=False),
            self.head: head(locale, draft),
            self.name: free_name(draft.shown, self.room.catalogue().entries),
            self.notice: "",
            self.preview: preview(locale, draft, draft.guessed),
            **self.form.show(locale, draft.guessed, draft.columns),
        }

    def leave(self) -> dict[Any, Any]:
        """The draft is given up, or has become a set."""
        return {
            self.draft: None,
            self.panel: gr.update(visible=False),
            self.others: gr.update(visible=True),
            self.preview: "",
        }

    def hub_fetch(self, hub: Any, given: str, subset: str, split: str, language: str) -> Iterator[dict[Any, Any]]:
        """Fetch a set of a hub, then show it as a draft."""
        locale = self.room.desk.locale(language)
        source = HubSource(
            hub, (given or "").strip().strip("/"), (subset or "").strip(), (split or "").strip() or "train"
        )
        try:
            for news in beside(partial(fetch, self.room.desk.workspace, source)):
                if isinstance(news, Doing):
                    yield {self.told: bar(news)}
                elif isinstance(news, Done):
                    yield self.show(news.result, language)
        except UserError as error:
            yield {self.told: problems(locale, error)}

    def remap(self, draft: Draft | None, language: str, *values: Any) -> str | dict[str, Any]:
        """The rows anew when a drop-down changes."""
        return preview(self.room.desk.locale(language), draft, self.form.read(values)) if draft else ""

    def reform(self, draft: Draft | None, language: str, *values: Any) -> dict[Any, Any]:
        """Another format, or rows with two answers, have other columns."""
        if draft is None:
            return {self.notice: ""}
        kind, ranking, before = str(values[0]), bool(values[1]), draft.guessed
        mapped = before if kind == before.format else otherwise(kind, False, before, draft.columns)
        if kind == before.format and ranking != before.ranking:
            mapped = otherwise(kind, ranking, before, draft.columns)
        locale = self.room.desk.locale(language)
        return {**self.form.show(locale, mapped, draft.columns), self.preview: preview(locale, draft, mapped)}

    def put(self, draft: Draft | None, name: str, language: str, *values: Any) -> dict[Any, Any]:
        """Register."""
        locale = self.room.desk.locale(language)
        if draft is None:
            return {self.notice: ""}
        try:
            entry = draft.register(self.room.desk.workspace, name or "", self.form.read(values))
        except UserError as error:
            return {self.notice: problems(locale, error)}
        tell(locale(Say.registered(name=entry.name)))
        return {**self.leave(), **self.room.changed(entry.name)}


def head(locale: Locale, draft: Draft) -> str:
    """What was found out about the file."""
    notes = [locale(note) for note in draft.notes] + ([] if draft.certain else [locale(Say.unsure)])
    lines = "".join(f"<p>{html.escape(note)}</p>" for note in notes)
    kind = "ready" if draft.certain else "unwise"
    told = f'<div class="plan {kind}">{lines}</div>' if lines else ""
    return f"<h3>{html.escape(locale(Say.new_set(file=draft.shown)))}</h3>{told}"


def preview(locale: Locale, draft: Draft, mapped: Any) -> str:
    """The first rows under a mapping."""
    title = html.escape(locale(Say.preview))
    try:
        return f"<h4>{title}</h4>{reads_html(locale, draft.reads(mapped))}"
    except UserError as error:
        return problems(locale, UserError(bare(error)))


def build_dropping(adding: Adding) -> None:
    """The place to drop a file, and the fold for a hub."""
    desk = adding.room.desk
    adding.draft = gr.State(None)
    adding.file = desk.words(
        gr.File,
        lambda locale: {"label": locale(Say.drop)},
        file_types=list(suffixes()),
        height=104,
        elem_id="data-drop",
    )
    with desk.words(
        gr.Accordion,
        lambda locale: {"label": locale(Say.hub)},
        open=False,
        elem_classes=["section"],
        elem_id="data-hub",
    ):
        adding.hub_id = desk.words(gr.Textbox, lambda locale: {"label": locale(Say.hub_id)}, elem_id="hub-id")
        with gr.Row(elem_classes=["fields"]):
            adding.hub = desk.words(
                gr.Dropdown,
                lambda locale: {"label": locale(Say.hub_name)},
                choices=[(words, name) for name, words in HUBS.items()],
                value="huggingface",
                min_width=160,
            )
            adding.subset = desk.words(gr.Textbox, lambda locale: {"label": locale(Say.subset)}, min_width=80)
            adding.split = desk.words(
                gr.Textbox, lambda locale: {"label": locale(Say.split)}, value="train", min_width=80
            )
        adding.fetch = desk.button(Say.fetch, elem_id="hub-fetch")
    adding.told = gr.HTML("", elem_id="data-told", apply_default_css=False)


def build_panel(adding: Adding) -> None:
    """The mapping of a draft, its rows, its name."""
    desk = adding.room.desk
    with gr.Column(visible=False, elem_id="draft") as adding.panel:
        adding.head = gr.HTML("", elem_id="draft-head", apply_default_css=False)
        adding.form.build()
        with gr.Row(elem_classes=["fields", "pressing"]):
            adding.name = desk.words(
                gr.Textbox, lambda locale: {"label": locale(Say.name)}, elem_id="draft-name", scale=4, min_width=180
            )
            adding.register = desk.button(Say.register, variant="primary", elem_id="register", scale=0, min_width=110)
            adding.cancel = desk.button(Say.cancel, elem_id="draft-cancel", scale=0, min_width=90)
        adding.notice = gr.HTML("", elem_id="draft-notice", apply_default_css=False)
        adding.preview = gr.HTML("", elem_id="draft-rows", elem_classes=["reads"], apply_default_css=False)


def bind_adding(adding: Adding) -> None:
    """What each of them does."""
    desk, form = adding.room.desk, adding.form
    showing = [adding.draft, adding.told, adding.file, adding.panel, adding.others, adding.head, adding.name]
    showing += [adding.notice, adding.preview, *form.shown]
    adding.file.upload(adding.drop, [adding.file, desk.language], showing, show_progress="minimal")
    hub = [adding.hub, adding.hub_id, adding.subset, adding.split, desk.language]
    adding.fetch.click(adding.hub_fetch, hub, showing, **QUIET)
    adding.hub_id.submit(adding.hub_fetch, hub, showing, **QUIET)
    mapping = [adding.draft, desk.language, *form.components]
    again = [adding.notice, adding.preview, *form.shown]
    gr.on([form.format.input, form.ranking.input], adding.reform, mapping, again, **QUIET)
    gr.on(
        [one.input for one in [*form.slots, *form.tags]],
        adding.remap,
        mapping,
        adding.preview,
        trigger_mode="always_last",
        **QUIET,
    )
    leaving = [adding.draft, adding.panel, adding.others, adding.preview]
    adding.cancel.click(adding.leave, None, leaving, **QUIET)
    named = [adding.draft, adding.name, desk.language, *form.components]
    adding.register.click(adding.put, named, [*leaving, adding.notice, *adding.room.changing], **QUIET)
