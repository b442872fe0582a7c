"""A finished training run as a bundle; refuses others. Knows no page and no terminal."""

from pathlib import Path

from workbench.exporting.bundle import Facts, pack
from workbench.problems import UserError
from workbench.runs import Run
from workbench.specs import TrainSpec
from workbench.text import Text
from workbench.wording import STATES


class Say:
    unfinished = Text("The run '{given}' is {state}. Accepted: a finished one. Let it end first.")
    other_job = Text("'{given}' is no training run. Accepted: one of those in 'runs list' with steps. Name another one.")


def bundle_run(run: Run, out: Path, data: bool = False, whole: bool = False) -> Facts:
    """Write the run's bundle. ``data``: with the rows themselves; ``whole``: with the weights of a whole model, too."""
    spec = run.read_spec().unwrap()
    if not isinstance(spec, TrainSpec) or spec.JOB != TrainSpec.JOB:
        raise UserError(Say.other_job(given=run.name))
    state = run.state()
    if state != "finished":
        raise UserError(Say.unfinished(given=run.name, state=STATES[state]()))
    return pack(run.workspace, run.folder, spec, out, data, whole)
