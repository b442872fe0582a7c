"""Whether the export turns a prompt into the same tokens, also where its engine reads it without our help. Knows no verdict."""

from collections.abc import Sequence
from typing import Any

from workbench.engines import Chat, Engine, OwnReader
from workbench.evaluating.records import Question
from workbench.problems import UserError
from workbench.proving.sides import Side

PLAIN = {"role", "content"}
"""What a message holds that every engine takes alike: of calls and thoughts each has a shape of its own."""


def reads_alike(engine: Engine, side: Side, question: Question, tokens: Sequence[int]) -> bool:
    """Whether the question becomes these tokens in the export as well. Where the engine has a tokenizer and a template of
    its own, in the file that it opened, these must say so too; of an adapter alone that file is its base's."""
    if list(engine.tokens(Chat(question.messages, question.tools))) != list(tokens):
        return False
    if not isinstance(engine, OwnReader) or not side.brings_template or not _is_plain(question, side.opening.tokenizer()):
        return True
    try:
        return list(engine.read(Chat(question.messages))) == list(tokens)
    except UserError:  # no place in its template for what ours had one for
        return False


def _is_plain(question: Question, tokenizer: Any) -> bool:
    """Whether any program would read it so: words alone, none of which looks like a special token. Such a word written by
    a person is plain text here, and others take it for the token."""
    if question.tools or any(set(one) - PLAIN or not isinstance(one.get("content"), str) for one in question.messages):
        return False
    special = tokenizer.get_added_vocab()
    return not any(word in one["content"] for one in question.messages for word in special)
