"""``runs bundle``: a finished run as one zip. Knows no other command."""

from collections.abc import Sequence
from pathlib import Path

from workbench.bundles import bundle_run
from workbench.cli import DONE
from workbench.cli.screen import Screen
from workbench.fields import plain
from workbench.problems import UserError
from workbench.runs import Run
from workbench.text import Text
from workbench.wording import size

DATA, WEIGHTS, OUT = "--data", "--weights", "--out"


class Say:
    no_value = Text("{flag} has no value. Accepted: the path of a zip to write. Write, for example, {flag} mine.zip.")
    bad_name = Text("{flag} is '{given}'. Accepted: a path that ends with .zip, in a folder that is there. Write another one.")
    exists = Text("'{given}' is there already. Accepted: a new file. Name another one, or delete it first.")
    written = Text("Bundle: {file}, {size}, {files} files.")
    no_rows = Text(
        "The rows themselves are not in it, but their hashes; nor the questions and answers that report and events show. --data "
        "puts them in."
    )


def taken_out(words: Sequence[str], flag: str) -> tuple[str | None, list[str]]:
    """What the flag says, as a word of its own or behind an equals sign, and the words without it."""
    joined = [part for word in words for part in (word.split("=", 1) if word.startswith(f"{flag}=") else [word])]
    if flag not in joined:
        return None, joined
    at = joined.index(flag)
    if at + 1 >= len(joined) or joined[at + 1].startswith("-"):
        raise UserError(Say.no_value(flag=flag))
    return joined[at + 1], [*joined[:at], *joined[at + 2 :]]


def bundle(run: Run, screen: Screen, flags: Sequence[str], out: str | None) -> int:
    """Write the zip, and say where it lies."""
    file = Path(out) if out is not None else Path(f"{run.folder.name}.zip")
    if file.suffix != ".zip" or not file.absolute().parent.is_dir():
        raise UserError(Say.bad_name(flag=OUT, given=plain(str(file))))
    if file.exists():
        raise UserError(Say.exists(given=plain(str(file))))
    facts = bundle_run(run, file, DATA in flags, WEIGHTS in flags)
    screen.say(Say.written(file=str(file), size=size(file.stat().st_size), files=len(facts.files) + 1))
    if DATA not in flags:
        screen.say(Say.no_rows())
    return DONE
