"""The engine that repeats the last question: for trying things out and for tests. Loads nothing."""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from workbench.engines import BASE, Answer, Chat, Embedding, Engine, EngineSpec, Opening, Piece, Prompt, Sampling
from workbench.fields import Ui

LACKS = frozenset({"seed", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias"})
LACKS |= {"logprobs", "json_schema", "ignore_eos", "tools"}


class Spec(EngineSpec):
    """Echo"""

    infer_backend: Literal["echo"] = "echo"
    echo_delay: Annotated[float, Field(ge=0, le=10), Ui("Pause between words")] = 0.0
    """Seconds between two words of the answer. Usual: 0."""


@dataclass
class Echo:
    """Answers with the name of the model and the last message; a word counts as a token."""

    models: Sequence[str]
    delay_s: float
    lacks: Container[str] = LACKS

    def stream(self, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        import time

        words = f"{model}: {last_words(prompt)}".split(" ")
        read = len(self.tokens(prompt))
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

    def tokens(self, prompt: Prompt) -> Sequence[int]:
        return list(range(len(_text(prompt).split())))

    def embed(self, model: str, texts: Sequence[str]) -> Sequence[Embedding]:
        return [Embedding([float(len(text)), float(text.count(" "))], len(text.split())) for text in texts]

    def add(self, name: str, folder: Path) -> None:
        self.models = (*self.models, name)

    def remove(self, name: str) -> None:
        self.models = tuple(one for one in self.models if one != name)

    def close(self) -> None:
        pass


def last_words(prompt: Prompt) -> str:
    """What is repeated."""
    return str(prompt.messages[-1]["content"]) if isinstance(prompt, Chat) else _text(prompt)


def _text(prompt: Prompt) -> str:
    if isinstance(prompt, Chat):
        return " ".join(str(message["content"]) for message in prompt.messages)
    return prompt.given if isinstance(prompt.given, str) else " ".join(map(str, prompt.given))


def open(spec: Spec, opening: Opening) -> Engine:
    """Ready at once."""
    return Echo((BASE, *opening.adapters), spec.echo_delay)
