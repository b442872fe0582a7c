"""What the parts of the Data tab share: the chosen set, problems in words, and how numbers and texts are written."""

import html
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.data.datasets import Catalogue, Entry, chosen_entries, read_catalogue
from workbench.problems import Problem, UserError
from workbench.text import Locale, Text
from workbench.ui.desk import Desk

LONGEST_TEXT = 1_500
QUIET: Mapping[str, Any] = {"show_progress": "hidden"}
SHARED: Mapping[str, Any] = {**QUIET, "trigger_mode": "multiple"}
"""For a change that several listen to. Gradio runs what it deferred by raising the event anew, for all listeners; two
that defer wake each other for ever."""
CONTROL = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}
"""Control characters as the pictures that Unicode has of them."""
DATASET = "dataset"
"""The widget of the form's fields that choose among the sets."""


class Say:
    previous = Text("Previous")
    next = Text("Next")
    more = Text("... {count} characters in all")
    none_chosen = Text("Choose a set on the left, or drop a file there.")


@dataclass
class Room:
    """The components that more than one part of the tab reads or writes."""

    desk: Desk
    chosen: Any = None
    """A state of ``{"name": the set, "at": when, "told": what was just done}``; its change fills what is seen anew."""
    view: Any = None
    """A state with the name of the part that is seen."""
    shelf: Any = None

    def entry(self, chosen: Mapping[str, Any]) -> Entry:
        """The chosen set; UserError when there is none of that name any more."""
        return chosen_entries(self.catalogue(), [str(chosen.get("name") or "")])[0]

    def catalogue(self) -> Catalogue:
        """The sets as they are now."""
        return read_catalogue(self.desk.workspace)

    def changed(self, name: str, told: str = "") -> dict[Any, Any]:
        """What follows when sets came, went or changed: the choice, and the lists of names elsewhere on the page."""
        names = list(self.catalogue().entries)
        form = self.desk.form
        lists = [form.fields[key] for key in form.fields if form.knobs[key].ui.widget == DATASET]
        return {self.chosen: choice(name, told), **{one: gr.update(choices=names) for one in lists}}

    @property
    def changing(self) -> list[Any]:
        """What ``changed`` updates."""
        form = self.desk.form
        return [self.chosen, *(form.fields[key] for key in form.fields if form.knobs[key].ui.widget == DATASET)]


def choice(name: str, told: str = "") -> dict[str, Any]:
    """The value of ``chosen`` for a set, seen anew."""
    return {"name": name, "at": time.time(), "told": told}


def filled(values: Sequence[Any]) -> dict[str, str]:
    """What stands for the placeholders: the names and the boxes of the Train tab as one mapping."""
    names = list(values[0] or []) if values else []
    return {name: text for name, text in zip(names, values[1:], strict=False) if text}


def problems(locale: Locale, error: UserError | Sequence[Problem]) -> str:
    """What is in the way, beside the thing concerned."""
    found = error.problems if isinstance(error, UserError) else error
    lines = "".join(f"<p>{html.escape(locale(problem.message))}</p>" for problem in found)
    return f'<div class="plan wrong" role="alert">{lines}</div>' if lines else ""


def tell(words: str) -> None:
    """A word in passing."""
    gr.Info(html.escape(words))


def quiet(words: str) -> str:
    """A sentence in grey."""
    return f'<p class="quiet">{html.escape(words)}</p>'


def said(words: str, kind: str = "ready") -> str:
    """A sentence that answers a press."""
    return f'<div class="plan {kind}" role="status"><p>{html.escape(words)}</p></div>'


def visible(text: str, most: int = LONGEST_TEXT, locale: Locale | None = None) -> str:
    """A text for HTML: escaped, control characters as their pictures, the end of a very long one told."""
    shown = html.escape(text[:most].translate(CONTROL).encode("utf-8", "replace").decode())
    if len(text) <= most:
        return shown
    more = locale(Say.more(count=f"{len(text):,}")) if locale else f"... {len(text):,}"
    return f'{shown}<span class="more">{html.escape(more)}</span>'


def press(locale: Locale, words: Text, action: str, at: str = "", disabled: bool = False, kind: str = "") -> str:
    """A button inside a list; data.js tells the server of it."""
    return (
        f'<button type="button" class="{kind}" data-action="{action}" data-at="{html.escape(at, quote=True)}"'
        f"{' disabled' if disabled else ''}>{html.escape(locale(words))}</button>"
    )


def pager(locale: Locale, page: int, pages: int | None, told: str) -> str:
    """Previous, what is seen, Next. ``pages`` None: nobody knows how many, there is a next one."""
    last = pages is not None and page + 1 >= pages
    return (
        f'<nav class="pager">{press(locale, Say.previous, "page", str(page - 1), page <= 0)}'
        f"<span>{html.escape(told)}</span>{press(locale, Say.next, 'page', str(page + 1), last)}</nav>"
    )
