"""``doctor``: what is installed, what this machine can do, what is missing and how to get it. Changes nothing."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil

from workbench import machine
from workbench.cli import DONE, FAILED
from workbench.cli.flags import nothing_more, stray
from workbench.cli.overview import columns_of, command_help, wrapped
from workbench.cli.screen import Screen
from workbench.data.datasets import read_catalogue
from workbench.data.samples import raw_records
from workbench.fields import plain
from workbench.models import local_models
from workbench.problems import UserError
from workbench.setup.install import CARD_QUERY, pins
from workbench.setup.starter import is_whole, starter_folder
from workbench.setup.torch_choice import Card, parse_card
from workbench.text import Locale, Message, Text
from workbench.wording import size
from workbench.workspace import Workspace, source_folder

LOW_DISK_BYTES = 5e9
LOW_MEMORY_BYTES = 2e9
CARD_PATIENCE_S = 20.0
Weight = Literal["good", "note", "missing"]


class Say:
    title = Text("Look at this machine and this folder: what is there, what is missing, how to get it.")
    codes = Text("Exit code: 0 when all that is needed is there, 1 when something is missing.")
    good = Text("ok")
    note = Text("note")
    missing = Text("MISSING")
    all_good = Text("All that is needed is there.")
    not_all = Text("Missing or broken: {count}.")
    python = Text("Python {version} ({path})")
    old_python = Text("Python {version}. Needed: 3.11 or newer. Get it from python.org/downloads, then run ./start.sh.")
    package = Text("{name} {version}")
    no_package = Text("{name} is not installed. Needed: {wanted}. Run ./start.sh again, or pip install {pin}.")
    other_version = Text("{name} {version}, while requirements.txt says {wanted}. Run ./start.sh again to get that.")
    no_pins = Text("requirements.txt is not there, so it can't be told what is needed. Put it back.")
    device_cpu = Text("Computes on the processor: {threads} threads.")
    device_mps = Text("Computes on the Apple GPU.")
    device_card = Text("Computes on {name}, {memory}.")
    idle_card = Text(
        "{name} is there, but this torch ({version}) does not use it. Accepted: a CUDA build and a driver that fits. "
        "Update the driver, or run ./start.sh --torch-index URL with a CUDA build."
    )
    precisions = Text("Precision: {known}. auto takes {auto}.")
    slow_bf16 = Text("This processor has no bf16 of its own: bf16 works here, but slower than fp32.")
    disk = Text("Disk: {free} free of {total}.")
    low_disk = Text("Disk: {free} free of {total}. A model and its runs take several GB. Free some space.")
    memory = Text("Memory: {free} free of {total}.")
    low_memory = Text("Memory: {free} free of {total}. Close other programs before training.")
    not_writable = Text("{folder} can't be written to. Models and runs are kept there. Mend its permissions.")
    starter = Text("Starter model: {name}")
    no_starter = Text("The starter model is not in models/. To get it: {command}")
    models = Text("Models in models/: {names}")
    datasets = Text("data/dataset_info.json: {count} datasets")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``missing``: nothing works, or not all of it, until it is mended."""

    weight: Weight
    message: Message


def title() -> Message:
    return Say.title()


def help(locale: Locale) -> Iterator[str]:
    yield from command_help(locale, "doctor", (Say.title, Say.codes))


def run(words: Sequence[str], workspace: Workspace, screen: Screen) -> int:
    if words:
        raise UserError(*stray(words, nothing_more()))
    marks = {"good": Say.good, "note": Say.note, "missing": Say.missing}
    width = max(columns_of(screen.locale(mark)) for mark in marks.values()) + 2
    missing = 0
    for finding in findings(workspace):
        mark = screen.locale(marks[finding.weight])
        head = mark + " " * (width - columns_of(mark))
        first, *rest = wrapped(" ".join(screen.locale(finding.message).split()), width)
        screen.line(head + first[width:])
        screen.lines(rest)
        missing += finding.weight == "missing"
    screen.line("")
    screen.say(Say.not_all(count=missing) if missing else Say.all_good())
    return FAILED if missing else DONE


