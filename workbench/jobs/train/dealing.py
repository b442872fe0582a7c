"""Rows dealt out among the processes of a run: each row to one of them. Knows no model and no stage."""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

from workbench.desk import Desk
from workbench.jobs.train import team
from workbench.specs import TrainSpec
from workbench.text import Text


class Say:
    twice = Text(
        "{rows} rows leave {left} for the last batch of {processes} processes, of which none may be idle: {count} is "
        "learned twice in each epoch."
    )
    stream = Text(
        "Where the sets end and begin anew, up to {count} rows are learned twice, so that each process has a full batch."
    )


def dealing_trainer(saving: type[Any]) -> type[Any]:
    """The class to mix in before a transformers Trainer whose rows several processes share."""
    if team.size() == 1:
        return saving
    from torch.utils.data import IterableDataset

    class DealingTrainer(saving):
        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            found = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            # Such a loss is a mean over rows, and of the processes' gradients the mean is taken as if all had as many.
            if self.loss_is_scaled_for_ga is not False or not self.model.training:
                return found
            share = weight_of(len(inputs["input_ids"]))
            return (found[0] * share, found[1]) if return_outputs else found * share

        def get_train_dataloader(self) -> Any:
            loader = super().get_train_dataloader()
            if not isinstance(loader.dataset, IterableDataset):
                # Accelerate would fill the last batches up with the first rows again; so it has nothing left to share.
                shard = loader.batch_sampler
                shard.batch_sampler = Dealt(shard.batch_sampler, team.rank(), team.size())
                shard.num_processes, shard.process_index, shard.even_batches = 1, 0, False
            return loader

    return DealingTrainer


def weight_of(rows: int) -> float:
    """What a mean over so many rows counts among the processes: 1 where all have as many."""
    return rows * team.size() / team.summed([rows])[0]


class Dealt:
    """The batches of one of several processes: of as many batches as there are processes each gets its own, so that all
    together see what one process with so much larger batches would; what is left at the end is dealt out evenly."""

    def __init__(self, batches: Any, place: int, processes: int) -> None:
        self.sampler, self.batch_size, self.drop_last = batches.sampler, batches.batch_size, batches.drop_last
        self._batches, self._place, self._processes = batches, place, processes

    def __len__(self) -> int:
        return math.ceil(len(self._batches) / self._processes)

    def __iter__(self) -> Iterator[list[int]]:
        batches = iter(self._batches)
        while taken := list(islice(batches, self._processes)):
            yield dealt([row for batch in taken for row in batch], self._place, self._processes)


def dealt(rows: list[int], place: int, processes: int) -> list[int]:
    """The share of one process: as many rows as the others', or one more; never none, so some may come twice."""
    each, more = divmod(len(rows), processes)
    start = place * each + min(place, more)
    return rows[start : start + each + (place < more)] or [rows[place % len(rows)]]


def tell_twice(spec: TrainSpec, desk: Desk, rows: int) -> None:
    """Say that rows are learned twice, where some are; ``rows``: how many there are, 0 for a stream."""
    processes = spec.sharing.processes
    if processes == 1:
        return
    batch = spec.optim.per_device_train_batch_size * processes
    left = rows % batch
    if not rows:
        desk.note(Say.stream(count=batch - 1), "warning")
    elif 0 < left < processes:
        desk.note(Say.twice(rows=f"{rows:,}", left=left, processes=processes, count=processes - left), "warning")
