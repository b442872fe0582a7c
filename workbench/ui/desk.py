"""What every tab shares: the workspace, the languages, and the list of components that wear words. Knows no tab."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import gradio as gr

from workbench.inspector import Inspector
from workbench.text import Locale, Text, load_locales
from workbench.workspace import Workspace, source_folder

BROWSER_KEY = "workbench"
"""Names what this browser remembers; it must outlive a restart of the window and hides nothing."""
TOLD_S = 20.0
"""So long a refusal stands at the side, unless it is closed."""
STATIC = Path(__file__).parent / "static"
Dress = Callable[[Locale], dict[str, Any]]
"""The properties of a component that are words, in one language."""


@dataclass(frozen=True)
class Arrival:
    """A tab's answer to a visitor: a function of (language, prefs, inputs) and the components that it updates."""

    updates: Callable[..., list[Any]]
    outputs: Sequence[Any]
    inputs: Sequence[Any] = ()


@dataclass
class Desk:
    """One window's shared things. ``first`` is the language of the first paint."""

    workspace: Workspace
    first: str
    language: Any
    """The picker of the visitor's language: an input of every handler that says something."""
    prefs: Any
    """What this browser remembers: language, run, advanced."""
    tabs: Any = None
    chat_with: Any = None
    """What another tab wants Chat to load: a state of ``{"run": its name, "at": when}``; Chat heeds every change."""
    evaluate_with: Any = None
    """What another tab wants Evaluate to measure, in the same way; with ``report`` true, to report on."""
    export_with: Any = None
    """What another tab wants Export to take home, in the same way."""
    form: Any = None
    """The form of a training spec; the top bar begins it and the Train tab goes on, so that all tabs share the model."""
    worded: list[tuple[Any, Dress]] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    """What each tab does when a visitor arrives."""
    memories: list[Any] = field(default_factory=list)
    """What this browser remembers for single tabs. The window renders it: a tab is mounted, and reads, only when seen."""
    retellings: list[tuple[Callable[..., Any], Sequence[Any], Sequence[Any]]] = field(default_factory=list)
    """What is told anew, (function, inputs, outputs), once the worded components have changed their language."""
    finishings: list[Callable[[], None]] = field(default_factory=list)
    """What can be bound only when every tab stands, since it reads components of a later one; the window calls them."""
    filled: list[Any] = field(default_factory=list)
    """What stands for the placeholders of sets: the state with their names, then a box for each; the Train tab has them."""

    @cached_property
    def inspector(self) -> Inspector:
        """Looks at datasets in a process beside the window, which holds no torch."""
        return Inspector(self.workspace)

    @cached_property
    def locales(self) -> Mapping[str, Locale]:
        return load_locales(source_folder() / "locales")

    def locale(self, name: str | None) -> Locale:
        """The language by name; the first one when there is none of that name."""
        return self.locales.get(name or self.first, self.locales[self.first])

    def dress(self, component: Any, words: Dress) -> Any:
        """Keep the component's words in the visitor's language; returns the component."""
        self.worded.append((component, words))
        return component

    def words(self, component_class: Any, dress: Dress, **properties: Any) -> Any:
        """A new component whose words follow the language."""
        return self.dress(component_class(**dress(self.locale(self.first)), **properties), dress)

    def button(self, said: Text, **properties: Any) -> Any:
        """A button that wears these words."""
        return self.words(gr.Button, lambda locale: {"value": locale(said)}, **properties)

    def remember(self, name: str) -> Any:
        """A new state of this browser, empty at first, for a tab to keep things in."""
        state = gr.BrowserState({}, storage_key=f"workbench-{name}", secret=BROWSER_KEY, render=False)
        self.memories.append(state)
        return state

    def redress(self, language: str, only: Callable[[Any], bool] = lambda component: True) -> dict[Any, Any]:
        """An update for every worded component, or for some of them."""
        locale = self.locale(language)
        return {one: gr.update(**dress(locale)) for one, dress in self.worded if only(one)}


FOLDED = "folded"


def place_of(component: Any) -> str:
    """Where it is seen: while the tab of this name is open; always, ``""``; or only in an open fold, ``FOLDED``."""
    above, place = component.parent, ""
    while above is not None:
        if isinstance(above, gr.Accordion):
            return FOLDED
        place = str(above.id) if isinstance(above, gr.Tab) else place
        above = above.parent
    return place


def over(below: Any, above: Any) -> Any:
    """Two updates of one component as one; of what both say, ``above`` counts."""
    if not below:
        return above
    if not isinstance(above, dict) or above.get("__type__") != "update":
        above = gr.update(value=above)
    return {**below, **above}


def static(name: str) -> str:
    """The text of a file beside the page's code."""
    return (STATIC / name).read_text("utf-8")
