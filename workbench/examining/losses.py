"""How likely a model finds the rows' own answers: the loss that training lowers, on rows it did not see. Knows no set."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from workbench import stages
from workbench.chats import Refused
from workbench.chats.encoding import Encoder, chat_options
from workbench.desk import Desk
from workbench.engines import Engine
from workbench.evaluating.records import Kept, Loss
from workbench.formats import Sample
from workbench.sections import ModelSection
from workbench.sockets import plugins
from workbench.specs import TrainSpec
from workbench.stages import UNTRAINED

BATCH = 16


def measure_losses(
    engine: Engine,
    name: str,
    label: str,
    samples: Mapping[str, Sample],
    encoders: Mapping[str, Encoder],
    kept: Kept,
    desk: Desk,
) -> None:
    """The loss of each sample under the engine's model ``name``, kept under ``label``; nothing is measured twice."""
    left = [place for place in samples if (label, place) not in kept.losses]
    done = len(samples) - len(left)
    desk.phase("losses", done, len(samples))
    for at in range(0, len(left), BATCH):
        places = left[at : at + BATCH]
        encoded = [trained_tokens(encoders[samples[one].shape], samples[one]) for one in places]
        scored = engine.score(name, [(ids, marks.index(True)) for ids, marks in encoded if any(marks)])
        found = iter(scored)
        for place, (_, marks) in zip(places, encoded, strict=True):
            if any(marks):
                learned = marks[marks.index(True) :]
                chances = [one for one, mark in zip(next(found).logprobs, learned, strict=True) if mark]
                kept.add(Loss(label, place, -math.fsum(chances), len(chances)))
            else:
                kept.add(Loss(label, place, 0.0, 0))
        done += len(places)
        desk.phase("losses", done, len(samples))


def trained_tokens(encoder: Encoder, sample: Sample) -> tuple[list[int], list[bool]]:
    """A sample's tokens within the cutoff, and which of them are answers; none of them where the template has no place."""
    try:
        encoded = encoder.fitted(sample)[0].encoded
    except Refused:
        return [], []
    ids, labels = encoded.input_ids[: encoder.cutoff_len], encoded.labels[: encoder.cutoff_len]
    # The first token has nothing before it: no model says how likely it is.
    return list(ids), [bool(at) and one != UNTRAINED for at, one in enumerate(labels)]


def encoders_of(tokenizer: Any, model: ModelSection, cutoff_len: int) -> Mapping[str, Encoder]:
    """How a sample of each shape becomes tokens: as the usual stage of that shape learns it."""
    usual = TrainSpec().stage
    modules = [plugins(stages)[usual.stage], *plugins(stages).values()]
    shapes = {shape: module for module in reversed(modules) for shape in module.SHAPES}
    return {
        shape: Encoder(tokenizer, chat_options(model), module, module.Spec(), cutoff_len)
        for shape, module in shapes.items()
        if shape in ("dialogue", "text")
    }


def mean_loss(losses: Sequence[Loss]) -> float | None:
    """The mean over all tokens, in nats, as training reports it; None without any."""
    tokens = sum(one.tokens for one in losses)
    return math.fsum(one.nll for one in losses) / tokens if tokens else None
