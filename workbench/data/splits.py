"""Which files of a dataset repository are one split of one subset: by its card, else by the files' names. Knows no network.

The rules are those of Hugging Face (https://huggingface.co/docs/hub/datasets-file-names-and-splits).
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import yaml

from workbench.data.datasets import HubSource
from workbench.problems import UserError
from workbench.tables import suffixes
from workbench.text import Text

KEY = "dataset"
SHARD = re.compile(r"(.+?)-\d{5}-of-\d{5}")
SPLIT_WORDS: Mapping[str, Sequence[str]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
ABOUT = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json", "package.json")
"""Files that speak of a set in a kind that its rows may have too."""
ABOUT_STEMS = ("readme", "license", "licence", "notice", "requirements")
PROSE = (".txt", ".md")
"""Kinds that hold rows only where nothing else does: they mostly speak about a set."""
FOUND = 12
"""How many names an error shows."""


class Say:
    no_subset = Text("'{id}' has no subset '{given}'. Accepted: {found}. Choose one of these.")
    which_subset = Text("'{id}' has several subsets, and none is chosen. Accepted: {found}. Choose one of these.")
    no_split = Text("'{id}' has no split '{given}' in subset '{subset}'. Accepted: {found}. Choose one of these.")
    no_folder = Text("'{id}' has no rows in a folder '{given}'. Accepted: {found}. Choose one of these, or none.")
    only_script = Text(
        "'{id}' has only a loading script ({script}), which would run code. Accepted: files of these kinds: {accepted}. "
        "Look for a converted copy of the set."
    )
    nothing_readable = Text(
        "'{id}' has no file of rows, only: {found}. Accepted: files of these kinds: {accepted}. Choose another set."
    )
    matches_nothing = Text(
        "The card of '{id}' names files of split '{given}' that are not there or can't be read ({patterns}). "
        "Accepted: files of these kinds: {accepted}. Choose another split or set."
    )


def choose(source: HubSource, paths: Sequence[str], card: str) -> list[str]:
    """The files of the source's subset and split, all of one kind, in their order; ``card`` is the README's text."""
    rows = [path for path in sorted(paths) if _may_hold_rows(path)]
    if not rows:
        raise _nothing(source, paths)
    inside = _in_folder(source, rows)
    configs = [] if source.folder else list(_configs(card))
    if not configs:
        return _one_kind(_named(source, _in_subset(source, inside)))
    config = _config(source, configs)
    if "data_files" in config:
        return _one_kind(_listed(source, config, inside))
    return _one_kind(_named(source, _in_folder(replace(source, folder=str(config["data_dir"])), inside)))


def _may_hold_rows(path: str) -> bool:
    name = PurePosixPath(path)
    hidden = any(part[0] in "._" for part in name.parts)
    about = name.name.lower() in ABOUT or name.stem.lower() in ABOUT_STEMS
    return name.suffix.lower() in suffixes() and not hidden and not about


def _in_folder(source: HubSource, rows: Sequence[str]) -> list[str]:
    folder = source.folder.strip("/").removeprefix("./")
    inside = [path for path in rows if not folder or path.startswith(f"{folder}/")]
    if not inside:
        raise UserError(Say.no_folder(id=source.id, given=source.folder, found=_folders(rows)), key=KEY)
    return inside


def _folders(rows: Sequence[str]) -> str:
    return _shown({str(PurePosixPath(path).parent) for path in rows} - {"."})


# By the card


def _configs(card: str) -> Iterator[Mapping[str, Any]]:
    """The subsets that the front matter of the card lists with their files."""
    found = re.match(r"\ufeff?---\s*\n(.*?)\n---\s*(\n|$)", card.replace("\r\n", "\n"), re.DOTALL)
    try:
        front = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return
    configs = front.get("configs") if isinstance(front, dict) else None
    for config in configs if isinstance(configs, list) else []:
        if isinstance(config, dict) and ("data_files" in config or "data_dir" in config):
            yield config


def _config(source: HubSource, configs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The subset that is meant; without a name the usual one, or the only one."""
    names = [str(config.get("config_name", "default")) for config in configs]
    chosen = [config for config, name in zip(configs, names, strict=True) if name == source.subset]
    if source.subset and not chosen:
        raise UserError(Say.no_subset(id=source.id, given=source.subset, found=_shown(names)), key=KEY)
    if not source.subset:
        usual = [config for config, name in zip(configs, names, strict=True) if name == "default"]
        chosen = [config for config in configs if config.get("default") is True] or usual or list(configs)
        if len(chosen) > 1:
            raise UserError(Say.which_subset(id=source.id, found=_shown(names)), key=KEY)
    return chosen[0]


def _listed(source: HubSource, config: Mapping[str, Any], rows: Sequence[str]) -> list[str]:
    """The files that the card names for the source's split."""
    splits = _patterns(config)
    split = source.split if source.split in splits else _canonical(source.split)
    if split not in splits:
        raise _no_split(source, splits)
    found = [path for path in rows if any(_matches(pattern, path) for pattern in splits[split])]
    if not found:
        said = {"id": source.id, "given": source.split, "patterns": _shown(splits[split])}
        raise UserError(Say.matches_nothing(**said, accepted=", ".join(suffixes())), key=KEY)
    return found


