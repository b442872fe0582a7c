"""Samples to tokens: what is learned, what is cut off, what is left over. Knows chats and stages, no files and no run."""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

from workbench.chats import ChatOptions, Refused, Rendered, render, to_tokens
from workbench.chats.lookalikes import Tokens
from workbench.formats import Sample, Turn
from workbench.sections import ModelSection
from workbench.stages import UNTRAINED, Encoded, Script
from workbench.text import Message, Text

BATCH = 256
"""Samples that become tokens in one call, which shares them among the processor's cores."""
CHARACTERS_A_TOKEN = 8
"""A text with more than this many characters for each token of the cutoff is first tried by its beginning."""
MARGIN = 64
"""So many tokens the beginning must have over the cutoff: near its end it might be told apart otherwise than the whole."""
WORD_END = re.compile(r"(?<=\w)(?!\w)")
Row = Mapping[str, Sequence[int | float] | None]


class Say:
    shortened = Text("{count} conversations are longer than {cutoff} tokens and lost their last turns.")
    forgot = Text("{count} conversations are longer than {cutoff} tokens and lost their first turns.")
    cut = Text(
        "{count} answers are longer than {cutoff} tokens and were cut, so their end is not learned. Raise 'Cutoff length'."
    )
    cut_text = Text("{count} texts are longer than {cutoff} tokens and were cut. Raise 'Cutoff length'.")
    untrained = Text("{count} rows are left out: within {cutoff} tokens nothing of their answers is left.")
    no_calls = Text(
        "The chat template has no place for tool calls: '{name}' is not in what it writes. Accepted: one that writes them. "
        "Choose a named template."
    )
    no_thoughts = Text(
        "{count} answers begin with a thought that the chat template does not write, so it is not learned. A named "
        "template may write it."
    )
    no_tools = Text(
        "{count} rows offer tools that the chat template does not write, so the model learns without them. A named template "
        "may write them."
    )


@dataclass
class Tally:
    """What became of the samples of one set."""

    rows: int = 0
    tokens: int = 0
    trained: int = 0
    shortened: int = 0
    forgot: int = 0
    cut: int = 0
    cut_text: int = 0
    untrained: int = 0
    no_thoughts: int = 0
    no_tools: int = 0
    weighted: bool = False
    refused: list[Any] = field(default_factory=list)
    """Why the template has no place for a row, as JSON: of each set the first reason."""

    @property
    def refusal(self) -> Message | None:
        """The first reason."""
        return Message.from_json(self.refused[0]) if self.refused else None

    def messages(self, cutoff_len: int) -> list[Message]:
        """What was done to samples that are longer than the cutoff."""
        said = (Say.shortened, Say.forgot, Say.cut, Say.cut_text, Say.untrained, Say.no_thoughts, Say.no_tools)
        counts = (self.shortened, self.forgot, self.cut, self.cut_text, self.untrained, self.no_thoughts, self.no_tools)
        return [
            text(count=f"{count:,}", cutoff=f"{cutoff_len:,}")
            for text, count in zip(said, counts, strict=True)
            if count
        ]

    def add(self, other: "Tally") -> None:
        """Count another set's samples in."""
        for name, value in vars(other).items():
            self.__dict__[name] = self.__dict__[name] + value if name != "weighted" else self.weighted or value


@dataclass(frozen=True, slots=True)
class Fitted:
    """A script as it stands within the cutoff."""

    script: Script
    """Without the turns that went first."""
    written: Rendered
    tokens: Tokens
    kept: int
    """So many of the tokens are learned from."""
    forgot: int = 0
    """So many turns went first."""
    cut: Literal["", "turns", "middle"] = ""
    """The last whole turns went, or it ends in the middle of a text."""

    @property
    def whole(self) -> Encoded:
        """What is learned in it, also behind what is kept."""
        return label(self.script, self.written, self.tokens)

    @property
    def encoded(self) -> Encoded:
        """What training gets of it."""
        return self.whole if self.kept == len(self.tokens.ids) else _start(self.whole, self.kept)


