"""``export``: a spec from a file and a command line, the export, and its proof. Ends no run by itself."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from workbench import runs
from workbench.checking import check_export
from workbench.cli import DONE, FAILED
from workbench.cli.flags import given_values, raise_all
from workbench.cli.follow import follow, say_ending, shown_path
from workbench.cli.interrupts import counted
from workbench.cli.overview import columns_of, command_help, field_help
from workbench.cli.screen import Screen
from workbench.events import Finished
from workbench.exporting.beforehand import usual_name
from workbench.exporting.folder import export_folder
from workbench.exporting.guide import Entry, guide, uses
from workbench.exporting.proof import read_proof, verdict
from workbench.specs import ExportSpec
from workbench.text import Locale, Message, Text
from workbench.view import View
from workbench.wording import size
from workbench.workspace import Workspace


class Say:
    title = Text("Take a model home: merged, its adapter alone, as GGUF, quantised; proved to answer as it did here.")
    file = Text("SPEC.yaml holds 'key: value' lines, as examples/export.yaml does; without it the fields say all.")
    stop = Text("Ctrl-C ends it and leaves nothing half-written: 'runs resume' begins the export anew.")
    created = Text("Run: {folder}")
    files = Text("The files in {folder}:")
    uses = Text("What to copy where:")


def title() -> Message:
    return Say.title()


def help(locale: Locale) -> Iterator[str]:
    sentences = (Say.title, Say.file, Say.stop)
    yield from command_help(locale, "export [SPEC.yaml] [key=value ...] [--key value ...]", sentences)
    yield from field_help(locale, ExportSpec.knobs())


def run(words: Sequence[str], workspace: Workspace, screen: Screen) -> int:
    values, given = given_values(words, ExportSpec.knobs(), workspace)
    checked = check_export(workspace, values)
    raise_all(given.problems, checked.problems)
    for warning in checked.warnings:
        screen.warn(warning)
    with counted() as pressed:
        created = runs.create(workspace, checked.unwrap())
        screen.say(Say.created(folder=shown_path(created)))
        created.start()
        seen = View()
        state = follow(created, screen, pressed, seen, 0, checked.warnings)
    if not isinstance(seen.ended, Finished):
        say_ending(created, screen, seen, state)
        return DONE if state == "stopped" else FAILED
    _tell(export_folder(workspace, checked.unwrap().exporting, usual_name(checked.unwrap())), workspace, screen)
    return DONE if seen.ended.numbers.get("proved") else FAILED


def _tell(folder: Path, workspace: Workspace, screen: Screen) -> None:
    """What each file is, what to copy where, and once more whether the export is proved."""
    screen.say(Say.files(folder=folder.relative_to(workspace.root).as_posix()))
    entries = guide(folder)
    widths = [max((columns_of(text) for text in some), default=0) for some in zip(*map(_cells, entries), strict=True)]
    for one in entries:
        cells = (cell + " " * (width - columns_of(cell)) for cell, width in zip(_cells(one), widths, strict=True))
        screen.line(f"  {'  '.join(cells)}  {screen.locale(one.said)}")
    screen.say(Say.uses())
    for message in uses(folder):
        screen.line(f"  {screen.locale(message)}")
    if proof := read_proof(folder):
        (screen.say if proof.proved else screen.error)(verdict(proof, folder.name))


def _cells(entry: Entry) -> tuple[str, str]:
    return entry.path, size(entry.num_bytes)
