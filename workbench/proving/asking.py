"""What one side says: its greedy answer, and the likeliest tokens at every place of an answer. Knows no run and no verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.engines import Chance, Chat, Engine, Raw, Sampling
from workbench.evaluating.ledger import Ledger
from workbench.evaluating.records import Question
from workbench.exporting.proof import Ending, Said
from workbench.proving.comparing import Likely, first

LIKELIEST = 256
"""Tokens whose probabilities are told at each place; what is left is seldom worth a thousandth."""
ANSWERS = "proof_answers.jsonl"
"""What the training side said, in the run's folder."""
SURE = 1000.0
"""A bias that no logit outweighs."""


@dataclass(frozen=True)
class Told:
    """What the training side said to one prompt."""

    place: str
    prompt: Sequence[int]
    tokens: Sequence[int]
    """Of the answer; with the one that ended it, where it ended."""
    text: str
    finish: str
    likely: Sequence[Sequence[tuple[int, float]]]
    """For each of the tokens the likeliest ones at its place."""
    bare: Sequence[Sequence[tuple[int, float]]] = ()
    """The same as the model says it without what was trained; none where nothing was."""
    tried: int = 0
    """So many tokens it was given at last, where those of the proof were too few for an end; 0: it was not tried."""

    @property
    def said(self) -> Said:
        return Said(self.text, self.finish)

    @property
    def chances(self) -> list[Likely]:
        return _read(self.likely)

    @property
    def bare_chances(self) -> list[Likely]:
        return _read(self.bare)


class Answers:
    """The file that holds what the training side said, so that nobody who goes on asks again."""

    def __init__(self, path: Path) -> None:
        self._ledger = Ledger(path)
        self.found = {held["place"]: Told(**held) for held in self._ledger.read()}

    def add(self, told: Told) -> None:
        (held,) = self._ledger.add([vars(told)])
        self.found[told.place] = Told(**held)


def tell(engine: Engine, name: str, question: Question, most: int, bare: str = "") -> Told:
    """The greedy answer of up to ``most`` tokens, and what was likely at each of its places; to the model ``bare`` too, where
    one is named."""
    prompt = list(engine.tokens(Chat(question.messages, question.tools)))
    said, chances = say(engine, name, prompt, most)
    tokens, ended = [one.token for one in chances], said.finish == "stop"
    likely = likely_at(engine, name, prompt, [*tokens, prompt[-1]] if ended else tokens)
    if ended:
        tokens.append(first(likely[-1]))
    told = Told(question.place, prompt, tokens, said.text, said.finish, _written(likely))
    return with_bare(engine, bare, told) if bare else told


def with_bare(engine: Engine, bare: str, told: Told) -> Told:
    """With what is likely to the model without what was trained."""
    return replace(told, bare=_written(likely_at(engine, bare, told.prompt, told.tokens)))


def answer(engine: Engine, name: str, prompt: Sequence[int], tokens: Sequence[int], most: int) -> tuple[Said, list[Likely]]:
    """The engine's own greedy answer, and what is likely to it at the places of the other side's ``tokens``."""
    few = "score" in engine.lacks
    said, chances = say(engine, name, prompt, most, LIKELIEST if few else 0)
    known = list[Likely]()
    for token, one in zip(tokens, chances if few else (), strict=False):
        known.append(_likely(one.others))
        if one.token != token:  # what comes behind it answers to other words
            break
    return said, likely_at(engine, name, prompt, tokens, known)


def say(engine: Engine, name: str, prompt: Sequence[int], most: int, likeliest: int = 0) -> tuple[Said, Sequence[Chance]]:
    """The greedy answer with the chances of its tokens; none where the engine leaves out some."""
    sampling = Sampling(max_tokens=most, temperature=0.0, top_p=1.0, logprobs=likeliest)
    text, finish, count, chances = "", "", 0, list[Chance]()
    for piece in engine.stream(name, Raw(prompt), sampling, lambda: False):
        text, finish, count = text + piece.text, piece.finish or finish, piece.answer_tokens or count
        chances += piece.chances
    return Said(text, finish), chances if len(chances) == count else ()


def ending_of(engine: Engine, name: str, ids: Sequence[int], end: int, likely: Likely) -> Ending:
    """Whether it stops at once behind these tokens, where the other side says ``end``; ``likely``: what it reads there.

    What it writes there counts, where it tells that: reading may turn a tie.
    """
    said, chances = say(engine, name, ids, 1)
    written = chances[0].token if chances else first(likely)
    return "same" if said.finish == "stop" else "ignored" if written == end else "other"


def likely_at(
    engine: Engine, name: str, prompt: Sequence[int], tokens: Sequence[int], known: Sequence[Likely] = ()
) -> list[Likely]:
    """What is likely at the place of each of these tokens, which are put behind the prompt; ``known``: at the first ones."""
    if not tokens:
        return []
    if "score" not in engine.lacks:
        (scored,) = engine.score(name, [([*prompt, *tokens], len(prompt))], LIKELIEST)
        return [_likely(one.others) for one in scored.chances]
    # Such an engine tells chances of what it writes alone: let it write one token behind each place. Which one that is
    # plays no part; it is forced to be one that is a whole character, since of others llama.cpp tells nothing.
    plain = engine.tokens(Raw("a"))[0]
    sampling = Sampling(max_tokens=1, temperature=1.0, top_p=1.0, logprobs=LIKELIEST, logit_bias={plain: SURE})
    found = list(known)
    for at in range(len(found), len(tokens)):
        pieces = list(engine.stream(name, Raw([*prompt, *tokens[:at]]), sampling, lambda: False))
        found.append(_likely(next(one for piece in pieces for one in piece.chances).others))
    return found


def _written(likely: Sequence[Likely]) -> list[list[tuple[int, float]]]:
    return [list(one.items()) for one in likely]


def _read(written: Sequence[Sequence[tuple[int, float]]]) -> list[Likely]:
    return [{int(token): float(value) for token, value in some} for some in written]


def _likely(chances: Sequence[Chance]) -> Likely:
    return {one.token: one.logprob for one in chances}
