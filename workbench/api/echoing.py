"""What stands before a completion: its prompt given back, with how likely its tokens were. Knows no HTTP."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from workbench.api.other_requests import CompletionRequest
from workbench.engines import Chance, Engine, Piece, Prompt, Sampling

Given = tuple[str | Sequence[int], Sequence[int]]
"""A prompt as it was given, and its tokens."""


@dataclass(frozen=True)
class Before:
    """The prompt as the answer shows it; empty where it was not asked for."""

    text: str = ""
    chances: Sequence[Chance] = ()
    """Its tokens, where their log-probabilities were asked for; that of the first is nan."""
    behind: Sequence[Piece] = field(default=())
    """The answer, where it is known with the prompt."""


def before_answers(engine: Engine, model: str, asked: CompletionRequest) -> list[Before]:
    """What stands before the answers to each prompt; UserError for one that the context has no room for."""
    if not asked.scores_prompt():
        return [Before(str(prompt.given) if asked.echo else "") for prompt in asked.prompts()]
    rows = [list(engine.tokens(prompt)) for prompt in asked.prompts()]
    given = [(prompt.given, ids) for prompt, ids in zip(asked.prompts(), rows, strict=True) if ids]
    told = iter(_scored(engine, model, given, asked))
    return [next(told) if ids else Before() for ids in rows]


def _scored(engine: Engine, model: str, given: Sequence[Given], asked: CompletionRequest) -> Iterator[Before]:
    """For each of the prompts, which have tokens. The likeliest token behind one comes with the place of any token there."""
    top, one = asked.logprobs or 0, asked.wants_likeliest_token()
    scored = engine.score(model, [([*ids, 0] if one else ids, 0) for _, ids in given], max(top, 1) if one else top)
    for (text, ids), found in zip(given, scored, strict=True):
        known = found.chances[: len(ids)]
        if not isinstance(text, str):
            text = b"".join(chance.text for chance in known).decode("utf-8", "replace")
        yield Before(text, known, [_said(len(ids), found.chances[-1].others, top)] if one else ())


def _said(read: int, likely: Sequence[Chance], top: int) -> Piece:
    first = replace(likely[0], others=likely[:top])
    return Piece(first.text.decode("utf-8", "ignore"), "length", read, 1, [first])


def drawn_behind(asked: CompletionRequest) -> Sampling:
    """How the answers are drawn. Evaluations ask for a single token, drop it, and count on there being one: then an end
    of turn is one too."""
    sampling = asked.sampling()
    return replace(sampling, ignore_eos=True) if asked.scores_prompt() and asked.max_tokens == 1 else sampling


def nothing_behind(engine: Engine, prompt: Prompt) -> Iterator[Piece]:
    """The answer of no tokens."""
    count = 0 if "tokens" in engine.lacks else len(engine.tokens(prompt))
    return iter([Piece("", "length", count)])
