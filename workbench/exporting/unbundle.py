"""A bundle read with suspicion: names, sizes, hashes, keys; what differs here; the run to come. Knows no job and no page."""

import hashlib
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from workbench.events import Step, tail
from workbench.exporting.bundle import (
    DATA,
    EVENTS,
    FACTS,
    SPEC,
    VERSION,
    WEIGHTS,
    DataFile,
    Facts,
    base_of,
    entries_of,
    libraries,
    machine,
    sha256,
    strings,
)
from workbench.problems import UserError
from workbench.reporting import REPORT
from workbench.specs import TrainSpec, read_yaml
from workbench.text import Message, Text
from workbench.workspace import Workspace

MOST_FILES = 5_000
MOST_BYTES = 64 << 30
MOST_TEXT_BYTES = 256 << 20
MOST_SWELLING = 1_000
"""So many times as large may an entry become; rows of text reach about a hundred."""
KNOWN = {FACTS, SPEC, EVENTS, REPORT}
KEYS = {"version", "run", "data", "base", "libraries", "machine", "files"}
NAME = re.compile(r"(?:[^/\\:\x00-\x1f]+/)*[^/\\:\x00-\x1f]+")
DEEPEST = 32
"""Folders above a file; a part of a hub's set lies some ten deep."""
ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
AT_HOME = "tensorboard"
"""The tracker that sends nothing."""
FOLDER = "bundles"
"""Inside the workspace's cache: what was unpacked."""


class Say:
    no_file = Text("There is no file '{given}'. Accepted: a bundle as 'runs bundle' writes it. Give its path.")
    no_zip = Text("'{given}' is no zip that can be read. Accepted: a bundle as 'runs bundle' writes it. Fetch it again.")
    not_one = Text("'{given}' is no bundle: {what}. Accepted: one as 'runs bundle' writes it, unchanged. Nothing was unpacked.")
    no_facts = Text("'{file}' is missing or can't be read")
    newer = Text("it has version {given}, and {known} is known here")
    odd_name = Text("the name '{name}' leads out of it or is none of its own")
    twice = Text("'{name}' stands in it twice")
    too_large = Text("it holds more than {most}")
    swells = Text("'{name}' becomes more than {times} times as large")
    odd_key = Text("{file} has the key '{key}', which is not known")
    changed = Text("'{name}' is not what it was when the bundle was made")
    unnamed = Text("'{name}' is not named in {file}")
    library = Text("{name} is {here} here and was {there}.")
    no_library = Text("{name} is not installed here and was {there}.")
    machine = Text("{name}: {here} here, {there} there.")
    other_rows = Text("The set '{name}' is another one here: {file} differs. The losses will differ too.")
    no_rows = Text("The set '{name}' is not here, and the bundle holds no rows. Put it into data/, or bundle it with --data.")
    other_base = Text("The base model is another one here: {file} differs. The losses will differ too.")
    no_base = Text("The base model '{name}' is not here. It is fetched when its name is an id of the hub; else put it into models/.")
    reaches = Text(
        "The bundle would run code of its model, or send rows and keys of yours elsewhere: {given}. Accepted: what you know and "
        "trust. Look at each; if all are right, add --trust."
    )
    goes_on = Text("The run went on from {what}, which the bundle doesn't hold. It must be here under that name.")


@dataclass(frozen=True)
class Bundle:
    """A bundle that passed every check."""

    file: Path
    facts: Facts
    spec: TrainSpec
    names: frozenset[str]

    @property
    def with_data(self) -> bool:
        return any(name.startswith(DATA) for name in self.names)


def read(file: Path) -> Bundle:
    """The bundle; UserError where anything about it is not as it should be. Nothing is unpacked."""
    if not file.is_file():
        raise UserError(Say.no_file(given=file.name))
    try:
        with zipfile.ZipFile(file) as held:
            _check_entries(file, held)
            facts = _facts(file, _text(file, held, FACTS))
            _check_hashes(file, held, facts)
            spec = read_yaml(TrainSpec, _text(file, held, SPEC)).unwrap()
            return Bundle(file, facts, spec, frozenset(held.namelist()))
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise UserError(Say.no_zip(given=file.name)) from error


