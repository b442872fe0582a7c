"""Texts by which weights are quantised: a set of Data as its chats are written, or a file of texts. Knows no exporter."""

from collections.abc import Iterator
from pathlib import Path

from workbench.chats import ChatOptions, Refused, render
from workbench.data.datasets import Entry, chosen_entries, read_catalogue
from workbench.data.samples import read_set
from workbench.engines import Opening
from workbench.formats import Sample
from workbench.problems import Problem, UserError
from workbench.tables import table_for
from workbench.text import Text
from workbench.workspace import Workspace

KEY = "export_quantization_dataset"
COLUMN = "text"


class Say:
    none = Text("No texts to calibrate with are chosen. Accepted: a set of Data by its name, or a file with a column '{column}'.")
    no_texts = Text("The file '{given}' has no texts in a column '{column}'. Accepted: such a file, or a set of Data by its name.")


def calibration_texts(workspace: Workspace, opening: Opening, given: str) -> Iterator[str]:
    """Its texts one by one; UserError at the call for what is no set and no file."""
    given = given.strip()
    if not given:
        raise UserError(Say.none(column=COLUMN), key=KEY)
    file = workspace.inside(workspace.root, given, KEY)
    if file.is_file():
        return _of_file(file, given)
    try:
        entries = chosen_entries(read_catalogue(workspace), [given])
    except UserError as error:
        raise UserError(*(Problem(problem.message, KEY) for problem in error.problems)) from None
    return (text for entry in entries for text in _of_set(entry, opening))


def _of_file(file: Path, given: str) -> Iterator[str]:
    try:
        rows = (record.row for record in table_for(file).records(file))
        texts = (str(row[COLUMN]) for row in rows if row and isinstance(row.get(COLUMN), str))
        first = next(texts, None)
    except UserError as error:
        raise UserError(error.problems[0].message, key=KEY) from None
    if first is None:
        raise UserError(Say.no_texts(given=given, column=COLUMN), key=KEY)
    return _with_first(first, texts)


def _with_first(first: str, others: Iterator[str]) -> Iterator[str]:
    yield first
    yield from others


def _of_set(entry: Entry, opening: Opening) -> Iterator[str]:
    """The rows as they would be learned; those that the chat template has no place for are left out."""
    tokenizer, options = opening.tokenizer(), ChatOptions(opening.enable_thinking, opening.default_system)
    for read in read_set(entry):
        if read.sample is not None:
            try:
                yield read.sample.text or render(tokenizer, _conversation(read.sample), False, read.sample.tools, options).text
            except Refused:
                continue


def _conversation(sample: Sample) -> list[dict[str, object]]:
    return [turn.message() for turn in (*sample.turns, *sample.chosen)]
