"""Who answers: one file is one engine. Knows messages and models, no HTTP, no page and no run.

To add one, write ``engines/x.py`` with ``Spec`` and ``open(spec, opening) -> Engine``.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from workbench.fields import Section
from workbench.problems import UserError
from workbench.text import Message

Finish = Literal["stop", "length", "cancelled"]
Precision = Literal["fp32", "bf16", "fp16"]
Messages = Sequence[Mapping[str, Any]]
BASE = "base"
"""The name under which the base model answers."""


class EngineSpec(Section):
    """What every engine's Spec is: a section with the engine's own fields and its name."""

    infer_backend: str


@dataclass(frozen=True)
class Chat:
    """Messages that the model is to answer, as its template takes them: role, content, tool_calls, reasoning_content."""

    messages: Messages
    tools: Sequence[Mapping[str, Any]] = ()
    """Functions that it may call, in OpenAI's shape."""
    enable_thinking: bool | None = None
    """Whether it may think first; None: as the server was told."""


@dataclass(frozen=True)
class Raw:
    """A text, or tokens, that the model is to continue as it stands: no template, no special token added."""

    given: str | Sequence[int]


Prompt = Chat | Raw
Row = tuple[Sequence[int], int]
"""Tokens, of which those from the index on are scored; at least one of them."""


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn. ``temperature`` 0 is greedy; with a ``seed`` the same request gives the same text.

    Names of these fields are what ``Engine.lacks`` may list. The values below are those that change nothing.
    """

    max_tokens: int = 1024
    temperature: float = 0.7
    top_p: float = 0.9
    seed: int | None = None
    stop: Sequence[str] = ()
    top_k: int = 0
    """Draw only from so many of the likeliest tokens; 0: from all."""
    min_p: float = 0.0
    """Draw only from tokens with at least this share of the likeliest one's probability (arXiv 2407.01082)."""
    repetition_penalty: float = 1.0
    """Logits of tokens of prompt and answer are divided by it where positive, else multiplied (arXiv 1909.05858)."""
    presence_penalty: float = 0.0
    """Taken from the logit of every token of the answer, once. -2 to 2, as OpenAI defines it."""
    frequency_penalty: float = 0.0
    """Taken from the logit of every token of the answer, as often as it stands there."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of these tokens; -100 forbids one."""
    logprobs: int | None = None
    """With each token its log-probability, before any of the above, and those of so many of the likeliest. None: none."""
    json_schema: Mapping[str, Any] | None = None
    """The answer is JSON of this schema; an empty one: any object."""
    ignore_eos: bool = False
    """Go on after an end of turn, up to ``max_tokens``: for measurements."""


@dataclass(frozen=True)
class Chance:
    """One token of an answer and how likely it was."""

    token: int
    text: bytes
    logprob: float
    """Natural logarithm of its probability at temperature 1."""
    others: Sequence["Chance"] = ()
    """The likeliest tokens at this place, the likeliest first."""


@dataclass(frozen=True)
class Piece:
    """A part of an answer. The last piece says why it ended and how many tokens went in and came out."""

    text: str
    """As the model writes it, its thought and its calls too. Where another server has taken these apart they are written
    ``<think>\\n...\\n</think>\\n\\n`` and ``<tool_call>\\n{"name": ..., "arguments": {...}}\\n</tool_call>``."""
    finish: Finish | None = None
    prompt_tokens: int = 0
    answer_tokens: int = 0
    chances: Sequence[Chance] = ()
    """The tokens that came with this piece, where ``logprobs`` asked for them; an end of turn is none of them."""


@dataclass(frozen=True)
class Embedding:
    """A text as one vector: the mean of the last layer's states over its tokens."""

    values: Sequence[float]
    tokens: int


@dataclass(frozen=True)
class Scored:
    """How likely the tokens of a row were from its index on, each given all before it."""

    logprobs: Sequence[float]
    """Natural logarithms of their probabilities at temperature 1, computed in float32; nan for a row's very first token."""
    greedy: Sequence[bool]
    """Whether no token was likelier at that place."""
    chances: Sequence[Chance] = ()
    """The same tokens with the likeliest at each place, where ``likeliest`` asked for them."""


