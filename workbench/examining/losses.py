"""How likely a model finds the rows' own answers: the loss that training lowers, on rows it did not see. Knows no set."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from workbench import stages
from workbench.chats import Refused
from workbench.chats.encoding import Encoder, chat_options
from workbench.desk import Desk
from workbench.engines import Engine, Row
from workbench.evaluating.records import Kept, Loss, Shortened
from workbench.formats import Sample
from workbench.sections import ModelSection
from workbench.sockets import plugins
from workbench.specs import TrainSpec
from workbench.stages import UNTRAINED
from workbench.text import Text

BATCH = 16


class Say:
    cut = Text("{count} rows are longer than {most} tokens: their loss counts what is within. The first is {place}.")
    refused = Text("{count} rows have no loss, since the chat template has no place for them. The first is {place}.")
    untrained = Text("{count} rows have no loss: within {most} tokens nothing of their answers is left. The first is {place}.")


TOLD: Mapping[Shortened, Text] = {"cut": Say.cut, "refused": Say.refused, "untrained": Say.untrained}


@dataclass(frozen=True)
class Trained:
    """A sample's tokens within the cutoff, which of them are answers, and what became of the row."""

    ids: Sequence[int]
    marks: Sequence[bool]
    row: Shortened

    def asked(self) -> Row:
        """What the engine is to score: from the first token of an answer on."""
        return self.ids, self.marks.index(True)

    def loss(self, label: str, place: str, logprobs: Sequence[float]) -> Loss:
        """The loss over the answers' tokens."""
        learned = self.marks[self.marks.index(True) :]
        chances = [one for one, mark in zip(logprobs, learned, strict=True) if mark]
        return Loss(label, place, -math.fsum(chances), len(chances), self.row)


def measure_losses(
    engine: Engine,
    names: Mapping[str, str],
    samples: Mapping[str, Sample],
    encoders: Mapping[str, Encoder],
    kept: Kept,
    desk: Desk,
) -> None:
    """The loss of each sample under each of the engine's models, kept under what ``names`` calls it; nothing is measured
    twice, and rows that are cut or have none are told."""
    for label, name in names.items():
        left = [place for place in samples if (label, place) not in kept.losses]
        done = len(samples) - len(left)
        desk.phase("losses", done, len(samples))
        for at in range(0, len(left), BATCH):
            places = left[at : at + BATCH]
            read = {one: trained_tokens(encoders[samples[one].shape], samples[one]) for one in places}
            asked = {place: one for place, one in read.items() if any(one.marks)}
            scored = engine.score(name, [one.asked() for one in asked.values()])
            logprobs = {place: one.logprobs for place, one in zip(asked, scored, strict=True)}
            for place, one in read.items():
                kept.add(one.loss(label, place, logprobs[place]) if place in asked else Loss(label, place, 0.0, 0, one.row))
            done += len(places)
            desk.phase("losses", done, len(samples))
    most = min((encoder.cutoff_len for encoder in encoders.values()), default=0)
    _tell([kept.losses[label, place] for label in list(names)[:1] for place in samples], most, desk)


def _tell(losses: Iterable[Loss], most: int, desk: Desk) -> None:
    """How many rows are cut or have no loss, and which is the first."""
    found: dict[Shortened, list[str]] = {kind: [] for kind in get_args(Shortened)}
    for one in losses:
        found[one.row].append(one.place)
    for kind, text in TOLD.items():
        if places := found[kind]:
            desk.note(text(count=f"{len(places):,}", most=f"{most:,}", place=places[0]), "warning")


def trained_tokens(encoder: Encoder, sample: Sample) -> Trained:
    """A sample's tokens within the cutoff, and which of them are answers; none of them where the template has no place."""
    try:
        fitted = encoder.fitted(sample)[0]
    except Refused:
        return Trained((), (), "refused")
    encoded = fitted.encoded
    ids, labels = encoded.input_ids[: encoder.cutoff_len], encoded.labels[: encoder.cutoff_len]
    # The first token has nothing before it: no model says how likely it is.
    marks = [bool(at) and one != UNTRAINED for at, one in enumerate(labels)]
    shorter = bool(fitted.cut or fitted.forgot) or len(ids) < len(encoded.input_ids)
    row: Shortened = "untrained" if not any(marks) else "cut" if shorter else ""
    return Trained(list(ids), marks, row)


def room(engine: Engine, names: Iterable[str], cutoff_len: int) -> int:
    """Tokens of a row that every one of the engine's models can read, at most ``cutoff_len``."""
    return min(cutoff_len, *(engine.frame(name).context for name in names))


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
