"""Which set is meant by a name or a file, and how it is read. Knows no command."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from workbench import formats
from workbench.cli.commands.data.words import Words
from workbench.cli.screen import Screen
from workbench.data.datasets import Entry, chosen_entries, read_catalogue
from workbench.data.guessing import ROWS, guess
from workbench.fields import plain
from workbench.formats import COLUMN_NAMES, TAG_NAMES, Layout, Row
from workbench.problems import Problem, UserError
from workbench.sockets import plugins
from workbench.tables import table_for
from workbench.text import Message, Text
from workbench.workspace import Workspace


class Say:
    unknown_name = Text("--{flag} names '{given}'. Accepted: {known}. Choose one of these.")
    no_format = Text("--formatting is '{given}'. Accepted: {known}. Choose one of these.")
    no_file = Text("There is neither a set nor a file '{given}'. Sets: {known}. Choose one, or mend the path.")
    read_as = Text("{file} is read as {format}: {columns}")
    unsure = Text("The format is a guess. If rows are read wrongly, say --formatting and --column OURS=THEIRS.")


@dataclass(frozen=True)
class Described:
    """How the rows of a file are read."""

    format: str
    layout: Layout
    named: dict[str, str]
    """Our names of the columns that the file has, with its names."""
    certain: bool
    reasons: Sequence[Message] = ()


def chosen(workspace: Workspace, words: Words, given: str, screen: Screen) -> Entry:
    """The set of that name, or the rows of that file; UserError when there is neither."""
    catalogue = read_catalogue(workspace, words.flag("dataset_dir", "data"))
    if given not in catalogue.entries and Path(given).is_file():
        return _of_file(Path(given), words, screen)
    if given not in catalogue.entries and ("/" in given or "\\" in given or Path(given).suffix):
        known = ", ".join(catalogue.entries) or "-"
        raise UserError(Say.no_file(given=plain(given), known=known), key="dataset")
    entry = chosen_entries(catalogue, [given])[0]
    alpaca = None if words.flags.keys() & {"formatting", "column"} else entry.alpaca
    layout = _layout(words, entry.format, entry.layout)
    return replace(entry, format=_format(words, entry.format), layout=layout, alpaca=alpaca)


def _of_file(file: Path, words: Words, screen: Screen) -> Entry:
    described = describe(file, words)
    say_described(file, described, screen)
    return Entry(file.stem, file, described.format, described.layout, frozenset(described.named))


def say_described(file: Path, described: Described, screen: Screen) -> None:
    """What was guessed, and why when it is not certain."""
    columns = ", ".join(f"{ours} = {theirs}" for ours, theirs in described.named.items()) or "-"
    screen.say(Say.read_as(file=file.name, format=described.format, columns=columns))
    if not described.certain:
        for reason in described.reasons:
            screen.say(reason)
        screen.warn(Say.unsure())


def describe(file: Path, words: Words) -> Described:
    """Format and columns of a file: guessed from its first rows, then as the flags say."""
    rows: list[Row] = [one.row for one in islice(table_for(file).records(file), ROWS) if one.row is not None]
    names = {name for row in rows for name in row}
    guessed = guess(rows)
    format = _format(words, guessed.format)
    layout = _layout(words, guessed.format, guessed.layout)
    named = {ours: theirs for ours, theirs in layout.columns.items() if theirs in names}
    told = bool(words.flags.get("formatting") or words.flags.get("column"))
    return Described(format, layout, named, told or guessed.certain, guessed.reasons)


def _format(words: Words, otherwise: str) -> str:
    given, known = words.flag("formatting", otherwise), plugins(formats)
    if given not in known:
        raise UserError(Say.no_format(given=plain(given), known=", ".join(known)), key="formatting")
    return given


def _layout(words: Words, guessed: str, layout: Layout) -> Layout:
    """The layout as the flags say; of another format than the guessed one its usual names."""
    module = plugins(formats)[_format(words, guessed)]
    columns, tags = words.pairs("column"), words.pairs("tag")
    problems = [
        Problem(Say.unknown_name(flag=flag, given=plain(name), known=", ".join(known)), flag)
        for flag, given, known in (("column", columns, COLUMN_NAMES), ("tag", tags, TAG_NAMES))
        for name in given
        if name not in known
    ]
    if problems:
        raise UserError(*problems)
    same = words.flag("formatting", guessed) == guessed
    usual = layout if same else Layout(module.COLUMNS, module.TAGS)
    ranking = usual.ranking or "ranking" in words.flags
    return Layout({**usual.columns, **columns}, {**usual.tags, **tags}, ranking)
