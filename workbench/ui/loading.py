"""The model that Chat talks to: a serve run, found, begun, ended, and told in words. Knows no component and no engine."""

import html
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import psutil

from workbench.checking import check_serve
from workbench.events import Failed
from workbench.models import model_name
from workbench.problems import Problem, UserError
from workbench.runs import Run, create, find_run, list_runs
from workbench.specs import ServeSpec, TrainSpec
from workbench.text import Locale, Text, verbatim
from workbench.view import View
from workbench.wording import duration, phase_words, size
from workbench.workspace import Workspace

END_PATIENCE_S = 8.0
LISTED_RUNS = 200
LOG_BYTES = 3_000
TRAINED_WITH = ("model_name_or_path", "hub", "template", "model_revision", "trust_remote_code")
"""What an adapter needs of the spec that it was trained with."""
Condition = Literal["none", "loading", "ready", "failed", "lost"]


class Say:
    base_only = Text("Base model only")
    none = Text("Nothing is loaded yet. Choose who answers, then press Load.")
    loaded = Text("loaded")
    who_tuned = Text("{model} with {adapters}")
    memory = Text("{size} of memory")
    ending = Text("Unloading.")
    lost = Text(
        "The model is no longer loaded: its process ended by itself, perhaps for want of memory. Press Load to load it "
        "again."
    )
    detail = Text("What the process printed last")
    nothing_learned = Text(
        "The run '{name}' has saved no weights yet. Accepted: a run with a checkpoint. Choose another."
    )


@dataclass(frozen=True)
class Standing:
    """How it stands with the serve run that a page looks at."""

    condition: Condition = "none"
    run: Run | None = None
    view: View = field(default_factory=View)

    @property
    def name(self) -> str:
        """The run's name; empty when there is none."""
        return self.run.name if self.run else ""

    @property
    def url(self) -> str:
        return self.view.ready.url if self.view.ready else ""

    @property
    def models(self) -> list[str]:
        """The names that the server says it answers to; none while it does not answer."""
        return list(self.view.ready.models) if self.view.ready and self.condition == "ready" else []


def standing(run: Run | None) -> Standing:
    """What the run's files say now. One that was ended by a person, or deleted, is as none."""
    if run is None or not (run.folder / "spec.yaml").is_file() or run.stop_file.exists():
        return Standing()
    state, view = run.state(), run.view()
    match state:
        case "running" | "waiting":
            return Standing("ready" if view.ready and state == "running" else "loading", run, view)
        case "failed" | "lost":
            return Standing(state, run, view)
    return Standing()


def stands(workspace: Workspace, name: str) -> Standing:
    """How it stands with the run of that name; with the newest that runs when it has ended or there is no name."""
    mine = standing(Run(workspace, workspace.inside(workspace.saves, name))) if name else Standing()
    if mine.condition != "none":
        return mine
    found = (standing(run) for run in list_runs(workspace, "serve") if run.state() == "running")
    return next((one for one in found if one.condition in ("ready", "loading")), Standing())


def answerers(workspace: Workspace, locale: Locale) -> list[tuple[str, str]]:
    """Who can answer: the base alone, or with what a run has learned, the newest first; (shown name, run's name)."""
    runs = [run for run in list_runs(workspace)[:LISTED_RUNS] if run.has_adapter()]
    return [(locale(Say.base_only), ""), *((run.short_name, run.name) for run in runs)]


def is_ours(now: Standing) -> bool:
    """Whether it was loaded to be talked to here. A server on a port that somebody chose is there for others too."""
    spec = _spec(now)
    return spec is None or spec.serving.api_port == 0


def adapter_of(now: Standing) -> str:
    """The run whose adapter the server has, by name; empty for the base alone."""
    spec = _spec(now)
    given = spec.model.adapter_name_or_path if spec else []
    return given[-1].removeprefix("saves/") if given else ""


def _spec(now: Standing) -> ServeSpec | None:
    spec = now.run.read_spec().spec if now.run else None
    return spec if isinstance(spec, ServeSpec) else None


def trained_with(workspace: Workspace, name: str) -> dict[str, Any]:
    """The values with which the run's adapter is loaded; UserError when there is no such run or adapter."""
    run = find_run(workspace, name)
    spec = run.read_spec().unwrap()
    if not isinstance(spec, TrainSpec) or not run.has_adapter():
        raise UserError(Say.nothing_learned(name=run.name))
    flat = spec.flat()
    return {**{key: flat[key] for key in TRAINED_WITH}, "adapter_name_or_path": [f"saves/{run.name}"]}


