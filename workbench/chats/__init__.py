"""How a chat becomes text and tokens, and which of them are trained. Knows no dataset, no run and no weights.

Two ways: a named template of ``templates/`` (Jinja with generation marks around each answer and its end of turn), or
``auto``, the model's own. Text and trained parts come from one source in both.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from workbench.chats.answers import Messages, Untold, Writing, closing, compiled, without_marks
from workbench.chats.lookalikes import OPEN, Span, Tokens, exact_tokens, laid_bare, shield_of
from workbench.fields import plain
from workbench.problems import UserError
from workbench.text import Message, Text, verbatim

TEMPLATES = Path(__file__).parent.parent / "templates"

PIECE = re.compile(r"^\{%- include '(\w+)\.jinja' %\}\n", re.MULTILINE)


class Say:
    unknown = Text("No chat template named '{given}'. Accepted: auto, {known}. Choose one of these.")
    none = Text("The model has no chat template of its own. Accepted: {known}. Choose the one it was trained with.")
    not_prefix = Text(
        "The model's own chat template rewrites earlier turns when a later one comes, so what is trained can't be told. "
        "Accepted: a named template. Choose one of {known}."
    )
    refused = Text("The chat template refuses this conversation: {reason} Change its roles or their order.")


class Refused(UserError):
    """The template has no place for these messages, or what is trained in them can't be told; ``reason`` says why,
    where it can in the template's own words."""

    def __init__(self, said: Message, reason: str) -> None:
        self.reason = reason
        super().__init__(said, key="template")


@dataclass(frozen=True)
class ChatOptions:
    """What a person chose beside the template."""

    enable_thinking: bool | None = None
    """None: as the template does by itself."""
    default_system: str = ""
    """Said where a conversation brings no system text."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text, with spans of characters in it."""

    text: str
    answers: Sequence[Span]
    """One for each assistant turn in order: the answer with its thought, its calls and its end of turn."""
    plain: Sequence[Span] = ()
    """What looks like a special token but was written by a person, so that it becomes ordinary tokens."""


# Names and files


@cache
def template_names() -> tuple[str, ...]:
    """The names of templates/, in alphabetical order."""
    return tuple(sorted(path.stem for path in TEMPLATES.glob("*.jinja")))


@cache
def template_facts() -> Mapping[str, Mapping[str, Any]]:
    """What templates.yaml says of each: stop words, end-of-turn token, note."""
    facts: dict[str, Mapping[str, Any]] = yaml.safe_load((TEMPLATES / "templates.yaml").read_text("utf-8"))
    return facts


@cache
def template_text(name: str) -> str:
    """The whole Jinja of a named template: a piece that it includes stands in it, since it is saved with the model."""
    own = (TEMPLATES / f"{name}.jinja").read_text("utf-8")
    return PIECE.sub(lambda found: (TEMPLATES / "pieces" / f"{found[1]}.jinja").read_text("utf-8"), own)


def check_template(given: str) -> str:
    """The name of the template's file, aliases resolved; UserError beside ``template`` when there is none."""
    aliases = {alias: name for name, facts in template_facts().items() for alias in facts.get("aliases", [])}
    name = aliases.get(given, given)
    if name != "auto" and name not in template_names():
        raise UserError(Say.unknown(given=plain(given), known=", ".join(template_names())), key="template")
    return name


def use_template(tokenizer: Any, given: str) -> None:
    """Give the tokenizer the named template, so that it is saved with the model; ``auto`` leaves its own."""
    name = check_template(given)
    if name != "auto":
        tokenizer.chat_template = template_text(name)
    if not tokenizer.chat_template:
        raise UserError(Say.none(known=", ".join(template_names())), key="template")


# Text


def render(
    tokenizer: Any,
    messages: Messages,
    ask: bool,
    tools: Sequence[Mapping[str, Any]] = (),
    options: ChatOptions = ChatOptions(),
) -> Rendered:
    """The conversation as the tokenizer's chat template writes it; Refused when that has no place for it.

    With ``ask`` it ends where the model is to answer, and answers are told only if the template itself marks them.
    """
    if options.default_system:
        messages = with_system(messages, options.default_system)
    shield, kept = shield_of(tokenizer), dict[str, str]()
    values = {**tokenizer.special_tokens_map, "documents": None}
    if options.enable_thinking is not None:
        values["enable_thinking"] = options.enable_thinking
    told = [shield.message(one, kept) for one in messages]
    text = _written(
        tokenizer.get_chat_template(tools=tools or None), told, shield.over(list(tools), kept) or None, values, ask
    )
    return Rendered(*laid_bare(text, kept))


def with_system(messages: Messages, system: str) -> Messages:
    """The messages with that system text where they bring none, or an empty one."""
    brings = bool(messages) and messages[0]["role"] == "system"
    if brings and str(messages[0]["content"] or "").strip():
        return messages
    return [{"role": "system", "content": system}, *messages[brings:]]


def _written(template: str, messages: Messages, tools: Any, values: Mapping[str, Any], ask: bool) -> str:
    """The text with our marks around the answers; with ``ask`` only where the template sets them."""
    from jinja2 import TemplateError

    try:
        writing = Writing(compiled(template), messages, tools, values)
        text = writing.text(len(messages), ask)
    except (TemplateError, TypeError) as error:
        raise Refused(Say.refused(reason=verbatim(str(error))), str(error)) from error
    if ask or text.count(OPEN) == sum(message["role"] == "assistant" for message in messages):
        return text
    try:
        return writing.marked(without_marks(text))
    except Untold as error:
        said = Say.not_prefix(known=", ".join(template_names()))
        raise Refused(said, str(said)) from error


# Tokens


def to_tokens(tokenizer: Any, rendered: Sequence[Rendered]) -> list[Tokens]:
    """Ids and offsets of each; the template has written every special token, so none is added."""
    easy = [one.text for one in rendered if not one.plain]
    encoded = iter(_encoded(tokenizer, easy) if easy else ())
    return [exact_tokens(tokenizer, one.text, one.plain) if one.plain else next(encoded) for one in rendered]


def _encoded(tokenizer: Any, texts: list[str]) -> Iterator[Tokens]:
    found = tokenizer(
        texts, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False,
        return_token_type_ids=False, verbose=False,
    )  # fmt: skip
    for ids, offsets in zip(found["input_ids"], found["offset_mapping"], strict=True):
        yield Tokens(ids, offsets)


# Where an answer ends


def stop_tokens(tokenizer: Any, template: str) -> list[int]:
    """Ids that end an answer: the tokenizer's eos, and the template's stop words or end of turn that are one token."""
    name = check_template(template)
    if name == "auto":
        found = _end_of_turn(tokenizer)
    else:
        found = set(tokenizer.convert_tokens_to_ids(list(template_facts()[name].get("stop", []))))
    return sorted({tokenizer.eos_token_id, *found} - {None, tokenizer.unk_token_id})


def _end_of_turn(tokenizer: Any) -> set[int]:
    """The special token that the model's own template writes after an answer; empty when it writes none.

    Base models come with a chat template whose end of turn is not their eos: without it an answer never ends.
    """
    try:
        after = closing(compiled(tokenizer.get_chat_template()), tuple(tokenizer.special_tokens_map.items()))
    except Untold:
        return set()
    first = tokenizer(after, add_special_tokens=False)["input_ids"][:1] if after else []
    return {token for token in first if token in tokenizer.added_tokens_decoder}
