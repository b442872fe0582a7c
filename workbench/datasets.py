"""data/dataset_info.json -> rows of one Sample shape, through a format. Knows no page, no model and no template."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from workbench import formats
from workbench.fields import plain
from workbench.formats import Excluded, Sample
from workbench.problems import Problem, UserError
from workbench.sockets import plugins
from workbench.text import Message, Text
from workbench.workspace import Workspace

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


class Say:
    no_info = Text("{file} does not exist. It lists the datasets. Put it back, or choose another data folder.")
    bad_json = Text(
        "{file}, line {line}, column {column}: {reason}. Mend that place; {kept} entries before or after it were read."
    )
    not_object = Text("{file} holds {given}. Accepted: one JSON object with a name for each dataset.")
    bad_entry = Text("Dataset '{name}' in {file}: {reason}")
    entry_object = Text("its entry is {given}. Accepted: an object with file_name.")
    no_source = Text("it has no file_name. Accepted: a file in the data folder. Add it.")
    hub_later = Text("it lies on a hub. Accepted here: file_name. Download the file into the data folder and name it.")
    runs_code = Text("its script_url would run code. Accepted: file_name. Save the rows as a JSON file and name that.")
    bad_columns = Text("its columns are {given}. Accepted: our names for columns, each with the file's name. Mend it.")
    other_format = Text("its formatting is '{given}'. Accepted: {known}. Convert the file to one of these.")
    no_file = Text("file '{given}' does not exist in {folder}. Put it there, or mend file_name.")
    file_type = Text("file '{given}' is no {accepted} file. Save it as one of these.")
    not_utf8 = Text("file '{given}' is not UTF-8 at byte {at}. Save it as UTF-8.")
    bad_rows = Text("file '{given}', line {line}, column {column}: {reason}. Mend that line.")
    not_list = Text("file '{given}' holds {found}. Accepted: a list of rows, or one row a line.")
    bad_row = Text("file '{given}', row {row}: it is {found}, not an object with columns.")
    empty = Text("file '{given}' has no rows. Add rows, or choose another set.")
    unknown = Text("No dataset named '{given}'. Known: {known}. Choose one, or add it to {file}.")
    unknown_near = Text("No dataset named '{given}'. Nearest: {nearest}. Known: {known}. Choose one of these.")
    none_chosen = Text("No dataset is chosen. Accepted: {known}. Choose at least one.")
    no_values = Text("Dataset '{name}' has placeholders without a value: {missing}. Fill in each of them.")
    unused_values = Text("No chosen set has the placeholder {given}. Placeholders there: {known}. Rename or remove it.")
    excluded = Text("Dataset '{name}', row {row} is left out: {reason}")


@dataclass(frozen=True)
class Entry:
    """One dataset of dataset_info.json, ready to be read."""

    name: str
    file: Path
    format: str
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Catalogue:
    """What dataset_info.json offers: the entries that are right, and what is wrong with the others or the file."""

    file: Path
    entries: Mapping[str, Entry]
    problems: Sequence[Problem] = ()

    @property
    def file_problems(self) -> list[Problem]:
        """What is wrong with the file itself rather than with one of its entries."""
        return [problem for problem in self.problems if "name" not in problem.message.args]


@dataclass(frozen=True)
class Rows:
    """The samples of some datasets in order, and a message for every row that is left out."""

    samples: Sequence[Sample]
    excluded: Sequence[Message] = field(default_factory=list)


def read_catalogue(workspace: Workspace, dataset_dir: str = "data") -> Catalogue:
    """The datasets of a folder. A broken file still gives the entries that can be read, and says line and column."""
    folder = workspace.inside(workspace.root, dataset_dir, "dataset_dir")
    file = folder / "dataset_info.json"
    if not file.is_file():
        return Catalogue(file, {}, [Problem(Say.no_info(file=f"{dataset_dir}/dataset_info.json"), "dataset")])
    text = file.read_text("utf-8-sig", errors="replace")
    problems: list[Problem] = []
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        data = dict(_readable_entries(text))
        said = Say.bad_json(file=file.name, line=error.lineno, column=error.colno, reason=error.msg, kept=len(data))
        problems.append(Problem(said, "dataset"))
    if not isinstance(data, dict):
        return Catalogue(file, {}, [Problem(Say.not_object(file=file.name, given=type(data).__name__), "dataset")])
    entries: dict[str, Entry] = {}
    for name, value in data.items():
        entry = _entry(workspace, folder, name, value)
        if isinstance(entry, Entry):
            entries[name] = entry
        else:
            problems.append(Problem(Say.bad_entry(name=name, file=file.name, reason=entry), "dataset"))
    return Catalogue(file, entries, problems)


def _readable_entries(text: str) -> Iterator[tuple[str, Any]]:
    """The entries of a broken JSON object that are whole in themselves."""
    decoder, at = json.JSONDecoder(), text.find("{") + 1
    opening = re.compile(r'"([^"\\]+)"\s*:\s*(?=\{)')
    while found := opening.search(text, at):
        try:
            value, at = decoder.raw_decode(text, found.end())
        except json.JSONDecodeError:
            at = found.end()
            continue
        yield found.group(1), value


def _entry(workspace: Workspace, folder: Path, name: str, value: Any) -> Entry | Message:
    if not isinstance(value, dict):
        return Say.entry_object(given=type(value).__name__)
    if "script_url" in value:
        return Say.runs_code()
    file_name, formatting = value.get("file_name"), value.get("formatting", "alpaca")
    if not isinstance(file_name, str):
        return Say.hub_later() if {"hf_hub_url", "ms_hub_url"} & set(value) else Say.no_source()
    known = plugins(formats)
    if str(formatting) not in known:
        return Say.other_format(given=str(formatting), known=", ".join(known))
    try:
        file = workspace.inside(folder, file_name)
    except UserError as error:
        return error.problems[0].message
    columns = value.get("columns") or {}
    if not isinstance(columns, dict) or not all(isinstance(column, str) for column in columns.values()):
        return Say.bad_columns(given=plain(columns))
    columns = {**known[formatting].COLUMNS, **columns}
    return Entry(name, file, formatting, columns)


def raw_rows(entry: Entry) -> list[Mapping[str, Any]]:
    """Every row of the file as it stands there; UserError naming file, line and column when it can't be read."""
    shown = entry.file.name
    if not entry.file.is_file():
        raise _broken(entry, Say.no_file(given=shown, folder=entry.file.parent.name))
    kind = entry.file.suffix.lower()
    if kind not in (".json", ".jsonl"):
        raise _broken(entry, Say.file_type(given=shown, accepted=".json, .jsonl"))
    try:
        text = entry.file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _broken(entry, Say.not_utf8(given=shown, at=error.start)) from None
    try:
        rows = _json_lines(text) if kind == ".jsonl" else json.loads(text)
    except json.JSONDecodeError as error:
        said = Say.bad_rows(given=shown, line=error.lineno, column=error.colno, reason=error.msg)
        raise _broken(entry, said) from None
    if not isinstance(rows, list):
        raise _broken(entry, Say.not_list(given=shown, found=type(rows).__name__))
    if not rows:
        raise _broken(entry, Say.empty(given=shown))
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise _broken(entry, Say.bad_row(given=shown, row=number, found=type(row).__name__))
    return rows


