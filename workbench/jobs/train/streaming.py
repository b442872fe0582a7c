"""Rows that become tokens while the run learns, for sets too large to be kept as tokens. Knows no trainer."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, islice
from typing import Any

from workbench.chats.encoding import Encoder, Row, Tally
from workbench.data.datasets import Entry
from workbench.data.samples import Read, joined, of_shape, read_set, told
from workbench.desk import Desk
from workbench.jobs.train.cache import TOLD_ROWS, said_rows
from workbench.jobs.train.cache import Say as CacheSay
from workbench.jobs.train.rows import STOPPING, left_shares
from workbench.jobs.train.rows import Say as RowsSay
from workbench.problems import UserError
from workbench.specs import TrainSpec
from workbench.text import Message, Text


class Say:
    more = Text("Dataset '{name}': more rows are left out or were put right; worker.log lists every one.")
    so_far = Text("Dataset '{name}', after {rows} rows: {reason}")
    whole = Text("Dataset '{name}', all rows: {reason}")
    none_left = Text("No row can be learned from. {reasons}")
    of_them = Text("In {count} of them: {reason}")
    all_held = Text(
        "All {count} rows are held out, so none is left to learn from. Accepted: a 'Validation share' below that. Lower it."
    )


TOLD_REASONS = 3


def stream_rows(
    spec: TrainSpec, desk: Desk, encoder: Encoder, entries: Sequence[Entry], tried: Sequence[Entry]
) -> tuple[Any, Any | None]:
    """The rows to learn from as an IterableDataset, shuffled in a buffer; those held out as a dataset.

    Held out are the rows of ``eval_dataset``, else the first ``val_size`` of the streams. They leave the streams before
    these are mixed: mixing repeats rows, and a repeated row must not stand on both sides.
    """
    from datasets import Dataset

    noted = [SetNotes(desk, entry.name, spec.data.cutoff_len) for entry in entries]
    streams = [_stream(spec, encoder, entry, notes) for entry, notes in zip(entries, noted, strict=True)]
    held: list[Row] = []
    if not tried and spec.data.val_size:
        held, streams = _hold_out(spec, streams)
    filled = [next(iter(one), None) is not None for one in streams]
    if not any(filled):
        raise _nothing_left(spec, noted, len(held))
    shares = left_shares(spec, desk, filled)
    mixed = _mixed(spec, [one for one, some in zip(streams, filled, strict=True) if some], shares)
    for entry in tried:
        held += list(_stream(spec, encoder, entry, SetNotes(desk, entry.name, spec.data.cutoff_len)))
    if tried and not held:
        desk.note(RowsSay.no_validation(names=", ".join(spec.data.eval_dataset)), "warning")
    # Without the skip, shuffling would also change the order of the sets.
    shuffled = mixed.skip(0).shuffle(seed=spec.optim.seed, buffer_size=spec.data.buffer_size)
    return shuffled, Dataset.from_list([dict(row) for row in held]) if held else None


def _hold_out(spec: TrainSpec, streams: Sequence[Any]) -> tuple[list[Row], list[Any]]:
    """The first rows of the streams, and the streams without them. Sets that follow each other give them in that order,
    sets that take turns each by its share; what one is short of the next ones give."""
    count, data = int(spec.data.val_size), spec.data
    shares = data.interleave_probs or [1 / len(streams)] * len(streams)
    ends = [count] * len(streams)
    if data.mix_strategy != "concat":
        ends = [round(count * end) for end in accumulate(shares)]
    held: list[Row] = []
    rest = []
    for stream, end in zip(streams, ends, strict=True):
        taken = list(islice(iter(stream), max(0, end - len(held))))
        held += taken
        rest.append(stream.skip(len(taken)) if taken else stream)
    return held, rest


def _nothing_left(spec: TrainSpec, noted: Sequence["SetNotes"], num_held: int) -> UserError:
    """Why there is no row to learn from: the most frequent reasons, each with its rows. All streams were read."""
    if num_held:
        return UserError(Say.all_held(count=f"{num_held:,}"), key="val_size")
    lost = sum((notes.lost for notes in noted), Counter[str]())
    reasons = {key: reason for notes in reversed(noted) for key, reason in notes.reasons.items()}
    if set(lost) <= {CacheSay.untrained.key}:
        return UserError(RowsSay.nothing(cutoff=spec.data.cutoff_len), key="cutoff_len")
    first = [Say.of_them(count=f"{count:,}", reason=reasons[key]) for key, count in lost.most_common(TOLD_REASONS)]
    refused = {message["key"] for notes in noted for message in notes.refused}
    field = "template" if refused.issuperset(lost) else "dataset"
    return UserError(Say.none_left(reasons=joined(first)), key=field)


class SetNotes:
    """What is said of one set, once though it is read in every epoch."""

    def __init__(self, desk: Desk, name: str, cutoff_len: int) -> None:
        self._desk, self._name, self._cutoff_len = desk, name, cutoff_len
        self._told_rows = bytearray()
        """A byte for each row, not 0 once it was told: there may be millions."""
        self._count = 0
        self._counts: dict[str, Message] = {}
        self._ended = False
        self.lost = Counter[str]()
        """Rows that are left out, by the key of the reason."""
        self.reasons: dict[str, Message] = {}
        """The first reason of each key."""
        self.refused: list[Any] = []
        """Why the template has no place for a row, as in a Tally."""

    def row(self, read: Read) -> None:
        """Tell of a row that was left out or put right."""
        self._told_rows.extend(bytes(max(0, read.number + 1 - len(self._told_rows))))
        if self._told_rows[read.number]:
            return
        self._told_rows[read.number] = 1
        self._count += 1
        if read.sample is None:
            self.lost[read.reasons[-1].key] += 1
            self.reasons.setdefault(read.reasons[-1].key, read.reasons[-1])
        print(told(self._name, read), flush=True)
        if self._count <= TOLD_ROWS:
            self._desk.note(told(self._name, read), "warning")
        elif self._count == TOLD_ROWS + 1:
            self._desk.note(Say.more(name=self._name), "warning")

    def counts(self, tally: Tally, whole: bool) -> None:
        """Tell how many rows were cut: when the first ones are, and when the set was ``whole`` for the first time."""
        if self._ended:
            return
        self._ended, self.refused = whole, tally.refused
        for message in tally.messages(self._cutoff_len):
            before = self._counts.get(message.key)
            if before is None or (whole and before != message):
                rows = tally.rows + tally.untrained
                say = Say.whole if whole else Say.so_far
                self._desk.note(say(name=self._name, rows=f"{rows:,}", reason=message), "warning")
                self._counts[message.key] = message


def _stream(spec: TrainSpec, encoder: Encoder, entry: Entry, notes: SetNotes) -> Any:
    from datasets import IterableDataset

    def rows() -> Iterator[Row]:
        data = spec.data
        own = replace(encoder, tally=Tally())
        reads = of_shape(read_set(entry, data.dataset_values, data.max_samples), own.stage.SHAPES)
        for row in said_rows(reads, own, notes.row):
            notes.counts(own.tally, whole=False)
            yield row
        notes.counts(own.tally, whole=True)

    return IterableDataset.from_generator(rows)


def _mixed(spec: TrainSpec, streams: Sequence[Any], shares: Sequence[float] | None) -> Any:
    from datasets import concatenate_datasets, interleave_datasets

    if len(streams) == 1:
        return streams[0]
    if spec.data.mix_strategy == "concat":
        return concatenate_datasets(list(streams))
    return interleave_datasets(
        list(streams),
        probabilities=list(shares) if shares else None,
        seed=spec.optim.seed,
        stopping_strategy=STOPPING[spec.data.mix_strategy],
    )
