"""Samples longer than the cutoff: what of them would be lost. Knows no tokenizer; the context counts."""

from collections.abc import Iterator
from dataclasses import replace

from workbench.checks import Context, Finding, Look, Seen
from workbench.formats import Sample
from workbench.text import Message, Text


class Say:
    title = Text("Longer than the cutoff")
    turns = Text("{tokens} tokens are more than {cutoff}: its last {lost} of {all} messages would be left out.")
    answer = Text("{tokens} tokens are more than {cutoff}: the last {lost} would be cut, and its end not learned.")
    first = Text(
        "{tokens} tokens are more than {cutoff}: its first turns would be left out, or the end of an answer cut."
    )
    text = Text("{tokens} tokens are more than {cutoff}: the text would lose its last {lost}.")


TITLE = Say.title


def begin(context: Context) -> Look:
    return TooLong(context)


class TooLong:
    """Remembers nothing."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def row(self, seen: Seen) -> Iterator[Finding]:
        count, cutoff, sample = self._context.num_tokens, self._context.cutoff_len, seen.sample
        if count is None or not cutoff or seen.part != "train":
            return
        tokens = count(sample)
        if isinstance(tokens, Message) or tokens <= cutoff:
            return
        ending = " ".join(seen.text[-200:].split())
        if sample.text is not None:
            said = Say.text(tokens=tokens, cutoff=cutoff, lost=tokens - cutoff)
            yield Finding(seen.number, said, "hint", changes=ending)
            return
        if sample.shape != "dialogue":
            yield Finding(seen.number, Say.first(tokens=tokens, cutoff=cutoff), changes=ending)
            return
        shorter = _without_last_answers(sample)
        kept = next((one for one in shorter if _fits(count(one), cutoff)), None)
        if kept is None:
            said = Say.answer(tokens=tokens, cutoff=cutoff, lost=tokens - cutoff)
        else:
            lost = len(sample.turns) - len(kept.turns)
            said = Say.turns(tokens=tokens, cutoff=cutoff, lost=lost, all=len(sample.turns))
        yield Finding(seen.number, said, changes=ending)

    def end(self) -> Iterator[Finding]:
        yield from ()


def _fits(tokens: int | Message, cutoff: int) -> bool:
    return not isinstance(tokens, Message) and tokens <= cutoff


def _without_last_answers(sample: Sample) -> Iterator[Sample]:
    """The conversation with one answer less at a time, down to its first."""
    ends = [place + 1 for place, turn in enumerate(sample.turns) if turn.role == "assistant"]
    for end in reversed(ends[:-1]):
        yield replace(sample, turns=sample.turns[:end])
