"""Answers put behind questions of other rows, by which KTO measures how far the model has moved. Knows tokens, no model."""

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.learning.batches import padded

UNTRAINED = -100
STREAMED = 64
"""Rows of a stream among which the answers are passed on."""
Columns = Mapping[str, Sequence[Any]]


def mismatched(rows: Any, cutoff_len: int) -> Any:
    """The rows, each with the answer of the row before it behind its own question as ``kl_ids`` and ``kl_labels``.

    The first row gets the answer of the last. Which row stands before is fixed, so that an epoch is like the other and
    a resumed run like one that was never stopped.
    """
    from datasets import Dataset, IterableDataset

    def with_other(own: Columns, other: Columns) -> dict[str, Sequence[Any]]:
        taken = zip(own["input_ids"], own["labels"], other["input_ids"], other["labels"], strict=True)
        made = [other_answer(*row, cutoff_len=cutoff_len) for row in taken]
        return {**own, "kl_ids": [ids for ids, _ in made], "kl_labels": [labels for _, labels in made]}

    def in_stream(batch: Columns) -> dict[str, Sequence[Any]]:
        return with_other(batch, {name: [*values[-1:], *values[:-1]] for name, values in batch.items()})

    def here(batch: Columns) -> dict[str, Sequence[Any]]:
        places = list(batch["place"])
        return with_other(dict(rows[places]), rows[[(place or len(rows)) - 1 for place in places]])

    if isinstance(rows, IterableDataset):
        return rows.map(in_stream, batched=True, batch_size=STREAMED)
    return Dataset.from_dict({"place": list(range(len(rows)))}).with_transform(here)


def other_answer(
    ids: Sequence[int], labels: Sequence[int], other_ids: Sequence[int], other_labels: Sequence[int], cutoff_len: int
) -> tuple[list[int], list[int]]:
    """The question of the first row with the answer of the other one, tokens and labels, within the cutoff."""
    question = ids[: _start(labels)]
    begin = _start(other_labels)
    made = [*question, *other_ids[begin:]][:cutoff_len]
    learned = [UNTRAINED] * len(question) + list(other_labels[begin:])
    return made, learned[:cutoff_len]


def _start(labels: Sequence[int]) -> int:
    """Where the answer begins."""
    return next((at for at, label in enumerate(labels) if label != UNTRAINED), len(labels))


def batch(rows: Sequence[Mapping[str, Any]], pad_id: int) -> dict[str, Any]:
    """n rows as tensors, ``good`` as booleans, and the n mismatched ones under the same names with ``kl_`` before."""
    import torch

    own = padded([row["input_ids"] for row in rows], [row["labels"] for row in rows], pad_id)
    other = padded([row["kl_ids"] for row in rows], [row["kl_labels"] for row in rows], pad_id)
    good = torch.tensor([bool(row["good"][0]) for row in rows])
    return {**own, "good": good, **{f"kl_{name}": values for name, values in other.items()}}