def _patterns(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """The patterns of a subset's files by split, in any of the ways in which cards write them."""
    given, folder = config["data_files"], str(config.get("data_dir") or "").strip("/")
    splits: dict[str, list[str]] = {}
    if isinstance(given, dict):
        given = [{"split": split, "path": path} for split, path in given.items()]
    for one in given if isinstance(given, list) else [given]:
        split, path = (one.get("split", "train"), one.get("path")) if isinstance(one, dict) else ("train", one)
        for pattern in path if isinstance(path, list) else [path]:
            clean = str(pattern).removeprefix("./").lstrip("/")
            splits.setdefault(str(split), []).append(f"{folder}/{clean}" if folder else clean)
    return splits


def _matches(pattern: str, path: str) -> bool:
    """Whether a path is meant by a pattern, in which ** crosses folders and * does not."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)
    rule = "".join(parts.get(piece) or (piece if piece.startswith("[") else re.escape(piece)) for piece in pieces)
    try:
        return re.fullmatch(rule, path) is not None
    except re.error:
        return pattern == path


# By the names of the files


def _named(source: HubSource, rows: Sequence[str]) -> list[str]:
    """The files whose names or folders tell the source's split."""
    splits = _by_names(rows)
    split = source.split if source.split in splits else _canonical(source.split)
    if split not in splits:
        raise _no_split(source, splits)
    return splits[split]


def _in_subset(source: HubSource, rows: Sequence[str]) -> list[str]:
    """The files in a folder called as the subset, or whose own names begin so."""
    if source.subset in ("", "default"):
        own = f"{source.id.rpartition('/')[2]}.json"
        # ModelScope's older sets keep a description under the set's own name beside the rows.
        return [path for path in rows if path != own or source.hub != "modelscope"] or list(rows)
    inside = [path for path in rows if source.subset in PurePosixPath(path).parent.parts]
    begins = re.compile(rf"{re.escape(source.subset)}(?![^\W_])")
    chosen = inside or [path for path in rows if begins.match(PurePosixPath(path).name)]
    if not chosen:
        raise UserError(Say.no_subset(id=source.id, given=source.subset, found=_folders(rows)), key=KEY)
    return chosen


def _by_names(rows: Sequence[str]) -> dict[str, list[str]]:
    """The files by the split that their names or folders tell; all are for training when none tells anything."""
    splits: dict[str, list[str]] = {}
    for path in rows:
        if split := _told(path):
            splits.setdefault(split, []).append(path)
    return splits or {"train": list(rows)}


def _told(path: str) -> str | None:
    """The split that a path tells: a part of many by its own name, else by a usual word, the nearest to the end."""
    file = PurePosixPath(path)
    shard = SHARD.match(file.stem)
    if shard and (file.parent.name == "data" or _word_in(shard[1])):
        usual = _canonical(shard[1])
        return usual if usual in SPLIT_WORDS else shard[1]
    return next((split for part in (file.stem, *reversed(file.parent.parts)) if (split := _word_in(part))), None)


def _word_in(part: str) -> str | None:
    """The split whose usual word stands in a name."""
    words = re.split(r"[-._ 0-9]+", part.lower())
    return next((split for split, known in SPLIT_WORDS.items() if any(word in known for word in words)), None)


def _canonical(split: str) -> str:
    """A split's usual name: valid, val and dev are validation."""
    return next((usual for usual, words in SPLIT_WORDS.items() if split in words), split)


def _one_kind(rows: Sequence[str]) -> list[str]:
    """The files of the commonest kind: a set written twice, say as JSON and as Parquet, is read once."""
    counted = Counter(PurePosixPath(path).suffix.lower() for path in rows)
    best = max(counted, key=lambda kind: (kind not in PROSE, counted[kind], kind == ".parquet", kind))
    return [path for path in rows if PurePosixPath(path).suffix.lower() == best]


def _no_split(source: HubSource, found: Mapping[str, Any]) -> UserError:
    said = {"id": source.id, "given": source.split, "subset": source.subset or "default"}
    return UserError(Say.no_split(**said, found=_shown(found)), key=KEY)


def _nothing(source: HubSource, paths: Sequence[str]) -> UserError:
    accepted = ", ".join(suffixes())
    scripts = [path for path in paths if path == f"{source.id.rpartition('/')[2]}.py"]
    if scripts:
        return UserError(Say.only_script(id=source.id, script=scripts[0], accepted=accepted), key=KEY)
    return UserError(Say.nothing_readable(id=source.id, found=_shown(sorted(paths)), accepted=accepted), key=KEY)


def _shown(names: Any) -> str:
    """Names for an error, not too many of them."""
    listed = sorted(names)
    return ", ".join(listed[:FOUND]) + (", ..." if len(listed) > FOUND else "") or "-"
