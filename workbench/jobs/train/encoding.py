"""Samples to tokens: what is trained, what is cut off, what is left out, each said. Knows no model."""

from collections.abc import Sequence
from typing import Any

from workbench.chats import render_with_answers, to_tokens
from workbench.formats import Sample
from workbench.jobs import Desk
from workbench.problems import UserError
from workbench.specs import TrainSpec
from workbench.stages import Encoded
from workbench.text import Message, Text

TOLD_ROWS = 10


class Say:
    more = Text("{count} more rows are left out for such reasons; worker.log lists every one.")
    shortened = Text("{count} conversations are longer than {cutoff} tokens and lost their last turns.")
    cut = Text(
        "{count} answers are longer than {cutoff} tokens and were cut, so their end is not learned. Raise 'Cutoff length'."
    )
    untrained = Text("{count} rows are left out: within {cutoff} tokens nothing of their answers is left.")
    nothing = Text("Within {cutoff} tokens nothing is left to learn in any row. Raise 'Cutoff length'.")


def write_excluded(desk: Desk, excluded: Sequence[Message]) -> None:
    """Every row that was left out: the first ones as notes, all of them in worker.log."""
    for message in excluded:
        print(message, flush=True)
    for message in excluded[:TOLD_ROWS]:
        desk.note(message, "warning")
    if len(excluded) > TOLD_ROWS:
        desk.note(Say.more(count=len(excluded) - TOLD_ROWS), "warning")


def encode_samples(spec: TrainSpec, stage: Any, tokenizer: Any, samples: Sequence[Sample], desk: Desk) -> list[Encoded]:
    """The samples as tokens within cutoff_len: whole turns are dropped from the end, then a lone answer is cut."""
    cutoff, rows, counts = spec.data.cutoff_len, [], {"shortened": 0, "cut": 0, "untrained": 0}
    for done, sample in enumerate(samples):
        if done % 1000 == 0:
            desk.phase("data", done, len(samples))
        row = stage.encode(spec.stage, sample, _encoder(tokenizer))
        turns = list(sample.turns)
        if len(row.input_ids) > cutoff:
            while len(row.input_ids) > cutoff and sum(turn.role == "assistant" for turn in turns) > 1:
                turns = turns[:-2]
                row = stage.encode(spec.stage, Sample(turns), _encoder(tokenizer))
            counts["shortened"] += len(turns) < len(sample.turns)
            if len(row.input_ids) > cutoff:
                row = Encoded(row.input_ids[:cutoff], row.labels[:cutoff])
                counts["cut"] += row.num_trained > 0
        if row.num_trained:
            rows.append(row)
        else:
            counts["untrained"] += 1
    for name, said in (("shortened", Say.shortened), ("cut", Say.cut), ("untrained", Say.untrained)):
        if counts[name]:
            desk.note(said(count=counts[name], cutoff=cutoff), "warning")
    if not rows:
        raise UserError(Say.nothing(cutoff=cutoff), key="cutoff_len")
    return rows


def _encoder(tokenizer: Any) -> Any:
    def encode(sample: Sample, train_on_prompt: bool, mask_history: bool) -> Encoded:
        text, spans = render_with_answers(tokenizer, sample.messages())
        ids, offsets = to_tokens(tokenizer, text)
        if mask_history:
            spans = spans[-1:]
        if train_on_prompt:
            spans = [(0, spans[-1][1])]
        labels = [
            token if any(start <= left < end for start, end in spans) else -100
            for token, (left, _) in zip(ids, offsets, strict=True)
        ]
        return Encoded(ids, labels)

    return encode
