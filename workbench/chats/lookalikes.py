"""What people wrote and special tokens kept apart: in the making of a text, and when it becomes tokens. Knows no chat.

A text with special tokens in somebody's words would teach, and obey, what that person wrote. While a template makes a
text, stand-ins are in their place; when they are back, the text is read by a tokenizer that takes them for letters.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

Span = tuple[int, int]

OPEN, CLOSE = "\ufdd0", "\ufdd1"
"""Where an answer begins and ends while a text is made. Unicode keeps these for such uses inside a program."""
STAND_IN = 0xF0000
"""The first of the private characters that stand for what must not be read as it looks."""
OURS = f"{OPEN}{CLOSE}{chr(STAND_IN)}-{chr(0x10FFFD)}"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids, and the span of characters of each."""

    ids: list[int]
    offsets: list[Span]


class Shield:
    """Keeps what people wrote from being read as special tokens or as our own marks, while a text is made."""

    def __init__(self, specials: Sequence[str]) -> None:
        self._alike = re.compile("|".join([*_longest_first(specials), f"[{OURS}]"]))
        self._maybe = re.compile(f"[{re.escape(''.join({one[0] for one in specials}))}{OURS}]")

    def message(self, message: Mapping[str, Any], kept: dict[str, str]) -> Mapping[str, Any]:
        """The message itself, or one with stand-ins, each under its text in ``kept``."""
        content = message.get("content")
        if len(message) == 2 and isinstance(content, str) and not self._maybe.search(content):
            return message
        return {key: value if key == "role" else self.over(value, kept) for key, value in message.items()}

    def over(self, value: Any, kept: dict[str, str]) -> Any:
        """Text, or the texts inside lists and objects, with stand-ins."""
        match value:
            case str():
                if not self._maybe.search(value):
                    return value
                return self._alike.sub(lambda found: kept.setdefault(found[0], chr(STAND_IN + len(kept))), value)
            case Mapping():
                return {self.over(key, kept): self.over(one, kept) for key, one in value.items()}
            case list() | tuple():
                return [self.over(one, kept) for one in value]
        return value


def shield_of(tokenizer: Any) -> Shield:
    """The shield for the special tokens of the tokenizer."""
    return _shield(tokenizer, len(tokenizer))


@lru_cache(maxsize=8)
def _shield(tokenizer: Any, _size: int) -> Shield:
    return Shield([token.content for token in tokenizer.added_tokens_decoder.values() if token.special])


def _longest_first(words: Sequence[str]) -> list[str]:
    return sorted((re.escape(word) for word in words), key=len, reverse=True)


MARKS = re.compile(f"([{OURS}])")


def laid_bare(text: str, kept: Mapping[str, str]) -> tuple[str, list[Span], list[Span]]:
    """The text with what was kept back in its place, the spans between our marks, and those of the look-alikes."""
    whole = {character: words for words, character in kept.items()}
    parts = MARKS.split(text)
    between: list[Span] = []
    alike: list[Span] = []
    at = start = 0
    for place, part in enumerate(parts):
        if place % 2:
            if part == OPEN:
                start = at
            elif part == CLOSE:
                between.append((start, at))
            parts[place] = part = whole.get(part, "")
            if len(part) > 1:
                alike.append((at, at + len(part)))
        at += len(part)
    return "".join(parts), between, alike


def exact_tokens(tokenizer: Any, text: str, alike: Sequence[Span]) -> Tokens:
    """The tokens of a text in which some spans look like special tokens and are none."""
    literal = _literal(tokenizer, len(tokenizer))
    parts: list[str] = []
    lengths: list[int] = []
    at = 0
    for start, end in [*alike, (len(text), len(text))]:
        for part in literal.specials.split(text[at:start]):
            stand_in = literal.stand_ins.get(part)
            parts.append(stand_in or part)
            lengths += [len(part), *[0] * (len(stand_in) - 1)] if stand_in else [1] * len(part)
        parts.append(text[start:end])
        lengths += [1] * (end - start)
        at = end
    places = list(accumulate(lengths, initial=0))
    found = literal.backend.encode("".join(parts), add_special_tokens=False)
    ids = [literal.ids.get(token, token) for token in found.ids]
    return Tokens(ids, [(places[left], places[right]) for left, right in found.offsets])


@dataclass(frozen=True)
class _Literal:
    """A copy of a tokenizer that reads special tokens as letters, and stand-ins as the special tokens."""

    backend: Any
    specials: re.Pattern[str]
    stand_ins: Mapping[str, str]
    ids: Mapping[int, int]


@lru_cache(maxsize=2)
def _literal(tokenizer: Any, _size: int) -> _Literal:
    from tokenizers import AddedToken, Tokenizer

    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    specials = [(number, one) for number, one in tokenizer.added_tokens_decoder.items() if one.special]
    stand_ins = {token.content: f"{OPEN}{at}{CLOSE}" for at, (_, token) in enumerate(specials)}
    ids: dict[Any, int] = {}
    for number, token in specials:
        stand_in = stand_ins[token.content]
        backend.add_tokens([AddedToken(stand_in, lstrip=token.lstrip, rstrip=token.rstrip, normalized=False)])
        ids[backend.token_to_id(stand_in)] = number
    return _Literal(backend, re.compile(f"({'|'.join(_longest_first(list(stand_ins)))})"), stand_ins, ids)
