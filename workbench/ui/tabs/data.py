"""The Data tab: left the shelf and the place to drop a file, right the chosen set. Knows its parts, no run, no worker."""

import html
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from workbench.problems import UserError
from workbench.text import Locale, Text
from workbench.ui.data.adding import Adding, bind_adding, build_dropping, build_panel
from workbench.ui.data.checking import Checking, bind_checking, build_checking
from workbench.ui.data.checking import Say as Check
from workbench.ui.data.editing import Editing, bind_editing, build_editing
from workbench.ui.data.editing import Say as Edit
from workbench.ui.data.figures import Figures, bind_figures, build_figures
from workbench.ui.data.figures import Say as Statistics
from workbench.ui.data.keeping import Keeping, bind_keeping, build_keeping
from workbench.ui.data.keeping import Say as Set
from workbench.ui.data.mapping import MapForm
from workbench.ui.data.room import QUIET, SHARED, Room, choice, quiet
from workbench.ui.data.room import Say as Words
from workbench.ui.data.rows import Rows, bind_rows, build_rows_view
from workbench.ui.data.rows import Say as Read
from workbench.ui.data.seeing import Say as Tokens
from workbench.ui.data.seeing import Seeing, bind_seeing, build_seeing
from workbench.ui.data.shelf import PATIENCE_S, Shelf, build_shelf, details
from workbench.ui.data.tokens import asking
from workbench.ui.desk import Arrival, Desk


class Say:
    title = Text("Data")
    train = Text("Train on it")


ORDER = 5
FIRST = False
TITLE = Say.title


@dataclass
class Parts:
    """The parts of the tab, and what fills them when another set or another view is chosen."""

    room: Room
    shelf: Shelf
    head: Any = None
    train: Any = None
    rows: Rows = field(init=False)
    checking: Checking = field(init=False)
    figures: Figures = field(init=False)
    seeing: Seeing = field(init=False)
    editing: Editing = field(init=False)
    keeping: Keeping = field(init=False)
    done: Any = None
    """A state of view to the choice that it was filled for, so that what a person did there stays."""

    @property
    def outputs(self) -> list[Any]:
        """What ``fill`` updates."""
        views = (self.checking, self.figures, self.seeing, self.editing, self.keeping)
        return [self.head, self.done, self.rows.page, self.rows.table, *(one for view in views for one in view.outputs)]

    def fill(
        self, chosen: Mapping[str, Any], view: str, done: Mapping[str, Any], language: str, *fills: Any
    ) -> dict[Any, Any]:
        """The view that is seen, unless it shows this choice already; another set clears the others."""
        updates: dict[Any, Any] = {}
        if done.get("chosen") != chosen["at"]:
            done = {"chosen": chosen["at"]}
            told = str(chosen.get("told") or "")
            updates = {**self.checking.clear(str(chosen["name"]), told), **self.figures.clear(), **self.seeing.clear()}
            updates[self.head] = self.headline(chosen, language)
        if not done.get(view):
            done = {**done, view: True}
            match view:
                case "rows":
                    updates |= self.rows.fill(chosen, language, *fills)
                case "edit":
                    updates |= self.editing.fill(chosen, language)
                case "set":
                    updates |= self.keeping.fill(chosen, language)
        return {**updates, self.done: done}

    def see(
        self, chosen: Mapping[str, Any], view: str, page: str, row: int, language: str, *values: Any
    ) -> Iterator[Any]:
        """The tokens, when they are what is seen and are not there yet."""
        if view == "tokens" and not page:
            yield from self.seeing.draw(chosen, row, language, *values)
        else:
            yield gr.skip()

    def retell(self, chosen: Mapping[str, Any], page: int, language: str, *fills: Any) -> list[Any]:
        """The head and the rows in another language."""
        return [self.headline(chosen, language), self.rows.draw(chosen, page, language, *fills)]

    def headline(self, chosen: Mapping[str, Any], language: str) -> str:
        """The set's name and what the shelf tells of it."""
        locale, name = self.room.desk.locale(language), str(chosen.get("name") or "")
        if not name:
            return quiet(locale(Words.none_chosen))
        return f"<h2>{html.escape(name)}</h2>{quiet(self.about(locale, chosen))}"

    def about(self, locale: Locale, chosen: Mapping[str, Any]) -> str:
        try:
            entry = self.room.entry(chosen)
        except UserError:
            return ""
        return " · ".join(details(locale, entry, self.shelf.facts(entry, time.monotonic() + PATIENCE_S)))

    def arrive(self, language: str, prefs: Mapping[str, Any], kept: Mapping[str, Any]) -> list[Any]:
        """The set that this visitor looked at last, else the first."""
        names = list(self.room.catalogue().entries)
        name = kept.get("name") if kept.get("name") in names else next(iter(names), "")
        return [choice(str(name or ""))]


