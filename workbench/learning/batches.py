"""Rows of tokens as one batch of tensors, padded on the right. Knows no stage."""

from collections.abc import Mapping, Sequence
from typing import Any

UNTRAINED = -100


def padded(ids: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], pad_id: int) -> dict[str, Any]:
    """``input_ids``, ``attention_mask`` and ``labels``, each of shape (rows, longest row)."""
    return {
        "input_ids": stacked(ids, pad_id),
        "attention_mask": stacked([[1] * len(row) for row in ids], 0),
        "labels": stacked(labels, UNTRAINED),
    }


def stacked(rows: Sequence[Sequence[float]], filler: float, left: bool = False) -> Any:
    """Rows of unlike length as one tensor, filled up on the right, or on the left."""
    import torch

    parts = [torch.tensor(list(row), dtype=torch.float32 if isinstance(filler, float) else torch.long) for row in rows]
    side = "left" if left else "right"
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=filler, padding_side=side)


def pairs(rows: Sequence[Mapping[str, Sequence[int]]], pad_id: int) -> dict[str, Any]:
    """A batch of 2n rows: the better answers of n pairs first, then the worse ones."""
    kinds = ("chosen", "rejected")
    ids = [row[f"{kind}_ids"] for kind in kinds for row in rows]
    labels = [row[f"{kind}_labels"] for kind in kinds for row in rows]
    return padded(ids, labels, pad_id)


def apart(rows: Sequence[Mapping[str, Sequence[int]]], pad_id: int) -> dict[str, Any]:
    """Packed rows whose samples do not see each other: transformers tells them apart by positions that begin anew, where
    a model gets no attention mask. ``attention_mask`` is there to count tokens, and to be taken out."""
    batch = padded([row["input_ids"] for row in rows], [row["labels"] for row in rows], pad_id)
    longest = batch["input_ids"].shape[1]
    places = [[*row["position_ids"], *range(longest - len(row["input_ids"]))] for row in rows]
    return {**batch, "position_ids": stacked(places, 0)}
