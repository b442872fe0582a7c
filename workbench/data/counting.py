"""Tokens of a sample under a model's tokenizer, for the checks. Knows no stage, and loads nothing."""

from typing import Any

from workbench.chats import ChatOptions, Refused, to_tokens
from workbench.chats.encoding import write
from workbench.checks import Context
from workbench.formats import Sample
from workbench.stages import Script
from workbench.text import Message


def counting(tokenizer: Any, cutoff_len: int, options: ChatOptions) -> Context:
    """What the checks may ask about a tokenizer whose template is set."""
    special = frozenset(token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    last: list[tuple[Sample, int | Message]] = []

    def num_tokens(sample: Sample) -> int | Message:
        """Several checks ask of the same sample one after another: it is counted once."""
        if not last or last[0][0] is not sample:
            last[:] = [(sample, count_tokens(tokenizer, sample, options))]
        return last[0][1]

    return Context(cutoff_len, num_tokens, special)


def count_tokens(tokenizer: Any, sample: Sample, options: ChatOptions) -> int | Message:
    """Tokens of the longest text that the sample becomes, or why the template has no place for it."""
    try:
        written = [write(tokenizer, script, options) for script in _scripts(sample)]
    except Refused as refused:
        return refused.problems[0].message
    return max(len(tokens.ids) for tokens in to_tokens(tokenizer, written))


def _scripts(sample: Sample) -> list[Script]:
    if sample.text is not None:
        return [Script(text=sample.text)]
    if sample.chosen:
        return [Script([*sample.turns, *after], sample.tools) for after in (sample.chosen, sample.rejected)]
    return [Script(sample.turns, sample.tools)]
