"""One zip that holds all it takes to train a run again: spec, hashes of its data, versions, events, scores, the adapter.

The same run on the same machine gives the same bytes. No absolute path stands in it. Knows no job and no page.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from workbench.data import dataset_info
from workbench.data.datasets import INFO, chosen_entries, read_catalogue
from workbench.events import Sample
from workbench.models import is_adapter, local_folder, model_name
from workbench.problems import UserError
from workbench.reporting import REPORT
from workbench.specs import VERSION as SPEC_VERSION
from workbench.specs import TrainSpec
from workbench.text import Text
from workbench.workspace import Workspace, source_folder

VERSION = 1
FACTS, SPEC, EVENTS = "bundle.json", "spec.yaml", "events.jsonl"
DATA, WEIGHTS = "data/", "weights/"
LIBRARIES = (
    "torch", "transformers", "peft", "trl", "accelerate", "datasets", "tokenizers", "safetensors", "numpy", "bitsandbytes",
)  # fmt: skip
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The time of every entry: what a zip can't do without, and nobody needs."""
BASE_FILES = ("config.json", "tokenizer.json", "tokenizer.model", "vocab.json", "generation_config.json", "chat_template.jinja")
"""What tells one base model from another, beside the sizes of its weights."""
USER_OF_URL = re.compile(r"(?<=://)[^/@\s]+@")


class Say:
    not_here = Text("The rows of '{name}' are not all here: {reason} Accepted: sets that can be read. Fetch them, or bundle without data.")


@dataclass(frozen=True)
class DataFile:
    """One file of rows of a set."""

    set: str
    path: str
    """Inside the folder of the sets, with forward slashes."""
    sha256: str
    num_bytes: int


@dataclass(frozen=True)
class Facts:
    """What a bundle says of itself beside its files."""

    run: str
    data: Sequence[DataFile]
    base: Mapping[str, str]
    """Files of the base model with their hashes, and those of weights with their sizes."""
    libraries: Mapping[str, str]
    machine: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)
    """Every other entry of the zip with its hash."""


