"""Where an export lies, and how it comes there: written beside its name, and given the name when all is there."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from workbench.exporting.section import ExportSection
from workbench.fields import plain
from workbench.locks import hold
from workbench.problems import UserError
from workbench.text import Text
from workbench.workspace import Workspace

MADE = "export.json"
"""Written last: which run of the workbench made the export, from what, and how it is loaded."""
MARGIN_BYTES = 64 << 20
PROGRAM = ("data", "cache", "workbench", "locales", "docs", "examples", "tests", "bench")
"""Folders of the workspace that hold the program, the rows, and what can be made again."""


class Say:
    taken = Text("The folder '{given}' is not empty. Accepted: a new or empty one. Name another, or tick 'Overwrite the folder'.")
    not_ours = Text(
        "The folder '{given}' holds something that is no export of the workbench, and is never overwritten. Accepted: a new or "
        "empty folder, or an earlier export. Name another."
    )
    busy = Text("Another export is writing to '{given}'. Accepted: one at a time. Wait for it, or name another folder.")
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
    parts = folder.relative_to(workspace.root.absolute()).parts
    if len(parts) < 2 or parts[0] in PROGRAM or any(part.startswith(".") for part in parts) or folder.is_symlink():
        raise UserError(Say.no_place(given=plain(given)), key="export_dir")
    return folder


def check_folder(folder: Path, section: ExportSection, sources: Sequence[Path]) -> None:
    """UserError when the folder is taken and was not to be overwritten, is nobody's export, or holds what is to be read."""
    if folder.is_file() or any(parent.is_file() for parent in folder.parents):
        raise UserError(Say.a_file(given=folder.name), key="export_dir")
    real = folder.resolve()
    for source in (one.resolve() for one in sources):
        if source.is_relative_to(real) or real.is_relative_to(source):
            raise UserError(Say.holds_source(given=folder.name), key="export_dir")
    if folder.is_dir() and any(folder.iterdir()):
        if not section.overwrite_export_dir:
            raise UserError(Say.taken(given=folder.name), key="export_dir")
        if not (folder / MADE).is_file():
            raise UserError(Say.not_ours(given=folder.name), key="export_dir")


def check_room(folder: Path, needed: int) -> None:
    """UserError when the disk that holds the folder has no room for so many bytes."""
    free = shutil.disk_usage(folder).free
    if needed + MARGIN_BYTES > free:
        raise UserError(Say.no_room(needed=f"{needed / 1e9:.2f} GB", free=f"{free / 1e9:.2f} GB"), key="export_dir")


@contextmanager
def beside(folder: Path, locks: Path) -> Iterator[Path]:
    """An empty folder beside the final name, which it gets when the block went well; else it goes. One at a time for a name.

    What an earlier worker left half-written there is deleted first: an export is begun anew, never patched. What lies under
    the name is there until the new one has taken its place, also after a kill between the two moves.
    """
    part, old = folder.with_name(f".{folder.name}.part"), folder.with_name(f".{folder.name}.old")
    locks.mkdir(parents=True, exist_ok=True)
    lock = hold(locks / f"{sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.lock", patience_s=0)
    if lock is None:
        raise UserError(Say.busy(given=folder.name), key="export_dir")
    try:
        try:
            _put_back(old, folder)
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        except OSError as error:
            raise UserError(Say.unwritable(given=folder.name, reason=error.strerror or str(error)), key="export_dir") from error
        yield part
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        _put_back(old, folder)
        lock.release()


def _put_back(old: Path, folder: Path) -> None:
    """The earlier export under its name again, when nothing took its place; else it goes."""
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def made_by(folder: Path) -> str:
    """The run that made the whole export in the folder; empty where there is none."""
    return _told(folder, "run")


def made_as(folder: Path) -> str:
    """Which making of that run it was, see ``mark_of``; empty where there is none."""
    return _told(folder, "mark")


def mark_of(run: Path) -> str:
    """What tells one run's making from another's of the same name: its spec, and when that was laid down."""
    file = run / "spec.yaml"
    return sha256(file.read_bytes() + str(file.stat().st_mtime_ns).encode()).hexdigest()[:16]


def _told(folder: Path, key: str) -> str:
    try:
        return str(json.loads((folder / MADE).read_text("utf-8"))[key])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
