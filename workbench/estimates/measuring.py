"""Measure here: a few steps of a run to come, in a worker of its own, and what came of it. Knows no job and no page."""

from contextlib import suppress

from workbench.problems import UserError
from workbench.runs import Run, create, list_runs
from workbench.specs import MeasureSpec, TrainSpec
from workbench.workspace import Workspace


def measure_spec(spec: TrainSpec) -> MeasureSpec:
    """The same spec as one of a measurement, without a name of its own."""
    places = {place: spec.__dict__[place] for place in TrainSpec.model_fields}
    saving = spec.saving.model_copy(update={"output_dir": "", "overwrite_output_dir": False})
    return MeasureSpec(**{**places, "saving": saving})


def begin(workspace: Workspace, spec: TrainSpec) -> Run:
    """Start measuring; what earlier measurements left is deleted. UserError when a worker can't be started."""
    for old in list_runs(workspace, MeasureSpec.JOB):
        with suppress(UserError, OSError):
            old.delete()
    run = create(workspace, measure_spec(spec))
    run.start()
    return run
