"""Reports as the Evaluate tab finds them: which there are, the one that is asked for, their end. Knows files, no component.

A report stands in the list under the run that makes it, ``<training run>/.report``; what it found lies in the training run.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from workbench import reports
from workbench.events import State
from workbench.naming import REPORT as FOLDER
from workbench.problems import UserError
from workbench.reporting import LIGHTS, READABLE, REPORT, TITLES, Part, Recipe
from workbench.reporting.card import parts_of
from workbench.runs import Run, find_run, list_runs
from workbench.specs import EvalSpec, ReportSpec
from workbench.workspace import Workspace


@dataclass(frozen=True)
class Card:
    """A report.json that can be drawn."""

    run: Run
    """The run that is reported on."""
    made: datetime
    parts: Mapping[str, Part]
    recipe: Recipe | None
    held: Mapping[str, Any]
    """The whole file."""

    @property
    def stale(self) -> bool:
        """Whether the run has learned since."""
        return reports.last_said(self.run) > self.made.timestamp()


def is_report(run: Run) -> bool:
    return run.folder.name == FOLDER


def trained_of(made: Run) -> Run:
    """The run that a report is on."""
    return Run(made.workspace, made.folder.parent)


def has_report(trained: Run) -> bool:
    return (trained.folder / REPORT).is_file()


def having(workspace: Workspace) -> list[Run]:
    """The training runs with a report, the newest first."""
    return [run for run in list_runs(workspace) if has_report(run)]


def is_there(made: Run) -> bool:
    """Whether a report is being made, or was."""
    return (made.folder / "spec.yaml").is_file() or has_report(trained_of(made))


def listed(workspace: Workspace) -> list[Run]:
    """Evaluations and reports, the newest first."""
    made = [one for one in map(reports.maker, list_runs(workspace)) if is_there(one)]
    return sorted([*list_runs(workspace, EvalSpec.JOB), *made], key=_begun, reverse=True)


def _begun(run: Run) -> float:
    for file in (run.folder / "spec.yaml", run.folder.parent / REPORT):
        with suppress(OSError):
            return file.stat().st_mtime
    return 0.0


def find(workspace: Workspace, name: str) -> Run:
    """The evaluation or report of that name; UserError where there is none."""
    home, _, last = name.rpartition("/")
    return reports.maker(find_run(workspace, home)) if last == FOLDER else find_run(workspace, name)


def state_of(run: Run) -> State:
    """As the run's; a report whose making was cleared away is finished."""
    return run.state() if (run.folder / "spec.yaml").is_file() else "finished"


def read_card(trained: Run) -> Card | None:
    """The run's report; None where there is none, ValueError where it can't be read."""
    if not has_report(trained):
        return None
    held = reports.read(trained)
    if held is None:
        raise ValueError("no report")
    try:
        parts = {part.name: part for part in parts_of(held)}
        made = datetime.fromtimestamp(float(held["made"])).astimezone()
        whole = all(_is_whole(part) for part in parts.values())
    except (KeyError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise ValueError("not of this shape") from error
    if not whole or not parts:
        raise ValueError("parts of another kind")
    return Card(trained, made, parts, _recipe(held), held)


def _is_whole(part: Part) -> bool:
    """Whether it can be drawn: of a known name and light, with texts as evidence."""
    texts = (text for one in part.evidence for text in (one.kind, one.prompt, one.reference, one.base, one.tuned, one.finish))
    return part.name in TITLES and part.light in LIGHTS and all(isinstance(text, str) for text in texts)


def _recipe(held: Mapping[str, Any]) -> Recipe | None:
    """What the run was told; None in a report of another version."""
    with suppress(KeyError, TypeError):
        found = Recipe(**held["figures"]["recipe"])
        numbers = (found.learning_rate, found.epochs, found.rows, found.steps)
        return found if all(isinstance(one, int | float) for one in numbers) else None
    return None


def opened(workspace: Workspace, name: str, language: str) -> Run:
    """The run's report: as it is, or gone on with; else a new one, asked as usual. UserError where there can be none."""
    told = reports.maker(find_run(workspace, name)).read_spec().spec
    section = (told if isinstance(told, ReportSpec) else ReportSpec()).report
    asked = section.model_copy(update={"report_run": name, "report_lang": language})
    return asked_for(workspace, ReportSpec(report=asked))


def asked_for(workspace: Workspace, spec: ReportSpec) -> Run:
    """The report that was asked for in this way: as it is, gone on with, or begun. UserError where there can be none."""
    if problems := reports.problems_of(workspace, spec):
        raise UserError(*problems)
    trained = find_run(workspace, spec.report.report_run)
    made = reports.maker(trained)
    told = made.read_spec().spec
    if isinstance(told, ReportSpec) and reports.alike(told, spec) and reports.last_said(trained) <= _begun(made):
        if made.state() != "finished":
            return reports.begin(workspace, told)  # in its own language, else the answers so far would be asked anew
        if has_report(trained):
            return made
    return reports.begin(workspace, spec)


def anew(made: Run, language: str) -> Run:
    """The same asked once more, from the first question."""
    told = made.read_spec().spec
    section = (told if isinstance(told, ReportSpec) else ReportSpec()).report
    asked = section.model_copy(update={"report_run": trained_of(made).name, "report_lang": language})
    return reports.begin(made.workspace, ReportSpec(report=asked))


def delete(made: Run) -> None:
    """The report and all that was asked for it; UserError while it is made."""
    if made.folder.is_dir():
        made.delete()
    for name in (REPORT, READABLE):
        (made.folder.parent / name).unlink(missing_ok=True)
