"""How far an evaluation is: what is asked of whom, of how much, how long still. Knows events, no form and no result."""

import html
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from workbench.evaluating.records import BASE, TUNED
from workbench.events import Entry, Failed, Phase, Started, State, tail
from workbench.runs import Run
from workbench.specs import EvalSpec
from workbench.text import Locale, Text
from workbench.ui.evaluating.reported import is_report, trained_of
from workbench.view import View
from workbench.wording import SIZED, STATES, counted, duration, phase_words

WATCHED_RUNS = 16
LOG_BYTES = 6_000
EACH_MODEL = ("asking", "losses")
"""Phases that come once for each model."""


class Say:
    base = Text("base")
    tuned = Text("tuned")
    stopping = Text("stopping")
    left = Text("{time} left in this step")
    took = Text("took {time}")
    stop = Text("Stop")
    stop_now = Text("Stop now")
    resume = Text("Resume")
    delete = Text("Delete")
    again = Text("Make anew")
    report = Text("Report on {run}")
    sure = Text("Delete {name} with its answers and scores?")
    sure_report = Text("Delete the report on {run} with its answers? The run itself stays.")
    lost = Text("The worker ended without a word. Press Resume: no question is asked twice.")
    stopped = Text("Stopped. Press Resume to go on; what was answered is kept, and no question is asked twice.")
    detail = Text("Details for a report of this mistake")
    notes = Text("Notes")
    log = Text("Log")
    no_such = Text("This evaluation is not there any more. Choose another one, or start a new one.")


MODELS = {BASE: Say.base, TUNED: Say.tuned}


@dataclass
class Pass:
    """One going-through of a phase: how far it is, and where and when it began."""

    name: str
    first: int
    began: float
    done: int
    total: int
    at: float

    def seconds_left(self, again: int) -> float | None:
        """At the pace so far, with as many further passes of the same length; None while there is no pace."""
        if self.done <= self.first or not self.total:
            return None
        pace = (self.at - self.began) / (self.done - self.first)
        return pace * (self.total - self.done + again * self.total)


@dataclass
class Watched:
    """An evaluation's events as far as they were read, and what was understood of them."""

    run: Run
    models: Sequence[str] = ()
    """Who is asked, in this order."""
    inode: int = -1
    offset: int = 0
    view: View = field(default_factory=View)
    passes: list[Pass] = field(default_factory=list)

    def take(self, entries: Iterable[Entry]) -> None:
        """Fold further events in."""
        for entry in entries:
            self.view.fold([entry])
            match entry.event:
                case Started():
                    self.passes = []
                case Phase() as event:
                    self._pass(event, entry.time)

    def _pass(self, event: Phase, at: float) -> None:
        last = self.passes[-1] if self.passes else None
        if last is None or last.name != event.name or event.done <= last.done or event.total != last.total:
            self.passes.append(Pass(event.name, event.done, at, event.done, event.total, at))
        else:
            last.done, last.at = event.done, at

    def of_phase(self) -> int:
        """Which of the passes of its phase the present one is, from 0."""
        name = self.view.phase.name
        return max(0, sum(1 for one in self.passes if one.name == name) - 1)

    def model(self) -> str:
        """Who is asked now; empty where that is nobody in particular."""
        at = self.of_phase()
        return self.models[at] if self.view.phase.name in EACH_MODEL and at < len(self.models) else ""

    def share(self) -> float | None:
        """How much of the phase is done, all its passes together; None where that can't be counted."""
        phase = self.view.phase
        if not phase.total:
            return None
        passes = max(1, len(self.models)) if phase.name in EACH_MODEL else 1
        return min(1.0, (self.of_phase() + phase.done / phase.total) / passes)

    def seconds_left(self) -> float | None:
        """To the end of the phase."""
        if not self.passes or self.passes[-1].name != self.view.phase.name:
            return None
        more = len(self.models) - 1 - self.of_phase() if self.view.phase.name in EACH_MODEL else 0
        return self.passes[-1].seconds_left(max(0, more))


class Watch:
    """Runs that browsers look at: each file is read once, however many look. ``asked``: the models that a run asks."""

    def __init__(self, asked: Callable[[Run], Sequence[str]] | None = None) -> None:
        self._asked = asked or asked_models
        self._watched: OrderedDict[str, Watched] = OrderedDict()
        self._turn = threading.Lock()

    def look(self, run: Run) -> Watched:
        """The run as it is now. A file that became shorter, or another one, belongs to a new run of that name."""
        with self._turn:
            watched = self._watched.pop(run.name, None) or Watched(run, self._asked(run))
            status = run.events.stat() if run.events.exists() else None
            size, inode = (status.st_size, status.st_ino) if status else (0, -1)
            if size < watched.offset or watched.inode not in (-1, inode):
                watched = Watched(run, self._asked(run))
            entries, watched.offset = tail(run.events, watched.offset)
            watched.inode = inode
            watched.take(entries)
            self._watched[run.name] = watched
            while len(self._watched) > WATCHED_RUNS:
                self._watched.popitem(last=False)
            return watched


def asked_models(run: Run) -> list[str]:
    """Who is asked, in the order of the job, told by the spec."""
    if is_report(run):
        return [BASE, TUNED]
    spec = run.read_spec().spec
    if not isinstance(spec, EvalSpec) or not spec.model.adapter_name_or_path:
        return [BASE]
    return [BASE, TUNED] if spec.evaluating.compare_base else [TUNED]


