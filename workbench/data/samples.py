"""The rows of a set as samples, one by one: what was put right on the way, and what is left out and why.

Reads lazily, so a set larger than memory is no matter. Knows no model, no template and no page.
"""

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any

from workbench import formats
from workbench.data.datasets import ANSWERS, TEXT_FORMAT, Entry, broken
from workbench.formats import Row, Sample, Shape
from workbench.problems import Problem, UserError
from workbench.sockets import plugins
from workbench.tables import Record, known_rows, table_for
from workbench.text import Message, Text

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
SMALL_BYTES = 8_000_000
"""Sets up to this size are read whole to be counted; of larger ones the first rows stand for all."""
FIRST_ROWS = 2_000
FIRST_BYTES = 8_000_000
"""The first rows are so many, or as many as hold so much."""
MENDS_A_ROW = 8
LOOKED_ROWS = 20
ASKED_NAMES = {"name", "author"}
ASKED_ROWS = 3
"""Another name in ``{{ }}`` is meant to be filled when it stands in so many rows; in fewer it may be what is taught."""
ASKED_SHARE = 0.05
NAMED_SHARE = 0.01
"""In a smaller share of the rows it is taught as it stands (Vue, Jinja): of any name, of name and author."""


class Say:
    empty = Text("file '{given}' has no rows. Add rows, or choose another set.")
    as_alpaca = Text(
        "Its entry names '{question}' alone, as for running text, and the rows hold answers in '{answer}'. They are read as "
        "questions with answers. Name {ours} in its columns too; with null there it is running text."
    )
    left_alone = Text(
        "Dataset '{name}' has {{{{ }}}} without a value: {missing}. These are learned as they stand. Give a value if one is meant."
    )
    no_values = Text("Dataset '{name}' has placeholders without a value: {missing}. Fill in each of them.")
    unused_values = Text("No chosen set has the placeholder {given}. Placeholders there: {known}. Rename or remove it.")
    excluded = Text("Dataset '{name}', row {row} is left out: {reason}")
    mended = Text("Dataset '{name}', row {row} was put right: {reason}")
    other_shape = Text("it holds {given}, and this stage learns from {wanted}.")
    dialogue = Text("questions with answers")
    preference = Text("pairs of a better and a worse answer")
    label = Text("answers marked good or bad")
    text = Text("running text")


SHAPE_WORDS: Mapping[Shape, Text] = {
    "dialogue": Say.dialogue,
    "preference": Say.preference,
    "label": Say.label,
    "text": Say.text,
}


@dataclass(frozen=True, slots=True)
class Read:
    """One row of a set: a sample, or none, with the reasons for what was done to it."""

    number: int
    """Its place in the set, from 1."""
    row: Row
    """As it stands in the file, placeholders filled; empty where the file can't be read."""
    sample: Sample | None
    reasons: Sequence[Message] = ()
    """What was put right, or why the row is left out."""
    mend: Row | None = None
    """For a row that is left out: how it could be, if somebody accepts it. For one put right: the row as it was read."""
    text: str = ""
    """The place in the file, where it can't be read."""

    @property
    def state(self) -> str:
        """kept, mended or excluded."""
        if self.sample is None:
            return "excluded"
        return "mended" if self.reasons else "kept"


def raw_records(entry: Entry) -> Iterator[tuple[int, Record]]:
    """The records of all files of the set, numbered through; UserError beside ``dataset`` when there is none."""
    number = 0
    for file in entry.files():
        try:
            for record in table_for(file).records(file):
                number += 1
                yield number, record
        except UserError as error:
            raise broken(entry, error.problems[0].message) from None
    if not number:
        raise broken(entry, Say.empty(given=entry.place.name))


