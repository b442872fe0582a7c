"""The engine that repeats the last question: for trying things out and for tests. Loads nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from workbench.engines import BASE, Answer, Engine, EngineSpec, Messages, Opening, Piece, Sampling
from workbench.fields import Ui


class Spec(EngineSpec):
    """Echo"""

    infer_backend: Literal["echo"] = "echo"
    echo_delay: Annotated[float, Field(ge=0, le=10), Ui("Pause between words")] = 0.0
    """Seconds between two words of the answer. Usual: 0."""


@dataclass(frozen=True)
class Echo:
    """Answers with the name of the model and the last message; a word counts as a token."""

    models: Sequence[str]
    delay_s: float

    def stream(self, model: str, messages: Messages, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        import time

        words = f"{model}: {messages[-1]['content']}".split(" ")
        read = sum(len(message["content"].split()) for message in messages)
        answer = Answer(sampling.stop)
        for count, word in enumerate(words[: sampling.max_tokens], 1):
            if gone():
                yield Piece("", "cancelled", read, count - 1)
                return
            time.sleep(self.delay_s)
            if text := answer.add(word if count == 1 else f" {word}"):
                yield Piece(text)
            if answer.stopped:
                yield Piece("", "stop", read, count)
                return
        ended = len(words) <= sampling.max_tokens
        yield Piece(answer.rest(), "stop" if ended else "length", read, min(len(words), sampling.max_tokens))


def open(spec: Spec, opening: Opening) -> Engine:
    """Ready at once."""
    return Echo((BASE, *opening.adapters), spec.echo_delay)