def said(locale: Locale, words: Text) -> str:
    """Words for HTML."""
    return html.escape(locale(words))


def head(watched: Watched, state: State, stopping: bool, locale: Locale) -> str:
    """Name, state and buttons; while it goes on or was broken off also how far it is."""
    name, buttons = called(locale, watched.run), _buttons(watched.run, state, stopping, locale)
    return heading(watched, state, stopping, locale, name, buttons) + message(watched, state, locale)


def heading(watched: Watched, state: State, stopping: bool, locale: Locale, name: str, buttons: str) -> str:
    """The line with the name, and the bar unless all is done; ``buttons`` is HTML."""
    shown = "stopping" if stopping else state
    word = locale(Say.stopping if stopping else STATES[state])
    return (
        f'<div class="head"><span class="chip {shown}" role="status">{html.escape(word)}</span>'
        f'<span class="name">{html.escape(name)}</span><span class="time">{html.escape(_time(watched, state, locale))}</span>'
        f'<span class="acts">{buttons}</span></div>'
        f"{'' if state == 'finished' else bar(watched, state, locale)}"
    )


def called(locale: Locale, run: Run) -> str:
    """An evaluation under its own name, a report under that of the run it is on."""
    return locale(Say.report(run=trained_of(run).name)) if is_report(run) else run.name


def _time(watched: Watched, state: State, locale: Locale) -> str:
    view = watched.view
    if state == "running":
        left = watched.seconds_left()
        return locale(Say.left(time=duration(left))) if left is not None else ""
    took = view.took_s()
    return "" if took is None else locale(Say.took(time=duration(took)))


def _buttons(run: Run, state: State, stopping: bool, locale: Locale) -> str:
    acts = usual_acts(state, stopping)
    if state == "finished" and is_report(run):
        acts.insert(0, ("again", Say.again))
    goes = Say.sure_report(run=trained_of(run).name) if is_report(run) else Say.sure(name=run.name)
    return act_buttons(acts, locale(goes), locale)


def usual_acts(state: State, stopping: bool) -> list[tuple[str, Text]]:
    """What can be done with every run in this state, with its words."""
    acts = [("stop", Say.stop_now if stopping else Say.stop)] if state == "running" else [("delete", Say.delete)]
    return [("resume", Say.resume), *acts] if state in ("stopped", "failed", "lost", "waiting") else acts


def act_buttons(acts: Sequence[tuple[str, Text]], goes: str, locale: Locale) -> str:
    """A button for each; the one that deletes asks with the words ``goes`` first."""
    sure = html.escape(goes, quote=True)
    return "".join(
        f'<button type="button" data-action="{action}"{f""" data-sure="{sure}" """ if action == "delete" else ""}>'
        f"{said(locale, words)}</button>"
        for action, words in acts
    )


def bar(watched: Watched, state: State, locale: Locale) -> str:
    """The phases so far, how much of the present one is done, and of whom."""
    view, share = watched.view, watched.share()
    phases = "".join(
        f"<li{' class=now aria-current=step' if name == view.phase.name else ''}>{html.escape(locale(phase_words(name)))}</li>"
        for name in view.phases
    )
    count = counted(view.phase.done, view.phase.total, view.phase.name in SIZED) if view.phase.total else ""
    model = watched.model()
    steps = " · ".join(one for one in (locale(MODELS[model]) if model else "", count) if one)
    unknown = " unknown" if share is None and state == "running" else ""
    percent = round(100 * (share or 0))
    return (
        f'<div class="progress"><div class="line"><ol class="phases">{phases}</ol>'
        f'<span class="steps">{html.escape(steps)}</span></div>'
        f'<div class="bar{unknown}" role="progressbar" aria-valuenow="{percent}"><div class="fill" style="width: {percent}%"></div>'
        "</div></div>"
    )


def message(watched: Watched, state: State, locale: Locale, endings: Mapping[str, Text] | None = None) -> str:
    """How it ended, where it did not finish; ``endings``: what is said of a lost and of a stopped run."""
    ended = watched.view.ended
    if state == "failed" and isinstance(ended, Failed):
        lines = "".join(f"<p>{html.escape(locale(problem.message))}</p>" for problem in ended.problems)
        detail = fold("detail", said(locale, Say.detail), f"<pre>{html.escape(ended.detail)}</pre>") if ended.detail else ""
        return f'<div class="problems" role="alert">{lines}{detail}</div>'
    words = (endings or {"lost": Say.lost, "stopped": Say.stopped}).get(state)
    return f'<p class="message">{said(locale, words)}</p>' if words else ""


def foot(watched: Watched, state: State, locale: Locale) -> str:
    """What was noted on the way, and what the process printed."""
    notes = "".join(
        f'<li class="{note.level}">{html.escape(locale(note.message))}</li>' for note in watched.view.notes
    )
    warned = any(note.level == "warning" for note in watched.view.notes)
    told = fold("notes", said(locale, Say.notes), f'<ul class="notes">{notes}</ul>', warned) if notes else ""
    log = html.escape(watched.run.log_tail(LOG_BYTES))
    return told + (fold("log", said(locale, Say.log), f"<pre>{log}</pre>") if log.strip() else "")


def fold(name: str, title: str, content: str, opened: bool = False) -> str:
    """A fold whose name lets the page keep it as the person left it; title and content are HTML."""
    return f'<details class="fold" data-name="{name}"{" open" if opened else ""}><summary>{title}</summary>{content}</details>'