def pack(workspace: Workspace, run: Path, spec: TrainSpec, out: Path, data: bool = False, whole: bool = False) -> Facts:
    """Write the zip, whole or not at all. ``data``: with the rows themselves, and the questions and answers that report and
    events show; ``whole``: also the weights of a whole model."""
    entries = entries_of(workspace, spec)
    told = Scrub.of(workspace, spec)
    texts = {SPEC: told.spec(spec), **dict(_texts(run, told, data))}
    copies = dict(_weights(run, whole))
    hashed = list(hashes(workspace, spec, entries))
    if data:
        missing = next((name for name, (_, reason) in entries.items() if reason), None)
        if missing:
            raise UserError(Say.not_here(name=missing, reason=entries[missing][1]))
        texts[f"{DATA}{INFO}"] = _info(workspace, spec)
        copies |= {f"{DATA}{shown}": path for files, _ in entries.values() for shown, path in files}
    texts |= {name: told.text(path.read_text("utf-8")) for name, path in copies.items() if name.startswith(WEIGHTS) and _is_text(path)}
    copies = {name: path for name, path in copies.items() if name not in texts}
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    sums |= {name: sha256(path) for name, path in copies.items()}
    facts = Facts(run.name, hashed, base_of(workspace, spec), libraries(), machine(), dict(sorted(sums.items())))
    texts[FACTS] = json.dumps({"version": VERSION, **asdict(facts)}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    _write(out, texts, copies)
    return facts


def _write(out: Path, texts: Mapping[str, str], copies: Mapping[str, Path]) -> None:
    part = out.with_name(f".{out.name}.part")
    try:
        with zipfile.ZipFile(part, "w") as held:
            for name in sorted([*texts, *copies], key=lambda name: (name != FACTS, name)):
                entry = zipfile.ZipInfo(name, LONG_AGO)
                entry.create_system, entry.external_attr = 3, 0o644 << 16
                packed = name in texts or not name.endswith(".safetensors")  # weights don't become smaller
                entry.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
                if name in texts:
                    held.writestr(entry, texts[name].encode())
                    continue
                entry.file_size = copies[name].stat().st_size
                with copies[name].open("rb") as source, held.open(entry, "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _texts(run: Path, told: "Scrub", data: bool) -> Iterator[tuple[str, str]]:
    """What was said and found, as far as it is there; without ``data`` nothing that shows what rows say."""
    with suppress(FileNotFoundError):
        yield EVENTS, told.events((run / EVENTS).read_text("utf-8"), data)
    with suppress(FileNotFoundError):
        report = (run / REPORT).read_text("utf-8")
        yield REPORT, told.text(report if data else _without_evidence(report))


def _without_evidence(report: str) -> str:
    """Lights, words and figures alone: the evidence is questions and answers of learned rows."""
    held = json.loads(report)
    for part in held.get("parts", []):
        part["evidence"] = []
    return json.dumps(held, ensure_ascii=False, indent=1) + "\n"


def _weights(run: Path, whole: bool) -> Iterator[tuple[str, Path]]:
    if not is_adapter(run) and not whole:
        return
    kinds = ("adapter_config.json", "adapter_model*.safetensors") if is_adapter(run) else ("config.json", "generation_config.json",
        "*.safetensors", "*.safetensors.index.json")  # fmt: skip
    for kind in kinds:
        yield from ((f"{WEIGHTS}{path.name}", path) for path in sorted(run.glob(kind)) if path.is_file())


def _is_text(path: Path) -> bool:
    return path.suffix == ".json"


Placed = Mapping[str, tuple[Sequence[tuple[str, Path]], str]]
"""The sets of a run: for each its files, (path inside the folder of the sets, path), or why they can't be read."""


def entries_of(workspace: Workspace, spec: TrainSpec) -> Placed:
    """The files of rows that the run learned from or was measured on, as they are here."""
    home = workspace.inside(workspace.root, spec.data.dataset_dir)
    found: dict[str, tuple[Sequence[tuple[str, Path]], str]] = {}
    for name in dict.fromkeys([*spec.data.dataset, *spec.data.eval_dataset]):
        try:
            (entry,) = chosen_entries(read_catalogue(workspace, spec.data.dataset_dir), [name])
            # An entry that leads out of that folder is none that can be read.
            found[name] = ([(path.relative_to(home).as_posix(), path) for path in entry.files()], "")
        except UserError as error:
            found[name] = ((), str(error.problems[0].message))
    return found


def hashes(workspace: Workspace, spec: TrainSpec, entries: Placed) -> Iterator[DataFile]:
    """Every file of rows that is here, with its hash."""
    for name, (files, _) in entries.items():
        for shown, path in files:
            yield DataFile(name, shown, sha256(path), path.stat().st_size)


def _info(workspace: Workspace, spec: TrainSpec) -> str:
    """dataset_info.json with the run's own sets alone, each at its place inside the folder, however it was written there."""
    home = workspace.inside(workspace.root, spec.data.dataset_dir)
    known, entries = dataset_info.read(home).data, read_catalogue(workspace, spec.data.dataset_dir).entries
    wanted = {*spec.data.dataset, *spec.data.eval_dataset}
    own = {name: dict(known[name]) for name in known if name in wanted}
    for name, entry in own.items():
        if entries[name].source is None:
            entry["file_name"] = entries[name].place.relative_to(home).as_posix()
    return json.dumps(own, indent=1, ensure_ascii=False) + "\n"


def base_of(workspace: Workspace, spec: TrainSpec) -> dict[str, str]:
    """What tells the base model from another of the same name; nothing where it is not here."""
    folder = local_folder(workspace, spec.model.model_name_or_path)
    if folder is None:
        return {}
    small = {name: sha256(folder / name) for name in BASE_FILES if (folder / name).is_file()}
    return {**small, **{path.name: f"{path.stat().st_size} bytes" for path in sorted(folder.glob("*.safetensors"))}}


def libraries() -> dict[str, str]:
    """Versions of what computes, and of Python."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def machine() -> dict[str, str]:
    """What of the machine may change a sum: its kind and how many threads compute. No name of it or its owner."""
    threads = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count() or 1)
    return {"system": platform.system(), "processor": platform.machine(), "cores": str(os.cpu_count() or 1), "threads": threads}


def sha256(path: Path) -> str:
    """The hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Scrub:
    """Takes paths of this machine out of texts: those inside the workspace become relative, others their last part."""

    swaps: Sequence[tuple[str, str]]
    """The longest first."""

    @classmethod
    def of(cls, workspace: Workspace, spec: TrainSpec) -> "Scrub":
        """Knows the workspace, the program, the home, and every absolute path in the spec."""
        roots = {os.path.abspath(workspace.root), os.path.realpath(workspace.root), str(source_folder())}
        swaps = {f"{root}{sep}": "" for root in roots for sep in "/\\"} | dict.fromkeys(roots, ".")
        for given in strings(spec.flat()):
            if os.path.isabs(given) and not any(given.startswith(root) for root in roots):
                swaps[given] = model_name(given)
        swaps[str(Path.home())] = "~"
        escaped = {json.dumps(old)[1:-1]: new for old, new in swaps.items()}
        return cls(sorted({**swaps, **escaped}.items(), key=lambda pair: -len(pair[0])))

    def text(self, given: str) -> str:
        for old, new in self.swaps:
            given = given.replace(old, new) if len(old) > 1 else given
        return USER_OF_URL.sub("", given)

    def spec(self, spec: TrainSpec) -> str:
        """The spec as a file."""
        held = {"version": SPEC_VERSION, "job": spec.JOB, **{key: self._value(value) for key, value in spec.flat().items()}}
        return yaml.safe_dump(held, allow_unicode=True, sort_keys=False, width=120)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        return [self._value(one) for one in value] if isinstance(value, list) else value

    def events(self, given: str, samples: bool) -> str:
        """What was said, without what the interpreter printed of a mistake; with ``samples`` the answers that were watched."""
        lines = []
        for line in given.splitlines():
            with suppress(ValueError):
                held = json.loads(line)
                if held.get("kind") == Sample.kind and not samples:
                    continue
                if held.get("kind") == "failed":
                    line = json.dumps({**held, "detail": ""}, ensure_ascii=False)
                lines.append(self.text(line))
        return "".join(f"{line}\n" for line in lines)


def strings(value: Any) -> Iterator[str]:
    """Every text in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from strings(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from strings(one)
