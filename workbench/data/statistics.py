"""Figures of a set under a model: lengths, turns, scripts, what is trained, what padding costs. Knows no tokenizer."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.formats import Sample
from workbench.lettering import script_of_text

MOST_BINS = 40
STEPS = (1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128, 200, 250, 256, 400, 500, 512, 800)
"""Widths of a bin that read well; wider ones are these times a power of ten."""
PERCENTILES = (50, 75, 90, 95, 99, 100)
LOOKED_AT = 400


@dataclass(frozen=True)
class Bin:
    """How many rows have from ``start`` up to, not including, ``end`` tokens."""

    start: int
    end: int
    rows: int


@dataclass(frozen=True)
class Statistics:
    """Figures of a set; every share is from 0 to 1."""

    rows: int = 0
    tokens: int = 0
    trained: int = 0
    lengths: Sequence[Bin] = ()
    """At most 40 bins of one width, from 0 to the longest row."""
    percentiles: Mapping[int, int] = field(default_factory=dict)
    """Tokens that so many percent of the rows do not exceed: 50, 75, 90, 95, 99, 100."""
    turns: Mapping[int, int] = field(default_factory=dict)
    """How many rows have so many answers; running text has none."""
    scripts: Mapping[str, int] = field(default_factory=dict)
    """Rows by the script of most letters: zh, ja, ko, latin, cyrillic, arabic, other."""
    cutoff_len: int = 0
    over: int = 0
    """Rows of more tokens than the cutoff."""
    batch_size: int = 1
    padding_random: float = 0.0
    """Share of a batch that is padding when rows come by lot, as they do in training."""
    padding_grouped: float = 0.0
    """The same when rows of like length come together."""

    @property
    def trained_share(self) -> float:
        return self.trained / self.tokens if self.tokens else 0.0

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "lengths": [vars(one) for one in self.lengths]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Statistics":
        """Read back to_json, also after JSON made texts of the numbers that were keys."""
        numbers = {key: {int(name): count for name, count in data[key].items()} for key in ("percentiles", "turns")}
        return cls(**{**data, **numbers, "lengths": [Bin(**one) for one in data["lengths"]]})


def collect(
    counted: Iterable[tuple[Sample, int, int]], cutoff_len: int = 0, batch_size: int = 1, seed: int = 42
) -> Statistics:
    """The figures of samples with their tokens and trained tokens. Remembers one number a row."""
    from array import array

    lengths = array("l")
    turns, scripts, trained = Counter[int](), Counter[str](), 0
    for sample, num_tokens, num_trained in counted:
        lengths.append(num_tokens)
        trained += num_trained
        turns[sum(turn.role == "assistant" for turn in sample.turns) + bool(sample.chosen)] += 1
        scripts[script_of(sample)] += 1
    if not lengths:
        return Statistics(cutoff_len=cutoff_len, batch_size=batch_size)
    ordered, shuffled = sorted(lengths), list(lengths)
    random.Random(seed).shuffle(shuffled)  # noqa: S311
    return Statistics(
        rows=len(ordered),
        tokens=sum(ordered),
        trained=trained,
        lengths=bins(ordered),
        percentiles={percent: ordered[-(-percent * len(ordered) // 100) - 1] for percent in PERCENTILES},
        turns=dict(sorted(turns.items())),
        scripts=dict(scripts.most_common()),
        cutoff_len=cutoff_len,
        over=sum(length > cutoff_len for length in ordered) if cutoff_len else 0,
        batch_size=batch_size,
        padding_random=padding(shuffled, batch_size, cutoff_len),
        padding_grouped=padding(ordered, batch_size, cutoff_len),
    )


def bins(lengths: Sequence[int]) -> list[Bin]:
    """At most 40 bins of one round width that hold every length."""
    longest = max(lengths)
    width = bin_width(longest)
    found = Counter(length // width for length in lengths)
    return [Bin(place * width, (place + 1) * width, found[place]) for place in range(longest // width + 1)]


def bin_width(longest: int) -> int:
    """The smallest round width with which 40 bins reach the longest."""
    scale = 1
    while True:
        for step in STEPS:
            if longest // (step * scale) < MOST_BINS:
                return step * scale
        scale *= 10


def padding(lengths: Sequence[int], batch_size: int, cutoff_len: int = 0) -> float:
    """The share of padding when each batch is as long as its longest row, rows cut at the cutoff."""
    room = used = 0
    for start in range(0, len(lengths), batch_size):
        batch = [min(length, cutoff_len) if cutoff_len else length for length in lengths[start : start + batch_size]]
        room += max(batch) * len(batch)
        used += sum(batch)
    return 1 - used / room if room else 0.0


def script_of(sample: Sample) -> str:
    """The script that most letters at the ends of its texts are written in."""
    if sample.text is not None:
        words = sample.text[:LOOKED_AT]
    else:
        words = " ".join([turn.content[:LOOKED_AT] for turn in (*sample.turns[-2:], *sample.chosen) if turn.content])
    return script_of_text(words)
