"""A file that is not yet a set: its columns, a guess at how it is written, and its first rows as they would be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from workbench.data.datasets import Entry, HubSource
from workbench.data.guessing import guess
from workbench.data.hub_datasets import fetch_dataset
from workbench.data.registry import register, register_hub, usual_name
from workbench.data.samples import Read, raw_records
from workbench.formats import Layout
from workbench.problems import UserError
from workbench.tables import table_for
from workbench.text import Message, Text
from workbench.ui.data.mapping import Mapped
from workbench.ui.data.rows import first_reads
from workbench.ui.data.working import Doing
from workbench.wording import size
from workbench.workspace import Workspace

LOOKED_ROWS = 200
SEEN_ROWS = 6


class Say:
    no_rows = Text("'{given}' holds no row that can be read. Accepted: a file with at least one. Choose another.")


@dataclass(frozen=True)
class Draft:
    """What was dropped or fetched."""

    place: Path
    shown: str
    """Its name as the person knows it."""
    columns: Sequence[str]
    guessed: Mapped
    certain: bool
    notes: Sequence[Message]
    source: HubSource | None = None

    def entry(self, mapped: Mapped) -> Entry:
        """The set that it would be."""
        return Entry("draft", self.place, mapped.format, mapped.layout(), source=self.source)

    def reads(self, mapped: Mapped) -> list[Read]:
        """The first rows as they would be read."""
        return first_reads(self.entry(mapped), SEEN_ROWS)

    def register(self, workspace: Workspace, name: str, mapped: Mapped) -> Entry:
        """Make it a set of the workspace."""
        said = (name.strip(), mapped.format, mapped.columns, mapped.tags, mapped.ranking)
        if self.source:
            return register_hub(workspace, self.source, *said)
        return register(workspace, self.place, *said)


def read_draft(place: Path, shown: str, source: HubSource | None = None) -> Draft:
    """Look at a file or a fetched folder; UserError when nothing of it can be read."""
    entry = Entry(shown, place, "text", Layout(), source=source)
    try:
        records = [record for _, record in islice(raw_records(entry), LOOKED_ROWS)]
        notes = table_for(entry.files()[0]).notes(entry.files()[0])
    except UserError as error:
        raise UserError(bare(error)) from None
    rows = [record.row or record.mend for record in records]
    readable = [row for row in rows if row]
    if not readable:
        raise UserError(Say.no_rows(given=shown))
    guessed = guess(readable)
    columns = list(dict.fromkeys(column for row in readable for column in row))
    layout = guessed.layout
    named = {ours: theirs for ours, theirs in layout.columns.items() if theirs in columns}
    mapped = Mapped(guessed.format, named, layout.tags, layout.ranking)
    return Draft(place, shown, columns, mapped, guessed.certain, [*notes, *guessed.reasons], source)


def bare(error: UserError) -> Message:
    """What is wrong with a file, without the name of a set that does not exist yet."""
    message = error.problems[0].message
    reason = message.args.get("reason")
    return reason if isinstance(reason, Message) else message


def fetch(workspace: Workspace, source: HubSource, told: Any) -> Draft:
    """The set of a hub, fetched and looked at. ``told`` hears how far it is."""

    def heard(done: int, total: int, file: str) -> None:
        words = f"{file} {size(done)} / {size(total)}" if total else f"{file} {size(done)}"
        told(Doing(done / total if total else None, words))

    place = fetch_dataset(workspace, source, heard)
    return read_draft(place, source.id, source)


def free_name(shown: str, taken: Mapping[str, Any]) -> str:
    """A name for the set, made of the file's or the hub id's; with a number when that is taken."""
    name = usual_name(shown)
    number = next(number for number in range(1, len(taken) + 2) if _numbered(name, number) not in taken)
    return _numbered(name, number)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}_{number}"


def with_mapping(entry: Entry, mapped: Mapped) -> Entry:
    """A set as it would be read with another mapping."""
    return replace(entry, format=mapped.format, layout=mapped.layout(), alpaca=None)
