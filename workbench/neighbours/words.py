"""Tokens as the bytes that they stand for. Knows no server and no model."""

import codecs
import json
import re
from collections.abc import Callable
from typing import Any

BYTE, SPACE = re.compile(r"<0x[0-9A-F]{2}>"), "▁"


class Words:
    """What a tokenizer's tokens are as bytes, for text that grows token by token."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._hidden = frozenset(tokenizer.all_special_ids)
        model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
        self._pieced = bool(model.get("byte_fallback"))
        self._letters = {} if self._pieced else byte_letters()
        self.strips = self._pieced and strips_first_space(tokenizer)

    def writing(self, before: int) -> Callable[[int], str]:
        """A function from each token to the characters that it completes; ``before``: tokens that were written already."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        count = before

        def write(token: int) -> str:
            nonlocal count
            count += 1
            text = decoder.decode(self.bytes_of(token))
            return text.removeprefix(" ") if count == 1 and self.strips else text

        return write

    def bytes_of(self, token: int) -> bytes:
        """The bytes that it stands for; none for a special token."""
        word = self._tokenizer.convert_ids_to_tokens(token)
        if token in self._hidden or word is None:
            return b""
        if not self._pieced:
            return b"".join(self._letters.get(letter, letter.encode()) for letter in word)
        if BYTE.fullmatch(word):
            return bytes([int(word[3:5], 16)])
        return word.replace(SPACE, " ").encode()


def byte_letters() -> dict[str, bytes]:
    """The letters in which byte-level BPE writes bytes, as GPT-2 brought them: printable ones as they are, others from 256 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    letters = {chr(byte): bytes([byte]) for byte in plain}
    return letters | {chr(256 + at): bytes([byte]) for at, byte in enumerate(others)}


def strips_first_space(tokenizer: Any) -> bool:
    """Whether the tokenizer writes a text's first word without the space that its token begins with."""
    word = next((one for one in tokenizer.get_vocab() if one[:1] == SPACE and one[1:].isalpha()), "")
    return bool(word) and not tokenizer.decode([tokenizer.convert_tokens_to_ids(word)]).startswith(" ")
