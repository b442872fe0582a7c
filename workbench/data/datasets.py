"""data/dataset_info.json: which sets there are and how each is to be read. Reads no row, knows no page and no model."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from workbench import formats
from workbench.fields import plain
from workbench.formats import Layout
from workbench.problems import Problem, UserError
from workbench.sockets import plugins
from workbench.tables import suffixes
from workbench.text import Message, Text
from workbench.workspace import Workspace

INFO = "dataset_info.json"
HUB_KEYS: Mapping[str, Literal["huggingface", "modelscope"]] = {
    "hf_hub_url": "huggingface",
    "ms_hub_url": "modelscope",
}
PARTS = ("subset", "split", "folder")
"""The parts of a hub's set."""
KNOWN_KEYS = ("file_name", "formatting", "ranking", *PARTS, "num_samples", "columns", "tags", *HUB_KEYS)
OTHER_KEYS = {"file_sha1", "om_hub_url", "cloud_file_name", "description", "comment"}
"""What such files hold for other readers; it changes nothing of what is read here, and nothing is said of it."""
PRETRAINING = {"prompt"}
"""The only column that an entry for pretraining names."""
TEXT_FORMAT = "text"
ANSWERS = ("response", "chosen")
"""Our names for the columns by which rows show that they are no running text."""
HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
"""A JSON string, which stays, or a comment."""


class Say:
    no_info = Text("{file} does not exist. It lists the datasets. Put it back, or choose another data folder.")
    bad_json = Text(
        "{file}, line {line}, column {column}: {reason}. Mend that place; {kept} entries before or after it were read."
    )
    not_object = Text("{file} holds {given}. Accepted: one JSON object with a name for each dataset.")
    bad_entry = Text("Dataset '{name}' in {file}: {reason}")
    entry_object = Text("its entry is {given}. Accepted: an object with file_name.")
    no_source = Text("it has no file_name. Accepted: a file or folder in the data folder, or a hub's id. Add it.")
    runs_code = Text("its script_url would run code. Accepted: file_name. Save the rows as a JSON file and name that.")
    other_source = Text("its {key} names a place that is not read. Accepted: file_name, {known}. Fetch the rows first.")
    bad_mapping = Text("its {key} are {given}. Accepted: our names, each with the file's name for it. Mend it.")
    unknown_names = Text("its {key} hold '{given}'. Known: {known}. Rename or remove it.")
    bad_part = Text("its {key} is '{given}'. Accepted: the name that the set's page shows, with no '..' in it. Mend it.")
    bad_value = Text("its {key} is {given}. Accepted: {accepted}. Mend it.")
    other_format = Text("its formatting is '{given}'. Accepted: {known}. Convert the file to one of these.")
    unknown_key = Text("its {key} is not read. Known: {known}. Rename or remove it.")
    near_key = Text("its {key} is not read. Nearest: {nearest}. Known: {known}. Rename or remove it.")
    only_hub = Text("its {key} is not read, because file_name names the rows. Accepted: {key} beside {known}. Remove it.")
    key_twice = Text("it holds '{key}' twice, and the last is read. Accepted: each name once. Remove the other.")
    twice = Text("it stands in the file twice, and the last is read. Accepted: each name once. Remove the other.")
    not_utf8 = Text("{file} is not UTF-8. Accepted: UTF-8. Save it as UTF-8; no set is read until then.")
    no_file = Text("file '{given}' does not exist in {folder}. Put it there, or mend file_name.")
    empty_folder = Text("folder '{given}' holds no file of these kinds: {accepted}. Put one there, or mend file_name.")
    mixed_folder = Text("folder '{given}' holds files of several kinds: {kinds}. Accepted: one kind. Remove the others.")
    file_type = Text("file '{given}' is no {accepted} file. Save it as one of these.")
    not_fetched = Text("it lies on the hub as '{given}' and is not fetched yet. Fetch it on the Data tab.")
    unknown = Text("No dataset named '{given}'. Known: {known}. Choose one, or add it to {file}.")
    unknown_near = Text("No dataset named '{given}'. Nearest: {nearest}. Known: {known}. Choose one of these.")
    none_chosen = Text("No dataset is chosen. Accepted: {known}. Choose at least one.")


