"""Sets put into data/dataset_info.json, renamed, described anew and taken out, with their files.

Reads rows only to see their columns. Knows no page and no model.
"""

import itertools
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from workbench import formats
from workbench.data.dataset_info import KEY, beside, read, rewrite, settle, turn
from workbench.data.datasets import ANSWERS, HUB_KEYS, INFO, TEXT_FORMAT, Entry, HubSource, read_entry
from workbench.data.datasets import Say as Catalogue
from workbench.data.json_entries import Entries
from workbench.fields import plain
from workbench.naming import RESERVED
from workbench.naming import Say as Names
from workbench.problems import Problem, UserError
from workbench.sockets import plugins
from workbench.tables import suffixes, table_for
from workbench.text import Message, Text
from workbench.workspace import Workspace

NAME = re.compile(r"(?!\.)[\w.-]{1,80}(?<!\.)")
NAME_BYTES = 200
LONGEST_USUAL = 60
FIRST_ROWS = 200
WRITTEN = ("formatting", "ranking", "columns", "tags", "num_samples")


class Say:
    bad_name = Text(
        "'{given}' can't be the name of a dataset. Accepted: at most 80 letters, digits, - _ . and no dot at either end. "
        "Choose another name."
    )
    taken = Text("A dataset '{given}' exists already. Accepted: a free name, such as {free}. Choose one, or overwrite.")
    no_file = Text("File '{given}' does not exist. Accepted: a file of these kinds: {accepted}. Choose another.")
    lists_sets = Text("'{given}' lists the datasets and holds no rows. Accepted: a file of rows. Choose another.")
    no_format = Text("'{given}' is no format. Accepted: {known}. Choose one of these.")
    no_room = Text(
        "'{given}' needs {needed} MB and {folder} has {free} MB free. Accepted: a file that fits. Free space."
    )
    removed = Text("Dataset '{name}' is removed from {file}. Its rows stay in {place}.")
    deleted = Text("Dataset '{name}' is removed from {file}, and {place} is deleted.")
    shared = Text("Dataset '{name}' is removed from {file}. {place} stays, because '{other}' reads it too.")
    nothing_there = Text("Dataset '{name}' is removed from {file}. It had no rows of its own to delete.")


def register(
    workspace: Workspace,
    file: Path,
    name: str,
    format: str,
    columns: Mapping[str, str],
    tags: Mapping[str, str],
    ranking: bool = False,
    dataset_dir: str = "data",
    overwrite: bool = False,
    num_samples: int | None = None,
) -> Entry:
    """Copy the file into the data folder and add it there as ``name``; a file that lies there already stays in its place.

    UserError beside ``name`` when that is taken or impossible, else beside ``dataset``.
    """
    folder = _folder(workspace, dataset_dir)
    _check_name(name)
    _check_file(file)
    value = _described(format, columns, tags, ranking, seen_columns(file))
    value |= {"num_samples": num_samples} if num_samples is not None else {}
    at_home = Path(os.path.abspath(file)).is_relative_to(os.path.abspath(folder))
    part = None if at_home else _copied(file, folder)
    try:
        with turn(folder):
            info = read(folder)
            _check_free(info, name, overwrite)
            target = file if part is None else _target(folder, info, name, file.suffix.lower())
            relative = Path(os.path.relpath(target, folder)).as_posix()
            value = {"file_name": relative, **value}
            entry = _understood(workspace, folder, name, value)
            _place_and_list(folder, part, target, name, value)
            return entry
    finally:
        if part:
            part.unlink(missing_ok=True)


def usual_name(shown: str) -> str:
    """A name for a set, made of a file's name or a hub's id."""
    last = Path(shown.rpartition("/")[2])
    stem = last.stem if last.suffix.lower() in suffixes() else last.name
    return re.sub(r"[^\w.-]+", "_", stem).strip("._-")[:LONGEST_USUAL] or "data"


def check_new(workspace: Workspace, name: str, dataset_dir: str = "data") -> None:
    """UserError beside ``name`` when no new set can be called so; known before a long pass."""
    _check_name(name)
    _check_free(read(_folder(workspace, dataset_dir)), name, overwrite=False)