@dataclass(frozen=True)
class Frame:
    """What stands around a text that is given as tokens."""

    context: int
    """Most tokens that the model reads."""
    first: int
    """The token behind which a text begins that has nothing before it: the tokenizer's BOS, else its EOS."""
    prefix: Sequence[int]
    """What the tokenizer puts before every text by itself, often nothing; ``Engine.tokens`` leaves it out."""


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
    prompt: Callable[[Any, Prompt], Sequence[int]]
    """The tokens up to where the model is to answer; UserError for a chat that the template refuses."""
    stop_ids: Callable[[Any], Sequence[int]]
    """Tokens that end an answer."""
    note: Callable[[Message], None]
    """Tell the person something."""
    whole: Callable[[Path, Precision], Any]
    """The whole model in a folder, such as one of ``adapters`` that is none, on this machine's device."""
    cache: Path
    """A folder for what can be made again, such as the model in another format."""
    progress: Callable[[int, int], None]
    """Say that the model is being made ready: bytes done, and of how many."""
    default_system: str = ""
    """Said where a conversation brings no system text."""
    enable_thinking: bool | None = None
    """What the template hears of thinking; None: nothing."""


class Engine(Protocol):
    """Something that answers. Several threads may ask at once."""

    @property
    def models(self) -> Sequence[str]:
        """The names it answers to: ``base`` first, then the adapters."""

    @property
    def lacks(self) -> Container[str]:
        """Fields of Sampling that it does not compute, and ``tools``, ``embeddings``, ``adapters``, ``tokens``, ``score``.

        Whoever asks looks here first and refuses in words: what is listed is never asked of the engine, whose methods
        for it may raise NotImplementedError.
        """

    def stream(self, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        """The answer piece by piece, ended within one step when ``gone()`` is true.

        What can't be answered raises UserError at the call, before anything is computed.
        """

    def tokens(self, prompt: Prompt) -> Sequence[int]:
        """The prompt's tokens, with which ``stream`` would begin."""

    def embed(self, model: str, texts: Sequence[str]) -> Sequence[Embedding]:
        """Each text as one vector."""

    def score(self, model: str, rows: Sequence[Row], likeliest: int | None = None) -> Sequence[Scored]:
        """How likely given tokens are, a result for each row; UserError for a row that the context has no room for.

        ``likeliest``: tell chances too, with so many of the likeliest tokens at each place.
        """

    def frame(self, model: str) -> Frame:
        """What stands around texts that are scored or continued as they stand; lacked where ``tokens`` are."""

    def add(self, name: str, folder: Path) -> None:
        """Answer to one more name: what was trained in ``folder``. UserError when it does not fit."""

    def remove(self, name: str) -> None:
        """Answer to that name no more, once its answers are done; its memory is free then."""

    def close(self) -> None:
        """Free what it holds; nothing is asked of it afterwards."""


@runtime_checkable
class OwnReader(Protocol):
    """What an engine may be besides: one whose model brings a tokenizer and a chat template that it reads without ours."""

    def read(self, chat: Chat) -> Sequence[int]:
        """The tokens that a chat becomes for those who ask it with messages; UserError where its template refuses them."""


class EngineModule(Protocol):
    """The members of an engine's module."""

    Spec: type[EngineSpec]

    def open(self, spec: Any, opening: Opening) -> Engine:
        """Load what is needed and be ready to answer."""


def frame_of(tokenizer: Any, context: int) -> Frame:
    """The frame of a tokenizer of transformers and a context of so many tokens."""
    bare = tokenizer("a", add_special_tokens=False, verbose=False)["input_ids"]
    dressed = tokenizer("a", verbose=False)["input_ids"]
    before = next((at for at in range(len(dressed)) if dressed[at : at + len(bare)] == bare), 0)
    first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    return Frame(context, int(first), dressed[:before])


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
