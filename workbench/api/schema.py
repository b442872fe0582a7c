"""The OpenAI-compatible shapes: what a request may hold, and what an answer looks like. Knows no engine and no HTTP."""

import json
import time
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from workbench.engines import Piece, Sampling
from workbench.fields import plain
from workbench.problems import Problem, UserError
from workbench.text import Text

NOT_YET: Mapping[str, tuple[Any, ...]] = {
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "functions": ([],),
}
"""Fields that would change the answer and are not computed here, with the values that ask for nothing."""


class Say:
    not_yet = Text("'{field}' is {given}. Accepted: {accepted}, since this server does not compute it. Leave it out.")
    one_answer = Text("'n' is {given}. Accepted: 1, since one request gives one answer. Ask several times.")


def whole(text: str) -> str:
    """The text, unless it holds halves of surrogate pairs, which JSON can write and no tokenizer reads."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PydanticCustomError("half_character", "Half of a surrogate pair is no character") from error
    return text


Words = Annotated[str, AfterValidator(whole)]


class Shape(BaseModel):
    """A part of a request. Values are not converted; fields that are not listed are kept, so that they can be told."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    def unlisted(self) -> list[str]:
        """Names of the given fields that are not listed."""
        return list(self.model_extra or {})


class Part(Shape):
    """A part of a message's content: text only."""

    type: Literal["text"]
    text: Words


class Said(Shape):
    """One message of the chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Words | list[Part]

    def words(self) -> str:
        """The content as one text, parts on lines of their own."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


class StreamOptions(Shape):
    """What a stream says besides the answer."""

    include_usage: bool | None = None


class ChatRequest(Shape):
    """The body of POST /v1/chat/completions. Fields that are not listed are named in the header X-Ignored-Fields."""

    messages: list[Said] = Field(min_length=1)
    model: str | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: Words | Annotated[list[Words], Field(max_length=16)] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None

    def check(self) -> None:
        """UserError for every field that asks for something that is not done here."""
        given = {**self.model_dump(include=set(NOT_YET)), **(self.model_extra or {})}
        problems = [
            Problem(Say.not_yet(field=key, given=plain(json.dumps(given[key])), accepted=json.dumps(neutral[0])), key)
            for key, neutral in NOT_YET.items()
            if given.get(key) is not None and given[key] not in neutral
        ]
        if self.n not in (None, 1):
            problems.append(Problem(Say.one_answer(given=self.n), "n"))
        if problems:
            raise UserError(*problems)

    def ignored(self) -> list[str]:
        """Names of the given fields that change nothing."""
        inside = {f"messages.{name}" for said in self.messages for name in said.unlisted()}
        inside |= {f"stream_options.{name}" for name in (self.stream_options or StreamOptions()).unlisted()}
        return [*(name for name in self.unlisted() if name not in NOT_YET), *sorted(inside)]

    def sampling(self) -> Sampling:
        """How the answer is drawn; what is not given is as in Sampling."""
        limits = [limit for limit in (self.max_tokens, self.max_completion_tokens) if limit is not None]
        stop = [self.stop] if isinstance(self.stop, str) else self.stop
        usual = Sampling()
        return Sampling(
            max_tokens=min(limits, default=usual.max_tokens),
            temperature=usual.temperature if self.temperature is None else self.temperature,
            top_p=usual.top_p if self.top_p is None else self.top_p,
            seed=self.seed,
            stop=stop or (),
        )

    def chat(self) -> list[dict[str, str]]:
        """The messages as templates take them: whatever instructs the model is one system message at the beginning."""
        system = [said.words() for said in self.messages if said.role in ("system", "developer")]
        others = [{"role": said.role, "content": said.words()} for said in self.messages]
        others = [message for message in others if message["role"] in ("user", "assistant")]
        return [{"role": "system", "content": "\n\n".join(system)}, *others] if system else others

    def rearranged(self) -> bool:
        """Whether ``chat`` had to move or join system messages."""
        return any(said.role in ("system", "developer") for said in self.messages[1:])


class Reply:
    """One answer in OpenAI's words: the parts of a stream, or the whole."""

    def __init__(self, model: str) -> None:
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def chunk(self, delta: Mapping[str, str], finish: str | None = None, *, usage_follows: bool) -> dict[str, Any]:
        """One part of a stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if usage_follows else {}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice], **usage}

    def usage_chunk(self, last: Piece) -> dict[str, Any]:
        """The part of a stream that only counts."""
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage(last)}

    def whole(self, text: str, last: Piece) -> dict[str, Any]:
        """The answer in one."""
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": last.finish}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage(last)}


def usage(last: Piece) -> dict[str, int]:
    """Tokens that went in and came out."""
    return {
        "prompt_tokens": last.prompt_tokens,
        "completion_tokens": last.answer_tokens,
        "total_tokens": last.prompt_tokens + last.answer_tokens,
    }


def model_list(names: list[str], since: int) -> dict[str, Any]:
    """The answer of GET /v1/models."""
    data = [{"id": name, "object": "model", "created": since, "owned_by": "workbench"} for name in names]
    return {"object": "list", "data": data}
