"""What a run's folder is called: as the spec says, or made up from model, set and time. Knows no file in it."""

import itertools
import re
from datetime import datetime
from pathlib import Path

from workbench.fields import plain
from workbench.models import model_name
from workbench.problems import UserError
from workbench.specs import ServeSpec, Spec, TrainSpec
from workbench.text import Text
from workbench.workspace import Workspace

NAME_BYTES = 200
MADE_BYTES = 100
DEEPEST = 5
"""Parts of a name at most; a list of runs looks so deep."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""
ODD = re.compile(r"[\x00-\x1f\x7f<>:\"|?*\\\ud800-\udfff]")


class Say:
    bad_name = Text(
        "Run name '{given}' is not accepted. Accepted: letters, digits, - _ . and / inside saves/. Rename it."
    )


def run_folder(workspace: Workspace, spec: Spec) -> Path:
    """The folder that the spec's output_dir means; UserError beside output_dir when it would lie outside saves/."""
    if isinstance(spec, ServeSpec):
        return _free(
            workspace.saves / ".serve" / f"{_part(model_name(spec.model.model_name_or_path), 'model')}-{_now()}"
        )
    assert isinstance(spec, TrainSpec)
    given = spec.saving.output_dir.strip().replace("\\", "/").rstrip("/")
    home = f"{_part(model_name(spec.model.model_name_or_path), 'model')}/{spec.tuning.finetuning_type}"
    if Path(given).is_absolute():
        given = (
            f"saves/{workspace.inside(workspace.saves, given, 'output_dir').relative_to(workspace.saves).as_posix()}"
        )
    path = given.removeprefix("./")
    if not path:
        return _free(workspace.saves / home / f"{_part('-'.join(spec.data.dataset), 'run')}-{_now()}")
    path = (path if "/" in path else f"{home}/{path}").removeprefix("saves/")
    if not _is_good_name(path):
        raise UserError(Say.bad_name(given=plain(given)), key="output_dir")
    return workspace.inside(workspace.saves, path, "output_dir")


def _part(words: str, otherwise: str) -> str:
    """Words as a part of a path that we make up: odd characters out, not too long."""
    return re.sub(r"[^\w.-]+", "_", words).encode()[:PART_BYTES].decode(errors="ignore").strip("._") or otherwise


def _is_good_name(path: str) -> bool:
    """Whether every system takes it for a folder: few parts, none of them hidden, odd or too long."""
    parts = path.split("/")
    return (
        len(parts) <= DEEPEST
        and re.fullmatch(r"[^\x00-\x1f\x7f<>:\"|?*\\\ud800-\udfff]+", path) is not None
        and not any(
            not part
            or part.startswith((".", " "))
            or part.endswith((".", " "))
            or len(part.encode()) > NAME_BYTES
            or RESERVED.fullmatch(part)
            for part in parts
        )
    )


def _free(folder: Path) -> Path:
    """The folder, or one with a number behind its name when two begin in the same second."""
    names = itertools.chain([folder], (folder.with_name(f"{folder.name}-{count}") for count in itertools.count(2)))
    return next(path for path in names if not path.exists())


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
