"""Words: English in place, other languages laid over it. Knows nothing of pages, files' meaning or who reads.

A word is declared where it is used and takes its key from there::

    class Say:
        missing = Text("No dataset named '{name}'. Known: {known}.")

``Say.missing(name="x", known="a, b")`` is a Message: it travels through files and between processes as
key, English and arguments, and becomes words only in front of a reader, in the reader's language.
"""

import json
import re
import string
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

PACKAGE = "workbench."
TAG = re.compile(r"\s*([A-Za-z]+)[^;]*(?:;\s*q=(\d(?:\.\d*)?)\s*)?")
"""A language of Accept-Language with how much it is liked, or the name of a locale."""


@dataclass(frozen=True)
class Message:
    """What is to be said: a key for the translators, English, and arguments (JSON values or Messages)."""

    key: str
    english: str
    args: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return ENGLISH(self)

    def to_json(self) -> dict[str, Any]:
        """The message as a JSON object; nested messages stay translatable."""
        args = {name: value.to_json() if isinstance(value, Message) else value for name, value in self.args.items()}
        return {"key": self.key, "english": self.english, "args": args}

    @classmethod
    def from_json(cls, data: Any) -> "Message":
        """Read back to_json; a plain string becomes a message that says just that."""
        if not isinstance(data, dict) or "english" not in data:
            return verbatim(data if isinstance(data, str) else json.dumps(data, ensure_ascii=False))
        args = {
            name: cls.from_json(value) if isinstance(value, dict) and "english" in value else value
            for name, value in dict(data.get("args", {})).items()
        }
        return cls(str(data.get("key", "")), str(data["english"]), args)


def verbatim(words: str) -> Message:
    """A message that has no translation: a name, a library's own words."""
    return Message("", "{words}", {"words": words})


class Text:
    """English words with ``{placeholders}``; the class attribute that holds it names its key."""

    def __init__(self, english: str) -> None:
        self.english = english
        self.key = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.key = f"{owner.__module__.removeprefix(PACKAGE)}.{name}"

    def __call__(self, **args: Any) -> Message:
        return Message(self.key, self.english, args)


def placeholders(words: str) -> frozenset[str]:
    """The names in braces of a format string."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(words) if name)


@dataclass(frozen=True)
class Locale:
    """One language: turns a Text or a Message into words. Without a translation the English stands."""

    name: str
    table: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, said: "Message | Text") -> str:
        args = said.args if isinstance(said, Message) else {}
        template = self.table.get(said.key, said.english)
        if not args:
            return template
        spoken = {name: self(value) if isinstance(value, Message) else value for name, value in args.items()}
        for words in (template, said.english):
            # A message of another version may lack what today's words ask for.
            with suppress(KeyError, IndexError, ValueError):
                return words.format(**spoken)
        return said.english

    def word(self, key: str, english: str) -> str:
        """A word whose key was made by a rule rather than by a place, as the labels of fields are."""
        return self.table.get(key, english)


ENGLISH = Locale("en")


FAST: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
"""Eight times as fast where the library is there, as it is in every wheel."""


def load_locales(folder: Path) -> dict[str, Locale]:
    """Every ``xx.yaml`` of the folder as a Locale by its name; English is always among them."""
    found = {path.stem: path for path in sorted(folder.glob("*.yaml")) if path.stem != "en"}
    return {"en": ENGLISH, **{name: _read(path, path.stat().st_mtime_ns) for name, path in found.items()}}


@cache
def _read(path: Path, changed_ns: int) -> Locale:
    """The language of a file, read once for as long as it stays as it is."""
    return Locale(path.stem, yaml.load(path.read_text("utf-8"), FAST) or {})  # noqa: S506 - a safe loader


def choose_locale(known: Mapping[str, Locale], wanted: str) -> str:
    """The best of the known languages for an Accept-Language header or a name such as ``zh_CN.UTF-8``."""
    best, most = "en", 0.0
    for tag in re.split("[,:]", wanted):
        found = TAG.fullmatch(tag)
        weight = float(found[2] or 1) if found else 0.0
        if found and found[1].lower() in known and weight > most:
            best, most = found[1].lower(), weight
    return best
