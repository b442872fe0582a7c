"""What requests share: strict parts, whole characters, and how answers are drawn. Knows no engine and no HTTP."""

from collections.abc import Container, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from workbench.engines import Sampling
from workbench.fields import plain
from workbench.problems import Problem, UserError
from workbench.text import Message, Text

MOST_ANSWERS = 128
MOST_LIKELY = 20
NO_LIMIT = 2**31 - 1
"""What larger limits are taken for; no answer is so long."""


class Say:
    unsupported = Text("'{field}' is {given}, which this engine does not compute. Accepted: {accepted}. Leave it out.")
    nothing = Text("nothing")


class Unsupported(UserError):
    """The request asks for what the engine, or this server, does not do."""


def whole(text: str) -> str:
    """The text, unless it holds halves of surrogate pairs, which JSON can write and no tokenizer reads."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PydanticCustomError("half_character", "Half of a surrogate pair is no character") from error
    return text


def biases(given: Mapping[str, float]) -> Mapping[str, float]:
    """The biases, unless a name is no token id."""
    for name in given:
        if not (name.isascii() and name.isdigit() and len(name) < 10):
            raise PydanticCustomError("token_id", "A name is no token id")
    return given


Words = Annotated[str, AfterValidator(whole)]
Token = Annotated[int, Field(ge=0, lt=2**31)]
Bias = Annotated[float, Field(ge=-100, le=100)]


class Shape(BaseModel):
    """A part of a request. Values are not converted; fields that are not listed are kept, so that they can be told."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, use_attribute_docstrings=True)

    def unlisted(self) -> list[str]:
        """Names of the given fields that are not listed."""
        return list(self.model_extra or {})


class StreamOptions(Shape):
    """What a stream says besides the answer."""

    include_usage: bool | None = None
    """Whether a last part counts the tokens."""


class Drawing(Shape):
    """How answers are drawn, under the names of OpenAI and, below them, those of vLLM."""

    model: Words | None = None
    """One of /v1/models; the header X-Model says who answered."""
    max_tokens: int | None = Field(None, ge=1)
    """Most tokens of the answer."""
    temperature: float | None = Field(None, ge=0, le=2)
    """0: always the likeliest token."""
    top_p: float | None = Field(None, ge=0, le=1)
    """Draw from the likeliest tokens that together have this share."""
    n: int | None = Field(None, ge=1, le=MOST_ANSWERS)
    """How many answers; with a seed each next one has a seed of one more."""
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    """With a seed the same request gives the same text."""
    stop: Words | Annotated[list[Words], Field(max_length=16)] | None = None
    """Texts that end the answer and are no part of it."""
    stream: bool | None = None
    """Send the answer as it grows, as server-sent events."""
    stream_options: StreamOptions | None = None
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    """Taken from the logit of every token that stands in the answer, once."""
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    """Taken from the logit of every token of the answer, as often as it stands there."""
    logit_bias: Annotated[dict[str, Bias], AfterValidator(biases)] | None = None
    """Token ids, and what is added to their logits."""
    top_k: int | None = Field(None, ge=-1)
    """Draw only from so many of the likeliest tokens; 0 or -1: from all."""
    min_p: float | None = Field(None, ge=0, le=1)
    """Draw only from tokens with this share of the likeliest one's probability."""
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    """Above 1: tokens of prompt and answer become less likely."""
    ignore_eos: bool | None = None
    """Go on behind an end of turn, up to max_tokens: for measurements."""

    def drawn(self, limit: int, logprobs: int | None, json_schema: Mapping[str, Any] | None = None) -> Sampling:
        """As engines take it; what is not given is as in Sampling."""
        usual = Sampling()
        stop = [self.stop] if isinstance(self.stop, str) else self.stop
        return Sampling(
            max_tokens=min(limit, NO_LIMIT),
            temperature=usual.temperature if self.temperature is None else self.temperature,
            top_p=usual.top_p if self.top_p is None else self.top_p,
            seed=self.seed,
            stop=stop or (),
            top_k=min(max(self.top_k or 0, 0), NO_LIMIT),
            min_p=self.min_p or 0.0,
            repetition_penalty=1.0 if self.repetition_penalty is None else self.repetition_penalty,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            logit_bias={int(name): bias for name, bias in (self.logit_bias or {}).items()},
            logprobs=logprobs,
            json_schema=json_schema,
            ignore_eos=bool(self.ignore_eos),
        )

    def counted(self) -> bool:
        """Whether a stream is to end with the numbers of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def strangers(self) -> list[str]:
        """Names of the given fields, also of inner ones, that change nothing."""
        inner = (self.stream_options or StreamOptions()).unlisted()
        return [*self.unlisted(), *(f"stream_options.{name}" for name in inner)]


def refuse_lacking(sampling: Sampling, lacks: Container[str], names: Mapping[str, str]) -> None:
    """Unsupported for every field that the engine lacks and the request asks for; ``names``: other names of fields."""
    neutral = Sampling()
    for name, value in vars(sampling).items():
        if name in lacks and value != vars(neutral)[name]:
            field = names.get(name, name)
            raise Unsupported(unsupported(field, value), key=field)


def lacking(*problems: Problem) -> None:
    """Unsupported with these problems, if there are any."""
    if problems:
        raise Unsupported(*problems)


def unsupported(field: str, given: Any, accepted: Any = None) -> Message:
    """The sentence that a field asks for what is not done here; ``accepted``: what asks for nothing."""
    neutral = vars(Sampling()).get(field) if accepted is None else accepted
    shown = Say.nothing() if neutral in (None, "") else plain(neutral)
    return Say.unsupported(field=field, given=plain(given), accepted=shown)