def read_set(entry: Entry, values: Mapping[str, str] | None = None, max_samples: int | None = None) -> Iterator[Read]:
    """The rows of one set in their order, the first ``max_samples`` of them; ``num_samples`` of its entry draws."""
    entry, note = settled(entry)
    module, fills = plugins(formats)[entry.format], values or {}
    wanted = _drawn(entry) if entry.num_samples else None
    at = 0
    for number, record in raw_records(entry):
        times = wanted[number] if wanted is not None else 1
        for _ in range(times):
            at += 1
            if max_samples is not None and at > max_samples:
                return
            read = read_record(module, entry, number, record, fills)
            yield replace(read, reasons=[note, *read.reasons]) if note and at == 1 else read


def settled(entry: Entry) -> tuple[Entry, Message | None]:
    """The set as its rows show that it is to be read, and what is said of it, once, where its entry says otherwise."""
    answer = _answer_column(entry, signature(entry)) if entry.alpaca and entry.format == TEXT_FORMAT else ""
    if not entry.alpaca or not answer:
        return entry, None
    columns = entry.alpaca.columns
    ours = next(ours for ours in ANSWERS if columns[ours] == answer)
    said = Say.as_alpaca(question=columns["prompt"], answer=answer, ours=ours)
    return replace(entry, format="alpaca", layout=entry.alpaca, alpaca=None), said


@lru_cache(maxsize=256)
def _answer_column(entry: Entry, signed: tuple[tuple[str, int, int], ...]) -> str:
    """The column of answers in the first rows of a set whose entry names none."""
    assert entry.alpaca
    names = {entry.alpaca.columns[ours] for ours in ANSWERS} - set(entry.layout.columns.values())
    rows = [record.row for _, record in islice(raw_records(entry), LOOKED_ROWS) if record.row]
    return next((name for name in sorted(names, reverse=True) if any(row.get(name) for row in rows)), "")


def _drawn(entry: Entry) -> Counter[int]:
    """How often each row is taken so that ``num_samples`` come out: each once, then again by lot."""
    count = _num_records(entry, signature(entry))
    wanted, lot = entry.num_samples or count, random.Random(42)  # noqa: S311
    whole, rest = divmod(wanted, count)
    drawn = Counter(dict.fromkeys(range(1, count + 1), whole))
    drawn.update(lot.sample(range(1, count + 1), rest))
    return drawn


@lru_cache(maxsize=256)
def _num_records(entry: Entry, signed: tuple[tuple[str, int, int], ...]) -> int:
    """How many records the files hold; they are read for it only where they don't say so themselves."""
    return _told_records(entry) or sum(1 for _ in raw_records(entry))


def _told_records(entry: Entry) -> int | None:
    """How many records the files say they hold; None where one of them doesn't."""
    told = [known_rows(file) for file in entry.files()]
    return None if None in told else sum(count or 0 for count in told)


def read_record(module: Any, entry: Entry, number: int, record: Record, values: Mapping[str, str]) -> Read:
    """One record as a sample; what changes nothing of what is taught is put right on the way."""
    reasons = [record.fault] if record.fault else []
    if record.row is None:
        return Read(number, {}, None, reasons, record.mend, record.text)
    row = fill(record.row, values) if values else record.row
    found = module.sample(row, entry.layout)
    mended: Row | None = None
    for _ in range(MENDS_A_ROW):
        if isinstance(found, Sample):
            return Read(number, row, found, reasons, mended)
        reasons.append(found.reason)
        if found.mend is None or not found.safe:
            return Read(number, row, None, reasons, found.mend)
        mended = found.mend
        found = module.sample(mended, entry.layout)
    return Read(number, row, None, reasons, mended)


def of_shape(reads: Iterable[Read], shapes: Sequence[Shape]) -> Iterator[Read]:
    """The same rows, those without a sample of these shapes left out."""
    for read in reads:
        if read.sample is None or read.sample.shape in shapes:
            yield read
            continue
        said = Say.other_shape(given=SHAPE_WORDS[read.sample.shape](), wanted=SHAPE_WORDS[shapes[0]]())
        yield Read(read.number, read.row, None, [said])


def told(name: str, read: Read) -> Message:
    """What is said of a row that is not simply kept."""
    say = Say.mended if read.sample else Say.excluded
    return say(name=name, row=read.number, reason=joined(read.reasons))


