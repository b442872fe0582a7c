"""Reports on training runs: begun, gone on with, found. Knows no question and no light."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from workbench import runs
from workbench.fields import plain
from workbench.naming import REPORT as FOLDER
from workbench.problems import Problem, UserError
from workbench.reporting import REPORT
from workbench.runs import Run, find_run
from workbench.specs import ReportSpec, TrainSpec
from workbench.text import Text
from workbench.workspace import Workspace


class Say:
    nothing = Text("No run is named to report on. Accepted: a finished training run. Choose one.")
    no_weights = Text("The run '{given}' has nothing to report on: it holds no weights yet. Let it finish, or resume it.")
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
    except UserError as error:
        return [Problem(one.message, "report_run") for one in error.problems]
    told = trained.read_spec().spec
    if not isinstance(told, TrainSpec) or not trained.has_adapter():
        return [Problem(Say.no_weights(given=plain(given)), "report_run")]
    if told.stage.HEAD != TrainSpec().stage.HEAD:
        return [Problem(Say.scores(given=plain(given)), "report_run")]
    return []


def maker(trained: Run) -> Run:
    """The run inside the training run that makes its report; it may not exist yet."""
    return Run(trained.workspace, trained.folder / FOLDER)


def begin(workspace: Workspace, spec: ReportSpec) -> Run:
    """Start the report, or go on with one that was asked for in the same way and has not ended well."""
    trained = find_run(workspace, spec.report.report_run)
    whole = spec.model_copy(update={"report": spec.report.model_copy(update={"report_run": trained.name})})
    made = maker(trained)
    if made.state() == "running":
        return made
    if (made.folder / "spec.yaml").is_file():
        if made.state() != "finished" and made.read_spec().spec == whole:
            made.resume()
            return made
        made.delete()
    made = runs.create(workspace, whole)
    made.start()
    return made


def read(trained: Run) -> Mapping[str, Any] | None:
    """The run's report.json; None when there is none that can be read."""
    with suppress(OSError, ValueError):
        held = json.loads((trained.folder / REPORT).read_text("utf-8"))
        return held if isinstance(held, dict) and "parts" in held else None
    return None
