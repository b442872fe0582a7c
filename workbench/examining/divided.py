"""The rows of a run as it divided them itself: the same rows in the same order, drawn by the same seed. Knows no engine."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.chats.encoding import Encoder
from workbench.data.datasets import chosen_entries, read_catalogue
from workbench.data.samples import of_shape, read_set
from workbench.evaluating.records import Question
from workbench.examining.questions import as_asked
from workbench.formats import Sample
from workbench.plans import held_places
from workbench.problems import UserError
from workbench.specs import TrainSpec
from workbench.text import Message, Text
from workbench.workspace import Workspace


class Say:
    no_rows = Text("No row of {names} can be asked. Accepted: the sets that the run learned from, as they were. Put them back.")


@dataclass(frozen=True)
class Row:
    """A row that the run could use."""

    place: int
    """Its number among all of them, through all sets."""
    question: Question | None
    sample: Sample
    good: bool = True
    """Whether its answer is one to be like: one marked bad is not."""


@dataclass(frozen=True)
class Divided:
    """The rows with answers to be like."""

    learned: Sequence[Row]
    held: Sequence[Row]


def divided(workspace: Workspace, spec: TrainSpec, encoder: Encoder) -> Divided:
    """Which rows a run learned, and which it held out; UserError where its sets hold none that could be asked."""
    usable = _usable(workspace, spec, encoder, spec.data.dataset)
    # Streams are not counted beforehand, so a run holds out others of them than a draw would tell.
    told = not spec.data.eval_dataset and not spec.data.streaming
    apart = set(held_places(spec, len(usable)) if told else ())
    learned = [row for row in usable if row.place not in apart and row.good]
    held = [row for row in usable if row.place in apart and row.good]
    if spec.data.eval_dataset:
        held = [row for row in _usable(workspace, spec, encoder, spec.data.eval_dataset) if row.good]
    return Divided(learned, held)


def drawn(lot: random.Random, rows: Sequence[Row], count: int) -> list[Row]:
    """Up to so many of the rows, in their order."""
    return sorted(lot.sample(rows, min(count, len(rows))), key=lambda row: row.place)


def _usable(workspace: Workspace, spec: TrainSpec, encoder: Encoder, names: Sequence[str]) -> list[Row]:
    """The rows that become tokens, in the run's order: places count them through all sets."""
    found: list[Row] = []
    for entry in chosen_entries(read_catalogue(workspace, spec.data.dataset_dir), names):
        reads = of_shape(read_set(entry, spec.data.dataset_values, spec.data.max_samples), encoder.stage.SHAPES)
        good = [read for read in reads if read.sample is not None]
        rows = encoder.rows(read.sample for read in good if read.sample)
        for read, row in zip(good, rows, strict=True):
            if row is not None and not isinstance(row, Message) and read.sample:
                asked = as_asked(read.sample, entry.name, read.number)
                found.append(Row(len(found), *asked, good=read.sample.label is not False))
    if not found:
        raise UserError(Say.no_rows(names=", ".join(names)), key="report_run")
    return found
