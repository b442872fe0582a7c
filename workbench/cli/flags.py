"""Words of a command line -> a flat mapping: spec file, ``key=value``, ``--key value``, later ones win.

Knows the names of fields, but not whether a value is accepted: that is for the reading of specs.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from workbench.fields import Knob, plain
from workbench.problems import Problem, UserError
from workbench.specs import yaml_mapping
from workbench.text import Message, Text
from workbench.workspace import Workspace

ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*=", re.ASCII)
SPEC_SUFFIXES = (".yaml", ".yml", ".json")
PATH_KEYS = ("model_name_or_path", "adapter_name_or_path")


class Say:
    no_value = Text("'--{given}' has no value. Accepted: {accepted}. Write --{given} VALUE.")
    no_key = Text(
        "'{given}' has no key before '='. Accepted: key=value. Write the field's name; --help lists them all."
    )
    single_dash = Text("'{given}' begins with one dash. Accepted: --key value, or key=value. Write two dashes.")
    stray = Text("'{given}' is out of place. Accepted: {accepted}. Take it out, or name its field.")
    nothing_more = Text("nothing more")
    file_first = Text("one spec file, then key=value and --key value")
    no_file = Text("There is no file '{given}'. Accepted: a YAML file with a spec. Mend the path; {near}")
    near_files = Text("here are {files}.")
    no_near_files = Text("examples/ has some.")
    folder = Text("'{given}' is a folder. Accepted: a YAML file with a spec. Name the file inside it.")
    unreadable = Text("'{given}' can't be read ({reason}). Accepted: a YAML file in UTF-8. Save it as one.")
    not_pairs = Text("'{given}' sets one value of '{key}', which is '{found}'. Accepted: pairs. Give it as a mapping.")


@dataclass
class Given:
    """What stood on a command line: words without a key, pairs in their order, and what can't be understood."""

    words: list[str] = field(default_factory=list)
    pairs: list[tuple[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_words(words: Sequence[str], knobs: Mapping[str, Knob]) -> Given:
    """Split a command line. A yes-or-no field without a value means yes."""
    given, rest = Given(), list(words)
    while rest:
        word = rest.pop(0)
        if ASSIGNMENT.match(word):
            key, _, value = word.partition("=")
            given.pairs.append((_named(key, knobs), _value(value)))
        elif word.startswith("--") and len(word) > 2:
            _flag(word[2:], rest, knobs, given)
        elif word.startswith("="):
            given.problems.append(Problem(Say.no_key(given=plain(word))))
        elif word.startswith("-"):
            given.problems.append(Problem(Say.single_dash(given=plain(word))))
            if rest and not rest[0].startswith("-") and _may_be_value(rest[0]):
                rest.pop(0)
        else:
            given.words.append(word)
    return given


def _flag(word: str, rest: list[str], knobs: Mapping[str, Knob], given: Given) -> None:
    """One ``--key value``, ``--key=value`` or lone ``--key``; takes the value out of ``rest``."""
    name, equals, value = word.partition("=")
    key = _named(name, knobs)
    if not name:
        given.problems.append(Problem(Say.no_key(given=f"--{plain(word)}")))
    elif equals:
        given.pairs.append((key, _value(value)))
    elif rest and not rest[0].startswith("--") and not (_is_switch(key, knobs) and not _may_be_value(rest[0])):
        given.pairs.append((key, _value(rest.pop(0))))
    elif _is_switch(key, knobs):
        given.pairs.append((key, True))
    else:
        accepted = knobs[key].accepted()
        given.problems.append(Problem(Say.no_value(given=name, accepted=accepted), key))


def _is_switch(key: str, knobs: Mapping[str, Knob]) -> bool:
    """Whether it may stand alone. A key that is no field, such as do_train, is taken for one."""
    return key not in knobs or knobs[key].kind == "bool"


def _may_be_value(word: str) -> bool:
    """Whether the word after a flag that may stand alone is its value; a spec file or ``key=value`` is not."""
    return not ASSIGNMENT.match(word) and not word.endswith(SPEC_SUFFIXES)


def _named(name: str, knobs: Mapping[str, Knob]) -> str:
    """The key, with underscores where it was written with dashes."""
    under = name.replace("-", "_")
    return under if under.partition(".")[0] in knobs else name


def _value(word: str) -> Any:
    """A word as a file would give it: lists and mappings in brackets are read, all else stays text."""
    if word[:1] in ("[", "{") and not word.startswith("{{"):
        try:
            return yaml.safe_load(word)
        except yaml.YAMLError:
            return word
    return word


def lay_over(values: Mapping[str, Any], given: Given, knobs: Mapping[str, Knob]) -> dict[str, Any]:
    """The mapping with the pairs over it, the later the stronger; ``key.name`` sets one value of a field of pairs."""
    laid = dict(values)
    for key, value in given.pairs:
        whole, dot, name = key.partition(".")
        if not (dot and name and whole in knobs and knobs[whole].kind == "dict"):
            laid[key] = value
        elif isinstance(found := laid.get(whole) or {}, dict):
            laid[whole] = {**found, name: value}
        else:
            said = Say.not_pairs(given=key, key=whole, found=plain(found))
            given.problems.append(Problem(said, whole))
    return laid


def spec_file(path: Path) -> dict[str, Any]:
    """The flat mapping of a spec file; UserError when there is none."""
    shown = plain(str(path))
    try:
        values = yaml_mapping(path.read_bytes().decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(Say.no_file(given=shown, near=_near(path))) from None
    except IsADirectoryError:
        raise UserError(Say.folder(given=shown)) from None
    except (OSError, ValueError) as error:
        if path.is_dir():
            raise UserError(Say.folder(given=shown)) from None
        raise UserError(Say.unreadable(given=shown, reason=str(error))) from None
    if isinstance(values, Problem):
        raise UserError(values)
    return values


def _near(path: Path) -> Any:
    files = sorted(one.name for one in path.parent.glob("*") if one.suffix in SPEC_SUFFIXES)[:5]
    return Say.near_files(files=", ".join(files)) if files else Say.no_near_files()


def given_values(words: Sequence[str], knobs: Mapping[str, Knob], workspace: Workspace) -> tuple[dict[str, Any], Given]:
    """Everything that a command line says of a spec, and what of it can't be understood."""
    given = read_words(words, knobs)
    values: dict[str, Any] = {}
    if given.words:
        try:
            values = spec_file(Path(given.words[0]))
        except UserError as error:
            raise UserError(*given.problems, *error.problems) from None
        given.problems += stray(given.words[1:])
    return rooted(lay_over(values, given, knobs), workspace), given


def stray(words: Sequence[str], accepted: Message | None = None) -> list[Problem]:
    """A problem for each word that has no place."""
    accepted = accepted or Say.file_first()
    return [Problem(Say.stray(given=plain(word), accepted=accepted)) for word in words]


def raise_all(first: Sequence[Problem], more: Sequence[Problem]) -> None:
    """UserError with the problems of the command line itself and, beside other fields, those of the values."""
    known = {problem.key for problem in first if problem.key}
    if first:
        raise UserError(*first, *(problem for problem in more if problem.key not in known))


def nothing_more() -> Message:
    """What a command accepts that takes no words."""
    return Say.nothing_more()


def rooted(values: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Paths that were meant from the folder of the terminal, made whole: a worker sits in another folder."""
    if Path.cwd() == workspace.root:
        return values
    return {key: _rooted(value, workspace) if key in PATH_KEYS else value for key, value in values.items()}


def _rooted(value: Any, workspace: Workspace) -> Any:
    if isinstance(value, list):
        return [_rooted(one, workspace) for one in value]
    if not isinstance(value, str) or not value or "," in value or not Path(value).is_dir():
        return value
    if (workspace.root / value).is_dir():
        return value
    return os.path.abspath(value)
