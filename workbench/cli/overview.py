"""--help: the commands, and the fields of a spec with label, sentence, accepted values and default. Knows no command."""

import os
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from workbench.cli import commands
from workbench.fields import Knob, plain
from workbench.sockets import plugin_names
from workbench.text import Locale, Text

WIDEST = 110
NARROWEST = 40


class Say:
    usage = Text("Usage: {command}")
    window = Text("Without a command: the window in the browser.")
    window_flags = Text(
        "--port N (0: any)   --host ADDRESS (more than loopback only with --auth)   --lang NAME   --no-browser   "
        "--auth USER:PASSWORD"
    )
    commands = Text("Commands, each with its own --help:")
    lang = Text("--lang NAME with any command: the language of its messages. Else the one of the terminal.")
    fields = Text(
        "Fields, as key=value, --key value or --key=value. Later ones win over earlier ones and over the file. "
        "One value of a mapping: key.name=value."
    )
    accepted = Text("Accepted: {accepted}.")
    accepted_default = Text("Accepted: {accepted}. Default: {default}.")
    only = Text("Only with {plugin}.")


def overview(locale: Locale) -> Iterator[str]:
    """The help of the program: the window's flags, then a line for each command."""
    yield locale(Say.usage(command="python app.py [COMMAND] ..."))
    yield ""
    yield locale(Say.window())
    yield from wrapped(locale(Say.window_flags()), 2)
    yield ""
    yield locale(Say.commands())
    for name in plugin_names(commands):
        yield f"  {name:<8}{locale(commands.command(name).title())}"
    yield ""
    yield from wrapped(locale(Say.lang()), 0)


def command_help(locale: Locale, usage: str, words: Iterable[Text]) -> Iterator[str]:
    """The head of a command's help: how it is called, and its sentences."""
    yield locale(Say.usage(command=f"python app.py {usage}"))
    yield ""
    for text in words:
        yield from wrapped(locale(text()), 0)


def field_help(locale: Locale, knobs: Mapping[str, Knob]) -> Iterator[str]:
    """Every field under the title of its section."""
    yield ""
    yield from wrapped(locale(Say.fields()), 0)
    section = ""
    for knob in knobs.values():
        if knob.section != section:
            section = knob.section
            yield ""
            yield locale.word(f"sections.{section}", section)
        yield f"  --{knob.key}  ({knob.label(locale)})"
        yield from wrapped(_joined(_sentences(locale, knob)), 6)


def _sentences(locale: Locale, knob: Knob) -> Iterator[str]:
    yield knob.sentence(locale)
    default = plain(knob.default)
    if knob.default in (None, "", [], {}):
        yield locale(Say.accepted(accepted=knob.accepted()))
    else:
        yield locale(Say.accepted_default(accepted=knob.accepted(), default=default))
    if knob.plugin is not None:
        yield locale(Say.only(plugin=knob.plugin))


def _joined(sentences: Iterable[str]) -> str:
    """One after another; after a wide full stop there is no space."""
    whole = ""
    for sentence in sentences:
        whole += sentence if not whole or _wide(whole[-1]) else f" {sentence}"
    return whole


def wrapped(words: str, indent: int) -> Iterator[str]:
    """Lines no wider than the terminal. Chinese and Japanese characters are two columns wide and may end a line."""
    columns = min(WIDEST, max(NARROWEST, shutil.get_terminal_size().columns if os.isatty(1) else WIDEST)) - indent
    line, width = "", 0
    for part in _parts(words):
        size = columns_of(part)
        if line and width + size > columns:
            yield " " * indent + line.rstrip()
            line, width = "", 0
            part = part.lstrip()
            size = columns_of(part)
        line, width = line + part, width + size
    yield " " * indent + line.rstrip()


def _parts(words: str) -> Iterator[str]:
    """Where a line may be broken: before a space, and after a wide character unless punctuation follows it."""
    part = ""
    for at, letter in enumerate(words):
        if letter == " " and part:
            yield part
            part = ""
        part += letter
        follows = words[at + 1 : at + 2]
        if _wide(letter) and not (follows and unicodedata.category(follows).startswith("P")):
            yield part
            part = ""
    if part:
        yield part


def _wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in ("W", "F")


def columns_of(words: str) -> int:
    """How many columns of a terminal the words take."""
    return sum(2 if _wide(letter) else 1 for letter in words)