def findings(workspace: Workspace) -> Iterator[Finding]:
    """Everything that is looked at, in the order in which it is mended."""
    yield _python()
    yield from _packages(source_folder() / "requirements.txt")
    yield from _devices()
    yield from _room(workspace)
    yield from _models(workspace)
    yield from _datasets(workspace)


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < (3, 11):  # noqa: UP036 - told here in words, before anything else fails without them
        return Finding("missing", Say.old_python(version=version))
    return Finding("good", Say.python(version=version, path=sys.executable))


def _packages(requirements: Path) -> Iterator[Finding]:
    """Each pin of requirements.txt against what is installed."""
    if not requirements.is_file():
        yield Finding("missing", Say.no_pins())
        return
    for pin in pins(requirements):
        exact, _, marker = pin.partition(";")
        name, _, wanted = exact.strip().partition("==")
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            # A pin with a marker is meant for some systems only.
            weight: Weight = "note" if marker else "missing"
            yield Finding(weight, Say.no_package(name=name, wanted=wanted, pin=exact.strip()))
            continue
        if version.partition("+")[0] == wanted:
            yield Finding("good", Say.package(name=name, version=version))
        else:
            yield Finding("note", Say.other_version(name=name, version=version, wanted=wanted))


def _devices() -> Iterator[Finding]:
    try:
        found = machine.look()
    except UserError as error:
        yield from (Finding("missing", problem.message) for problem in error.problems)
        return
    for card in found.cards:
        yield Finding("good", Say.device_card(name=card.name, memory=size(card.memory_bytes)))
    if found.device == "mps":
        yield Finding("good", Say.device_mps())
    elif not found.cards:
        yield Finding("good", Say.device_cpu(threads=found.threads))
        idle = _card()
        if idle is not None:
            yield Finding("note", Say.idle_card(name=idle.name, version=found.torch))
    known = ", ".join(found.precisions)
    yield Finding("good", Say.precisions(known=known, auto=found.auto))
    yield Finding("good", found.why)
    if not found.fast_bf16 and "bf16" in found.precisions:
        yield Finding("note", Say.slow_bf16())


def _card() -> Card | None:
    """The first NVIDIA card whose driver answers."""
    if not shutil.which(CARD_QUERY[0]):
        return None
    try:
        done = subprocess.run(CARD_QUERY, check=False, capture_output=True, text=True, timeout=CARD_PATIENCE_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_card(done.stdout.partition("\n")[0]) if done.returncode == 0 else None


def _room(workspace: Workspace) -> Iterator[Finding]:
    """Disk and memory, free and in all."""
    for folder in (workspace.saves, workspace.models):
        kept = folder if folder.is_dir() else workspace.root
        if not os.access(kept, os.W_OK):
            yield Finding("missing", Say.not_writable(folder=str(kept)))
    disk = shutil.disk_usage(workspace.saves if workspace.saves.is_dir() else workspace.root)
    room = {"free": size(disk.free), "total": size(disk.total)}
    yield Finding("note", Say.low_disk(**room)) if disk.free < LOW_DISK_BYTES else Finding("good", Say.disk(**room))
    memory = psutil.virtual_memory()
    room = {"free": size(memory.available), "total": size(memory.total)}
    low = memory.available < LOW_MEMORY_BYTES
    yield Finding("note", Say.low_memory(**room)) if low else Finding("good", Say.memory(**room))


def _models(workspace: Workspace) -> Iterator[Finding]:
    folder = starter_folder(workspace.models)
    if is_whole(folder):
        yield Finding("good", Say.starter(name=folder.name))
    else:
        yield Finding("note", Say.no_starter(command="./start.sh --prepare-only"))
    others = [name for name in local_models(workspace) if name != folder.name]
    if others:
        yield Finding("good", Say.models(names=plain(others)))


def _datasets(workspace: Workspace) -> Iterator[Finding]:
    """Whether dataset_info.json is sound, and every file that it names."""
    catalogue = read_catalogue(workspace)
    problems = [problem.message for problem in catalogue.problems]
    for entry in catalogue.entries.values():
        try:
            next(raw_records(entry))
        except UserError as error:
            problems += [problem.message for problem in error.problems]
    yield from (Finding("missing", message) for message in problems)
    if catalogue.entries:
        yield Finding("good", Say.datasets(count=len(catalogue.entries)))
