"""A right side that shows one of several runs: the picker, the panel, and what this browser keeps. Knows no job, no words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.text import Locale
from workbench.ui.data.room import QUIET
from workbench.ui.desk import Arrival, Desk


@dataclass
class Side:
    """The right side's components, and what shows a run in them."""

    desk: Desk
    picker: Any
    panel: Any
    kept: Any
    """What this browser keeps: the run that it looked at last."""
    choices: Callable[[Desk, Locale], list[tuple[str, str]]]
    """The runs with their states in words, (shown, name), the newest first."""
    names: Callable[[Desk], Sequence[str]]
    """Their names alone, all of them."""

    @property
    def shown(self) -> list[Any]:
        """What ``show`` updates."""
        return [self.picker, self.panel]

    @property
    def which(self) -> list[Any]:
        """What ``anew`` takes."""
        return [self.picker, self.desk.language, self.panel]

    def show(self, name: str, language: str, nudge: int) -> list[Any]:
        """One run; a new ``nudge`` makes the panel ask anew."""
        choices = self.choices(self.desk, self.desk.locale(language))
        return [gr.update(choices=choices, value=name or None), {"run": name, "language": language, "nudge": nudge}]

    def anew(self, name: str | None, language: str, panel: Mapping[str, Any]) -> list[Any]:
        """The same run, told once more."""
        return self.show(name or "", language, int(panel["nudge"]) + 1)

    def pick(self, name: str | None, language: str, panel: Mapping[str, Any]) -> list[Any]:
        return [{"run": name or ""}, *self.anew(name, language, panel)]

    def list_anew(self, language: str) -> Any:
        """The list with the states as they are now."""
        return gr.update(choices=self.choices(self.desk, self.desk.locale(language)))

    def newest(self) -> str:
        """The newest run's name; empty when there is none."""
        return next(iter(self.names(self.desk)), "")

    def arrive(self, language: str, prefs: Mapping[str, Any], kept: Mapping[str, Any]) -> list[Any]:
        """The run that this visitor looked at last, else the newest."""
        wanted = str(kept.get("run") or "")
        return self.show(wanted if wanted in self.names(self.desk) else self.newest(), language, 1)


def bind_side(side: Side) -> None:
    """All but the presses on the panel."""
    desk = side.desk
    side.picker.input(side.pick, side.which, [side.kept, *side.shown], **QUIET)
    side.picker.focus(side.list_anew, desk.language, side.picker, **QUIET)
    side.panel.change(side.list_anew, desk.language, side.picker, **QUIET)
    desk.retellings.append((side.anew, side.which, side.shown))
    desk.arrivals.append(Arrival(side.arrive, side.shown, [side.kept]))