def joined(reasons: Sequence[Message]) -> Message:
    """Several reasons as one message."""
    if len(reasons) == 1:
        return reasons[0]
    return Message("", "{first} {rest}", {"first": reasons[0], "rest": joined(reasons[1:])})


def placeholders(entry: Entry) -> list[str]:
    """All names in ``{{ }}`` in the first rows of the set, in order of appearance."""
    return list(_placeholders(entry, signature(entry)))


@lru_cache(maxsize=256)
def _placeholders(entry: Entry, signed: tuple[tuple[str, int, int], ...]) -> Sequence[str]:
    found: dict[str, None] = {}
    size = 0
    for number, record in raw_records(entry):
        if number > FIRST_ROWS or size > FIRST_BYTES:
            break
        for text in _texts(record.text if record.row is None else record.row):
            size += len(text)
            if "{{" in text:
                found |= dict.fromkeys(PLACEHOLDER.findall(text))
    return tuple(found)


def _texts(value: Any) -> Iterator[str]:
    """Every text in a row, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


@lru_cache(maxsize=256)
def _used(entry: Entry, max_samples: int | None, signed: tuple[tuple[str, int, int], ...]) -> Mapping[str, tuple[int, float]]:
    """Those in what the first rows teach, each with the number and the share of these rows that it stands in."""
    if not _placeholders(entry, signed):
        return {}
    entry, _ = settled(entry)
    module, most = plugins(formats)[entry.format], min(max_samples or FIRST_ROWS, FIRST_ROWS)
    found, rows = Counter[str](), 0
    for number, record in islice(raw_records(entry), most):
        rows += 1
        if record.row is None or "{{" not in json.dumps(record.row, ensure_ascii=False, default=str):
            continue
        sample = read_record(module, entry, number, record, {}).sample
        if sample is not None:
            text = json.dumps(asdict(sample), ensure_ascii=False, default=str)
            found.update(dict.fromkeys(PLACEHOLDER.findall(text), 1))
    return {name: (count, count / rows) for name, count in found.items()}


def _meant(name: str, share: float) -> bool:
    """Whether a value is probably meant to stand for the name."""
    return share >= (NAMED_SHARE if name in ASKED_NAMES else ASKED_SHARE)


def asked_placeholders(entry: Entry, max_samples: int | None = None) -> list[str]:
    """Those for which a person is asked: names in the rows that are used, in enough of them; the most frequent first."""
    used = _used(entry, max_samples, signature(entry))
    meant = [name for name, (_, share) in used.items() if _meant(name, share)]
    return sorted(meant, key=lambda name: -used[name][0])


def without_value(
    entry: Entry, values: Mapping[str, str], max_samples: int | None = None
) -> tuple[list[str], list[str]]:
    """The placeholders without a value: those that need one, and those that may be what is taught (Vue, Jinja)."""
    used = _used(entry, max_samples, signature(entry))
    lacking = {name: told for name, told in used.items() if not values.get(name, "").strip()}
    asked = [
        name
        for name, (count, share) in lacking.items()
        if _meant(name, share) and (name in ASKED_NAMES or count >= ASKED_ROWS)
    ]
    return asked, [name for name in lacking if name not in asked]


def value_notes(
    entries: Sequence[Entry], values: Mapping[str, str], max_samples: int | None = None
) -> list[Message]:
    """What is said of placeholders that are learned as they stand."""
    left = {entry.name: without_value(entry, values, max_samples)[1] for entry in entries}
    return [Say.left_alone(name=name, missing=", ".join(names)) for name, names in left.items() if names]


def signature(entry: Entry) -> tuple[tuple[str, int, int], ...]:
    """Something that changes whenever a file of the set does."""
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in entry.files())


def fill(value: Any, values: Mapping[str, str]) -> Any:
    """The value with every ``{{name}}`` in its texts replaced; names without a value stay."""
    if isinstance(value, str):
        if "{{" not in value:
            return value
        return PLACEHOLDER.sub(lambda found: values.get(found.group(1), found.group(0)), value)
    if isinstance(value, list):
        return [fill(item, values) for item in value]
    if isinstance(value, dict):
        return {key: fill(item, values) for key, item in value.items()}
    return value


def value_problems(
    entries: Sequence[Entry], values: Mapping[str, str], max_samples: int | None = None
) -> list[Problem]:
    """Placeholders that need a value and have none, and values without a placeholder."""
    found = {entry.name: placeholders(entry) for entry in entries}
    problems = [
        Problem(Say.no_values(name=name, missing=", ".join(missing)), "dataset_values")
        for name, missing in ((entry.name, without_value(entry, values, max_samples)[0]) for entry in entries)
        if missing
    ]
    known = sorted({one for names in found.values() for one in names})
    unused = [name for name in values if name not in known and values[name].strip()]
    if unused:
        said = Say.unused_values(given=", ".join(unused), known=", ".join(known) or "-")
        problems.append(Problem(said, "dataset_values"))
    return problems


@dataclass(frozen=True)
class Count:
    """How many rows of a set there are of each state. ``exact`` is False where the first rows stood for all."""

    kept: int = 0
    mended: int = 0
    excluded: int = 0
    first: Message | None = None
    """What is said of the first row that is left out."""
    exact: bool = True

    @property
    def samples(self) -> int:
        return self.kept + self.mended


def count_set(
    entry: Entry, values: Mapping[str, str], max_samples: int | None, shapes: Sequence[Shape] = ("dialogue",)
) -> Count:
    """The count of one set; it is read again only when a file of it has changed."""
    return _count(entry, tuple(sorted(values.items())), max_samples, tuple(shapes), signature(entry))


@lru_cache(maxsize=256)
def _count(
    entry: Entry,
    values: tuple[tuple[str, str], ...],
    max_samples: int | None,
    shapes: tuple[Shape, ...],
    signed: tuple[tuple[str, int, int], ...],
) -> Count:
    total_bytes = sum(size for _, size, _ in signed)
    if total_bytes <= SMALL_BYTES:
        tally = _tallied(of_shape(read_set(entry, dict(values), max_samples), shapes), entry.name, measured=False)
        return tally.count(tally.rows, exact=True)
    # Drawing by lot would take a reading of the whole set; the first rows stand for those that are drawn.
    most = max_samples if max_samples and not entry.num_samples else None
    reads = of_shape(read_set(replace(entry, num_samples=None), dict(values), most), shapes)
    tally = _tallied(reads, entry.name, measured=True)
    ended = next(reads, None) is None
    rows = tally.rows if ended else _told_records(entry) or tally.rows * total_bytes // max(1, tally.size_bytes)
    rows = min(entry.num_samples or rows, max_samples or sys.maxsize)
    alike = not entry.num_samples or tally.states["kept"] == tally.rows
    return tally.count(rows, exact=ended and alike)


@dataclass(frozen=True)
class _Tally:
    """What was seen of the rows that were read."""

    states: Counter[str]
    size_bytes: int
    first: Message | None

    @property
    def rows(self) -> int:
        return self.states.total()

    def count(self, rows: int, exact: bool) -> Count:
        """These rows as they are, or standing for so many."""
        kept, mended, excluded = (self.states[name] * rows // max(1, self.rows) for name in ("kept", "mended", "excluded"))
        return Count(kept, mended, excluded, self.first, exact)


def _tallied(reads: Iterable[Read], name: str, measured: bool) -> _Tally:
    """All of them, or the first rows if measured."""
    states: Counter[str] = Counter()
    first, size_bytes = None, 0
    for read in reads:
        states[read.state] += 1
        if measured:
            size_bytes += len(json.dumps(read.row, ensure_ascii=False, default=str).encode()) + 1
        if read.sample is None and first is None:
            first = told(name, read)
        if measured and (states.total() >= FIRST_ROWS or size_bytes > FIRST_BYTES):
            break
    return _Tally(states, size_bytes, first)
