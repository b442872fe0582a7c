"""What the server does with a request that was read: choose a model, ask the engine, word the answers. Knows no run."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from workbench.api import errors, messages, replies
from workbench.api.answering import Answering, Answers, watching
from workbench.api.chat_request import ChatRequest
from workbench.api.echoing import before_answers, drawn_behind, nothing_behind
from workbench.api.metrics import Clock, Metrics
from workbench.api.other_requests import CompletionRequest, EmbeddingRequest, TokenizeRequest
from workbench.api.reading import Reader
from workbench.api.replies import ChatChoice, Choice, Forced, Reply, Takes, TextChoice
from workbench.api.rules import Rules
from workbench.api.schema import lacking, unsupported
from workbench.api.shapes import JSON
from workbench.engines import Chat, Engine, Piece, Prompt, Raw, Sampling, TooLong
from workbench.problems import Problem, UserError
from workbench.text import Text

HEADER_CHARACTERS = 500
NO_NAME = '""'
LINE_ENDS = str.maketrans({"\u2028": "\\u2028", "\u2029": "\\u2029", "\x85": "\\u0085"})
"""Characters that JSON leaves as they are and that readers of a stream may take for the end of a line."""


class Say:
    no_text = Text("The request has neither 'prompt' nor 'messages'. Accepted: one of them. Add it.")


@dataclass(frozen=True)
class Asking:
    """One request in the engine's words: each prompt is answered ``each`` times."""

    model: str
    prompts: Sequence[Prompt]
    sampling: Sampling
    each: int
    reply: Reply
    choices: Sequence[Choice]
    headers: Mapping[str, str]
    stream: bool
    counted: bool
    clock: Clock
    known: Sequence[Sequence[Piece]] = ()
    """The answers, where they came before they were asked for."""

    @property
    def count(self) -> int:
        """How many answers."""
        return len(self.prompts) * self.each

    def ended(self, lasts: Mapping[int, Piece]) -> list[Piece]:
        """The last piece of each answer, in order; their tokens are counted."""
        used = replies.usage(ends := [lasts[at] for at in range(self.count)], self.each)
        self.clock.done(used["prompt_tokens"], used["completion_tokens"])
        return ends


