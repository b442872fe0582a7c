"""The model that Chat talks to: a serve run, found, begun, ended, and told in words. Knows no component and no engine."""

import html
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from workbench.checking import check_serve
from workbench.events import Failed
from workbench.exporting.folder import made_by
from workbench.models import checkpoints, model_name
from workbench.problems import Problem, UserError
from workbench.runs import Run, create, find_run, list_runs
from workbench.specs import ExportSpec, ServeSpec, TrainSpec, yaml_mapping
from workbench.text import Locale, Text, verbatim
from workbench.ui.chatting import KEY_VARIABLE
from workbench.view import View
from workbench.wording import duration, phase_words, size
from workbench.workspace import Workspace

END_PATIENCE_S = 8.0
LISTED_RUNS = 200
LOG_BYTES = 3_000
LISTED_LOADABLE = 40
ENGINE_KEY = "infer_backend"
URLS = ("http://", "https://")
GGUF = ".gguf"
EXPORTED = "models/"
"""Before the name of an adapter that was exported there."""
TRAINED_WITH = ("model_name_or_path", "hub", "template", "model_revision", "trust_remote_code")
"""What an adapter needs of the spec that it was trained with."""
Condition = Literal["none", "loading", "ready", "failed", "lost"]


class Say:
    base_only = Text("Base model only")
    step = Text("{run}, step {step}")
    file = Text("file {name}")
    adapter = Text("exported adapter {name}")
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
    no_base = Text(
        "Nothing says over which model '{name}' was trained. Accepted: an adapter whose adapter_config.json names its base. Choose "
        "the run that it came from."
    )
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
    """Who can answer: the base alone, with what a run has learned, the newest first, or a GGUF file; (shown, value).

    Of a run with several checkpoints each stands below it; a run without final weights answers with its newest.
    """
    runs = [run for run in list_runs(workspace)[:LISTED_RUNS] if run.has_adapter()]
    found = [(locale(Say.base_only), "")]
    for run in runs:
        found.append((run.short_name, run.name))
        found += [
            (locale(Say.step(run=run.short_name, step=_step(folder))), f"{run.name}/{folder.name}")
            for folder in checkpoints(run.folder)[::-1]
        ]
    found += [(locale(Say.adapter(name=folder.name)), f"{EXPORTED}{folder.name}") for folder in exported_adapters(workspace)]
    return [*found, *((locale(Say.file(name=file.name)), shown) for file, shown in gguf_files(workspace))]


def exported_adapters(workspace: Workspace) -> list[Path]:
    """The folders in models/ that hold an adapter alone."""
    return sorted(path.parent for path in workspace.models.glob("*/adapter_config.json") if path.parent.name[0] != ".")


def gguf_files(workspace: Workspace) -> list[tuple[Path, str]]:
    """The GGUF files in models/ and in runs, with their paths inside the workspace."""
    patterns = ("models/*.gguf", "models/*/*.gguf", "models/*/*/*/*.gguf", "saves/*/*/*/*.gguf")
    files = [path for pattern in patterns for path in sorted(workspace.root.glob(pattern))]
    named = [(path, path.relative_to(workspace.root).as_posix()) for path in files]
    return [(path, shown) for path, shown in named if not any(part.startswith(".") for part in shown.split("/"))]


def _step(folder: Path) -> str:
    return folder.name.removeprefix("checkpoint-")


def loadable(workspace: Workspace, now: Standing, locale: Locale) -> list[tuple[str, str]]:
    """What the server's base can be joined by while it runs: the runs and checkpoints that learned over it; (shown, value)."""
    spec = _spec(now)
    base = model_name(spec.model.model_name_or_path) if spec else ""
    of_base = {
        run.name
        for run in list_runs(workspace)[:LISTED_LOADABLE]
        if base and model_name(_trained_over(run)) == base
    }
    return [
        (shown, f"{LATER}{name}")
        for shown, name in answerers(workspace, locale)
        if name in of_base or name.rpartition("/")[0] in of_base
    ]


LATER = "run:"
"""Before the name of a run that a server is to be joined by."""


