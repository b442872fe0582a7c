"""Checkpoints: the one that a spec names to go on from, its step, whether it is whole, and which of a run's can go. Knows no
run that is being made."""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from workbench.fields import plain
from workbench.models import checkpoints, is_adapter, is_whole_run, newest_checkpoint
from workbench.problems import UserError
from workbench.text import Text
from workbench.workspace import Workspace

KEY = "resume_from_checkpoint"
STATE = "trainer_state.json"
CONTENTS = "contents.json"
"""In each checkpoint: the size of every other file, so that a file lost or cut short later is noticed."""
STAGING = ".saving"
"""What is in it is half written or half deleted, and nobody resumes it."""


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


def best_step(checkpoint: Path) -> int:
    """The step of the best validation so far, as the run that saved it knew it; 0 where none is followed."""
    return int(_state(checkpoint, "best_global_step"))


def lost_file(checkpoint: Path) -> tuple[str, int | None, int] | None:
    """The first file that is not as long as it was written: its name, its bytes (None: it is missing), and what they were;
    None where all are, or nothing is known of them."""
    if not (checkpoint / CONTENTS).is_file():
        return None
    try:
        sizes: Mapping[str, int] = json.loads((checkpoint / CONTENTS).read_text("utf-8"))
    except ValueError:
        sizes = {CONTENTS: 0}
    for name, size in sizes.items():
        found = (checkpoint / name).stat().st_size if (checkpoint / name).is_file() else None
        if found != size:
            return name, found, size
    return None


def surplus(folder: Path, keep: int | None, best: int) -> list[Path]:
    """The checkpoints of a run's folder beyond the newest ones that are kept, that of the best step apart."""
    return [one for one in checkpoints(folder)[: -keep if keep else 0] if step_of(one) != best]


def drop(checkpoint: Path) -> None:
    """Delete a checkpoint. It is renamed first, so that a half-deleted one is never resumed; that takes no room."""
    staging = checkpoint.with_name(STAGING)
    shutil.rmtree(staging, ignore_errors=True)
    checkpoint.rename(staging / checkpoint.name if staging.is_dir() else staging)
    shutil.rmtree(staging, ignore_errors=True)


def _state(checkpoint: Path, name: str) -> float:
    with suppress(OSError, ValueError, KeyError, TypeError):
        return float(json.loads((checkpoint / STATE).read_text("utf-8"))[name])
    return 0.0
