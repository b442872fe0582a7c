"""data/dataset_info.json on disk: whoever changes it takes a turn, and it is the old file or the new one, never half.

Knows entries as text only, and no rows.
"""

import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.data.datasets import INFO
from workbench.data.datasets import Say as Catalogue
from workbench.data.json_entries import Entries
from workbench.locks import hold
from workbench.problems import UserError
from workbench.text import Text

KEY = "name"
"""The field beside which these errors stand: the name of the set."""
LOCK = f".{INFO}.lock"
PATIENCE_S = 10.0
TRIES = 20
TURN = threading.Lock()
"""The lock on disk belongs to the process; this one lets its threads take turns."""


class Say:
    bad_info = Text(
        "{file}, line {line}, column {column}: {reason}. Accepted: JSON, with comments or without. "
        "Nothing was changed; mend that place first."
    )
    not_utf8 = Text("{file} is not UTF-8. Accepted: UTF-8. Nothing was changed; save it as UTF-8 first.")
    twice = Text(
        "{file} holds '{given}' twice. Accepted: each name once. Nothing was changed; remove one by hand first."
    )
    busy = Text("Another program is changing {file}. Accepted: one change at a time. Try again in a moment.")


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """The right to change the catalogue, against the threads of this process and every other process."""
    with TURN:
        lock = hold(folder / LOCK, PATIENCE_S)
        if lock is None:
            raise UserError(Say.busy(file=INFO), key=KEY)
        try:
            yield
        finally:
            lock.release()


def read(folder: Path) -> Entries:
    """The catalogue as it stands, an empty one where there is none; UserError rather than a guess at a broken one."""
    return _parsed(_bytes(folder))


def _parsed(content: bytes) -> Entries:
    try:
        info = Entries(content.decode() if content.strip() else "{\n}\n")
        doubles = info.doubles()
    except UnicodeDecodeError as error:
        raise UserError(Say.not_utf8(file=INFO), key=KEY) from error
    except json.JSONDecodeError as error:
        said = Say.bad_info(file=INFO, line=error.lineno, column=error.colno, reason=error.msg)
        raise UserError(said, key=KEY) from error
    except TypeError as error:
        raise UserError(Catalogue.not_object(file=INFO, given=str(error)), key=KEY) from error
    if doubles:
        raise UserError(Say.twice(file=INFO, given=doubles[0]), key=KEY)
    return info


def _bytes(folder: Path) -> bytes:
    file = folder / INFO
    return file.read_bytes() if file.is_file() else b""


def rewrite(folder: Path, change: Callable[[Entries], str]) -> None:
    """Put the changed text in place; once more if somebody who asks for no turn, say an editor, wrote meanwhile."""
    file = (folder / INFO).resolve()
    for _ in range(TRIES):
        before = _bytes(folder)
        part = beside(file.parent)
        try:
            part.write_bytes(change(_parsed(before)).encode())
            settle(part)
            if file.is_file():
                shutil.copymode(file, part)
            if _bytes(folder) == before:
                os.replace(part, file)
                return
        finally:
            part.unlink(missing_ok=True)
    raise UserError(Say.busy(file=INFO), key=KEY)


def beside(folder: Path) -> Path:
    """A name in the folder that nothing reads, for a file on its way."""
    return folder / f".{uuid.uuid4().hex}.part"


def settle(part: Path) -> None:
    """Let the disk have all of it before it gets its name."""
    with part.open("ab") as written:
        os.fsync(written.fileno())