def _refuse(file: Path, what: Message) -> UserError:
    return UserError(Say.not_one(given=file.name, what=what))


def _check_entries(file: Path, held: zipfile.ZipFile) -> None:
    """Names that stay inside and are its own, plain files alone, sizes that can be."""
    entries = held.infolist()
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        parts = PurePosixPath(name).parts
        kind = entry.external_attr >> 28
        own = name in KNOWN or name.startswith((DATA, WEIGHTS))
        if not NAME.fullmatch(name) or {".", ".."} & set(name.split("/")) or len(parts) > DEEPEST or kind not in (0, 8) or not own:
            raise _refuse(file, Say.odd_name(name=name[:120]))
        if name.casefold() in seen:
            raise _refuse(file, Say.twice(name=name))
        seen.add(name.casefold())
        if entry.file_size > MOST_SWELLING * max(1, entry.compress_size):
            raise _refuse(file, Say.swells(name=name, times=f"{MOST_SWELLING:,}"))
    if len(entries) > MOST_FILES:
        raise _refuse(file, Say.too_large(most=f"{MOST_FILES:,} files"))
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise _refuse(file, Say.too_large(most=f"{MOST_BYTES / 1e9:.0f} GB"))


def _text(file: Path, held: zipfile.ZipFile, name: str) -> str:
    if name not in held.namelist() or held.getinfo(name).file_size > MOST_TEXT_BYTES:
        raise _refuse(file, Say.no_facts(file=name))
    try:
        return held.read(name).decode("utf-8")
    except UnicodeDecodeError:
        raise _refuse(file, Say.no_facts(file=name)) from None


def _facts(file: Path, text: str) -> Facts:
    try:
        given: dict[str, Any] = json.loads(text)
        if int(given["version"]) > VERSION:
            raise _refuse(file, Say.newer(given=given["version"], known=VERSION))
        if odd := sorted(set(given) - KEYS):
            raise _refuse(file, Say.odd_key(file=FACTS, key=odd[0]))
        data = [DataFile(str(one["set"]), str(one["path"]), str(one["sha256"]), int(one["num_bytes"])) for one in given["data"]]
        told = {key: {str(name): str(one) for name, one in given[key].items()} for key in ("base", "libraries", "machine", "files")}
        return Facts(str(given["run"]), data, **told)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _refuse(file, Say.no_facts(file=FACTS)) from None


def _check_hashes(file: Path, held: zipfile.ZipFile, facts: Facts) -> None:
    """Every entry is named with its hash, and is what it was."""
    names = {name for name in held.namelist() if name != FACTS}
    for name in sorted(names | set(facts.files)):
        if name not in facts.files:
            raise _refuse(file, Say.unnamed(name=name, file=FACTS))
        if name not in names or _sum(held, name) != facts.files[name]:
            raise _refuse(file, Say.changed(name=name))


def _sum(held: zipfile.ZipFile, name: str) -> str:
    with held.open(name) as source:
        digest = hashlib.sha256()
        while piece := source.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def differences(workspace: Workspace, bundle: Bundle) -> Iterator[Message]:
    """What is not here as it was there."""
    facts, spec = bundle.facts, bundle.spec
    here = libraries()
    for name, there in facts.libraries.items():
        if name not in here:
            yield Say.no_library(name=name, there=there)
        elif here[name] != there:
            yield Say.library(name=name, here=here[name], there=there)
    for name, one in machine().items():
        if name in facts.machine and facts.machine[name] != one:
            yield Say.machine(name=name, here=one, there=facts.machine[name])
    yield from _other_base(workspace, spec, facts.base)
    if not bundle.with_data:
        yield from _other_rows(workspace, bundle)
    for given in (*spec.model.adapter_name_or_path, spec.saving.resume_from_checkpoint):
        if given:
            yield Say.goes_on(what=given)


def _other_base(workspace: Workspace, spec: TrainSpec, there: Mapping[str, str]) -> Iterator[Message]:
    here = base_of(workspace, spec)
    if not here:
        yield Say.no_base(name=spec.model.model_name_or_path)
        return
    for name in there:
        if here.get(name) != there[name]:
            yield Say.other_base(file=name)


