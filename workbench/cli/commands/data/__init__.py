"""``data``: list, show, check, register, edit, rename and remove datasets. Reads sets and their list; knows no run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches

from workbench.cli import DONE
from workbench.cli.commands.data.check import check
from workbench.cli.commands.data.sets import edit_set, listed, register_file, remove_set, rename_set, show
from workbench.cli.commands.data.words import Words, read
from workbench.cli.overview import command_help
from workbench.cli.screen import Screen
from workbench.fields import plain
from workbench.problems import UserError
from workbench.text import Locale, Message, Text
from workbench.workspace import Workspace

USAGE = (
    "data list | show NAME [--rows N] | check NAME [--fix OUT] [name=value ...] | register FILE [--name N] | "
    "edit NAME [--column OURS=THEIRS] | rename NAME NEW | remove NAME [--delete_file]"
)


class Say:
    title = Text("List, show, check and register datasets.")
    names = Text(
        "NAME is a set of data/dataset_info.json, or any file of rows; --dataset_dir DIR takes another folder."
    )
    do_list = Text("list: every set with its format, rows, size and file; what is wrong with the others.")
    do_show = Text("show: the first rows as they are learned; --rows N says how many.")
    do_check = Text(
        "check: what is wrong with a set, row by row. --fix OUT writes a new file with every proposal applied; the set "
        "itself stays. --model_name_or_path M [--template T] [--cutoff_len N] counts tokens too; name=value fills a "
        "placeholder; --max_samples N looks at the first rows; --eval_dataset NAME compares with a validation set; "
        "--findings N says how many findings of each kind are shown."
    )
    do_register = Text(
        "register: copies a file into the data folder and adds it to the list. Format and columns are guessed; "
        "--formatting F, --column OURS=THEIRS, --tag OURS=THEIRS and --ranking correct the guess. "
        "--num_samples N takes so many rows of it, drawn by lot."
    )
    do_edit = Text(
        "edit: says anew how a set is read, with the same flags; what no flag names stays. --column OURS= reads no column "
        "there, --no_ranking and --num_samples all take back what was set."
    )
    do_remove = Text("rename, remove: change the list; the file of rows stays unless --delete_file is given.")
    codes = Text("Exit code of check: 0 without errors, 1 with rows left out or other errors, 2 for wrong input.")
    no_action = Text("Nothing was asked for. Accepted: {known}. Write, for example, data list.")
    unknown = Text("'{given}' can't be done with data. Accepted: {known}. Choose one of these.")
    unknown_near = Text("'{given}' can't be done with data. Accepted: {known}. Did you mean {nearest}?")


Action = Callable[[Words, Workspace, Screen], int]
READING = ("formatting", "column", "tag", "ranking")
"""Flags that say how a file is to be read."""
FLAGS: Mapping[str, tuple[str, ...]] = {
    "list": ("dataset_dir",),
    "show": ("dataset_dir", "rows", *READING),
    "check": (
        "dataset_dir", "fix", "overwrite", "cutoff_len", "model_name_or_path", "template", "max_samples",
        "eval_dataset", "findings", *READING,
    ),
    "register": ("dataset_dir", "name", "overwrite", "num_samples", *READING),
    "edit": ("dataset_dir", "num_samples", "no_ranking", *READING),
    "rename": ("dataset_dir",),
    "remove": ("dataset_dir", "delete_file"),
}  # fmt: skip
ACTIONS: Mapping[str, Action] = {
    "list": listed,
    "show": show,
    "check": check,
    "register": register_file,
    "edit": edit_set,
    "rename": rename_set,
    "remove": remove_set,
}


def title() -> Message:
    return Say.title()


def help(locale: Locale) -> Iterator[str]:
    sentences = (
        Say.title, Say.names, Say.do_list, Say.do_show, Say.do_check, Say.do_register, Say.do_edit, Say.do_remove,
        Say.codes,
    )  # fmt: skip
    yield from command_help(locale, USAGE, sentences)


def run(words: Sequence[str], workspace: Workspace, screen: Screen) -> int:
    known = ", ".join(ACTIONS)
    if not words:
        raise UserError(Say.no_action(known=known))
    action = words[0]
    if action not in ACTIONS:
        near = get_close_matches(action, ACTIONS, 1, 0.6)
        if near:
            raise UserError(Say.unknown_near(given=plain(action), known=known, nearest=near[0]))
        raise UserError(Say.unknown(given=plain(action), known=known))
    return ACTIONS[action](read(action, words[1:], FLAGS[action]), workspace, screen) or DONE
