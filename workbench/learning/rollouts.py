"""Answers drawn from the learning model, and the batches of questions that are answered. Knows no rewards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNTRAINED = -100


@dataclass(frozen=True)
class Drawing:
    """How answers are drawn."""

    max_tokens: int
    temperature: float
    stop_ids: Sequence[int]
    pad_id: int


def draw(model: Any, questions: Sequence[Sequence[int]], drawing: Drawing) -> list[list[int]]:
    """An answer to each question, up to and with its end token where it has one."""
    import torch

    from workbench.learning.batches import stacked

    learning = model.training
    model.eval()
    ids = stacked(questions, drawing.pad_id, left=True).to(model.device)
    mask = stacked([[1] * len(question) for question in questions], 0, left=True).to(model.device)
    with torch.no_grad():
        drawn = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=drawing.temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=drawing.max_tokens,
            eos_token_id=list(drawing.stop_ids),
            pad_token_id=drawing.pad_id,
            use_cache=True,
        )[:, ids.shape[1] :]
    model.train(learning)
    return [until_end(answer, drawing.stop_ids) for answer in drawn.tolist()]


def until_end(answer: Sequence[int], stop_ids: Sequence[int]) -> list[int]:
    """The answer up to and with the first end token."""
    end = next((at for at, token in enumerate(answer) if token in stop_ids), len(answer))
    return list(answer[: end + 1])


def answered(questions: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], pad_id: int) -> dict[str, Any]:
    """Questions with their answers as one batch, the answers' tokens as labels."""
    from workbench.learning.batches import padded

    both = list(zip(questions, answers, strict=True))
    ids = [[*question, *answer] for question, answer in both]
    return padded(ids, [[UNTRAINED] * len(question) + list(answer) for question, answer in both], pad_id)


class Repeated:
    """Batches of places for a data loader: each buffer of batches comes ``times`` times before the next one.

    The order of an epoch follows from seed and epoch alone, so that a resumed run sees what it would have seen.
    """

    def __init__(self, count: int, batch_size: int, buffer: int, times: int, seed: int) -> None:
        self._count, self._buffer, self._times, self._seed = count, buffer, times, seed
        self.batch_size, self.drop_last = batch_size, False
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-self._count // self.batch_size) * self._times

    def __iter__(self) -> Iterator[list[int]]:
        import torch

        order = torch.randperm(self._count, generator=torch.Generator().manual_seed(self._seed + self._epoch)).tolist()
        batches = [order[at : at + self.batch_size] for at in range(0, self._count, self.batch_size)]
        for start in range(0, len(batches), self._buffer):
            for _ in range(self._times):
                yield from batches[start : start + self._buffer]


def split(input_ids: Sequence[int], labels: Sequence[int]) -> Mapping[str, Sequence[int]]:
    """A conversation as the question and the answer that is learned."""
    start = next((at for at, label in enumerate(labels) if label != UNTRAINED), len(labels))
    return {"prompt": input_ids[:start], "answer": input_ids[start:]}