@dataclass(frozen=True)
class HubSource:
    """Where on a hub a set lies."""

    hub: Literal["huggingface", "modelscope"]
    id: str
    subset: str = ""
    split: str = "train"
    folder: str = ""

    @property
    def place(self) -> str:
        """The folder in the data folder that it is fetched into: each part of a set has one of its own."""
        return "/".join(["hub", self.hub, self.id, self.subset or "default", self.split, *([self.folder] if self.folder else [])])


@dataclass(frozen=True)
class Entry:
    """One dataset of dataset_info.json, ready to be read."""

    name: str
    place: Path
    """The file or folder with its rows; for a set of a hub the folder that it is fetched into."""
    format: str
    layout: Layout
    named: frozenset[str] = frozenset()
    """The columns that the entry itself names; the others of the layout carry their usual names."""
    num_samples: int | None = None
    source: HubSource | None = None
    alpaca: Layout | None = None
    """How the rows are to be read if they turn out to have answers: the entry names their question alone."""

    def __hash__(self) -> int:
        return hash((self.name, self.place))

    def files(self) -> list[Path]:
        """The files of rows in their order; UserError beside ``dataset`` when there are none or of several kinds."""
        if self.place.is_file():
            if self.place.suffix.lower() not in suffixes():
                raise broken(self, Say.file_type(given=self.place.name, accepted=", ".join(suffixes())))
            return [self.place]
        if not self.place.is_dir():
            missing = Say.not_fetched(given=self.source.id) if self.source else None
            raise broken(self, missing or Say.no_file(given=self.place.name, folder=self.place.parent.name))
        found = sorted(
            path
            for path in self.place.rglob("*")
            if path.suffix.lower() in suffixes()
            and path.is_file()
            and not any(part[0] in "._" for part in path.relative_to(self.place).parts)
        )
        kinds = sorted({path.suffix.lower() for path in found})
        if not found:
            raise broken(self, Say.empty_folder(given=self.place.name, accepted=", ".join(suffixes())))
        if len(kinds) > 1:
            raise broken(self, Say.mixed_folder(given=self.place.name, kinds=", ".join(kinds)))
        return found


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

    @property
    def notes(self) -> list[Problem]:
        """What is odd about entries that are read nevertheless."""
        return [problem for problem in self.problems if problem.message.args.get("name") in self.entries]


def broken(entry: Entry, reason: Message) -> UserError:
    """The error of one set, beside the field ``dataset``."""
    return UserError(Say.bad_entry(name=entry.name, file=INFO, reason=reason), key="dataset")


def read_catalogue(workspace: Workspace, dataset_dir: str = "data") -> Catalogue:
    """The datasets of a folder. A broken file still gives the entries that can be read, and says line and column."""
    folder = workspace.inside(workspace.root, dataset_dir, "dataset_dir")
    file = folder / INFO
    if not file.is_file():
        return Catalogue(file, {}, [Problem(Say.no_info(file=f"{dataset_dir}/{INFO}"), "dataset")])
    try:
        text = without_comments(file.read_text("utf-8-sig"))
    except UnicodeDecodeError:
        return Catalogue(file, {}, [Problem(Say.not_utf8(file=file.name), "dataset")])
    problems: list[Problem] = []
    doubles = _Doubles()
    try:
        data = json.loads(text, object_pairs_hook=doubles.kept)
    except json.JSONDecodeError as error:
        data = dict(_readable_entries(text))
        said = Say.bad_json(file=file.name, line=error.lineno, column=error.colno, reason=error.msg, kept=len(data))
        problems.append(Problem(said, "dataset"))
    if not isinstance(data, dict):
        return Catalogue(file, {}, [Problem(Say.not_object(file=file.name, given=type(data).__name__), "dataset")])
    entries: dict[str, Entry] = {}
    for name, value in data.items():
        entry = read_entry(workspace, folder, name, value)
        if isinstance(entry, Entry):
            entries[name] = entry
            odd = [*([Say.twice()] if name in doubles.of(data) else []), *_odd_keys(value, doubles)]
        else:
            odd = [entry]
        problems += [Problem(Say.bad_entry(name=name, file=file.name, reason=one), "dataset") for one in odd]
    return Catalogue(file, entries, problems)


