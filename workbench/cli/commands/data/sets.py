"""``data list``, ``show``, ``register``, ``rename`` and ``remove``. Knows the list of sets and their first rows."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import get_args

from workbench.cli import DONE
from workbench.cli.commands.data.check import visible
from workbench.cli.commands.data.finding import chosen, describe, say_described
from workbench.cli.commands.data.words import Words
from workbench.cli.overview import columns_of
from workbench.cli.screen import Screen
from workbench.data.datasets import Entry, chosen_entries, read_catalogue
from workbench.data.registry import edit, register, remove, rename, seen_columns, usual_name
from workbench.data.samples import Read, count_set, read_set, settled, told
from workbench.fields import plain
from workbench.formats import Shape, Turn
from workbench.problems import Problem, UserError
from workbench.text import Locale, Text
from workbench.wording import size
from workbench.workspace import Workspace

SHOWN_ROWS = 3
SHOWN_CHARACTERS = 1_000


class Say:
    head_name = Text("set")
    head_format = Text("format")
    head_rows = Text("rows")
    head_left_out = Text("left out")
    head_size = Text("size")
    head_place = Text("from")
    about = Text("about {rows}")
    none = Text("There are no sets yet. 'data register FILE' adds one.")
    no_file = Text("There is no file '{given}'. Accepted: a file of rows. Mend the path.")
    registered = Text("Registered: {name} ({format}). Train on it with dataset={name}.")
    renamed = Text("{old} is called {new} now.")
    edited = Text("{name} is read as {format}: {columns}")
    drawn = Text("{count} of its rows are taken, drawn by lot.")
    all_taken = Text("All of its rows are taken.")
    both_ranks = Text("--ranking and --no_ranking are given. Accepted: one of them. Take one out.")
    row = Text("row {row}")
    tools = Text("tools: {names}")


def listed(words: Words, workspace: Workspace, screen: Screen) -> int:
    """Every set in a table; what is wrong with the others after it."""
    words.only(0)
    catalogue = read_catalogue(workspace, words.flag("dataset_dir", "data"))
    problems, rows = list(catalogue.problems), []
    for entry in catalogue.entries.values():
        try:
            rows.append(_row(entry, catalogue.file.parent, screen.locale))
        except UserError as error:
            problems += error.problems
    heads = (Say.head_name, Say.head_format, Say.head_rows, Say.head_left_out, Say.head_size, Say.head_place)
    if rows:
        screen.lines(_table([[screen.locale(head()) for head in heads], *rows]))
    elif not problems:
        screen.say(Say.none())
    screen.problems(Problem(problem.message) for problem in problems)
    return DONE


def _row(entry: Entry, folder: Path, locale: Locale) -> list[str]:
    count = count_set(entry, {}, None, get_args(Shape))
    numbers = (f"{count.samples + count.excluded:,}", f"{count.excluded:,}")
    size_bytes = sum(file.stat().st_size for file in entry.files())
    place = entry.source.id if entry.source else entry.place.relative_to(folder).as_posix()
    shown = numbers if count.exact else [locale(Say.about(rows=one)) if one != "0" else one for one in numbers]
    return [entry.name, entry.format, *shown, size(size_bytes), place]


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(columns_of(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = [cell + " " * (width - columns_of(cell)) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def show(words: Words, workspace: Workspace, screen: Screen) -> int:
    """The first rows as they are learned."""
    entry = chosen(workspace, words, words.only(1)[0], screen)
    for read in islice(read_set(entry), words.number("rows", SHOWN_ROWS)):
        screen.say(Say.row(row=read.number))
        screen.lines(f"  {line}" for line in _lines(read, screen.locale))
        if read.reasons:
            screen.warn(told(entry.name, read))
    return DONE


def _lines(read: Read, locale: Locale) -> Iterator[str]:
    sample = read.sample
    if sample is None:
        yield from _text("", read.text or str(dict(read.row)))
        return
    if sample.tools:
        yield visible(locale(Say.tools(names=", ".join(str(tool["function"]["name"]) for tool in sample.tools))))
    if sample.text is not None:
        yield from _text("", sample.text)
    for turn in sample.turns:
        yield from _turn(turn.role, turn)
    for name, turns in (("chosen", sample.chosen), ("rejected", sample.rejected)):
        for turn in turns:
            yield from _turn(name, turn)
    if sample.label is not None:
        yield f"label: {plain(sample.label)}"


def _turn(name: str, turn: Turn) -> Iterator[str]:
    if turn.reasoning:
        yield from _text(f"{name} (reasoning): ", turn.reasoning)
    if turn.content or not turn.tool_calls:
        yield from _text(f"{name}: ", turn.content)
    for call in turn.tool_calls:
        yield from _text(f"{name} -> {call.name}: ", plain(dict(call.arguments)))


def _text(head: str, text: str) -> Iterator[str]:
    """The lines of a text behind its head, at most 1,000 characters, with nothing that a terminal would obey."""
    text = text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
    for at, line in enumerate(text.replace("\r\n", "\n").split("\n")):
        yield f"{head if at == 0 else ' ' * len(head)}{visible(line)}"


def register_file(words: Words, workspace: Workspace, screen: Screen) -> int:
    """Copy a file into the data folder and list it."""
    file = Path(words.only(1)[0])
    if not file.is_file():
        raise UserError(Say.no_file(given=plain(str(file))), key="dataset")
    num_samples = words.number("num_samples", 0) or None
    described = describe(file, words)
    say_described(file, described, screen)
    layout, folder = described.layout, words.flag("dataset_dir", "data")
    entry = register(
        workspace,
        file,
        words.flag("name", usual_name(file.name)),
        described.format,
        described.named,
        layout.tags,
        layout.ranking,
        folder,
        "overwrite" in words.flags,
        num_samples,
    )
    screen.say(Say.registered(name=entry.name, format=entry.format))
    return DONE


def edit_set(words: Words, workspace: Workspace, screen: Screen) -> int:
    """Say anew how a set is read; what no flag names stays as it is."""
    name, folder = words.only(1)[0], words.flag("dataset_dir", "data")
    if {"ranking", "no_ranking"} <= words.flags.keys():
        raise UserError(Say.both_ranks(), key="ranking")
    chosen_entries(read_catalogue(workspace, folder), [name])
    entry = settled(chosen(workspace, words, name, screen))[0]
    drawn = words.flag("num_samples", "same")
    num_samples = entry.num_samples if drawn == "same" else None if drawn == "all" else words.number("num_samples", 0)
    known, layout = seen_columns(entry.files()[0]), entry.layout
    columns = {ours: theirs for ours, theirs in layout.columns.items() if not theirs or theirs in known}
    ranking = layout.ranking and "no_ranking" not in words.flags
    entry = edit(workspace, name, entry.format, columns, layout.tags, ranking, num_samples, folder)
    named = ", ".join(f"{ours} = {theirs}" for ours, theirs in columns.items() if theirs) or "-"
    screen.say(Say.edited(name=name, format=entry.format, columns=named))
    screen.say(Say.drawn(count=f"{num_samples:,}") if num_samples else Say.all_taken())
    return DONE


def rename_set(words: Words, workspace: Workspace, screen: Screen) -> int:
    """Give a set another name."""
    old, new = words.only(2)
    rename(workspace, old, new, words.flag("dataset_dir", "data"))
    screen.say(Say.renamed(old=old, new=new))
    return DONE


def remove_set(words: Words, workspace: Workspace, screen: Screen) -> int:
    """Take a set out of the list, and its file from the disk when that was asked for."""
    screen.say(remove(workspace, words.only(1)[0], "delete_file" in words.flags, words.flag("dataset_dir", "data")))
    return DONE
