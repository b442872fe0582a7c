"""How likely given tokens are: rows side by side, padded behind, and nothing read twice. Knows no text and no request."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.engines import Chance, Row, Scored

MOST_TOKENS: Mapping[str, int] = {"cpu": 1024}
"""Tokens that are read in one pass, by kind of device: between two passes others go on."""
MOST_ON_CARDS = 16384
MOST_LOGITS = 2**25
"""Numbers that a pass may give: a long text's logits come in parts."""
NOTHING = float("nan")


@dataclass(frozen=True)
class Reading:
    """Tokens that are read once for all rows that are these and one more."""

    ids: tuple[int, ...]
    rows: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    """For each row the first place of which the next token is scored."""


def readings(rows: Sequence[Row]) -> list[Reading]:
    """What has to be read for these rows, the shortest first."""
    found: dict[tuple[int, ...], Reading] = {}
    for at, (ids, index) in enumerate(rows):
        before = tuple(ids[:-1])
        reading = found.setdefault(before, Reading(before))
        reading.rows.append(at)
        reading.starts.append(max(index, 1) - 1)
    return sorted(found.values(), key=lambda reading: len(reading.ids))


def batches(found: Sequence[Reading], most: int) -> Iterator[list[Reading]]:
    """Readings that go together: so many that with their padding they have up to ``most`` tokens, and at least one."""
    batch: list[Reading] = []
    for reading in found:
        if batch and (len(batch) + 1) * len(reading.ids) > most:
            yield batch
            batch = []
        batch.append(reading)
    if batch:
        yield batch


def most_tokens(device: str) -> int:
    """Tokens of one pass on that kind of device."""
    return MOST_TOKENS.get(device, MOST_ON_CARDS)


@dataclass
class Score:
    """The result of one row as it grows."""

    logprobs: list[float] = field(default_factory=list)
    greedy: list[bool] = field(default_factory=list)
    chances: list[Chance] = field(default_factory=list)

    def done(self) -> Scored:
        return Scored(self.logprobs, self.greedy, self.chances)


class Scoring:
    """Scores the rows of one question with the model that speaks.

    ``cache`` makes an empty memory, or one with a learned prompt in it, ``prompted``: then rows are read one at a time.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        likeliest: int | None,
        written: Callable[[int], bytes],
        cache: Callable[[], Any],
        prompted: bool,
    ) -> None:
        self._rows, self._likeliest, self._written = rows, likeliest, written
        self._cache, self._prompted = cache, prompted
        self._scores = [self._begun(ids, index) for ids, index in rows]

    def batches(self, most: int) -> Iterator[list[Reading]]:
        """What is to be computed, pass by pass."""
        todo = [reading for reading in readings(self._rows) if reading.ids]
        return batches(todo, 1 if self._prompted else most)

    def compute(self, model: Any, batch: Sequence[Reading]) -> None:
        """Read these; to be called while the model speaks."""
        import torch

        with torch.inference_mode():
            for columns, logits in self._logits(model, batch):
                for at, reading in enumerate(batch):
                    for row, start in zip(reading.rows, reading.starts, strict=True):
                        self._take(row, start, len(reading.ids), columns, logits[at])

    def done(self) -> list[Scored]:
        """The results, when all batches have been computed."""
        return [score.done() for score in self._scores]

    def _begun(self, ids: Sequence[int], index: int) -> Score:
        if index > 0:
            return Score()
        chances = [] if self._likeliest is None else [Chance(ids[0], self._written(ids[0]), NOTHING)]
        return Score([NOTHING], [False], chances)

    def _logits(self, model: Any, batch: Sequence[Reading]) -> Iterator[tuple[list[int], Any]]:
        """Places, and the logits behind them: float32, (readings, places, vocabulary)."""
        import torch

        device, wanted = model.device, _places(batch)
        longest = max(len(reading.ids) for reading in batch)
        ids = torch.tensor([[*reading.ids, *[0] * (longest - len(reading.ids))] for reading in batch], device=device)
        lengths = torch.tensor([len(reading.ids) for reading in batch], device=device)
        seen = (torch.arange(longest, device=device) < lengths[:, None]).long()
        padded = not bool(seen.all())
        vocabulary = int(model.config.get_text_config().vocab_size)
        width = max(1, MOST_LOGITS // (vocabulary * len(batch)))
        cache = self._cache() if self._prompted or len(wanted) > width else None
        done = 0
        for first in range(0, len(wanted), width):
            columns = wanted[first : first + width]
            end = columns[-1] + 1
            output = model(
                input_ids=ids[:, done:end],
                attention_mask=seen[:, :end] if padded else None,
                past_key_values=cache,
                use_cache=cache is not None,
                logits_to_keep=torch.tensor([column - done for column in columns], device=device),
            )
            yield columns, output.logits.float()
            done = end

    def _take(self, row: int, start: int, length: int, columns: Sequence[int], logits: Any) -> None:
        """What the logits (places, vocabulary) behind these columns say of the row's next tokens."""
        import torch

        inside = [at for at, column in enumerate(columns) if start <= column < length]
        if not inside:
            return
        ids, score = self._rows[row][0], self._scores[row]
        targets = [ids[columns[at] + 1] for at in inside]
        told = logits[inside[0] : inside[-1] + 1]
        whole = told.logsumexp(-1)
        mine = told.gather(-1, torch.tensor(targets, device=logits.device)[:, None])[:, 0]
        score.logprobs += (mine - whole).tolist()
        score.greedy += (mine >= told.amax(-1)).tolist()
        if self._likeliest is not None:
            self._tell(score, targets, told - whole[:, None])

    def _tell(self, score: Score, targets: Sequence[int], logprobs: Any) -> None:
        """Add the chances of these tokens, whose places have these log-probabilities (places, vocabulary)."""
        likely = logprobs.topk(min(self._likeliest or 0, logprobs.shape[-1]), -1)
        for token, own, names, values in zip(
            targets, score.logprobs[-len(targets) :], likely.indices.tolist(), likely.values.tolist(), strict=True
        ):
            others = [Chance(other, self._written(other), value) for other, value in zip(names, values, strict=True)]
            score.chances.append(Chance(token, self._written(token), own, others))


def _places(batch: Sequence[Reading]) -> list[int]:
    """The places of which any of the readings is asked for the next token, in order."""
    spans = {(min(reading.starts), len(reading.ids)) for reading in batch}
    return sorted({place for start, end in spans for place in range(start, end)})