def speaking_name(later: str) -> str:
    """The name under which a run, or a checkpoint of one, answers once it has joined a server."""
    parts = later.removeprefix(LATER).split("/")
    return "/".join(parts[-2:]) if parts[-1].startswith("checkpoint-") else parts[-1]


def _trained_over(run: Run) -> str:
    file = run.folder / "spec.yaml"
    values = yaml_mapping(file.read_text("utf-8", errors="replace")) if file.is_file() else {}
    return str(values.get("model_name_or_path") or "") if isinstance(values, dict) else ""


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
    """The values with which a run's adapter, that of its checkpoint, or an exported one is loaded; UserError when there is none."""
    if name.startswith(EXPORTED):
        return _exported_with(workspace, name)
    home, _, last = name.rpartition("/")
    checkpoint = last if last.startswith("checkpoint-") else ""
    run = find_run(workspace, home if checkpoint else name)
    spec = run.read_spec().unwrap()
    there = run.has_adapter() and (not checkpoint or (run.folder / checkpoint).is_dir())
    if not isinstance(spec, TrainSpec) or not there:
        raise UserError(Say.nothing_learned(name=run.name))
    flat = spec.flat()
    adapter = f"saves/{run.name}/{checkpoint}".rstrip("/")
    return {**{key: flat[key] for key in TRAINED_WITH}, "adapter_name_or_path": [adapter]}


def _exported_with(workspace: Workspace, name: str) -> dict[str, Any]:
    """The values for an adapter that was exported: those of its export where that is still there, else what it says itself."""
    folder = workspace.inside(workspace.models, name.removeprefix(EXPORTED))
    made = workspace.inside(workspace.saves, made_by(folder) or "-")
    spec = Run(workspace, made).read_spec().spec
    if isinstance(spec, ExportSpec):
        flat = spec.flat()
        return {**{key: flat[key] for key in TRAINED_WITH}, "adapter_name_or_path": [name]}
    try:
        base = str(json.loads((folder / "adapter_config.json").read_text("utf-8"))["base_model_name_or_path"] or "")
    except (OSError, ValueError, KeyError, TypeError):
        base = ""
    if not base:
        raise UserError(Say.no_base(name=folder.name))
    return {"model_name_or_path": base, "adapter_name_or_path": [name]}


def is_run(who: str) -> bool:
    """Whether a choice of who answers names a run or an exported adapter, and not the base, a file or an address."""
    return bool(who) and not who.startswith(URLS) and not who.endswith(GGUF)


def serve_spec(workspace: Workspace, who: str, chosen: Mapping[str, Any]) -> ServeSpec:
    """The spec of a server for that choice: a run, a GGUF file, an address ``http://host/v1#model``, or the base alone.

    ``chosen`` goes before what a run was trained with.
    """
    values = {**(trained_with(workspace, who) if is_run(who) else {}), **chosen}
    usual = values.get(ENGINE_KEY, ServeSpec.knobs()[ENGINE_KEY].default) == ServeSpec.knobs()[ENGINE_KEY].default
    if who.startswith(URLS):
        url, _, model = who.partition("#")
        kept = {key: value for key, value in values.items() if key.startswith(("api_", "remote_"))}
        values = {**kept, "model_name_or_path": "", ENGINE_KEY: "remote", "remote_url": url}
        values |= {"remote_model": model} if model else {}
    elif who.endswith(GGUF):
        values |= {"model_name_or_path": who, **({ENGINE_KEY: "auto"} if usual else {})}
    return check_serve(workspace, values).unwrap()


def begin(workspace: Workspace, spec: ServeSpec, key: str = "") -> Run:
    """A new server in a process of its own, which has begun to load; it alone is told the key."""
    run = create(workspace, spec)
    run.start({KEY_VARIABLE: key} if key else {})
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
    model = _shown_base(spec) if spec else ""
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


def _shown_base(spec: ServeSpec) -> str:
    """The base's name; of a server elsewhere its address."""
    return model_name(spec.model.model_name_or_path) or str(spec.flat().get("remote_url") or spec.engine.infer_backend)


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
