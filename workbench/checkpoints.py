"""A checkpoint that a spec names to go on from: where it lies, and its step. Knows no run that is being made."""

import json
from contextlib import suppress
from pathlib import Path

from workbench.fields import plain
from workbench.models import is_adapter, is_whole_run, newest_checkpoint
from workbench.problems import UserError
from workbench.text import Text
from workbench.workspace import Workspace

KEY = "resume_from_checkpoint"
STATE = "trainer_state.json"


class Say:
    none = Text(
        "'{given}' is no checkpoint. Accepted: a folder checkpoint-N of a run, or a run that has one. Choose one, or leave "
        "it empty."
    )


def given_checkpoint(workspace: Workspace, given: str | None) -> Path | None:
    """The folder that is meant, of a run its newest checkpoint; None where nothing is; UserError when it is not there."""
    if not given:
        return None
    named = given.replace("\\", "/").removeprefix("./")
    for home in (workspace.root, workspace.saves):
        folder = workspace.inside(workspace.root, str(home / named), KEY)
        if (folder / "spec.yaml").is_file():
            folder = newest_checkpoint(folder) or folder
        if (folder / STATE).is_file() and step_of(folder) and (is_adapter(folder) or is_whole_run(folder)):
            return folder
    raise UserError(Say.none(given=plain(given)), key=KEY)


def step_of(checkpoint: Path | None) -> int:
    """The optimiser step after which it was saved; 0 for none."""
    name = checkpoint.name.removeprefix("checkpoint-") if checkpoint else ""
    return int(name) if name.isdecimal() else 0


def planned_steps(checkpoint: Path) -> int:
    """The steps of the run that saved it; 0 where it does not say."""
    return int(_state(checkpoint, "max_steps"))


def learned_epochs(checkpoint: Path) -> float:
    """How far the run that saved it was then, not rounded; 0 where it does not say."""
    return _state(checkpoint, "epoch")


def _state(checkpoint: Path, name: str) -> float:
    with suppress(OSError, ValueError, KeyError, TypeError):
        return float(json.loads((checkpoint / STATE).read_text("utf-8"))[name])
    return 0.0
