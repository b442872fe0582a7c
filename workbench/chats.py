"""How a chat becomes text and tokens, and which of them are trained. Knows no dataset, no run and no weights.

Two ways: a named template of ``templates/`` (Jinja with generation marks around each answer and its end of turn), or
``auto``, the model's own. Text and trained parts come from one source in both.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from workbench.fields import plain
from workbench.problems import UserError
from workbench.text import Text

TEMPLATES = Path(__file__).parent / "templates"
Messages = Sequence[Mapping[str, str]]


class Say:
    unknown = Text("No chat template named '{given}'. Accepted: auto, {known}. Choose one of these.")
    none = Text("The model has no chat template of its own. Accepted: {known}. Choose the one it was trained with.")
    not_prefix = Text(
        "The model's own chat template rewrites earlier turns when a later one comes, so what is trained can't be told. "
        "Accepted: a named template. Choose one of {known}."
    )


@cache
def template_names() -> tuple[str, ...]:
    """The names of templates/, in alphabetical order."""
    return tuple(sorted(path.stem for path in TEMPLATES.glob("*.jinja")))


@cache
def template_facts() -> Mapping[str, Mapping[str, Any]]:
    """What templates.yaml says of each: stop words, end-of-turn token, note."""
    facts: dict[str, Mapping[str, Any]] = yaml.safe_load((TEMPLATES / "templates.yaml").read_text("utf-8"))
    return facts


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
        tokenizer.chat_template = (TEMPLATES / f"{name}.jinja").read_text("utf-8")
    if not tokenizer.chat_template:
        raise UserError(Say.none(known=", ".join(template_names())), key="template")


def render(tokenizer: Any, messages: Messages, ask: bool) -> str:
    """The text of the conversation; with ``ask`` it ends where the model is to answer."""
    text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=ask)
    return text


def render_with_answers(tokenizer: Any, messages: Messages) -> tuple[str, list[tuple[int, int]]]:
    """The text and the character spans of the answers with their end of turn, one for each assistant turn."""
    if "endgeneration" in tokenizer.chat_template:
        from transformers.utils.chat_template_utils import render_jinja_template

        texts, spans = render_jinja_template(
            conversations=[list(messages)],
            chat_template=tokenizer.chat_template,
            return_assistant_tokens_mask=True,
            **tokenizer.special_tokens_map,
        )
        return texts[0], [(start, end) for start, end in spans[0]]
    text = render(tokenizer, messages, ask=False)
    return text, [
        _answer_span(tokenizer, messages[:place], messages[: place + 1], text)
        for place, message in enumerate(messages)
        if message["role"] == "assistant"
    ]


def _answer_span(tokenizer: Any, before: Messages, after: Messages, text: str) -> tuple[int, int]:
    """From where the model is asked to where its turn ends; white space after the end of turn is not trained."""
    asked, answered = render(tokenizer, before, ask=True), render(tokenizer, after, ask=False)
    if not (answered.startswith(asked) and text.startswith(answered)):
        raise UserError(Say.not_prefix(known=", ".join(template_names())), key="template")
    return len(asked), len(answered.rstrip())


def to_tokens(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids and their character spans; the template has written every special token, so none is added."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return encoded["input_ids"], encoded["offset_mapping"]


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
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "answer"}]
    after = render(tokenizer, messages, ask=False).rpartition("answer")[2].strip()
    first = tokenizer(after, add_special_tokens=False)["input_ids"][:1] if after else []
    return {token for token in first if token in tokenizer.added_tokens_decoder}
