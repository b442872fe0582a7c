"""Where an export lies, and how it comes there: written beside its name, and given the name when all is there."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.exporting.section import ExportSection
from workbench.fields import plain
from workbench.problems import UserError
from workbench.text import Text
from workbench.workspace import Workspace

MADE = "export.json"
"""Written last: which run of the workbench made the export, from what, and how it is loaded."""
MARGIN_BYTES = 64 << 20


class Say:
    taken = Text("The folder '{given}' is not empty. Accepted: a new or empty one. Name another, or tick 'Overwrite the folder'.")
    a_file = Text("'{given}' is a file. Accepted: a folder's name. Name another.")
    holds_source = Text("The folder '{given}' holds what is exported. Accepted: another folder. Name another.")
    no_place = Text("'{given}' can't be an export's folder. Accepted: a name for a folder inside models/, or a path in the workspace.")
    no_room = Text("The export takes {needed}, and {free} are free. Accepted: more room. Delete something, or choose fewer bits.")
    unwritable = Text("The folder '{given}' can't be written: {reason}. Accepted: a folder that can. Name another, or mend the rights.")


def export_folder(workspace: Workspace, section: ExportSection, usual: str) -> Path:
    """The folder that ``export_dir`` means, ``usual`` inside models/ where it is empty; UserError when it lies elsewhere."""
    given = (section.export_dir.strip() or usual).replace("\\", "/").rstrip("/")
    home = workspace.root if "/" in given else workspace.models
    folder = workspace.inside(home, given, "export_dir")
    forbidden = (workspace.root, workspace.models, workspace.saves, workspace.data, workspace.cache)
    if folder in forbidden or folder.name.startswith("."):
        raise UserError(Say.no_place(given=plain(given)), key="export_dir")
    return folder


def check_folder(folder: Path, section: ExportSection, sources: list[Path]) -> None:
    """UserError when the folder is taken and was not to be overwritten, or holds what is to be read."""
    if folder.is_file() or any(parent.is_file() for parent in folder.parents):
        raise UserError(Say.a_file(given=folder.name), key="export_dir")
    if any(source.is_relative_to(folder) or folder.is_relative_to(source) for source in sources):
        raise UserError(Say.holds_source(given=folder.name), key="export_dir")
    if folder.is_dir() and any(folder.iterdir()) and not section.overwrite_export_dir:
        raise UserError(Say.taken(given=folder.name), key="export_dir")


def check_room(folder: Path, needed: int) -> None:
    """UserError when the disk has no room for so many bytes."""
    home = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(home).free
    if needed + MARGIN_BYTES > free:
        raise UserError(Say.no_room(needed=f"{needed / 1e9:.2f} GB", free=f"{free / 1e9:.2f} GB"), key="export_dir")


@contextmanager
def beside(folder: Path) -> Iterator[Path]:
    """An empty folder beside the final name, which it gets when the block went well; else it goes.

    What an earlier worker left half-written there is deleted first: an export is begun anew, never patched.
    """
    part, old = folder.with_name(f".{folder.name}.part"), folder.with_name(f".{folder.name}.old")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    except OSError as error:
        raise UserError(Say.unwritable(given=folder.name, reason=error.strerror or str(error)), key="export_dir") from error
    try:
        yield part
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def made_by(folder: Path) -> str:
    """The run that made the whole export in the folder; empty where there is none."""
    try:
        return str(json.loads((folder / MADE).read_text("utf-8"))["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
