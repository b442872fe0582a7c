"""What can go wrong while a run learns and a person can mend: a full disk, a damaged checkpoint, no memory. Said in words."""

import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.events import DISK_FULL
from workbench.fields import plain
from workbench.problems import UserError
from workbench.text import Message, Text, verbatim

STAGING = ".saving"
FULL = re.compile(r"No space left|os error 28|Disk quota|file write failed|unexpected pos|enforce fail", re.IGNORECASE)
NO_MEMORY = re.compile(r"can't allocate memory|out of memory", re.IGNORECASE)
UNREADABLE = (OSError, ValueError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, pickle.UnpicklingError)
"""What torch, transformers and json raise when a file of a checkpoint is not what it was."""


class Say:
    disk_full = Text(
        "The disk is full: {free} MB are free, and a file could not be written ({reason}). "
        "Everything saved before is whole. Free some space, then press Resume."
    )
    damaged = Text(
        "Checkpoint {folder} can't be read: {reason}. Delete that folder, then press Resume to use an older one."
    )
    no_memory = Text(
        "Memory ended ({reason}). Accepted: what fits. Begin a new run with a smaller batch size or cutoff length, or "
        "with gradient checkpointing."
    )


def remove_unfinished(folder: Path) -> None:
    """Delete what a killed worker was writing."""
    shutil.rmtree(folder / STAGING, ignore_errors=True)


@contextmanager
def disk_full_is_said(folder: Path) -> Iterator[None]:
    """Turn a write that the disk refused into words, after making room by deleting the unfinished part."""
    try:
        yield
    except Exception as error:
        if (isinstance(error, OSError) and error.errno in DISK_FULL) or FULL.search(str(error)):
            free = shutil.disk_usage(folder).free // 1_000_000
            remove_unfinished(folder)
            raise UserError(Say.disk_full(free=free, reason=_reason(error))) from error
        raise


@contextmanager
def no_memory_is_said() -> Iterator[None]:
    """Turn memory that was refused into words."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
            raise UserError(Say.no_memory(reason=_reason(error)), key="per_device_train_batch_size") from error
        raise


@contextmanager
def damage_is_said(checkpoint: Path | None, begun: Callable[[], bool]) -> Iterator[None]:
    """Turn whatever happens while the checkpoint is read, which is until learning has ``begun``, into words."""
    from safetensors import SafetensorError

    try:
        yield
    except (*UNREADABLE, SafetensorError) as error:
        if checkpoint is None or begun() or NO_MEMORY.search(str(error)):
            raise
        raise damaged(checkpoint, _reason(error)) from error


def damaged(checkpoint: Path, reason: Message) -> UserError:
    """The checkpoint can't be used, and why."""
    return UserError(Say.damaged(folder=checkpoint.name, reason=reason))


def _reason(error: Exception) -> Message:
    words = str(error).strip().splitlines() or [""]
    return verbatim(plain(f"{type(error).__name__}: {words[0]}"))