class _Doubles:
    """The names that stand in one object of a JSON text more than once."""

    def __init__(self) -> None:
        self._found: list[tuple[dict[str, Any], list[str]]] = []

    def kept(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """The object as JSON takes it: the last of each name."""
        value = dict(pairs)
        if len(value) < len(pairs):
            times = Counter(name for name, _ in pairs)
            self._found.append((value, [name for name in times if times[name] > 1]))
        return value

    def of(self, value: Any) -> list[str]:
        """Those of this very object."""
        return next((names for one, names in self._found if one is value), [])


def _odd_keys(value: Mapping[str, Any], doubles: _Doubles) -> Iterator[Message]:
    """What stands in an entry and is not read as it stands."""
    for inner in (value, value.get("columns"), value.get("tags")):
        yield from (Say.key_twice(key=key) for key in doubles.of(inner))
    known = ", ".join(KNOWN_KEYS)
    for key in value:
        near = get_close_matches(key.lower(), KNOWN_KEYS, 1, 0.7)
        if key in PARTS and value[key] and not any(hub in value for hub in HUB_KEYS):
            yield Say.only_hub(key=key, known=" / ".join(HUB_KEYS))
        elif key in KNOWN_KEYS or key in OTHER_KEYS or key.startswith("_"):
            continue
        elif near:
            yield Say.near_key(key=key, nearest=near[0], known=known)
        else:
            yield Say.unknown_key(key=key, known=known)


def without_comments(text: str) -> str:
    """The JSON text with every // and /* */ comment as blanks, so that lines and columns stay."""

    def blank(found: re.Match[str]) -> str:
        part = found.group(0)
        return part if part[0] == '"' else re.sub(r"[^\n]", " ", part)

    return COMMENT.sub(blank, text)


def _readable_entries(text: str) -> Iterator[tuple[str, Any]]:
    """The entries of a broken JSON object that are whole in themselves; none of what stands inside one that is not."""
    decoder, at, depth = json.JSONDecoder(), text.find("{") + 1, 1
    step = re.compile(r'"((?:[^"\\\n]|\\.)*)"(\s*:\s*(?=\{))?|[{}\[\]]')
    while found := step.search(text, at):
        at = found.end()
        sign = found.group(0)
        if sign in ("{", "["):
            depth += 1
        elif sign in ("}", "]"):
            depth -= 1
        elif found.group(2) and depth == 1:
            try:
                value, at = decoder.raw_decode(text, at)
            except json.JSONDecodeError:
                continue
            yield str(json.loads(f'"{found.group(1)}"')), value


def read_entry(workspace: Workspace, folder: Path, name: str, value: Any) -> Entry | Message:
    """One entry of dataset_info.json, or why it can't be read."""
    if not isinstance(value, dict):
        return Say.entry_object(given=type(value).__name__)
    if "script_url" in value:
        return Say.runs_code()
    source = _source(value)
    if isinstance(source, Message):
        return source
    file_name = source.place if source else value.get("file_name")
    if not isinstance(file_name, str) or not file_name.strip():
        other = next((key for key in value if key.endswith(("_url", "_file_name"))), None)
        return Say.other_source(key=other, known=", ".join(HUB_KEYS)) if other else Say.no_source()
    try:
        place = workspace.inside(folder, file_name)
    except UserError as error:
        return error.problems[0].message
    wrong = _wrong_value(value)
    if wrong:
        return wrong
    named, known = dict(value.get("columns") or {}), plugins(formats)
    formatting, alpaca = str(value.get("formatting") or "alpaca"), None
    if _is_pretraining(value, named):
        # Whether the rows have answers is seen when they are read; without a word of answers they may.
        alpaca = _layout(known["alpaca"], value, "alpaca") if named.keys() == PRETRAINING else None
        formatting = TEXT_FORMAT
    if formatting not in known:
        return Say.other_format(given=formatting, known=", ".join(known))
    layout = _layout(known[formatting], value, formatting)
    if isinstance(layout, Message):
        return layout
    assert not isinstance(alpaca, Message), "it names no other columns than the layout"
    return Entry(name, place, formatting, layout, frozenset(named), value.get("num_samples"), source, alpaca)


def _is_pretraining(value: Mapping[str, Any], named: Mapping[str, Any]) -> bool:
    """Only a text column is what LLaMA-Factory's files say of a set for pretraining."""
    if {ours for ours, theirs in named.items() if theirs} != PRETRAINING or value.get("ranking"):
        return False
    if named.keys() == PRETRAINING:
        return (value.get("formatting") or "alpaca") == "alpaca"
    return not value.get("formatting") and not named.keys().isdisjoint(ANSWERS)


def _source(value: Mapping[str, Any]) -> HubSource | Message | None:
    """Where on a hub the set lies; Hugging Face when it names several, None when a file is named."""
    for key, hub in HUB_KEYS.items():
        if key not in value:
            continue
        if not (isinstance(value[key], str) and HUB_ID.fullmatch(value[key])):
            return Say.bad_value(key=key, given=plain(value[key]), accepted="owner/name")
        texts = {part: value.get(part) or "" for part in PARTS}
        for part, text in texts.items():
            if not isinstance(text, str):
                return Say.bad_value(key=part, given=plain(text), accepted="text")
            if text and not _stays_inside(text):
                return Say.bad_part(key=part, given=plain(text))
        return HubSource(hub, value[key], texts["subset"], texts["split"] or "train", texts["folder"])
    return None


def _stays_inside(part: str) -> bool:
    """Whether a folder of this name lies in the folder where it is made, and is not that folder itself."""
    names = re.split(r"[/\\]", part.removesuffix("/"))
    return "\0" not in part and ":" not in part and not any(name.strip(" .") == "" for name in names)


def _wrong_value(value: Mapping[str, Any]) -> Message | None:
    for key in ("columns", "tags"):
        given = value.get(key) or {}
        if not isinstance(given, dict) or not all(isinstance(one, str) or one is None for one in given.values()):
            return Say.bad_mapping(key=key, given=plain(given))
    if not isinstance(value.get("ranking", False), bool):
        return Say.bad_value(key="ranking", given=plain(value["ranking"]), accepted="true, false")
    number = value.get("num_samples")
    if number is not None and not (type(number) is int and number > 0):
        return Say.bad_value(key="num_samples", given=plain(number), accepted="1, 2, 3, ...")
    return None


def _layout(module: Any, value: Mapping[str, Any], formatting: str) -> Layout | Message:
    """Usual names under the entry's own: naming one column resets no other, and "" or null means that there is none."""
    columns, tags = dict(value.get("columns") or {}), dict(value.get("tags") or {})
    if formatting == TEXT_FORMAT and columns.get("prompt"):
        columns = {"text": columns["prompt"]}
    for key, given, known in (("columns", columns, formats.COLUMN_NAMES), ("tags", tags, formats.TAG_NAMES)):
        strange = [one for one in given if one not in known]
        if strange:
            return Say.unknown_names(key=key, given=", ".join(strange), known=", ".join(known))
    return Layout(
        {**module.COLUMNS, **{ours: theirs or "" for ours, theirs in columns.items()}},
        {**module.TAGS, **{ours: theirs for ours, theirs in tags.items() if theirs}},
        bool(value.get("ranking", False)),
    )


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
