"""The right side's panel: asks come from the browser, parts of the page go back as far as they are new. Knows no job."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from workbench.exporting.proof import PROOF
from workbench.problems import UserError
from workbench.runs import Run
from workbench.text import Locale, Text
from workbench.ui.desk import Desk, static
from workbench.ui.evaluating.progress import Watch, foot, said
from workbench.ui.exporting.listing import files_part, place_part, uses_part
from workbench.ui.exporting.progress import head
from workbench.ui.exporting.proved import proof_part
from workbench.ui.exporting.taken import taken
from workbench.ui.parts import Drawn, fresh, signed


class Say:
    empty = Text("No export yet.")
    empty_how = Text(
        "Pick a trained run on the left, say where it should go, and press Start. The model is written into a folder of its own; "
        "then ten prompts are asked of both sides, and only when the answers agree it counts as proved."
    )
    empty_where = Text("Not sure where to? Ollama and LM Studio for this computer, an API for chat clients, a hub to share it.")
    no_such = Text("This export is not there any more. Choose another one, or start a new one.")


class Panel:
    """Answers the browsers' question: what is new in this export?"""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._watch = Watch(lambda run: ())

    def component(self) -> Any:
        """The panel, drawn by evaluate.js from parts that come as HTML, every word in them escaped."""

        def snapshot(question: dict[str, Any]) -> dict[str, Any]:
            return self.answer(question)

        return gr.HTML(
            value={"run": "", "language": self._desk.first, "nudge": 0},
            html_template='<div class="live evaluated exported" aria-live="off"></div>',
            js_on_load=static("evaluate.js") + static("copy.js"),
            server_functions=[snapshot],
            elem_id="exported",
            apply_default_css=False,
        )

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The state, and each part that differs from what the browser has ``seen``, with its mark."""
        locale = self._desk.locale(str(question.get("language", "")))
        name = str(question.get("run", ""))
        run = self._run(name)
        if run is None:
            drawn = f'<p class="empty">{said(locale, Say.no_such)}</p>' if name else _empty(locale)
            none: Drawn = {"head": ("none", lambda: drawn), "body": ("none", str), "foot": ("none", str)}
            return {"state": "none", **fresh(none, question, f"{name} {locale.name}")}
        watched, state = self._watch.look(run), run.state()
        stopping = state == "running" and run.stop_file.exists()
        found = taken(run)
        marks = [state == "running", *(signed(file) for file in _files(run, found.folder if found else None))]
        parts: Drawn = {
            "head": (f"{watched.inode} {watched.offset} {state} {stopping}", lambda: head(watched, state, stopping, locale)),
            "body": (json.dumps(marks), lambda: body(run, locale, state == "running")),
            "foot": (f"{len(watched.view.notes)} {signed(run.log)}", lambda: foot(watched, state, locale)),
        }
        return {"state": state, "stopping": stopping, **fresh(parts, question, f"{name} {locale.name}")}

    def _run(self, name: str) -> Run | None:
        try:
            folder = self._desk.workspace.inside(self._desk.workspace.saves, name) if name else None
        except UserError:
            return None
        return Run(self._desk.workspace, folder) if folder is not None and (folder / "spec.yaml").is_file() else None


def body(run: Run, locale: Locale, going: bool) -> str:
    """What came of it: the verdict first, then what to do with the export, then its files."""
    found = taken(run)
    if found is None:
        return ""
    proof = proof_part(locale, found.proof, found.folder.name, going)
    if going:
        return proof
    parts = (place_part(locale, found), proof, uses_part(locale, found), files_part(locale, found))
    return f'<section class="taken">{"".join(parts)}</section>'


def _files(run: Run, folder: Path | None) -> list[Path]:
    """What the page is drawn from."""
    return [run.folder / PROOF, *([folder, folder / PROOF] if folder else [])]


def _empty(locale: Locale) -> str:
    return (
        f'<div class="empty"><p><b>{said(locale, Say.empty)}</b></p><p>{said(locale, Say.empty_how)}</p>'
        f"<p>{said(locale, Say.empty_where)}</p></div>"
    )


