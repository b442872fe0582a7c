"""A run as it is now, for the page: tail -> fold -> what to draw. The same for every kind of run; knows no form.

The browser asks with the byte offset it has seen; when nothing is new the answer is empty. The server keeps one folded
View for each run that is watched, so any number of windows cost one reading of the file.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from workbench.events import Failed, Finished, Sample, State, Stopped, pieces
from workbench.health import verdict
from workbench.problems import UserError
from workbench.runs import Run
from workbench.specs import TrainSpec
from workbench.text import Locale, Text
from workbench.ui.aftermath import After, after, drawn
from workbench.ui.desk import Desk, static
from workbench.view import Curve, View
from workbench.wording import STATES, duration, phase_words, size

WATCHED_RUNS = 16
LOG_BYTES = 6_000
PHASES = ("reading", "fetching", "data", "model", "training", "saving")


class Say:
    empty = Text("No run yet. Choose a model and a dataset on the left, then press Start.")
    gone = Text("There is no run '{name}' any more: its folder was moved or deleted. Choose another one, or start a new one.")
    stopping = Text("stopping")
    left = Text("{time} left")
    took = Text("took {time}")
    rate = Text("{tokens} tokens/s ({padding} % padding)")
    loss = Text("loss {loss}")
    both_losses = Text("loss {loss} (validation {validation})")
    lost_words = Text("The worker ended without a word. Press Resume: the run goes on from its last whole checkpoint.")
    stopped_words = Text("Stopped at step {step} and saved. Press Resume to go on from there.")
    stopped_early = Text("Stopped before the first step. Press Resume to begin again.")
    stopping_words = Text(
        "Finishing this step and saving. Press Stop again to end at once; what came after the last checkpoint is lost then."
    )
    finished_words = Text("Finished: the weights lie in {folder}.")
    detail = Text("Details for a report of this mistake")
    title_loss = Text("Loss")
    title_rate = Text("Learning rate")
    title_norm = Text("Gradient norm")
    train = Text("training")
    smooth = Text("smoothed")
    validation = Text("validation")
    linear = Text("linear")
    logarithmic = Text("log")
    reset_zoom = Text("whole run")
    drag = Text("Drag across the chart to zoom.")
    step = Text("step")
    watched = Text("Watch it learn")
    notes = Text("Notes")
    log = Text("Log")
    no_points = Text("The curve begins with the first step.")


@dataclass
class _Watched:
    """A run's file as far as it was read, and what was understood of it."""

    run: Run
    offset: int = 0
    view: View = field(default_factory=View)
    began: int = -1
    metrics: Mapping[str, Text] | None = None
    """What the run's stage measures beside the loss; None until its spec was read."""
    after: After | None = None
    """What can be done once it has ended; None until that was looked for."""


class Live:
    """Answers the browsers' question: what is new in this run?"""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._watched: OrderedDict[str, _Watched] = OrderedDict()
        self._turn = threading.Lock()

    def component(self) -> Any:
        """The panel: phase, progress, chart, answers, log, drawn in the browser by live.js."""

        def snapshot(question: dict[str, Any]) -> dict[str, Any] | None:
            return self.answer(question)

        return gr.HTML(
            value={"run": "", "language": self._desk.first, "nudge": 0},
            html_template='<div class="live" aria-live="off"></div>',
            js_on_load=static("live.js"),
            server_functions=[snapshot],
            elem_id="live",
            apply_default_css=False,
        )

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any] | None:
        """What is new for a browser that has seen ``seen`` and drawn points up to ``drawn``; None when nothing is."""
        locale = self._desk.locale(str(question.get("language", "")))
        name = str(question.get("run", ""))
        if not name:
            return {"seen": "", "empty": locale(Say.empty), "state": "none"}
        try:
            folder = self._desk.workspace.inside(self._desk.workspace.saves, name)
        except UserError as error:
            return {"seen": "", "empty": locale(error.problems[0].message), "state": "none"}
        if not (folder / "spec.yaml").is_file():
            return {"seen": "", "empty": locale(Say.gone(name=name)), "state": "none"}
        with self._turn:
            watched = self._watch(name, Run(self._desk.workspace, folder))
            state = watched.run.state()
            stopping = state == "running" and watched.run.stop_file.exists()
            seen = f"{name} {watched.began} {watched.offset} {state} {stopping} {locale.name}"
            if question.get("seen") == seen:
                return None
            points = question.get("drawn") if _goes_on(str(question.get("seen", "")), seen) else None
            if watched.metrics is None:
                watched.metrics = _metrics(watched.run)
            told = picture(watched.run, watched.view, state, stopping, locale, points, watched.metrics)
        # Outside the turn: reading the sets of one ended run does not keep the other windows waiting.
        return {"seen": seen, **told, **_ended(watched, state, locale)}

    def _watch(self, name: str, run: Run) -> _Watched:
        """The run's View brought up to date; a file that became shorter belongs to a new run of that name."""
        watched = self._watched.pop(name, None) or _Watched(run)
        size = run.events.stat().st_size if run.events.exists() else 0
        inode = run.events.stat().st_ino if size else -1
        if size < watched.offset or (watched.began not in (-1, inode)):
            watched = _Watched(run)
        for entries, offset in pieces(run.events, watched.offset):
            watched.after, watched.offset = None if entries else watched.after, offset
            watched.view.fold(entries)
        watched.began = inode
        self._watched[name] = watched
        while len(self._watched) > WATCHED_RUNS:
            self._watched.popitem(last=False)
        return watched


