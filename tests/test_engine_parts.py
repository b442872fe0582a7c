"""What answers are made of: drawn tokens, whole characters, stop strings, and the line of those who wait."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from tokenizers import Tokenizer

from workbench.engines import Answer, Sampling
from workbench.engines.transformers.drawing import dice, draw
from workbench.engines.transformers.writing import BROKEN, Writing


class TestDrawing:
    LOGITS = numpy.log(numpy.array([0.1, 0.5, 0.05, 0.35], numpy.float32))

    def shares(self, temperature: float, top_p: float, draws: int = 4000) -> list[float]:
        generator = dice(1)
        drawn = [draw(self.LOGITS, Sampling(1, temperature, top_p), generator) for _ in range(draws)]
        return [drawn.count(token) / draws for token in range(4)]

    def test_temperature_1_draws_as_the_model_says(self) -> None:
        assert self.shares(1, 1) == pytest.approx([0.1, 0.5, 0.05, 0.35], abs=0.03)

    def test_top_p_keeps_the_smallest_set_that_reaches_it(self) -> None:
        assert self.shares(1, 0.8) == pytest.approx([0, 0.5 / 0.85, 0, 0.35 / 0.85], abs=0.03)
        assert self.shares(1, 0.45, 200) == [0, 1, 0, 0]
        assert self.shares(1, 0, 200) == [0, 1, 0, 0]

    def test_cold_is_greedy(self) -> None:
        assert self.shares(0, 1, 50) == self.shares(1e-300, 1, 50) == [0, 1, 0, 0]

    def test_among_many_tokens_none_is_drawn_from_outside_the_set(self) -> None:
        logits = (numpy.random.default_rng(0).normal(size=5000) * 3).astype(numpy.float32)
        chances = numpy.exp(logits.astype(numpy.float64))
        order = numpy.argsort(-chances)
        reached = numpy.cumsum(chances[order]) / chances.sum()
        for top_p, least in ((0.3, 5), (0.9, 90), (0.99, 120)):
            kept = order[: int((reached < top_p).sum()) + 1].tolist()
            generator = dice(5)
            drawn = {draw(logits, Sampling(1, 1, top_p), generator) for _ in range(300)}
            assert drawn <= set(kept)
            assert len(drawn) > least or len(drawn) == len(kept)


class TestWriting:
    TEXT = "极光 🌈 né 👩‍👩‍👧 the end, 𠮷"

    def pieces(self, decode: Callable[[Any], str], tokens: list[int]) -> list[str]:
        writing = Writing(decode)
        return [*(writing.add(token) for token in tokens), writing.rest(cut=False)]

    def test_bytes_become_whole_characters(self, tiny_model: Path) -> None:
        tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
        tokens = tokenizer.encode(self.TEXT).ids
        pieces = self.pieces(tokenizer.decode, tokens)
        assert "".join(pieces) == self.TEXT
        assert BROKEN not in "".join(pieces)
        assert all(len(piece) <= 4 for piece in pieces)

    def test_a_decoder_that_breaks_a_whole_group_at_once(self) -> None:
        """As the decoder of Llama 2 does: while the last character is not whole, every byte of the group is shown broken."""

        def decode(tokens: Any) -> str:
            try:
                return bytes(tokens).decode()
            except UnicodeDecodeError:
                return BROKEN * len(tokens)

        pieces = self.pieces(decode, list(self.TEXT.encode()))
        assert "".join(pieces) == self.TEXT

    def test_a_character_that_was_cut_is_left_out_and_a_broken_one_is_shown(self, tiny_model: Path) -> None:
        tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
        writing = Writing(tokenizer.decode)
        for token in tokenizer.encode("ab极").ids[:-1]:
            writing.add(token)
        assert (writing.rest(cut=True), writing.rest(cut=False)) == ("", BROKEN)

    def test_what_never_becomes_a_character_does_not_wait_for_ever(self) -> None:
        writing = Writing(lambda tokens: BROKEN * len(tokens))
        assert any(writing.add(1) for _ in range(20))


class TestAnswer:
    @pytest.mark.parametrize(
        ("parts", "stop", "shown"),
        [
            (["Hel", "lo wo", "rld"], ["o w"], "Hell"),
            (["a<", "|e", "nd|>b"], ["<|end|>"], "a"),
            (["a<", "|en", "ough"], ["<|end|>"], "a<|enough"),
            (["aab", "aac"], ["aac"], "aab"),
            (["one two"], ["two", "one"], ""),
            (["plain"], [""], "plain"),
            (["ends with <|"], ["<|end|>"], "ends with <|"),
        ],
    )
    def test_stop_strings(self, parts: list[str], stop: list[str], shown: str) -> None:
        answer = Answer(stop)
        assert "".join(answer.add(part) for part in parts) + answer.rest() == shown

    @pytest.mark.parametrize(
        ("parts", "shown"),
        [
            (["<think>\n", "\n</think>\n\n", "Hello"], "Hello"),
            (["<think>\nLet me", " see"], "<think>\nLet me see"),
            (["Hi"], "Hi"),
            (["<thi"], "<thi"),
        ],
    )
    def test_the_lead_is_no_part_of_it(self, parts: list[str], shown: str) -> None:
        answer = Answer([], "<think>\n\n</think>\n\n")
        assert "".join(answer.add(part) for part in parts) + answer.rest() == shown


def never() -> bool:
    return False
