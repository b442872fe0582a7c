"""The bodies of all requests that are no chat: completions, embeddings, counting, adapters. Knows no engine and no HTTP."""

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.api.chat_request import Tool
from workbench.api.messages import Messages
from workbench.api.schema import MOST_LIKELY, Drawing, Shape, Token, Words, lacking, refuse_lacking, unsupported
from workbench.engines import Raw, Sampling
from workbench.problems import Problem

USUAL_COMPLETION = 16
"""Tokens of a completion when nothing else is said, as OpenAI has it."""
Texts = Annotated[list[Words], Field(min_length=1, max_length=2048)]
Tokens = Annotated[list[Token], Field(min_length=1)]
ManyTokens = Annotated[list[Tokens], Field(min_length=1, max_length=2048)]


class CompletionRequest(Drawing):
    """A text to continue as it stands, without a chat template."""

    prompt: Words | Texts | Tokens | ManyTokens
    """A text, tokens, or several of either."""
    max_tokens: int | None = Field(None, ge=0)
    """Most tokens of the answer; 0 only with echo: the prompt alone."""
    echo: bool | None = None
    """Begin the answer with the prompt."""
    logprobs: int | None = Field(None, ge=0, le=MOST_LIKELY)
    """With each token its log-probability and those of so many of the likeliest; with echo also those of the prompt."""
    best_of: int | None = Field(None, ge=1)
    suffix: Words | None = None

    def check(self, lacks: Container[str]) -> None:
        """Unsupported for what is not done."""
        problems = []
        if self.suffix:
            problems.append(Problem(unsupported("suffix", self.suffix, ""), "suffix"))
        if self.best_of not in (None, 1, self.n):
            problems.append(Problem(unsupported("best_of", self.best_of, self.n or 1), "best_of"))
        if self.max_tokens == 0 and not self.echo:
            problems.append(Problem(unsupported("max_tokens", 0, USUAL_COMPLETION), "max_tokens"))
        texts = all(isinstance(one.given, str) for one in self.prompts())
        if self.echo and ("score" in lacks if self.scores_prompt() else not texts):
            problems.append(Problem(unsupported("echo", True, False), "echo"))
        lacking(*problems)
        refuse_lacking(self.sampling(), lacks, {})

    def scores_prompt(self) -> bool:
        """Whether it asks how likely the prompt's own tokens are."""
        return bool(self.echo) and self.logprobs is not None

    def wants_likeliest_token(self) -> bool:
        """Whether behind a scored prompt it asks for one token, and that the likeliest, as evaluations do."""
        plain = Sampling(max_tokens=1, temperature=0.0)
        asked = replace(self.sampling(), top_p=plain.top_p, seed=None, stop=(), top_k=0, min_p=0.0, logprobs=None)
        return self.scores_prompt() and asked == plain

    def prompts(self) -> list[Raw]:
        """Each prompt."""
        given: Any = self.prompt
        several = isinstance(given, list) and not isinstance(given[0], int)
        return [Raw(one) for one in given] if several else [Raw(given)]

    def sampling(self) -> Sampling:
        """How the answers are drawn."""
        return self.drawn(USUAL_COMPLETION if self.max_tokens is None else self.max_tokens, self.logprobs)

    def ignored(self) -> list[str]:
        """Names of the given fields that change nothing."""
        return self.strangers()


class EmbeddingRequest(Shape):
    """Texts to be turned into vectors: the mean of the last layer's states over the tokens of each."""

    input: Words | Texts
    """A text, or several."""
    model: Words | None = None
    encoding_format: Literal["float", "base64"] | None = None
    """base64: numbers of four bytes, the smallest first."""
    dimensions: int | None = Field(None, ge=1)

    def check(self, lacks: Container[str]) -> None:
        """Unsupported for what is not done."""
        if self.dimensions is not None:
            lacking(Problem(unsupported("dimensions", self.dimensions, ""), "dimensions"))
        if "embeddings" in lacks:
            lacking(Problem(unsupported("input", self.input, ""), "input"))

    def texts(self) -> Sequence[str]:
        """Each text."""
        return [self.input] if isinstance(self.input, str) else self.input


class TokenizeRequest(Shape):
    """A text, or a chat with all that its template adds, to be counted."""

    model: Words | None = None
    prompt: Words | None = None
    messages: Messages | None = None
    tools: list[Tool] | None = None


class AdapterRequest(Shape):
    """An adapter to answer to, or to answer to no more."""

    lora_name: Words = Field(min_length=1, max_length=200)
    """The model name under which it answers."""
    lora_path: Words | None = None
    """A run, or a folder inside the workspace; not given: the run of that name."""