def _ended(watched: _Watched, state: State, locale: Locale) -> dict[str, Any]:
    """What can be done with a run that has ended; looked for once, since that takes reading its rows."""
    if state not in ("finished", "failed", "lost"):
        return {}
    if watched.after is None:
        watched.after = after(watched.run, watched.view, state)
    killed = {"message": locale(watched.after.killed)} if watched.after.killed else {}
    return {**killed, "after": drawn(watched.after, locale)}


def _goes_on(before: str, now: str) -> bool:
    """Whether both describe the same file in the same language, so that only new points need to be sent."""
    return before.split(" ")[:2] == now.split(" ")[:2] and before.split(" ")[-1:] == now.split(" ")[-1:]


def picture(
    run: Run,
    view: View,
    state: State,
    stopping: bool,
    locale: Locale,
    drawn: Mapping[str, Any] | None,
    metrics: Mapping[str, Text],
) -> dict[str, Any]:
    """All that the panel draws, in the visitor's language; of the curves only what is new after ``drawn``."""
    words = {name: said for name, said in Say.__dict__.items() if isinstance(said, Text)}
    shown = "stopping" if stopping else state
    phases = [name for name in PHASES if name in view.phases]
    total, step = view.step.total, view.step.step
    part = view.phase.done / view.phase.total if view.phase.total else None
    share = step / total if total and view.phase.name in ("training", "saving") else part
    return {
        "state": state,
        "shown": shown,
        "stateWord": locale(Say.stopping if stopping else STATES[state]),
        "name": run.name,
        "phases": [{"word": locale(phase_words(name)), "now": name == view.phase.name} for name in phases],
        "share": 1.0 if state == "finished" else share,
        "steps": f"{step:,} / {total:,}" if total else "",
        "time": _time(view, state, locale),
        "facts": _facts(view, locale) if step else [],
        "health": _health(view, locale) if step and "training" in view.phases else None,
        "message": _message(run, view, state, stopping, locale),
        "problems": _problems(view, locale),
        "curves": {name: _curve(curve, drawn, name, name == "loss") for name, curve in _curves(view).items()},
        "charts": _charts(view, metrics, locale),
        "samples": _samples(view),
        "notes": [{"level": note.level, "text": locale(note.message)} for note in view.notes],
        "log": run.log_tail(LOG_BYTES),
        "words": {name: locale(said) for name, said in words.items()},
    }


def _metrics(run: Run) -> Mapping[str, Text]:
    """What the stage of a training run measures, by name."""
    spec = run.read_spec().spec
    return spec.stage.METRICS if isinstance(spec, TrainSpec) else {}


def _curves(view: View) -> dict[str, Curve]:
    """Every curve by a name of its own."""
    return {
        "loss": view.loss,
        "eval": view.eval,
        **{f"train/{name}": curve for name, curve in view.metrics.items()},
        **{f"eval/{name}": curve for name, curve in view.eval_metrics.items()},
        "learning_rate": view.learning_rate,
        "grad_norm": view.grad_norm,
    }