@dataclass
class Encoder:
    """Turns samples into a stage's rows of tokens, and counts what it did."""

    tokenizer: Any
    options: ChatOptions
    stage: Any
    """The module of the stage."""
    spec: Any
    """The stage's section."""
    cutoff_len: int
    tally: Tally = field(default_factory=Tally)

    def rows(self, samples: Iterable[Sample]) -> Iterator[Row | Message | None]:
        """A row for each sample, in order; a message where the template has no place for it; None where nothing within
        the cutoff is learned."""
        source = iter(samples)
        while batch := list(islice(source, BATCH)):
            written = [self._write(sample) for sample in batch]
            encoded = iter(self.encode([one for some in written if not isinstance(some, Message) for one in some]))
            for some in written:
                yield some if isinstance(some, Message) else self._row([next(encoded) for _ in some])

    def _write(self, sample: Sample) -> list[tuple[Script, Rendered]] | Message:
        scripts = self.stage.scripts(self.spec, sample)
        try:
            written = [(script, write(self.tokenizer, script, self.options)) for script in scripts]
            self.tally.no_thoughts += any(lacks_thought(*one, self.options) for one in written)
            self.tally.no_tools += any(lacks_tools(*one) for one in written)
            return written
        except Refused as refused:
            said = refused.problems[0].message
            self.tally.refused = self.tally.refused or [said.to_json()]
            return said

    def _row(self, encoded: Sequence[Encoded]) -> Row | None:
        if not all(one.num_trained for one in encoded):
            self.tally.untrained += 1
            return None
        self.tally.rows += 1
        self.tally.tokens += sum(len(one.input_ids) for one in encoded)
        self.tally.trained += sum(one.num_trained for one in encoded)
        self.tally.weighted |= any(one.weights is not None for one in encoded)
        columns: Row = self.stage.columns(self.spec, encoded)
        return columns

    def encode(self, written: Sequence[tuple[Script, Rendered]]) -> list[Encoded]:
        """Scripts as tokens within cutoff_len: whole turns go first, then a lone answer is cut; counted in ``tally``."""
        tokens = self._tokens([rendered for _, rendered in written])
        fitted = (self._fit(script, rendered, one) for (script, rendered), one in zip(written, tokens, strict=True))
        return [self._counted(one) for one in fitted]

    def _counted(self, fitted: Fitted) -> Encoded:
        encoded = fitted.encoded
        self.tally.forgot += bool(fitted.forgot)
        self.tally.shortened += fitted.cut == "turns"
        if fitted.cut == "middle":
            self.tally.cut_text += fitted.script.text is not None
            self.tally.cut += fitted.script.text is None and encoded.num_trained > 0
        return encoded

    def fitted(self, sample: Sample) -> list[Fitted]:
        """The scripts of a sample as training sees them, one by one; Refused as ``whole``."""
        scripts = self.stage.scripts(self.spec, sample)
        written = [write(self.tokenizer, script, self.options) for script in scripts]
        tokens = to_tokens(self.tokenizer, written)
        return [self._fit(script, text, some) for script, text, some in zip(scripts, written, tokens, strict=True)]

    def _tokens(self, written: Sequence[Rendered]) -> list[Tokens]:
        """The tokens of each text; of one that is far over the cutoff only those of its beginning, which are all it takes."""
        short = [beginning(one, self.cutoff_len * CHARACTERS_A_TOKEN) for one in written]
        tokens = to_tokens(self.tokenizer, short)
        for place, (whole, begun) in enumerate(zip(written, short, strict=True)):
            if begun is not whole and len(tokens[place].ids) < self.cutoff_len + MARGIN:
                tokens[place] = to_tokens(self.tokenizer, [whole])[0]
        return tokens

    def whole(self, sample: Sample) -> list[Encoded]:
        """The scripts of a sample as tokens with nothing cut; Refused when the template has no place for it."""
        scripts = self.stage.scripts(self.spec, sample)
        written = [write(self.tokenizer, script, self.options) for script in scripts]
        tokens = to_tokens(self.tokenizer, written)
        return [label(script, text, some) for script, text, some in zip(scripts, written, tokens, strict=True)]

    def measure(self, sample: Sample) -> tuple[int, int]:
        """How many tokens a sample has and how many are learned, nothing cut; 0 where the template has no place for it."""
        try:
            parts = self.whole(sample)
        except Refused:
            return 0, 0
        return sum(len(one.input_ids) for one in parts), sum(one.num_trained for one in parts)

    def _fit(self, script: Script, written: Rendered, tokens: Tokens) -> Fitted:
        """The script within the cutoff. Where only the last answer is learned, the first turns go instead of the last."""
        if script.whole or len(tokens.ids) <= self.cutoff_len:
            return Fitted(script, written, tokens, len(tokens.ids))
        if script.text is None and script.learn == "last":
            shorter = self._forget(script)
            if shorter is not None:
                return shorter
        elif script.text is None:
            end = self._last_end(written, tokens)
            if end:
                return Fitted(script, written, tokens, end, cut="turns")
        return Fitted(script, written, tokens, self.cutoff_len, cut="middle")

    def _forget(self, script: Script) -> Fitted | None:
        """It without its first turns; None when it has no more than one question, or the template needs the first."""
        turns = without_oldest(script.turns)
        if turns is None:
            return None
        fewer = replace(script, turns=turns)
        try:
            written = write(self.tokenizer, fewer, self.options)
        except Refused:
            return None
        fitted = self._fit(fewer, written, self._tokens([written])[0])
        return replace(fitted, forgot=fitted.forgot + len(script.turns) - len(turns))

    def _last_end(self, written: Rendered, tokens: Tokens) -> int:
        """How many tokens reach to the end of the last answer that is whole within the cutoff; 0 for none."""
        starts = [start for start, _ in tokens.offsets]
        ends = (bisect_left(starts, end) for _, end in reversed(written.answers))
        return next((end for end in ends if end <= self.cutoff_len), 0)


