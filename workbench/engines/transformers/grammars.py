"""Answers that are JSON of a schema, through llguidance. Knows no model and no request."""

import json
from collections.abc import Mapping
from typing import Any

from workbench.problems import UserError, first_line
from workbench.text import Text


class Say:
    bad_schema = Text("The JSON schema can't be used: {reason}. Accepted: a schema that llguidance reads. Simplify it.")


class Grammars:
    """Grammars over one tokenizer. ``ends``: the token that says that the answer is over."""

    def __init__(self, tokenizer: Any, ends: int, vocabulary: int) -> None:
        import llguidance.hf

        self._tokens = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=ends)

    def written(self, token: int) -> bytes:
        """The bytes that the token stands for."""
        return bytes(self._tokens.decode_bytes([token]))

    def json(self, schema: Mapping[str, Any]) -> "Follower":
        """What follows the schema; an empty one means any object. UserError for a schema that is none."""
        from llguidance import LLMatcher

        try:
            wanted = LLMatcher.grammar_from_json_schema(json.dumps(schema or {"type": "object"}))
        except ValueError as error:
            raise _refused(first_line(error)) from error
        matcher = LLMatcher(self._tokens, wanted)
        if matcher.is_error():
            raise _refused(first_line(ValueError(matcher.get_error())))
        return Follower(matcher, self._tokens.vocab_size)


class Follower:
    """One answer before its grammar."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        from llguidance.numpy import allocate_token_bitmask

        self._matcher = matcher
        self._mask = allocate_token_bitmask(1, vocabulary)

    def forbid(self, logits: Any) -> None:
        """Set the logits of tokens that may not come next to minus infinity."""
        from llguidance.numpy import apply_token_bitmask_inplace, fill_next_token_bitmask

        fill_next_token_bitmask(self._matcher, self._mask)
        apply_token_bitmask_inplace(logits, self._mask)

    def take(self, token: int) -> bool:
        """This token has come; whether the answer is now complete."""
        self._matcher.consume_token(token)
        return bool(self._matcher.is_stopped())


def _refused(reason: str) -> UserError:
    return UserError(Say.bad_schema(reason=reason), key="response_format")