def serve_spec(workspace: Workspace, name: str, chosen: Mapping[str, Any]) -> ServeSpec:
    """The spec of a server for the run of that name, or the base alone; ``chosen`` goes before what it was trained with."""
    values = {**(trained_with(workspace, name) if name else {}), **chosen}
    return check_serve(workspace, values).unwrap()


def begin(workspace: Workspace, spec: ServeSpec) -> Run:
    """A new server in a process of its own, which has begun to load."""
    run = create(workspace, spec)
    run.start()
    return run


def end(run: Run) -> None:
    """End the server's process, at once if it does not heed, and clear its folder away."""
    if run.state() == "running" and not run.stop_file.exists():
        run.stop()
    if run.wait(END_PATIENCE_S) == "running":
        run.kill()
        run.wait(END_PATIENCE_S)
    if run.state() != "running":
        run.delete()


def told(now: Standing, locale: Locale) -> str:
    """The line under the choice of who answers, as HTML: loading, loaded, or what is in the way."""
    match now.condition:
        case "loading":
            return _loading(now.view, locale)
        case "ready":
            return _ready(now, locale)
        case "failed":
            ended = now.view.ended
            problems = list(ended.problems) if isinstance(ended, Failed) else []
            return wrong(problems, locale) + _log(now, locale)
        case "lost":
            return wrong([Problem(Say.lost())], locale) + _log(now, locale)
    return f'<p class="quiet" role="status">{_said(locale, Say.none)}</p>'


def wrong(problems: Sequence[Problem], locale: Locale) -> str:
    """Problems, each on a line of its own."""
    lines = "".join(f"<p>{html.escape(locale(problem.message))}</p>" for problem in problems)
    return f'<div class="plan wrong" role="alert">{lines}</div>'


def ending(locale: Locale) -> str:
    """While the process is being ended."""
    return f'<p class="quiet" role="status">{_said(locale, Say.ending)}</p>'


def _said(locale: Locale, said: Any) -> str:
    return html.escape(locale(said))


def _loading(view: View, locale: Locale) -> str:
    part = view.phase.done / view.phase.total if view.phase.total else None
    counted = f"{size(view.phase.done)} / {size(view.phase.total)}" if view.phase.total else ""
    passed = duration(time.time() - view.started_at) if view.started_at else None
    bar = f'<div class="bar{"" if part is not None else " unknown"}">'
    fill = f'<div class="fill" style="width: {100 * (part or 0):.1f}%"></div></div>'
    return (
        f'<div class="head"><span class="chip running" role="status">{_said(locale, phase_words(view.phase.name))}</span>'
        f'<span class="name">{counted}</span><span class="time">{_said(locale, passed) if passed else ""}</span></div>'
        f"{bar}{fill}"
    )


def _ready(now: Standing, locale: Locale) -> str:
    spec = _spec(now)
    model = model_name(spec.model.model_name_or_path) if spec else ""
    adapters = ", ".join(now.models[1:])
    who = Say.who_tuned(model=model, adapters=adapters) if adapters else verbatim(model)
    used = memory_bytes(now)
    told = locale(Say.memory(size=size(used))) if used else ""
    quiet = " ".join(_said(locale, note.message) for note in now.view.notes if note.level == "info")
    warned = [_said(locale, note.message) for note in now.view.notes if note.level == "warning"]
    notes = f'<p class="quiet">{quiet}</p>' + "".join(f'<p class="warning">{text}</p>' for text in warned)
    return (
        f'<div class="head"><span class="chip finished" role="status">{_said(locale, Say.loaded)}</span>'
        f'<span class="name">{_said(locale, who)}</span><span class="time">{html.escape(told)}</span></div>{notes}'
    )


def memory_bytes(now: Standing) -> int:
    """Main memory that the server's process holds, 0 when that can't be told."""
    if now.view.started is None:
        return 0
    try:
        return int(psutil.Process(now.view.started.pid).memory_info().rss)
    except psutil.Error:
        return 0


def _log(now: Standing, locale: Locale) -> str:
    printed = now.run.log_tail(LOG_BYTES).strip() if now.run else ""
    if not printed:
        return ""
    return f'<details class="fold"><summary>{_said(locale, Say.detail)}</summary><pre>{html.escape(printed)}</pre></details>'
