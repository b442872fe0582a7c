"""From the numbers of one step to one token. Each request has its own dice: a draw takes one throw, whatever else runs.

In numpy, since the threads that torch wakes for so little take longer than the work.
"""

from typing import Any

from workbench.engines import Sampling

LIKELY = 256


def dice(seed: int | None) -> Any:
    """A numpy Generator of one request's own; without a seed it begins anywhere."""
    import numpy

    return numpy.random.default_rng(None if seed is None else seed % 2**64)


def draw(logits: Any, sampling: Sampling, generator: Any) -> int:
    """The next token for one row of ``logits`` (numpy, float32). Temperature 0: the likeliest, nothing is thrown.

    Otherwise from the smallest set of likeliest tokens whose probability reaches ``top_p`` (arXiv 1904.09751).
    """
    import numpy

    if sampling.temperature == 0:
        return int(logits.argmax())
    with numpy.errstate(over="ignore", under="ignore"):
        chances = numpy.exp((logits - logits.max()).astype(numpy.float64) / sampling.temperature)
    tokens = None if sampling.top_p >= 1 else _likeliest(chances / chances.sum(), sampling.top_p)
    upto = numpy.cumsum(chances if tokens is None else chances[tokens])
    at = min(int(numpy.searchsorted(upto, generator.random() * upto[-1], side="right")), len(upto) - 1)
    return at if tokens is None else int(tokens[at])


def _likeliest(chances: Any, top_p: float) -> Any:
    """Ids of the tokens to draw from, the likeliest first; few of them are sorted where few are enough."""
    import numpy

    few = numpy.argpartition(-chances, LIKELY)[:LIKELY] if len(chances) > LIKELY else None
    for tokens in (few, numpy.arange(len(chances))):
        if tokens is not None:
            order = tokens[numpy.argsort(-chances[tokens], kind="stable")]
            before = numpy.cumsum(chances[order]) - chances[order]
            inside = int(numpy.count_nonzero(before < top_p))
            if inside < len(order):
                break
    return order[: max(1, inside)]
