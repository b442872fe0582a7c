"""Where a job sits: the run it works on, the log it speaks into, and the stop that somebody may lay down. Knows no job."""

from dataclasses import dataclass
from typing import Any, Literal

from workbench.events import Event, EventLog, Note, Phase, PhaseName
from workbench.runs import Run
from workbench.text import Message


class StopAsked(Exception):
    """The person asked to stop, and the job has nothing unsaved."""


UNSAVED: tuple[PhaseName, ...] = ("training", "saving")
"""Phases that end by themselves after a stop, since they have something to save; all others end at once."""


@dataclass
class Desk:
    """Where a job sits: the run it works on, the log it speaks into, and the stop that somebody may lay down."""

    run: Run
    log: EventLog | None
    """None: nothing that is said here is written down."""
    resuming: bool
    current: PhaseName = "reading"

    def say(self, event: Event) -> None:
        """Append one event."""
        if self.log is not None:
            self.log.write(event)

    def note(self, message: Message, level: Literal["info", "warning"] = "info") -> None:
        """Tell the person something, in words."""
        self.say(Note(message, level))

    def phase(self, name: PhaseName, done: int = 0, total: int = 0) -> None:
        """Say what is done now; StopAsked when the person wants no more of it."""
        if self.stop_asked():
            raise StopAsked
        self.say_phase(name, done, total)

    def say_phase(self, name: PhaseName, done: int = 0, total: int = 0) -> None:
        """Say what is done now, even when a stop was asked for: what is left must be done."""
        self.current = name
        self.say(Phase(name, done, total))

    def choose(self, rows: Any) -> Any:
        """Of the rows those to learn from: all of them, except at a desk where a run is only measured."""
        return rows

    def stop_asked(self) -> bool:
        """Whether somebody has laid down the stop file."""
        return self.run.stop_file.exists()