def build(desk: Desk) -> None:
    """Two columns; on a phone the shelf comes first."""
    room = Room(desk)
    room.chosen, room.view = gr.State({"name": "", "at": 0.0}), gr.State("rows")
    adding = Adding(room, MapForm(desk, "draft"))
    with gr.Row(elem_id="data", equal_height=False):
        with gr.Column(scale=4, min_width=280, elem_id="data-side"):
            build_dropping(adding)
            shelf = build_shelf(room)
        with gr.Column(scale=12, min_width=320, elem_id="data-main"):
            build_panel(adding)
            with gr.Column(elem_id="one-set") as adding.others:
                parts = Parts(room, shelf, done=gr.State({}))
                _build_one(parts)
    desk.finishings.append(lambda: _bind(parts, adding))


def _build_one(parts: Parts) -> None:
    """The head of the chosen set and its views."""
    room, desk = parts.room, parts.room.desk
    with gr.Row(elem_id="set-head"):
        parts.head = gr.HTML("", elem_id="set-title", apply_default_css=False)
        parts.train = desk.button(Say.train, elem_id="train-on", scale=0, min_width=110)
    with gr.Tabs(elem_id="views", overflow_behavior="wrap"):
        with _view(room, "rows", Read.title):
            parts.rows = build_rows_view(room)
        with _view(room, "check", Check.title):
            parts.checking = build_checking(room)
        with _view(room, "statistics", Statistics.title):
            parts.figures = build_figures(room)
        with _view(room, "tokens", Tokens.title):
            parts.seeing = build_seeing(desk, room.chosen, "tokens")
        with _view(room, "edit", Edit.title):
            parts.editing = build_editing(room)
        with _view(room, "set", Set.title):
            parts.keeping = build_keeping(room)


def _view(room: Room, name: str, title: Text) -> Any:
    tab = room.desk.words(gr.Tab, lambda locale: {"label": locale(title)}, id=name, elem_id=f"view-{name}")
    tab.select(lambda: name, None, room.view, **QUIET)
    return tab


def _bind(parts: Parts, adding: Adding) -> None:
    """What needs the fields of the Train tab, which stands by now."""
    room, desk, fills = parts.room, parts.room.desk, parts.room.desk.filled
    bind_adding(adding)
    bind_rows(parts.rows, fills)
    bind_checking(parts.checking, asking(desk))
    bind_figures(parts.figures)
    bind_seeing(parts.seeing)
    bind_editing(parts.editing)
    bind_keeping(parts.keeping)
    kept = desk.remember("data")
    room.chosen.change(lambda chosen: {"name": chosen["name"]}, room.chosen, kept, **SHARED)
    changed = gr.on(
        [room.chosen.change, room.view.change],
        parts.fill,
        [room.chosen, room.view, parts.done, desk.language, *fills],
        parts.outputs,
        **SHARED,
    )
    seeing = [room.chosen, room.view, parts.seeing.page, parts.seeing.row, desk.language, *asking(desk)]
    changed.then(parts.see, seeing, parts.seeing.page, **QUIET)
    room.shelf.click(_leave_draft(adding), None, [adding.draft, adding.panel, adding.others, adding.preview], **QUIET)
    parts.train.click(
        lambda chosen: [gr.update(value=[chosen["name"]] if chosen["name"] else []), gr.update(selected="train")],
        room.chosen,
        [desk.form.fields["dataset"], desk.tabs],
        **QUIET,
    )
    told = [room.chosen, parts.rows.page, desk.language, *fills]
    desk.retellings.append((parts.retell, told, [parts.head, parts.rows.table]))
    desk.arrivals.append(Arrival(parts.arrive, [room.chosen], [kept]))


def _leave_draft(adding: Adding) -> Any:
    """Picking a set on the shelf gives the draft up."""

    def leave(event: gr.EventData) -> dict[Any, Any]:
        return adding.leave() if event.action == "pick" else {adding.preview: gr.skip()}

    return leave
