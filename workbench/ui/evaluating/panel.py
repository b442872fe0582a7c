"""The right side's panel: asks come from the browser, parts of the page go back as far as they are new. Knows no job."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from workbench.evaluating.records import RESULTS, SAMPLES
from workbench.problems import UserError
from workbench.reporting import REPORT
from workbench.reporting.card import readable
from workbench.runs import Run
from workbench.text import Locale, Text
from workbench.ui.data.room import quiet
from workbench.ui.desk import Desk, static
from workbench.ui.evaluating.card import card_part
from workbench.ui.evaluating.downloads import csv_text, jsonl_text
from workbench.ui.evaluating.figures import figures
from workbench.ui.evaluating.progress import Say as Words
from workbench.ui.evaluating.progress import Watch, foot, head, said
from workbench.ui.evaluating.reported import having, is_report, is_there, read_card, state_of, trained_of
from workbench.ui.evaluating.samples import samples_part
from workbench.ui.evaluating.sheet import read_sheet
from workbench.ui.parts import Drawn, fresh, signed

Part = Callable[[Locale, Run, Mapping[str, Any]], str]


class Say:
    empty = Text("No evaluation yet.")
    empty_how = Text(
        "Pick a trained run on the left and a set it never saw, then press Start. The base model and the tuned one are asked "
        "the same questions; the tables then say what training changed, how sure that is, and where each answer differs."
    )
    empty_benchmarks = Text("For general knowledge add a benchmark: everyday_en and everyday_zh need nothing to be fetched.")
    empty_report = Text(
        "Of a trained run press Report: four lights say what it learned, what it kept, whether it learned by heart, and how its "
        "answers look, each with what to change next."
    )
    no_results = Text("Nothing was scored: results.json is not there or can't be read. Press Delete, then start it anew.")
    no_samples = Text("samples.jsonl can't be read. Press Delete, then start the evaluation anew.")


def measured_part(locale: Locale, run: Run, look: Mapping[str, Any]) -> str:
    """The tables of scores."""
    try:
        found = json.loads((run.folder / RESULTS).read_text("utf-8"))
    except (OSError, ValueError):
        return quiet(locale(Say.no_results)) if run.state() == "finished" else ""
    return f'<section class="figures">{figures(locale, found)}</section>'


def sample_part(locale: Locale, run: Run, look: Mapping[str, Any]) -> str:
    """The table of samples."""
    try:
        sheet = read_sheet(run.folder)
    except ValueError:
        return quiet(locale(Say.no_samples))
    return samples_part(locale, sheet, sheet.look(look)) if sheet is not None and sheet.rows else ""


PARTS: Sequence[Part] = (measured_part, sample_part)
"""What is drawn below the progress of an evaluation, in this order."""
REPORT_PARTS: Sequence[Part] = (card_part,)
"""The same of a report."""


class Panel:
    """Answers the browsers' question: what is new in this evaluation?"""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._watch = Watch()

    def component(self) -> Any:
        """The panel, drawn by evaluate.js from parts that come as HTML, every word in them escaped."""

        def snapshot(question: dict[str, Any]) -> dict[str, Any]:
            return self.answer(question)

        def file(question: dict[str, Any]) -> dict[str, str]:
            return self.file(question)

        return gr.HTML(
            value={"run": "", "language": self._desk.first, "nudge": 0},
            html_template='<div class="live evaluated" aria-live="off"></div>',
            js_on_load=static("evaluate.js"),
            server_functions=[snapshot, file],
            elem_id="evaluated",
            apply_default_css=False,
        )

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The state, and each part that differs from what the browser has ``seen``, with its mark."""
        locale = self._desk.locale(str(question.get("language", "")))
        name = str(question.get("run", ""))
        run = self._run(name)
        if run is None:
            drawn = _missing(locale) if name else _empty(locale)
            none: Drawn = {"head": ("none", lambda: drawn), "body": ("none", str), "foot": ("none", str)}
            return {"state": "none", **fresh(none, question, f"{name} {locale.name}")}
        watched = self._watch.look(run)
        state = state_of(run)
        stopping = state == "running" and run.stop_file.exists()
        look = question.get("look")
        look = look if isinstance(look, Mapping) else {}
        drawing = REPORT_PARTS if is_report(run) else PARTS
        marks = [*(signed(file) for file in _files(run)), state == "finished"]
        parts: Drawn = {
            "head": (f"{watched.inode} {watched.offset} {state} {stopping}", lambda: head(watched, state, stopping, locale)),
            "body": (json.dumps([*marks, look]), lambda: "".join(part(locale, run, look) for part in drawing)),
            "foot": (f"{len(watched.view.notes)} {signed(run.log)}", lambda: foot(watched, state, locale)),
        }
        return {"state": state, "stopping": stopping, **fresh(parts, question, f"{name} {locale.name}")}

    def file(self, question: Mapping[str, Any]) -> dict[str, str]:
        """A download: its name and its text; empty where there is nothing."""
        run, kind = self._run(str(question.get("run", ""))), str(question.get("kind"))
        if run and is_report(run):
            return _report_file(run, kind, self._desk.locale(str(question.get("language", ""))))
        sheet = read_sheet(run.folder) if run else None
        if run is None or sheet is None:
            return {"name": "", "text": ""}
        text = csv_text(sheet) if kind == "csv" else jsonl_text(sheet)
        return {"name": f"{run.folder.name}.{'csv' if kind == 'csv' else 'jsonl'}", "text": text}

    def _run(self, name: str) -> Run | None:
        try:
            folder = self._desk.workspace.inside(self._desk.workspace.saves, name) if name else None
        except UserError:
            return None
        if folder is None:
            return None
        run = Run(self._desk.workspace, folder)
        return run if (is_there(run) if is_report(run) else (folder / "spec.yaml").is_file()) else None


def _report_file(made: Run, kind: str, locale: Locale) -> dict[str, str]:
    """The report to keep: to read in the visitor's language, or as it stands; empty where it can't be read."""
    trained = trained_of(made)
    try:
        card = read_card(trained)
    except ValueError:
        card = None
    if card is None:
        return {"name": "", "text": ""}
    text = readable(card.held, locale) if kind == "md" else json.dumps(card.held, ensure_ascii=False, indent=1) + "\n"
    return {"name": f"{trained.folder.name}-report.{'md' if kind == 'md' else 'json'}", "text": text}


def _files(run: Run) -> Sequence[Path]:
    """What the page is drawn from."""
    if not is_report(run):
        return [run.folder / RESULTS, run.folder / SAMPLES]
    return [one.folder / REPORT for one in (trained_of(run), *having(run.workspace))]


def _empty(locale: Locale) -> str:
    return (
        f'<div class="empty"><p><b>{said(locale, Say.empty)}</b></p><p>{said(locale, Say.empty_how)}</p>'
        f"<p>{said(locale, Say.empty_report)}</p><p>{said(locale, Say.empty_benchmarks)}</p></div>"
    )


def _missing(locale: Locale) -> str:
    return f'<p class="empty">{said(locale, Words.no_such)}</p>'
