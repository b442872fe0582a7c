"""Who answers: one file is one engine. Knows messages and models, no HTTP, no page and no run.

To add one, write ``engines/x.py`` with ``Spec`` and ``open(spec, opening) -> Engine``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from workbench.fields import Section
from workbench.problems import UserError
from workbench.text import Message

Finish = Literal["stop", "length", "cancelled"]
Precision = Literal["fp32", "bf16", "fp16"]
Messages = Sequence[Mapping[str, str]]
BASE = "base"
"""The name under which the base model answers."""


class EngineSpec(Section):
    """What every engine's Spec is: a section with the engine's own fields and its name."""

    infer_backend: str


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn. ``temperature`` 0 is greedy; with a ``seed`` the same request gives the same text."""

    max_tokens: int = 1024
    temperature: float = 0.7
    top_p: float = 0.9
    seed: int | None = None
    stop: Sequence[str] = ()


@dataclass(frozen=True)
class Piece:
    """A part of an answer. The last piece says why it ended and how many tokens went in and came out."""

    text: str
    finish: Finish | None = None
    prompt_tokens: int = 0
    answer_tokens: int = 0


class TooLong(UserError):
    """A prompt that does not fit the model's context."""


@dataclass(frozen=True)
class Opening:
    """What an engine may ask for. The functions do their work when they are called: an engine pays for what it uses."""

    adapters: Mapping[str, Path]
    """Folders by model name of what was trained: an adapter of the base, or a whole model of the same family."""
    template: str
    """Name of the chat template; auto: the model's own."""
    lead: str
    """What the template lets the model write before its answer; no part of it."""
    trust_remote_code: bool
    folder: Callable[[], Path]
    """The base's folder, fetched first when it is not here."""
    tokenizer: Callable[[], Any]
    """The tokenizer with the chat template in place."""
    model: Callable[[Precision], Any]
    """The base on this machine's device, its weights held in the given precision."""
    prompt: Callable[[Any, Messages], Sequence[int]]
    """The tokens of a chat up to where the model is to answer; UserError for a chat that the template refuses."""
    stop_ids: Callable[[Any], Sequence[int]]
    """Tokens that end an answer."""
    note: Callable[[Message], None]
    """Tell the person something."""
    whole: Callable[[Path, Precision], Any]
    """The whole model in a folder, such as one of ``adapters`` that is none, on this machine's device."""


class Engine(Protocol):
    """Something that answers. Several threads may ask at once."""

    @property
    def models(self) -> Sequence[str]:
        """The names it answers to: ``base`` first, then the adapters."""

    def stream(self, model: str, messages: Messages, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        """The answer piece by piece, ended within one step when ``gone()`` is true.

        What can't be answered raises UserError at the call, before anything is computed.
        """


class EngineModule(Protocol):
    """The members of an engine's module."""

    Spec: type[EngineSpec]

    def open(self, spec: Any, opening: Opening) -> Engine:
        """Load what is needed and be ready to answer."""


class Answer:
    """The text of an answer as it grows: held back where a stop string may be beginning, cut where one stands."""

    def __init__(self, stop: Sequence[str], lead: str = "") -> None:
        self.stopped = False
        self._stop = [word for word in stop if word]
        self._lead = lead
        self._held = ""

    def add(self, text: str) -> str:
        """What can be shown after ``text`` has come; ``stopped`` is true from the first stop string on."""
        if self.stopped:
            return ""
        self._held += text
        if self._lead:
            if self._lead.startswith(self._held):
                return ""
            self._held, self._lead = self._held.removeprefix(self._lead), ""
        found = [at for word in self._stop if (at := self._held.find(word)) >= 0]
        self.stopped = bool(found)
        end = min(found) if found else len(self._held) - self._beginning()
        shown, self._held = self._held[:end], self._held[end:]
        return shown

    def rest(self) -> str:
        """What was held back, when nothing more comes."""
        return "" if self.stopped else self._held.removeprefix(self._lead)

    def _beginning(self) -> int:
        """Characters at the end that may be the beginning of a stop string."""
        longest = max((len(word) for word in self._stop), default=0) - 1
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(word.startswith(self._held[-size:]) for word in self._stop):
                return size
        return 0
