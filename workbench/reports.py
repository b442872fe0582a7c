"""Reports on training runs: begun, gone on with, found. Knows no question and no light."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from workbench import runs
from workbench.events import last_line
from workbench.fields import plain
from workbench.naming import REPORT as FOLDER
from workbench.problems import Problem, UserError
from workbench.reporting import REPORT
from workbench.runs import Run, find_run
from workbench.specs import ReportSpec, Spec, TrainSpec
from workbench.text import Text, load_locales
from workbench.workspace import Workspace, source_folder


class Say:
    nothing = Text("No run is named to report on. Accepted: a finished training run. Choose one.")
    no_training = Text("'{given}' is no training run. Accepted: a run that was trained. Choose one.")
    runs_still = Text("The run '{given}' is still learning. Accepted: one that has ended. Wait for it, or stop it.")
    no_weights = Text("The run '{given}' holds no weights to report on. Accepted: a run that has saved some. Resume it.")
    tokens_only = Text(
        "The run '{given}' learned from tokens in a folder, which hold no questions. Accepted: a run that learned from sets. "
        "Evaluate it on a set of your choice instead."
    )
    merged = Text(
        "The run '{given}' learned a new adapter over others that were merged into the base. Accepted: a run whose folder "
        "holds all that was learned over its base. Report on the first of them, or train one adapter."
    )
    other_words = Text("The server for other words is '{given}'. Accepted: such as http://127.0.0.1:8000/v1. Mend it, or leave it empty.")
    no_model = Text("A server for other words is named and has no model. Accepted: the name of a model on that server. Give it.")
    no_language = Text("There is no language '{given}'. Accepted: {known}. Choose one of these.")
    other_asked = Text(
        "A report on '{given}' is being made with other settings. Accepted: one at a time. Wait for it, or stop it first."
    )
    scores = Text(
        "'{given}' was trained to score answers (stage rm), and gives none to report on. Its accuracy on pairs held out "
        "stands in its figures. Accepted: a run that answers. Choose another one."
    )


def problems_of(workspace: Workspace, spec: ReportSpec) -> list[Problem]:
    """What stands in the way of a report."""
    given = spec.report.report_run
    if not given:
        return [Problem(Say.nothing(), "report_run")]
    try:
        trained = find_run(workspace, given)
        told = trained.read_spec().unwrap()
    except UserError as error:
        return [Problem(one.message, "report_run") for one in error.problems]
    found = _unfit(trained, told)
    return [Problem(found(given=plain(given)), "report_run")] if found else [*_no_language(spec), *_no_server(spec)]


def _unfit(trained: Run, told: Spec) -> Text | None:
    """Why no report can be made of a run."""
    if not isinstance(told, TrainSpec):
        return Say.no_training
    if trained.state() == "running":
        return Say.runs_still
    if not trained.has_adapter():
        return Say.no_weights
    if told.stage.HEAD != TrainSpec().stage.HEAD:
        return Say.scores
    if told.data.tokenized_path:
        return Say.tokens_only
    # Such a run learned over the earlier adapters merged into the base, which its own folder does not hold.
    merged = told.tuning.model_dump().get("create_new_adapter") or len(told.model.adapter_name_or_path) > 1
    return Say.merged if told.model.adapter_name_or_path and merged else None


def _no_language(spec: ReportSpec) -> list[Problem]:
    known = load_locales(source_folder() / "locales")
    if spec.report.report_lang in known:
        return []
    return [Problem(Say.no_language(given=plain(spec.report.report_lang), known=", ".join(known)), "report_lang")]


def _no_server(spec: ReportSpec) -> list[Problem]:
    """What is wrong with the server that is to say questions in other words."""
    given, model = spec.report.paraphrase_url, spec.report.paraphrase_model
    if given and not given.startswith(("http://", "https://")):
        return [Problem(Say.other_words(given=plain(given)), "paraphrase_url")]
    return [Problem(Say.no_model(), "paraphrase_model")] if given and not model.strip() else []


def maker(trained: Run) -> Run:
    """The run inside the training run that makes its report; it may not exist yet."""
    return Run(trained.workspace, trained.folder / FOLDER)


def begin(workspace: Workspace, spec: ReportSpec) -> Run:
    """Start the report, or go on with one that was asked for in the same way and has not ended well."""
    trained = find_run(workspace, spec.report.report_run)
    whole = spec.model_copy(update={"report": spec.report.model_copy(update={"report_run": trained.name})})
    made = maker(trained)
    told = made.read_spec().spec
    same = isinstance(told, ReportSpec) and alike(told, whole)
    if made.state() == "running":
        if not same:
            raise UserError(Say.other_asked(given=trained.name), key="report_run")
        return made
    if (made.folder / "spec.yaml").is_file():
        # Answers of older weights must not be mixed in.
        if made.state() != "finished" and same and last_said(trained) <= (made.folder / "spec.yaml").stat().st_mtime:
            made.resume()
            return made
        made.delete()
    made = runs.create(workspace, whole)
    made.start()
    return made


def alike(one: ReportSpec, other: ReportSpec) -> bool:
    """Whether both ask the same; the language is that of report.md alone."""
    same = {"report_run": "", "report_lang": ReportSpec().report.report_lang}
    return one.report.model_copy(update=same) == other.report.model_copy(update=same)


def last_said(run: Run) -> float:
    """When the run said its last word, in seconds since 1970; 0 where it said none."""
    with suppress(ValueError, TypeError, KeyError):
        return float(json.loads(last_line(run.events)[0])["time"])
    return 0.0


def read(trained: Run) -> Mapping[str, Any] | None:
    """The run's report.json; None when there is none that can be read."""
    with suppress(OSError, ValueError):
        held = json.loads((trained.folder / REPORT).read_text("utf-8"))
        return held if isinstance(held, dict) and "parts" in held else None
    return None
