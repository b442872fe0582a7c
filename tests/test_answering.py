"""Answers on their way from the engine's threads to the stream: what comes fast goes out together, and nothing is lost."""

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.serving import serving
from workbench.api.answering import together
from workbench.engines import BASE, Chance, Piece
from workbench.engines.echo import Echo

WORDS = 400


def test_pieces_that_come_soon_wait_for_the_next_and_none_is_lost() -> None:
    chance = Chance(7, b"b", -1.0, ())
    said = [Piece("a"), Piece("b", chances=[chance]), Piece("c"), Piece("d", "stop", 3, 4)]
    assert list(together(said, 0)) == said
    assert list(together(said, 60)) == [Piece("a"), Piece("bcd", "stop", 3, 4, [chance])]

    def broken() -> Iterator[Piece]:
        yield from said[:3]
        raise RuntimeError("out of memory")

    came = []
    with pytest.raises(RuntimeError):
        came.extend(together(broken(), 60))
    assert came == [Piece("a"), Piece("bc", chances=[chance])]


def test_a_fast_answer_goes_out_in_few_parts_and_whole() -> None:
    said = " ".join(f"word{at}" for at in range(WORDS))
    asked = {"model": BASE, "messages": [{"role": "user", "content": said}], "stream": True, "max_tokens": 2 * WORDS}
    with serving(Echo([BASE], 0)) as url, httpx.stream("POST", f"{url}/v1/chat/completions", json=asked, trust_env=False) as stream:
        lines = [line.removeprefix("data: ") for line in stream.iter_lines() if line.startswith("data: {")]
    choices = [json.loads(line)["choices"][0] for line in lines]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    assert text == f"{BASE}: {said}" and choices[-1]["finish_reason"] == "stop"
    assert len(choices) < WORDS / 4
