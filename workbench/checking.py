"""What is wrong with given values, as far as it can be told without loading a model. Knows no page and no terminal.

Reading finds wrong values, planning finds what fits together or is missing on this machine; a person who gives
both kinds of mistake hears of both at once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from workbench import reports
from workbench.answering import answer_problems
from workbench.chats import check_template
from workbench.estimates import Estimate
from workbench.evaluating import beforehand
from workbench.exporting import beforehand as before_export
from workbench.models import check_model
from workbench.plans import Plan, plan
from workbench.problems import Problem, UserError
from workbench.runs import check_folder
from workbench.specs import EvalSpec, ExportSpec, Reading, ReportSpec, S, ServeSpec, TrainSpec, read_flat
from workbench.text import Message
from workbench.workspace import Workspace


@dataclass(frozen=True)
class Checked(Generic[S]):
    """The spec and its plan, or every problem in their way; warnings either way."""

    spec: S | None
    problems: Sequence[Problem] = ()
    warnings: Sequence[Message] = ()
    plan: Plan = Plan()
    needed: Estimate | None = None
    """Memory and time, where somebody asked for them and they can be told."""

    def unwrap(self) -> S:
        """The spec, or UserError with every problem."""
        if self.spec is None:
            raise UserError(*self.problems)
        return self.spec


def check_train(workspace: Workspace, values: Mapping[str, Any]) -> Checked[TrainSpec]:
    """The spec of a run to come and what it would do."""
    reading = read_flat(TrainSpec, values)
    if reading.spec is None:
        rest = _without_wrong(TrainSpec, values, reading)
        more = plan(workspace, rest).problems if rest else ()
        return Checked(None, [*reading.problems, *_new(more, reading)], reading.warnings)
    planned = plan(workspace, reading.spec)
    warnings = [*reading.warnings, *planned.warnings]
    return Checked(None if planned.problems else reading.spec, planned.problems, warnings, planned)


def check_serve(workspace: Workspace, values: Mapping[str, Any]) -> Checked[ServeSpec]:
    """The spec of a server to come."""
    reading = read_flat(ServeSpec, values)
    spec = reading.spec or _without_wrong(ServeSpec, values, reading)
    more = _serve_problems(workspace, spec) if spec else []
    problems = [*reading.problems, *_new(more, reading)]
    return Checked(None if problems else reading.spec, problems, reading.warnings)


def check_eval(workspace: Workspace, values: Mapping[str, Any]) -> Checked[EvalSpec]:
    """The spec of an evaluation to come."""
    return _checked(workspace, EvalSpec, values, beforehand.problems_of)


def check_export(workspace: Workspace, values: Mapping[str, Any]) -> Checked[ExportSpec]:
    """The spec of an export to come."""
    return _checked(workspace, ExportSpec, values, before_export.problems_of)


def _checked(
    workspace: Workspace, kind: type[S], values: Mapping[str, Any], problems_of: Callable[[Workspace, S], list[Problem]]
) -> Checked[S]:
    """The spec of a run that lies where somebody chooses, and what a look beforehand finds."""
    reading = read_flat(kind, values)
    spec = reading.spec or _without_wrong(kind, values, reading)
    more = problems_of(workspace, spec) if spec else []
    if spec:
        try:
            check_folder(workspace, spec)
        except UserError as error:
            more += error.problems
    problems = [*reading.problems, *_new(more, reading)]
    return Checked(None if problems else reading.spec, problems, reading.warnings)


def check_report(workspace: Workspace, values: Mapping[str, Any]) -> Checked[ReportSpec]:
    """The spec of a report to come."""
    reading = read_flat(ReportSpec, values)
    problems = [*reading.problems, *(reports.problems_of(workspace, reading.spec) if reading.spec else [])]
    return Checked(None if problems else reading.spec, problems, reading.warnings)


def _serve_problems(workspace: Workspace, spec: ServeSpec) -> list[Problem]:
    # Only of the usual engine it is known here that it needs a model; others say so themselves.
    usual = isinstance(spec.engine, type(ServeSpec().engine))
    problems = check_model(workspace, spec.model, gguf=True) if usual or spec.model.model_name_or_path else []
    problems += answer_problems(workspace, spec.model)
    try:
        check_template(spec.model.template)
    except UserError as error:
        problems += error.problems
    return problems


def _without_wrong(kind: type[S], values: Mapping[str, Any], reading: Reading[S]) -> S | None:
    """The spec as it would be if every wrong value were left out; None for one of another version or job."""
    wrong = {problem.key for problem in reading.problems}
    if wrong & {"version", "job", None}:
        return None
    return read_flat(kind, {key: value for key, value in values.items() if key not in wrong}).spec


def _new(more: Sequence[Problem], reading: Reading[S]) -> list[Problem]:
    """Problems at other places than those of the reading; a misspelt key is also the cause of the one it lacks."""
    known = {problem.key for problem in reading.problems}
    known |= {problem.message.args.get("nearest") for problem in reading.problems}
    return [problem for problem in more if problem.key not in known]
