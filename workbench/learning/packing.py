"""Several rows in one: which rows go together, and the packed rows themselves. Knows tokens, no model.

Packed rows are a dataset of places alone; their tokens are read from the rows beneath when a batch asks for them.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

UNTRAINED = -100
Columns = Mapping[str, Sequence[Any]]
Made = dict[str, list[Any]]


def lengths_of(rows: Any) -> list[int]:
    """How many tokens each row of a dataset has."""
    from pyarrow.compute import list_value_length

    tables = rows.select_columns("input_ids").with_format("arrow").iter(10_000)
    return [length for table in tables for length in list_value_length(table["input_ids"]).to_pylist()]


def fitted(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Places of rows that go together: best fit, the longest first, at most ``capacity`` tokens unless one row alone is
    longer. Every row is in exactly one group; groups and their rows are in the rows' order."""
    free: list[tuple[int, int]] = []
    groups: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda at: (-lengths[at], at)):
        at = bisect_left(free, (lengths[place], -1))
        if at == len(free):
            groups.append([place])
            insort(free, (max(0, capacity - lengths[place]), len(groups) - 1))
            continue
        left, group = free.pop(at)
        groups[group].append(place)
        insort(free, (left - lengths[place], group))
    return sorted(sorted(group) for group in groups)


def packed(rows: Any, capacity: int, apart: bool) -> Any:
    """The rows of a dataset of tokens, whole, several in one. ``apart``: with positions that begin anew at each."""
    from datasets import Dataset, IterableDataset

    def together(batch: Columns) -> Made:
        return _columns([join(rows[group], apart) for group in batch["rows"]])

    def of_stream(batch: Columns) -> Made:
        groups = fitted([len(ids) for ids in batch["input_ids"]], capacity)
        taken = [{name: [values[at] for at in group] for name, values in batch.items()} for group in groups]
        return _columns([join(one, apart) for one in taken])

    if isinstance(rows, IterableDataset):
        return rows.map(of_stream, batched=True, remove_columns=rows.column_names)
    return Dataset.from_dict({"rows": fitted(lengths_of(rows), capacity)}).with_transform(together)


def join(taken: Columns, apart: bool) -> Mapping[str, list[Any]]:
    """Rows one behind the other as one row. A row's first token is never learned: nothing of the row stands before it."""
    ids: list[list[int]] = list(taken["input_ids"])
    labels = [[UNTRAINED, *row[1:]] for row in taken["labels"]]
    joined: dict[str, list[Any]] = {"input_ids": _flat(ids), "labels": _flat(labels)}
    if "loss_weights" in taken:
        weights = [row or [1.0] * len(one) for row, one in zip(taken["loss_weights"], ids, strict=True)]
        joined["loss_weights"] = _flat(weights)
    if apart:
        joined["position_ids"] = _flat([list(range(len(one))) for one in ids])
    return joined


def cut_into_blocks(rows: Any, length: int) -> Any:
    """All tokens of a dataset as one long text in blocks of ``length`` tokens; the last one may be shorter.

    Of a stream a thousand rows at a time are one text.
    """
    from datasets import Dataset, IterableDataset

    if isinstance(rows, IterableDataset):
        return rows.map(
            lambda batch: _columns(list(_blocks(_flat(batch["input_ids"]), length))),
            batched=True,
            remove_columns=rows.column_names,
        )
    ends = list(accumulate(lengths_of(rows)))
    starts = range(0, ends[-1] if ends else 0, length)

    def block(start: int) -> Mapping[str, list[int]]:
        end = min(start + length, ends[-1])
        first, last = bisect_left(ends, start + 1), bisect_left(ends, end)
        text = _flat(rows[first : last + 1]["input_ids"])
        skipped = start - (ends[first - 1] if first else 0)
        return _learned(text[skipped : skipped + end - start])

    made: Callable[[Columns], Made] = lambda batch: _columns([block(start) for start in batch["start"]])  # noqa: E731
    return Dataset.from_dict({"start": list(starts)}).with_transform(made)


def _blocks(text: list[int], length: int) -> Iterator[Mapping[str, list[int]]]:
    yield from (_learned(text[start : start + length]) for start in range(0, len(text), length))


def _learned(ids: list[int]) -> Mapping[str, list[int]]:
    return {"input_ids": ids, "labels": ids}


def _flat(parts: Sequence[Sequence[Any]]) -> list[Any]:
    return [item for part in parts for item in part]


def _columns(rows: Sequence[Mapping[str, list[Any]]]) -> Made:
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