def _other_rows(workspace: Workspace, bundle: Bundle) -> Iterator[Message]:
    here = entries_of(workspace, bundle.spec)
    for name, (files, reason) in here.items():
        there = {one.path: one.sha256 for one in bundle.facts.data if one.set == name}
        sums = {shown: sha256(path) for shown, path in files}
        if reason:
            yield Say.no_rows(name=name)
        elif odd := next((path for path in sorted({*there, *sums}) if there.get(path) != sums.get(path)), None):
            yield Say.other_rows(name=name, file=odd)


def reaching(spec: TrainSpec) -> Message | None:
    """What of a stranger's spec does more than compute: code of a model, addresses that rows and keys are sent to, trackers."""
    found = {key: [text for text in strings(value) if ADDRESS.match(text)] for key, value in spec.flat().items()}
    found["trust_remote_code"] = ["true"] if spec.model.trust_remote_code else []
    found["report_to"] = [name for name in spec.saving.report_to if name != AT_HOME]
    given = "; ".join(f"{key}: {', '.join(texts)}" for key, texts in found.items() if texts)
    return Say.reaches(given=given) if given else None


def to_train(workspace: Workspace, bundle: Bundle, trusted: bool = False) -> TrainSpec:
    """The spec of the run to come: a new name, and the bundle's own rows, unpacked into the cache, where it has them.

    UserError where it reaches further than a stranger may, unless it is ``trusted``.
    """
    spec = bundle.spec
    if not trusted and (said := reaching(spec)):
        raise UserError(said)
    saving = spec.saving.model_copy(update={"output_dir": "", "overwrite_output_dir": False})
    data = spec.data.model_copy(update={"tokenized_path": ""})
    if bundle.with_data:
        home = workspace.cache / FOLDER / sha256(bundle.file)[:16]
        unpack(bundle, home)
        data = data.model_copy(update={"dataset_dir": (home / DATA).relative_to(workspace.root).as_posix()})
    return spec.model_copy(update={"saving": saving, "data": data})


def unpack(bundle: Bundle, home: Path) -> None:
    """The rows, into a folder of their own; their names were checked, and are checked once more against the folder."""
    with zipfile.ZipFile(bundle.file) as held:
        for name in sorted(name for name in bundle.names if name.startswith(DATA)):
            target = home / name
            assert target.resolve().is_relative_to(home.resolve()), name
            target.parent.mkdir(parents=True, exist_ok=True)
            with held.open(name) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)


def bundled_losses(bundle: Bundle) -> dict[int, float]:
    """The losses of the run that was bundled."""
    with zipfile.ZipFile(bundle.file) as held, tempfile.TemporaryDirectory() as folder:
        if EVENTS not in bundle.names:
            return {}
        return losses(Path(held.extract(EVENTS, folder)))


def losses(events: Path) -> dict[int, float]:
    """The loss of every step that says one; of a step done twice, as after a resume, the last."""
    steps = [entry.event for entry in tail(events, 0)[0] if isinstance(entry.event, Step)]
    return {step.step: step.loss for step in steps if step.loss is not None}


@dataclass(frozen=True)
class Match:
    """Two runs' losses side by side."""

    steps: int
    """Those that both have."""
    missing: int
    """Those that only one has."""
    furthest: float
    """The largest difference, as a share of the bundle's loss."""
    at: int
    """The step of it."""

    @property
    def equal(self) -> bool:
        """To the last bit."""
        return self.steps > 0 and not self.missing and self.furthest == 0

    def within(self, share: float) -> bool:
        return self.steps > 0 and not self.missing and self.furthest <= share


def compare(there: Mapping[int, float], here: Mapping[int, float]) -> Match:
    """The bundle's losses and those of the run that followed."""
    both = sorted(set(there) & set(here))
    gaps = {step: abs(here[step] - there[step]) / max(abs(there[step]), 1e-12) for step in both}
    at = max(both, key=lambda step: gaps[step], default=0)
    return Match(len(both), len(set(there) ^ set(here)), gaps.get(at, 0.0), at)
