"""What a run's folder is called: as the spec says, or made up from model, set and time. Knows no file in it."""

import itertools
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from workbench.fields import plain
from workbench.models import model_name
from workbench.problems import UserError
from workbench.specs import EvalSpec, ExportSpec, MeasureSpec, ReportSpec, ServeSpec, Spec, TrainSpec
from workbench.text import Text
from workbench.workspace import Workspace

NAME_BYTES = 200
MADE_BYTES = 100
REPORT = ".report"
"""The folder inside a training run where its report is made."""
DEEPEST = 5
"""Parts of a name at most; a list of runs looks so deep."""
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""
ODD = re.compile(r"[\x00-\x1f\x7f<>:\"|?*\\\ud800-\udfff]")


class Say:
    bad_name = Text(
        "Run name '{given}' is not accepted. Accepted: letters, digits, - _ . and / inside saves/, with no dot or space at either "
        "end. Rename it."
    )
    reserved = Text("'{given}' can't be a name: Windows keeps it for a device. Accepted: any other, such as 'my-{given}'. Rename it.")


def run_folder(workspace: Workspace, spec: Spec) -> Path:
    """The folder that the spec's output_dir means; UserError beside output_dir when it would lie outside saves/."""
    if isinstance(spec, ServeSpec | MeasureSpec):
        return _free(workspace.saves / f".{spec.JOB}" / f"{_made(spec.model.model_name_or_path)}-{_now()}")
    if isinstance(spec, ReportSpec):
        return workspace.inside(workspace.saves, spec.report.report_run.removeprefix("saves/"), "report_run") / REPORT
    home, called = _usual(spec)
    place = spec.kept_in()
    assert place
    given = place.output_dir.strip().replace("\\", "/")
    given = given.rstrip("/") or given
    if not given:
        return _free(workspace.saves / home / f"{_part('-'.join(called)) or 'run'}-{_now()}")
    if Path(given).is_absolute():
        inside = workspace.inside(workspace.saves, given, "output_dir").relative_to(workspace.saves)
        path = inside.as_posix()
    else:
        path = given.removeprefix("./")
        path = path.removeprefix("saves/") if "/" in path else f"{home}/{path}"
    if kept := next((part for part in path.split("/") if RESERVED.fullmatch(part)), ""):
        raise UserError(Say.reserved(given=kept), key="output_dir")
    if not _is_good(path):
        raise UserError(Say.bad_name(given=plain(given)), key="output_dir")
    return workspace.inside(workspace.saves, path, "output_dir")


def _usual(spec: Spec) -> tuple[str, Sequence[str]]:
    """The folder inside saves/ that a run usually lies in, and the words that its name is made from."""
    assert isinstance(spec, TrainSpec | EvalSpec | ExportSpec)
    model = _made(spec.model.model_name_or_path)
    if isinstance(spec, TrainSpec):
        return f"{model}/{spec.tuning.finetuning_type}", spec.data.dataset
    asked = [one.rstrip("/").rsplit("/", 1)[-1] for one in spec.model.adapter_name_or_path]
    if isinstance(spec, ExportSpec):
        return f"{model}/export", [*asked, spec.exporter.export_format]
    return f"{model}/eval", [*asked, *(spec.sets.dataset or spec.evaluating.task)]


def _made(model: str) -> str:
    """The model's part of a path."""
    return _part(model_name(model)) or "model"


def _part(words: str) -> str:
    """Words as a part of a path that we make up: without odd characters, not too long."""
    return re.sub(r"[^\w.-]+", "_", words).encode()[:MADE_BYTES].decode(errors="ignore").strip("._")


def _is_good(path: str) -> bool:
    """Whether every system takes it for a folder: few parts, none of them hidden, odd or too long."""
    parts = path.split("/")
    return len(parts) <= DEEPEST and not ODD.search(path) and all(_is_good_part(part) for part in parts)


def _is_good_part(part: str) -> bool:
    trimmed = part == part.strip() and not part.startswith(".") and not part.endswith(".")
    return bool(part) and trimmed and len(part.encode()) <= NAME_BYTES


def _free(folder: Path) -> Path:
    """The folder, or one with a number behind its name when two begin in the same second."""
    names = itertools.chain([folder], (folder.with_name(f"{folder.name}-{count}") for count in itertools.count(2)))
    return next(path for path in names if not path.exists())


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
