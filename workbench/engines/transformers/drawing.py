"""From the numbers of one step to one token. Each request has its own dice: a draw takes one throw, whatever else runs.

In numpy, since the threads that torch wakes for so little take longer than the work.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from workbench.engines import Chance, Sampling

LIKELY = 256


class Grammar(Protocol):
    """What an answer may be, token by token."""

    def forbid(self, logits: Any) -> None:
        """Set the logits of tokens that may not come next to minus infinity."""

    def take(self, token: int) -> bool:
        """This token has come; whether the answer is now complete."""


class Chooser:
    """Chooses the tokens of one answer."""

    def __init__(
        self,
        sampling: Sampling,
        prompt: Sequence[int],
        written: Callable[[int], bytes],
        grammar: Grammar | None = None,
    ) -> None:
        self.complete = False
        self._sampling, self._written, self._grammar = sampling, written, grammar
        self._dice = dice(sampling.seed)
        self._seen = set(prompt) if sampling.repetition_penalty != 1 else set[int]()
        self._counts: Counter[int] = Counter()
        self._changed = bool(
            sampling.logit_bias or grammar or sampling.presence_penalty or sampling.frequency_penalty
        )  # fmt: skip

    def choose(self, logits: Any) -> tuple[int, Chance | None]:
        """The next token for one row of ``logits`` (numpy, float32), and its chance where that was asked for."""
        sampling = self._sampling
        told = logits
        if self._changed or sampling.repetition_penalty != 1:
            told = self._told(logits.copy())
        token = draw(told, sampling, self._dice)
        self._counts[token] += 1
        if sampling.repetition_penalty != 1:
            self._seen.add(token)
        if self._grammar is not None:
            self.complete = self._grammar.take(token)
        return token, None if sampling.logprobs is None else self._chance(logits, token, sampling.logprobs)

    def _told(self, logits: Any) -> Any:
        """The logits after penalties, biases and the grammar."""
        sampling = self._sampling
        if sampling.repetition_penalty != 1 and self._seen:
            seen = list(self._seen)
            values = logits[seen]
            penalty = sampling.repetition_penalty
            logits[seen] = (values / penalty) * (values > 0) + (values * penalty) * (values <= 0)
        if self._counts and (sampling.presence_penalty or sampling.frequency_penalty):
            tokens = list(self._counts)
            counts = [self._counts[token] * sampling.frequency_penalty for token in tokens]
            logits[tokens] -= [count + sampling.presence_penalty for count in counts]
        for token, bias in sampling.logit_bias.items():
            if 0 <= token < len(logits):
                logits[token] += bias if bias > -100 else -float("inf")
        if self._grammar is not None:
            self._grammar.forbid(logits)
        return logits

    def _chance(self, logits: Any, token: int, others: int) -> Chance:
        import numpy

        wide = logits.astype(numpy.float64)
        whole = float(wide.max())
        whole += float(numpy.log(numpy.exp(wide - whole).sum()))
        likely = numpy.argpartition(-wide, others)[:others] if others < len(wide) else numpy.arange(len(wide))
        likely = likely[numpy.argsort(-wide[likely], kind="stable")]
        return self._one(token, wide, whole, [self._one(int(one), wide, whole) for one in likely])

    def _one(self, token: int, logits: Any, whole: float, others: Sequence[Chance] = ()) -> Chance:
        return Chance(token, self._written(token), float(logits[token]) - whole, others)


def dice(seed: int | None) -> Any:
    """A numpy Generator of one request's own; without a seed it begins anywhere."""
    import numpy

    return numpy.random.default_rng(None if seed is None else seed % 2**64)


def draw(logits: Any, sampling: Sampling, generator: Any) -> int:
    """The next token for one row of ``logits`` (numpy, float32). Temperature 0: the likeliest, nothing is thrown.

    Otherwise from the ``top_k`` likeliest tokens, of these from the smallest set whose probability reaches ``top_p``
    (arXiv 1904.09751), and of these from those with at least ``min_p`` of the likeliest one's probability (2407.01082).
    """
    import numpy

    if sampling.temperature == 0:
        return int(logits.argmax())
    with numpy.errstate(over="ignore", under="ignore"):
        chances = numpy.exp((logits - logits.max()).astype(numpy.float64) / sampling.temperature)
    narrow = sampling.top_p < 1 or sampling.top_k or sampling.min_p
    tokens = _likeliest(chances / chances.sum(), sampling) if narrow else None
    upto = numpy.cumsum(chances if tokens is None else chances[tokens])
    at = min(int(numpy.searchsorted(upto, generator.random() * upto[-1], side="right")), len(upto) - 1)
    return at if tokens is None else int(tokens[at])


def _likeliest(chances: Any, sampling: Sampling) -> Any:
    """Ids of the tokens to draw from, the likeliest first; few of them are sorted where few are enough."""
    import numpy

    few = numpy.argpartition(-chances, LIKELY)[:LIKELY] if len(chances) > LIKELY else None
    for tokens in (few, numpy.arange(len(chances))):
        if tokens is not None:
            order = tokens[numpy.argsort(-chances[tokens], kind="stable")]
            inside = _inside(chances[order], sampling)
            if inside < len(order):
                break
    return order[: max(1, inside)]


def _inside(chances: Any, sampling: Sampling) -> int:
    """How many of these chances, in falling order, are drawn from."""
    import numpy

    most = min(sampling.top_k or len(chances), len(chances))
    before = numpy.cumsum(chances[:most]) - chances[:most]
    whole = float(before[-1] + chances[most - 1]) if sampling.top_k else 1.0
    inside = int(numpy.count_nonzero(before < sampling.top_p * whole)) if sampling.top_p < 1 else most
    if sampling.min_p:
        inside = min(inside, int(numpy.count_nonzero(chances >= sampling.min_p * chances[0])))
    return inside