def register_hub(
    workspace: Workspace,
    source: HubSource,
    name: str,
    format: str,
    columns: Mapping[str, str],
    tags: Mapping[str, str],
    ranking: bool = False,
    dataset_dir: str = "data",
    overwrite: bool = False,
) -> Entry:
    """Add a set of a hub; its rows may be fetched before or after."""
    folder = _folder(workspace, dataset_dir)
    _check_name(name)
    key = next(key for key, hub in HUB_KEYS.items() if hub == source.hub)
    named = {"subset": source.subset, "split": source.split, "folder": source.folder}
    where = {key: source.id} | {part: text for part, text in named.items() if text}
    bare = _understood(workspace, folder, name, where)
    value = where | _described(format, columns, tags, ranking, _columns_at(bare))
    entry = _understood(workspace, folder, name, value)
    with turn(folder):
        _check_free(read(folder), name, overwrite)
        rewrite(folder, lambda now: now.put(name, value))
    return entry


def edit(
    workspace: Workspace,
    name: str,
    format: str,
    columns: Mapping[str, str],
    tags: Mapping[str, str],
    ranking: bool = False,
    num_samples: int | None | Literal["same"] = "same",
    dataset_dir: str = "data",
) -> Entry:
    """Say anew how the set is to be read; where its rows lie stays. ``num_samples`` None: all its rows are taken."""
    folder = _folder(workspace, dataset_dir)
    with turn(folder):
        old = _known(read(folder), name)
        if not isinstance(old, dict):
            reason = Catalogue.entry_object(given=type(old).__name__)
            raise UserError(Catalogue.bad_entry(name=name, file=INFO, reason=reason), key=KEY)
        where = {key: given for key, given in old.items() if key not in WRITTEN}
        seen = _columns_at(_understood(workspace, folder, name, where))
        value = where | _described(format, columns, tags, ranking, seen)
        drawn = old.get("num_samples") if num_samples == "same" else num_samples
        value |= {"num_samples": drawn} if drawn is not None else {}
        entry = _understood(workspace, folder, name, value)
        rewrite(folder, lambda now: now.put(name, value))
    return entry


def rename(workspace: Workspace, old: str, new: str, dataset_dir: str = "data") -> Entry:
    """Give the set another name; its file keeps its own."""
    folder = _folder(workspace, dataset_dir)
    _check_name(new)
    with turn(folder):
        info = read(folder)
        value = _known(info, old)
        entry = _understood(workspace, folder, new, value)
        if new != old:
            _check_free(info, new, overwrite=False)
            rewrite(folder, lambda now: now.rename(old, new))
    return entry


def remove(workspace: Workspace, name: str, delete_file: bool, dataset_dir: str = "data") -> Message:
    """Take the set out, and on demand its rows from the disk unless another set reads them. Says what became of both."""
    folder = _folder(workspace, dataset_dir)
    with turn(folder):
        info = read(folder)
        value = _known(info, name)
        place = _place(workspace, folder, name, value)
        others = {other: _place(workspace, folder, other, its) for other, its in info.data.items() if other != name}
        rewrite(folder, lambda now: now.drop(name))
        shown = place.relative_to(folder).as_posix() if place and place != folder else "-"
        said = {"name": name, "file": INFO, "place": shown}
        if not delete_file:
            return Say.removed(**said)
        if place is None or place == folder or not place.exists():
            return Say.nothing_there(**said)
        sharing = next((other for other, its in others.items() if its and _touch(its, place)), None)
        if sharing or _touch(place, folder / INFO):
            return Say.shared(**said, other=sharing or INFO)
        _delete(place)
    return Say.deleted(**said)


def seen_columns(file: Path) -> set[str]:
    """The columns of the first rows of a file; UserError when the file as a whole can't be read."""
    try:
        records = itertools.islice(table_for(file).records(file), FIRST_ROWS)
        return {column for record in records if record.row for column in record.row}
    except UserError as error:
        raise UserError(*(Problem(problem.message, "dataset") for problem in error.problems)) from error


def _columns_at(entry: Entry) -> set[str] | None:
    """The columns of a set whose rows are there, None for one whose rows are not."""
    return seen_columns(entry.files()[0]) if entry.place.exists() else None