def _json_lines(text: str) -> list[Any]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise json.JSONDecodeError(error.msg, "\n" * (number - 1) + line, number - 1 + error.pos) from None
    return rows


def _broken(entry: Entry, reason: Message) -> UserError:
    return UserError(Say.bad_entry(name=entry.name, file="dataset_info.json", reason=reason), key="dataset")


def chosen_entries(catalogue: Catalogue, names: Sequence[str]) -> list[Entry]:
    """The entries by name; UserError with one problem for each name that is not there."""
    known = ", ".join(catalogue.entries) or "-"
    if not names:
        raise UserError(Say.none_chosen(known=known), key="dataset")
    problems = []
    for name in names:
        if name in catalogue.entries:
            continue
        broken = [p for p in catalogue.problems if p.message.args.get("name") == name]
        near = get_close_matches(name, catalogue.entries, 1, 0.5)
        if broken or catalogue.file_problems:
            problems += broken or catalogue.file_problems
        elif near:
            problems.append(Problem(Say.unknown_near(given=name, nearest=near[0], known=known), "dataset"))
        else:
            problems.append(Problem(Say.unknown(given=name, known=known, file=catalogue.file.name), "dataset"))
    if problems:
        raise UserError(*{str(problem): problem for problem in problems}.values())
    return [catalogue.entries[name] for name in names]


def placeholders(entry: Entry) -> list[str]:
    """The names in ``{{ }}`` anywhere in the set's file, in order of appearance."""
    found = PLACEHOLDER.findall(json.dumps(raw_rows(entry), ensure_ascii=False))
    return list(dict.fromkeys(found))


def fill(value: Any, values: Mapping[str, str]) -> Any:
    """The value with every ``{{name}}`` in its texts replaced; names without a value stay."""
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda found: values.get(found.group(1), found.group(0)), value)
    if isinstance(value, list):
        return [fill(item, values) for item in value]
    if isinstance(value, dict):
        return {key: fill(item, values) for key, item in value.items()}
    return value


def value_problems(entries: Sequence[Entry], values: Mapping[str, str]) -> list[Problem]:
    """Placeholders without a value and values without a placeholder."""
    found = {entry.name: placeholders(entry) for entry in entries}
    problems = [
        Problem(Say.no_values(name=name, missing=", ".join(missing)), "dataset_values")
        for name, names in found.items()
        if (missing := [one for one in names if not values.get(one, "").strip()])
    ]
    known = sorted({one for names in found.values() for one in names})
    unused = [name for name in values if name not in known and values[name].strip()]
    if unused:
        said = Say.unused_values(given=", ".join(unused), known=", ".join(known) or "-")
        problems.append(Problem(said, "dataset_values"))
    return problems


def read_rows(entries: Sequence[Entry], values: Mapping[str, str], max_samples: int | None) -> Rows:
    """The samples of the sets one after another, the first ``max_samples`` of each."""
    samples: list[Sample] = []
    excluded: list[Message] = []
    for entry in entries:
        module = plugins(formats)[entry.format]
        for number, row in enumerate(raw_rows(entry)[:max_samples], 1):
            sample = module.sample(fill(row, values), entry.columns)
            if isinstance(sample, Excluded):
                excluded.append(Say.excluded(name=entry.name, row=number, reason=sample.reason))
            else:
                samples.append(sample)
    return Rows(samples, excluded)
