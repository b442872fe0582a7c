"""The Runs tab: every run on one page, with what it came to and what can be done with it. Knows runs, no job."""

import html
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import gradio as gr

from workbench.bundles import bundle_run
from workbench.problems import UserError
from workbench.runs import Run, find_run, list_runs
from workbench.text import Locale, Text
from workbench.ui.aftermath import act as go_on
from workbench.ui.desk import TOLD_S, Arrival, Desk, static
from workbench.wording import STATES, duration

LISTED_RUNS = 300


class Say:
    title = Text("Runs")
    empty = Text("No run yet. Start one on the Train tab.")
    run = Text("Run")
    state = Text("State")
    began = Text("Began")
    steps = Text("Steps")
    loss = Text("Loss")
    validation = Text("Validation")
    time = Text("Time")
    stop = Text("Stop")
    resume = Text("Resume")
    delete = Text("Delete")
    sure = Text("Delete {name} with its weights and checkpoints?")
    longer = Text("Train on")
    bundle = Text("Bundle")
    with_data = Text("Bundles with their rows")
    with_data_help = Text(
        "A bundle is one zip of a finished run: spec, hashes of its rows, versions, events, report, adapter. 'python app.py replay' "
        "trains it again. Ticked: the rows themselves are in it, too, and the questions and answers that report and events show."
    )
    how_long = Text(
        "For how many epochs more? A new run goes on from the last checkpoint of {name} with its optimiser, or, where none "
        "was kept, from its weights with a new one."
    )
    refresh = Text("Refresh")
    more = Text("{count} older runs are not shown; 'python app.py runs list' shows all.")


ORDER = 90
FIRST = False
TITLE = Say.title


def build(desk: Desk) -> None:
    """A table that is drawn anew whenever the tab is opened."""
    with gr.Row(elem_id="runs-head"):
        refresh = desk.button(Say.refresh, elem_id="runs-refresh", scale=0, min_width=100)
        rows = desk.words(
            gr.Checkbox,
            lambda locale: {"label": locale(Say.with_data), "info": locale(Say.with_data_help)},
            elem_id="runs-with-data",
            elem_classes=["field"],
            scale=0,
            min_width=220,
        )
    zipped = desk.words(gr.File, lambda locale: {"label": locale(Say.bundle)}, visible=False, interactive=False, elem_id="runs-bundle")
    table = gr.HTML("", js_on_load=static("runs.js"), elem_id="runs", apply_default_css=False)
    table.click(_act(desk), [desk.language, rows], [table, zipped], show_progress="hidden")
    refresh.click(lambda language: runs_table(desk, language), desk.language, table, show_progress="hidden")
    desk.retellings.append((lambda language: runs_table(desk, language), [desk.language], [table]))
    desk.tabs.select(lambda language: runs_table(desk, language), desk.language, table, show_progress="hidden")
    desk.arrivals.append(Arrival(lambda language, prefs: [runs_table(desk, language)], [table]))


def _act(desk: Desk) -> Any:
    def act(language: str, rows: bool, event: gr.EventData) -> list[Any]:
        locale, zipped = desk.locale(language), gr.skip()
        try:
            run = find_run(desk.workspace, str(event.run))
            match event.action:
                case "stop":
                    run.stop()
                case "resume":
                    run.resume()
                case "delete":
                    run.delete()
                case "longer":
                    go_on(run, {"action": "longer", "epochs": event.epochs})
                case "bundle":
                    zipped = gr.update(value=bundled(run, rows), visible=True)
        except UserError as error:
            raise gr.Error(" ".join(locale(p.message) for p in error.problems), duration=TOLD_S) from None
        return [runs_table(desk, language), zipped]

    return act


def bundled(run: Run, rows: bool) -> str:
    """The run as a zip in a folder of its own outside the workspace, from where the page offers it."""
    file = Path(tempfile.mkdtemp(prefix="bundle-")) / f"{run.folder.name}.zip"
    bundle_run(run, file, rows)
    return str(file)


def runs_table(desk: Desk, language: str) -> str:
    """Every run as a row; names and words escaped."""
    locale = desk.locale(language)
    runs = list_runs(desk.workspace)
    if not runs:
        return f'<p class="empty">{html.escape(locale(Say.empty))}</p>'
    heads = (Say.run, Say.state, Say.began, Say.steps, Say.loss, Say.validation, Say.time)
    head = "".join(f"<th>{html.escape(locale(said))}</th>" for said in heads)
    body = "".join(_row(run, locale) for run in runs[:LISTED_RUNS])
    hidden = len(runs) - LISTED_RUNS
    more = f"<p>{html.escape(locale(Say.more(count=hidden)))}</p>" if hidden > 0 else ""
    return f"<table><thead><tr>{head}<th></th></tr></thead><tbody>{body}</tbody></table>{more}"


def _row(run: Run, locale: Locale) -> str:
    view, state = run.recent_view(), run.state()
    took, loss = view.took_s(), view.smoothed_loss()
    began = datetime.fromtimestamp((run.folder / "spec.yaml").stat().st_mtime).astimezone().strftime("%Y-%m-%d %H:%M")
    cells = [
        f'<td class="run">{html.escape(run.name)}</td>',
        f'<td><span class="chip {state}">{html.escape(locale(STATES[state]))}</span></td>',
        f"<td>{began}</td>",
        f'<td class="number">{view.step.step:,}{f" / {view.step.total:,}" if view.step.total else ""}</td>',
        f'<td class="number">{"" if loss is None else f"{loss:.3g}"}</td>',
        f'<td class="number">{"" if view.eval_loss is None else f"{view.eval_loss:.3g}"}</td>',
        f'<td class="number">{"" if took is None else html.escape(locale(duration(took)))}</td>',
    ]
    actions = [("stop", Say.stop)] if state == "running" else [("delete", Say.delete)]
    if state in ("stopped", "failed", "lost", "waiting"):
        actions.insert(0, ("resume", Say.resume))
    if state == "finished" and run.has_adapter():
        actions.insert(0, ("longer", Say.longer))
    if state == "finished":
        actions.insert(0, ("bundle", Say.bundle))
    asked = {"delete": locale(Say.sure(name=run.name)), "longer": locale(Say.how_long(name=run.name))}
    buttons = "".join(_button(action, run.name, locale(said), asked.get(action, "")) for action, said in actions)
    return f'<tr>{"".join(cells)}<td class="actions">{buttons}</td></tr>'


def _button(action: str, name: str, word: str, asked: str) -> str:
    """A button that does something to the run of that name, after a question if there is one."""
    name, word, asked = (html.escape(text, quote=True) for text in (name, word, asked))
    return (
        f'<button type="button" data-action="{action}" data-run="{name}" data-sure="{asked}" '
        f'aria-label="{word} {name}">{word}</button>'
    )
