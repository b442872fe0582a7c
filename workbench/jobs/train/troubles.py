"""What can go wrong while a run learns and a person can mend: a full disk, a damaged checkpoint, no memory, no driver.
Said in words, with the cause for those who know what would help."""

import errno
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workbench.checkpoints import KEY, STAGING
from workbench.events import DISK_FULL
from workbench.fields import plain
from workbench.problems import UserError
from workbench.text import Message, Text, verbatim

FULL = re.compile(r"No space left|os error 28|Disk quota|file write failed|unexpected pos|enforce fail", re.IGNORECASE)
NO_MEMORY = re.compile(
    r"can(no|')t allocate memory|out of memory|failed to allocate|ALLOC_FAILED|bad_alloc|paging file is too small",
    re.IGNORECASE,
)
NO_DRIVER = re.compile(
    r"no NVIDIA driver|NVIDIA driver on your system is too old|driver version is insufficient|no CUDA-capable device|"
    r"not compiled with CUDA|libcuda\.so|CUDA driver initialization failed|CUDA unknown error|no kernel image is available",
    re.IGNORECASE,
)
NVIDIA, DISPLAY = "0x10de", "0x03"
"""Maker and kind of a card, as the bus says them."""
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
    no_driver = Text(
        "The card can't be used ({reason}). Its driver is missing or too old, or this torch was built for other cards. "
        "Install NVIDIA's newest driver and restart the machine; 'python app.py doctor' says what torch sees then. Everything "
        "saved before is whole."
    )
    idle_card = Text(
        "There is an NVIDIA card here, and torch can't use it, so the run computes on the processor, many times slower. The "
        "driver is missing or too old, or this torch was built for processors alone: 'python app.py doctor' says which."
    )
    unfit = Text(
        "Checkpoint {folder} does not fit this run: {reason}. Accepted: one whose run had the same model, stage, method, "
        "rank and optimiser. Choose another one, or leave 'Go on from' empty."
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
        refused = (isinstance(error, OSError) and error.errno in DISK_FULL) or FULL.search(str(error))
        if refused and not ends_memory(error):
            free = shutil.disk_usage(folder).free // 1_000_000
            remove_unfinished(folder)
            raise UserError(Say.disk_full(free=free, reason=_reason(error)), cause="disk") from error
        raise


@contextmanager
def machine_is_said() -> Iterator[None]:
    """Turn memory that was refused, and a card that can't be used, into words."""
    try:
        yield
    except (RuntimeError, MemoryError, OSError, AssertionError) as error:
        if ends_memory(error):
            key = "per_device_train_batch_size"
            raise UserError(Say.no_memory(reason=_reason(error)), key=key, cause="memory") from error
        if NO_DRIVER.search(str(error)):
            raise UserError(Say.no_driver(reason=_reason(error)), cause="driver") from error
        raise


def idle_card(devices: Path = Path("/sys/bus/pci/devices")) -> Message | None:
    """A word for an NVIDIA card that Linux sees and this process was not told to leave alone; to be asked where torch
    computes on the processor."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return None
    for device in sorted(devices.glob("*")):
        with suppress(OSError):
            maker, kind = ((device / name).read_text("utf-8").strip() for name in ("vendor", "class"))
            if maker == NVIDIA and kind.startswith(DISPLAY):
                return Say.idle_card()
    return None


def ends_memory(error: Exception) -> bool:
    """Whether memory was refused, the card's or the machine's."""
    refused = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    return refused or bool(NO_MEMORY.search(str(error)))


@contextmanager
def damage_is_said(checkpoint: Path | None, own: Path, begun: Callable[[], bool]) -> Iterator[None]:
    """Turn whatever happens while the checkpoint is read, which is until learning has ``begun``, into words. ``own``: the
    run's folder; a checkpoint of another run may be whole and not fit this one."""
    from safetensors import SafetensorError

    try:
        yield
    except (*UNREADABLE, SafetensorError) as error:
        if checkpoint is None or begun() or ends_memory(error):
            raise
        if checkpoint.parent != own:
            raise UserError(Say.unfit(folder=checkpoint.name, reason=_reason(error)), key=KEY) from error
        raise damaged(checkpoint, _reason(error)) from error


def damaged(checkpoint: Path, reason: Message) -> UserError:
    """The checkpoint can't be used, and why."""
    return UserError(Say.damaged(folder=checkpoint.name, reason=reason))


def _reason(error: Exception) -> Message:
    words = str(error).strip().splitlines() or [""]
    return verbatim(plain(f"{type(error).__name__}: {words[0]}"))