def _described(
    format: str, columns: Mapping[str, str], tags: Mapping[str, str], ranking: bool, seen: set[str] | None
) -> dict[str, Any]:
    """How the rows are to be read, for any reader of such files; "" among the columns is written as null where it matters.

    LLaMA-Factory takes a column that is not listed for missing, and one that is listed for present in every file.
    """
    known = plugins(formats)
    if format not in known:
        raise UserError(Say.no_format(given=format, known=", ".join(known)), key="format")
    usual = {ours: theirs for ours, theirs in known[format].COLUMNS.items() if theirs in (seen or ())}
    # Without a word of them, columns of the usual names would be read.
    unread = {ours: None for ours, theirs in columns.items() if not theirs and (seen is None or ours in usual)}
    named = usual | {ours: theirs for ours, theirs in columns.items() if theirs} | unread
    if format == TEXT_FORMAT:
        text = columns.get("text") or columns.get("prompt") or known[format].COLUMNS["text"]
        others = plugins(formats)["alpaca"].COLUMNS
        answers = {ours: None for ours in ANSWERS if others[ours] in (seen or ()) and others[ours] != text}
        return {"columns": {"prompt": text, **answers}}
    marks = {**known[format].TAGS, **{ours: theirs for ours, theirs in tags.items() if theirs}}
    value: dict[str, Any] = {"formatting": format}
    value |= {"ranking": True} if ranking else {}
    value |= {"columns": named} if named else {}
    return value | ({"tags": marks} if marks else {})


def _folder(workspace: Workspace, dataset_dir: str) -> Path:
    folder = workspace.inside(workspace.root, dataset_dir, "dataset_dir")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _check_name(name: str) -> None:
    if RESERVED.fullmatch(name):
        raise UserError(Names.reserved(given=name), key=KEY)
    if not NAME.fullmatch(name) or len(name.encode()) > NAME_BYTES:
        raise UserError(Say.bad_name(given=name[:100]), key=KEY)


def _check_file(file: Path) -> None:
    if not file.is_file():
        raise UserError(Say.no_file(given=file.name, accepted=", ".join(suffixes())), key="dataset")
    if file.name == INFO:
        raise UserError(Say.lists_sets(given=file.name), key="dataset")


def _check_free(info: Entries, name: str, overwrite: bool) -> None:
    if name in info.data and not overwrite:
        numbered = (f"{name[:70]}_{count}" for count in itertools.count(2))
        free = next(other for other in numbered if other not in info.data)
        raise UserError(Say.taken(given=name, free=free), key=KEY)


def _known(info: Entries, name: str) -> Any:
    """What the file says of the set."""
    if name not in info.data:
        known = ", ".join(info.data) or "-"
        raise UserError(Catalogue.unknown(given=plain(name), known=known, file=INFO), key=KEY)
    return info.data[name]


def _understood(workspace: Workspace, folder: Path, name: str, value: Any) -> Entry:
    """The entry as it will be read."""
    entry = read_entry(workspace, folder, name, value)
    if isinstance(entry, Message):
        raise UserError(Catalogue.bad_entry(name=name, file=INFO, reason=entry), key="dataset")
    return entry


def _copied(file: Path, folder: Path) -> Path:
    """A copy of the file in the folder, under a name that nothing reads."""
    needed, free = file.stat().st_size, shutil.disk_usage(folder).free
    if needed > free:
        amounts = {"needed": needed // 10**6, "free": free // 10**6}
        raise UserError(Say.no_room(given=file.name, folder=folder.name, **amounts), key="dataset")
    part = beside(folder)
    try:
        shutil.copyfile(file, part)
        settle(part)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def _target(folder: Path, info: Entries, name: str, suffix: str) -> Path:
    """Where the copy goes: called as the set, in place of a file only when that was the set's alone."""
    names = itertools.chain([name], (f"{name}-{count}" for count in itertools.count(2)))
    used = {other: value.get("file_name") for other, value in info.data.items() if isinstance(value, dict)}
    for stem in names:
        target = folder / f"{stem}{suffix}"
        readers = {other for other, file_name in used.items() if file_name == target.name}
        if not target.exists() or readers == {name}:
            return target
    raise AssertionError("numbers do not end")


def _place_and_list(folder: Path, part: Path | None, target: Path, name: str, value: Mapping[str, Any]) -> None:
    """The rows first, then the entry that names them."""
    new = part is not None and not target.exists()
    if part:
        os.replace(part, target)
    try:
        rewrite(folder, lambda now: now.put(name, value))
    except BaseException:
        if new:
            target.unlink(missing_ok=True)
        raise


def _place(workspace: Workspace, folder: Path, name: str, value: Any) -> Path | None:
    """Where the rows of a set lie, also of one whose entry is wrong in other ways; None for nowhere."""
    entry = read_entry(workspace, folder, name, value)
    if isinstance(entry, Entry):
        return entry.place
    file_name = value.get("file_name") if isinstance(value, dict) else None
    try:
        return workspace.inside(folder, file_name) if isinstance(file_name, str) else None
    except UserError:
        return None


def _touch(one: Path, other: Path) -> bool:
    """Whether they are the same, or one lies in the other."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def _delete(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()