class Service:
    """Answers requests with an engine."""

    def __init__(self, engine: Engine, rules: Rules) -> None:
        self.engine, self.rules = engine, rules
        self.answering, self.since = Answering(rules.max_requests), int(time.time())
        gauges: dict[str, Callable[[], int]] = {
            "workbench_active_answers": lambda: self.answering.active,
            "workbench_most_answers": lambda: rules.max_requests,
        }
        self.metrics = Metrics(gauges)
        self.adapting = asyncio.Lock()

    def model(self, given: str | None) -> str:
        """The model that a name means."""
        return self.rules.choose_model(list(self.engine.models), given)

    async def chat(self, asked: ChatRequest, request: Request) -> Response:
        """Answer a chat. What the template refuses is tried with a question first, where none comes first."""
        asked.check(self.engine.lacks)
        model, each = self.model(asked.model), asked.n or 1
        said, told = messages.arranged(asked.messages)
        asking = self._chat(asked, model, said, told, each)
        try:
            return await self._answer(asking, request)
        except UserError as error:
            other = messages.with_question(said)
            if other is None or isinstance(error, TooLong) or error.problems[0].key != "messages":
                raise
            asking = self._chat(asked, model, other, [*told, "the chat was made to begin with a user message"], each)
            return await self._answer(asking, request)

    def _chat(
        self, asked: ChatRequest, model: str, said: Sequence[Mapping[str, Any]], told: Sequence[str], each: int
    ) -> Asking:
        thinking, top = asked.thinking(), asked.sampling().logprobs
        return Asking(
            model,
            [Chat(said, asked.told_tools(), thinking)],
            asked.sampling(),
            each,
            Reply(model, "chat.completion", "chatcmpl", asked.counted()),
            [ChatChoice(at, self._reader(asked, thinking), top) for at in range(each)],
            _headers(model, asked.ignored(), told),
            bool(asked.stream),
            asked.counted(),
            Clock(self.metrics),
        )

    def _reader(self, asked: ChatRequest, thinking: bool | None) -> Takes:
        if (name := asked.named()) is not None:
            return Forced(name)
        shapes = (JSON,) if asked.json_schema() is not None else self.rules.shapes()
        opened = asked.json_schema() is None and self.rules.opens_thought(thinking)
        return Reader(shapes, asked.told_tools(), opened, asked.parallel_tool_calls is False)

    async def complete(self, asked: CompletionRequest, request: Request) -> Response:
        """Continue texts."""
        asked.check(self.engine.lacks)
        model, each = self.model(asked.model), asked.n or 1
        self.answering.check(len(asked.prompts()) * each)
        with self.answering.place():
            before = await run_in_threadpool(before_answers, self.engine, model, asked)
        repeated = [one for one in before for _ in range(each)]
        asking = Asking(
            model,
            asked.prompts(),
            drawn_behind(asked),
            each,
            Reply(model, "text_completion", "cmpl", asked.counted()),
            [TextChoice(at, one.text, one.chances, asked.logprobs) for at, one in enumerate(repeated)],
            _headers(model, asked.ignored()),
            bool(asked.stream),
            asked.counted(),
            Clock(self.metrics),
            [one.behind for one in repeated if one.behind],
        )
        return await self._answer(asking, request)

    async def embed(self, asked: EmbeddingRequest) -> Response:
        """Turn texts into vectors."""
        asked.check(self.engine.lacks)
        model = self.model(asked.model)
        with self.answering.place():
            found = await run_in_threadpool(self.engine.embed, model, asked.texts())
        told = replies.embeddings(model, found, asked.encoding_format == "base64")
        return errors.respond(200, told, _headers(model, asked.unlisted()))

    async def tokenize(self, asked: TokenizeRequest) -> Response:
        """Count the tokens of a text, or of a chat as its template writes it."""
        if (asked.prompt is None) == (asked.messages is None):
            raise UserError(Say.no_text(), key="prompt")
        if "tokens" in self.engine.lacks:
            lacking(Problem(unsupported("prompt", asked.prompt or "", ""), "prompt"))
        tokens = await run_in_threadpool(self.engine.tokens, _prompt(asked))
        return errors.respond(200, {"count": len(tokens), "tokens": list(tokens)}, _headers("", asked.unlisted()))

    async def _answer(self, asking: Asking, request: Request) -> Response:
        gone = threading.Event()
        answers = await self.answering.begin(lambda: self._ask(asking, gone), asking.count, gone)
        if asking.stream:
            return Stream(self._lines(asking, answers), gone, dict(asking.headers), request)
        lasts: dict[int, Piece] = {}
        try:
            async with watching(request, gone):
                async for at, piece in answers.pieces():
                    for _ in asking.choices[at].add(piece):
                        asking.clock.part()
                    lasts[at] = piece
        except Exception as error:  # noqa: BLE001 - whatever the engine met is told in OpenAI's shape
            return errors.respond(500, errors.failure(error), asking.headers)
        told = asking.reply.whole(asking.choices, asking.ended(lasts), asking.each)
        return errors.respond(200, told, asking.headers)

    def _ask(self, asking: Asking, gone: threading.Event) -> list[Iterator[Piece]]:
        if len(asking.known) == asking.count:
            return [iter(answer) for answer in asking.known]
        if asking.sampling.max_tokens == 0:
            return [nothing_behind(self.engine, prompt) for prompt in asking.prompts for _ in range(asking.each)]
        return [
            self.engine.stream(asking.model, prompt, _with_seed(asking.sampling, at), gone.is_set)
            for prompt in asking.prompts
            for at in range(asking.each)
        ]

    async def _lines(self, asking: Asking, answers: Answers) -> AsyncIterator[bytes]:
        """The answers as server-sent events."""
        reply, lasts = asking.reply, dict[int, Piece]()
        for choice in asking.choices:
            for part in choice.opening():
                yield _event(reply.chunk(part))
        try:
            async for at, piece in answers.pieces():
                for part in asking.choices[at].add(piece):
                    asking.clock.part()
                    yield _event(reply.chunk(part))
                lasts[at] = piece
        except Exception as error:  # noqa: BLE001 - the status has been sent: the error goes into the stream
            yield _event(errors.failure(error))
            return
        ends = asking.ended(lasts)
        if asking.counted:
            yield _event(reply.count(ends, asking.each))
        yield b"data: [DONE]\n\n"


class Stream(StreamingResponse):
    """Server-sent events; whatever ends them, a client that left among it, sets ``gone`` at once."""

    def __init__(
        self, lines: AsyncIterator[bytes], gone: threading.Event, headers: dict[str, str], request: Request
    ) -> None:
        super().__init__(lines, media_type="text/event-stream", headers=headers)
        self._gone, self._request = gone, request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with watching(self._request, self._gone):
                await self.stream_response(send)
        except OSError:
            pass  # the client has left
        finally:
            self._gone.set()


def _with_seed(sampling: Sampling, at: int) -> Sampling:
    """Of several answers each has a seed of its own."""
    if sampling.seed is None or at == 0:
        return sampling
    return replace(sampling, seed=sampling.seed + at if sampling.seed + at < 2**63 else sampling.seed + at - 2**64)


def _prompt(asked: TokenizeRequest) -> Prompt:
    if asked.messages is None:
        return Raw(asked.prompt or "")
    messages.check(asked.messages)
    said, _ = messages.arranged(asked.messages)
    return Chat(said, [tool.model_dump(exclude_none=True) for tool in asked.tools or ()])


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + errors.to_bytes(data).decode().translate(LINE_ENDS).encode() + b"\n\n"


def _headers(model: str, ignored: Sequence[str], told: Sequence[str] = ()) -> dict[str, str]:
    """What the client should know besides the answer; names are percent-encoded, since headers hold ASCII."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    if model:
        headers["X-Model"] = quote(model)
    if named := ", ".join(quote(name, errors="replace") or NO_NAME for name in ignored)[:HEADER_CHARACTERS].rstrip(", "):
        headers["X-Ignored-Fields"] = named
    if told:
        headers["X-Messages"] = "; ".join(told)
    return headers