def beginning(written: Rendered, characters: int) -> Rendered:
    """A text of about so many characters that ends where a word does; the whole where it is hardly longer."""
    if len(written.text) <= characters + MARGIN * CHARACTERS_A_TOKEN:
        return written
    end = WORD_END.search(written.text, characters)
    if end is None or end.start() == len(written.text):
        return written
    return replace(
        written, text=written.text[: end.start()], plain=[span for span in written.plain if span[1] <= end.start()]
    )


def chat_options(section: ModelSection) -> ChatOptions:
    """What the section says of chats beside the template."""
    return ChatOptions(None if section.enable_thinking else False, section.default_system)


def write(tokenizer: Any, script: Script, options: ChatOptions) -> Rendered:
    """The text of a script under the tokenizer's template."""
    if script.text is not None:
        text = script.text + (tokenizer.eos_token or "")
        return Rendered(text, [(0, len(text))])
    written = render(tokenizer, [turn.message() for turn in script.turns], False, script.tools, options)
    calls = (call.name for turn in script.turns for call in turn.tool_calls)
    lost = next((name for name in calls if not _stands(name, written.text)), None)
    if lost is not None:
        said = Say.no_calls(name=lost)
        raise Refused(said, str(said))
    return written


def lacks_thought(script: Script, written: Rendered, options: ChatOptions) -> bool:
    """Whether the template leaves out the thought of the last answer, though nobody said so; those before it many do."""
    thought = script.turns[-1].reasoning.strip() if script.turns else ""
    return bool(thought) and options.enable_thinking is not False and not _stands(thought, written.text)


def lacks_tools(script: Script, written: Rendered) -> bool:
    """Whether the template leaves out tools on offer."""
    return not all(_stands(str(tool["function"]["name"]), written.text) for tool in script.tools)


def _stands(words: str, text: str) -> bool:
    """Whether the words stand in a text, as they are or as JSON has them."""
    return words in text or json.dumps(words)[1:-1] in text or json.dumps(words, ensure_ascii=False)[1:-1] in text


def label(script: Script, written: Rendered, tokens: Tokens) -> Encoded:
    """Labels of the whole script: the spans that are learned, by the offsets of the tokens."""
    spans, weights = _learned(script, written)
    starts = [start for start, _ in tokens.offsets]
    labels = [UNTRAINED] * len(tokens.ids)
    counted = [0.0] * len(tokens.ids)
    for (start, end), weight in zip(spans, weights, strict=True):
        first, last = bisect_left(starts, start), bisect_left(starts, end)
        if weight:
            labels[first:last] = tokens.ids[first:last]
            counted[first:last] = [weight] * (last - first)
    return Encoded(tokens.ids, labels, counted if any(weight not in (0.0, 1.0) for weight in weights) else None)


def _learned(script: Script, written: Rendered) -> tuple[Sequence[tuple[int, int]], Sequence[float]]:
    """The character spans that are learned and how much each counts."""
    if script.learn == "nothing":
        return [], []
    if script.text is not None:
        return written.answers, [1.0]
    if script.learn == "everything":
        return [(0, written.answers[-1][1])], [1.0]
    weights = [turn.weight for turn in script.turns if turn.role == "assistant"]
    return (written.answers, weights) if script.learn == "answers" else (written.answers[-1:], weights[-1:])


def _start(encoded: Encoded, count: int) -> Encoded:
    weights = encoded.weights[:count] if encoded.weights is not None else None
    return Encoded(encoded.input_ids[:count], encoded.labels[:count], weights)


def without_oldest(turns: Sequence[Turn]) -> list[Turn] | None:
    """The conversation without its first question and all that answers it; None when only one question is left."""
    system = [turn for turn in turns[:1] if turn.role == "system"]
    asked = [place for place, turn in enumerate(turns) if turn.role == "user"]
    return [*system, *turns[asked[1] :]] if len(asked) > 1 else None