def _charts(view: View, metrics: Mapping[str, Text], locale: Locale) -> list[dict[str, Any]]:
    """The charts in their order: title, and its lines as curve, list of values, kind and word."""
    train, smooth, tried = locale(Say.train), locale(Say.smooth), locale(Say.validation)
    found = [
        (locale(Say.title_loss), [["loss", "values", "raw", train], ["loss", "smooth", "strong", smooth],
                                  ["eval", "values", "points", tried]]),
    ]  # fmt: skip
    for name, title in metrics.items():
        lines = []
        if name in view.metrics:
            lines.append([f"train/{name}", "values", "strong", train])
        if name in view.eval_metrics:
            lines.append([f"eval/{name}", "values", "points", tried])
        if lines:
            found.append((locale(title), lines))
    for name, said in (("learning_rate", Say.title_rate), ("grad_norm", Say.title_norm)):
        found.append((locale(said), [[name, "values", "strong", locale(said)]]))
    return [{"title": title, "lines": lines} for title, lines in found]


def _curve(curve: Curve, drawn: Mapping[str, Any] | None, name: str, smooth: bool = False) -> dict[str, Any]:
    """Points after the last one drawn; all of them when the curve was thinned or cut since."""
    last, count = (drawn or {}).get(name, (-1, 0))
    known = sum(1 for step in curve.steps if step <= last)
    start = known if drawn and known == count else 0
    points: list[list[float]] = [
        [float(step) for step in curve.steps[start:]],
        [_short(value) for value in curve.values[start:]],
    ]
    if smooth:
        points.append([_short(value) for value in curve.smoothed()[start:]])
    return {"from": start, "points": points}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _samples(view: View) -> list[dict[str, Any]]:
    """The watched questions in order, each with its answers by step; the same answer twice in a row is told once."""
    grouped: dict[str, list[Sample]] = {}
    for sample in view.samples:
        grouped.setdefault(sample.prompt, []).append(sample)
    return [
        {"prompt": prompt, "answers": [{"step": s.step, "text": s.answer} for s in _changes(samples)]}
        for prompt, samples in grouped.items()
    ]


def _changes(samples: list[Sample]) -> list[Sample]:
    return [sample for at, sample in enumerate(samples) if at == 0 or sample.answer != samples[at - 1].answer]


def _time(view: View, state: State, locale: Locale) -> str:
    if state == "running":
        left = view.seconds_left()
        return locale(Say.left(time=duration(left))) if left is not None and view.phase.name == "training" else ""
    took = view.took_s()
    return "" if took is None else locale(Say.took(time=duration(took)))


def _facts(view: View, locale: Locale) -> list[str]:
    facts = []
    rate, padding = view.tokens_per_second(), view.padding_share()
    if rate is not None and padding is not None:
        facts.append(locale(Say.rate(tokens=f"{rate:,.0f}", padding=f"{100 * padding:.0f}")))
    facts.append(size(view.step.memory_bytes))
    smoothed = view.smoothed_loss()
    if smoothed is not None:
        if view.eval_loss is None:
            facts.append(locale(Say.loss(loss=f"{smoothed:.3g}")))
        else:
            facts.append(locale(Say.both_losses(loss=f"{smoothed:.3g}", validation=f"{view.eval_loss:.3g}")))
    return facts


def _message(run: Run, view: View, state: State, stopping: bool, locale: Locale) -> str:
    if stopping:
        return locale(Say.stopping_words)
    match view.ended:
        case Finished() if state == "finished":
            return locale(Say.finished_words(folder=f"saves/{run.name}"))
        case Stopped() as ended if state == "stopped":
            return locale(Say.stopped_words(step=ended.step) if ended.step else Say.stopped_early)
    return locale(Say.lost_words) if state == "lost" else ""


def _health(view: View, locale: Locale) -> dict[str, str] | None:
    """How the run learns; nothing while it is too early to say."""
    found = verdict(view)
    return None if found.level == "waiting" else {"level": found.level, "text": locale(found.message)}


def _problems(view: View, locale: Locale) -> dict[str, Any] | None:
    if not isinstance(view.ended, Failed):
        return None
    return {"texts": [locale(problem.message) for problem in view.ended.problems], "detail": view.ended.detail}
