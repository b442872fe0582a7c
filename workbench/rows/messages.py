"""Lists of messages as turns: keys and roles by the names of a layout, calls, thoughts, parts, weights. Knows no format."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.formats import Turn
from workbench.rows.order import Part, misplaced
from workbench.rows.repairs import order_wrong, results_moved
from workbench.rows.roles import CONTENT_KEYS, ROLE_KEYS, ROLE_WORDS, ROLES, Kind, Tongue, tongue
from workbench.rows.tools import OPENING, calls_of, text_and_calls, thought_and_answer
from workbench.rows.values import Say as ValuesSay
from workbench.rows.values import Wrong, blank, digits, from_json, list_in, shown
from workbench.text import Message, Text

THOUGHT_KEYS = ("reasoning_content", "reasoning", "thinking")
WEIGHT_KEYS = ("weight", "loss_weight", "train", "loss")
MOST = 1000
"""No message counts more than this."""
TEXT_PARTS = ("text", "input_text", "output_text")


class Say:
    not_message = Text("Message {number} of '{column}' is {given}. Accepted: an object with {keys}. Mend it.")
    no_key = Text("Message {number} of '{column}' has no '{key}'. Accepted: an object with {keys}. Mend it.")
    other_keys = Text("Message {number} of '{column}' has {given}. Accepted: {keys}. It is read with these names.")
    role = Text("Message {number} of '{column}' is from {given}. Accepted: {known}. Mend it, or set the role's name.")
    other_role = Text("Message {number} of '{column}' is from '{given}'. Accepted: {known}. It is read as {meant}.")
    no_text = Text("Message {number} of '{column}' has no text. Accepted: any text. Write it, or take the row out.")
    no_answer = Text("Message {number} of '{column}' is an answer without text. Accepted: any text. Write the answer.")
    not_text = Text("Message {number} of '{column}' holds {given}. Accepted: text. Put text there.")
    number = Text("Message {number} of '{column}' is a number. Accepted: text. It is read as {given}.")
    as_json = Text("Message {number} of '{column}' is an object. Accepted: text. It is read as its JSON.")
    part = Text("Message {number} of '{column}' holds a part of kind '{given}'. Accepted: text. Take the row out.")
    two_thoughts = Text(
        "Message {number} of '{column}' has a thought of its own and one in its text. Accepted: one. Remove the other."
    )
    weight = Text("Message {number} of '{column}' has the weight {given}. Accepted: a number from 0 to 1000. Mend it.")
    only_answers = Text(
        "Message {number} of '{column}' is no answer and has the weight {given}. Accepted: 0, as only answers are learned."
        " Set it to 0."
    )


def turns_in(row: Mapping[str, Any], column: str, tags: Mapping[str, str], part: Part | None) -> list[Turn]:
    """The turns of a column of messages, in an order that can be learned; without ``part`` a whole conversation or,
    when it begins with an answer, only what follows a question. A system turn that says nothing is left out."""
    value = row.get(column)
    messages = [value] if isinstance(value, Mapping) else list_in(row, column, ValuesSay.messages)
    speech, turns = tongue(tags), list[Turn]()
    for place, message in enumerate(messages):
        try:
            turns.append(_turn(message, speech))
        except Wrong as wrong:
            raise _placed(wrong, column, messages, place, speech) from None
    roles = [turn.role for turn in turns]
    if part is None:
        part = "answer" if roles[:1] == ["assistant"] else "whole"
    wrong_place = misplaced(roles, part)
    if wrong_place:
        raise order_wrong(wrong_place, column, messages, turns, speech.role, speech.content)
    moved = results_moved(column, messages, turns) if "tool" in roles else None
    if moved:
        raise moved
    if turns[0].role == "system" and blank(turns[0].content):
        del turns[0]
    return turns


def _placed(wrong: Wrong, column: str, messages: Sequence[Any], place: int, speech: Tongue) -> Wrong:
    """The error of one message as that of its row; a safe mend is made in every message at once."""
    args = {**wrong.reason.args, "number": place + 1, "column": column}
    reason = Message(wrong.reason.key, wrong.reason.english, args)
    if wrong.change is None:
        return Wrong(reason)
    mended = list(messages)
    mended[place] = {**messages[place], **wrong.change}
    if wrong.safe:
        mended[place:] = [_safely(message, speech) for message in mended[place:]]
    return Wrong(reason, {column: mended}, wrong.safe)


def _safely(message: Any, speech: Tongue) -> Any:
    """The message with every safe mend that it needs."""
    for _ in range(8):
        try:
            _turn(message, speech)
        except Wrong as wrong:
            if wrong.change is None or not wrong.safe:
                break
            message = {**message, **wrong.change}
        else:
            break
    return message


def _turn(message: Any, speech: Tongue) -> Turn:
    if type(message) is not dict and not isinstance(message, Mapping):
        raise Wrong(Say.not_message(given=shown(message), keys=speech.keys()))
    word = message.get(speech.role)
    kind = speech.kinds.get(word) if type(word) is str else None
    if kind is None:
        raise _unknown(message, word, speech)
    content = message.get(speech.content)
    if kind == "assistant" or kind == "function":
        return _answer(message, content, kind, speech)
    if type(content) is not str:
        if content is None and speech.content not in message and not message.get("tool_calls"):
            raise _unknown(message, word, speech)
        content = _text(content, kind, speech)
    if len(message) > 2:
        weight = _weight(message)
        if weight is not None and weight[1] > 0:
            raise Wrong(Say.only_answers(given=shown(message[weight[0]])), {weight[0]: 0})
    if kind == "user" and blank(content):
        raise Wrong(Say.no_text())
    return Turn(ROLES[kind], content)


def _unknown(message: Mapping[str, Any], word: Any, speech: Tongue) -> Wrong:
    """Why a message has no role or no content that is known, and what is meant by other common names."""
    change: dict[str, Any] = {}
    for key, others in ((speech.role, ROLE_KEYS), (speech.content, CONTENT_KEYS)):
        other = next((name for name in others if name in message), None)
        if key in message or (key == speech.content and message.get("tool_calls")):
            continue
        if other is None:
            return Wrong(Say.no_key(key=key, keys=speech.keys()))
        change[key] = message[other]
    if change:
        given = ", ".join(f"'{key}'" for key in message)
        return Wrong(Say.other_keys(given=given, keys=speech.keys()), change, safe=True)
    meant = ROLE_WORDS.get(word.strip().lower()) if isinstance(word, str) else None
    if meant is None:
        return Wrong(Say.role(given=shown(word), known=speech.known()))
    said = Say.other_role(given=word, known=speech.known(), meant=speech.words[meant])
    return Wrong(said, {speech.role: speech.words[meant]}, safe=True)


def _text(content: Any, kind: Kind, speech: Tongue) -> str:
    """The text of a message that is no plain string: a list of parts that are texts."""
    if content is None:
        if kind == "system":
            return ""
        raise Wrong(Say.no_text())
    if isinstance(content, list | tuple) and all(isinstance(part, Mapping) and "type" in part for part in content):
        return "".join(_part(part) for part in content)
    number = digits(content)
    if number is not None:
        raise Wrong(Say.number(given=number), {speech.content: number}, safe=True)
    if kind == "observation" and isinstance(content, list | dict):
        return _raise_json(content, speech)
    raise Wrong(Say.not_text(given=shown(content)))


def _raise_json(content: Any, speech: Tongue) -> str:
    raise Wrong(Say.as_json(), {speech.content: json.dumps(content, ensure_ascii=False, default=str)}, safe=True)


def _part(part: Mapping[str, Any]) -> str:
    text = part.get("text", part.get("value"))
    if part["type"] not in TEXT_PARTS or not isinstance(text, str):
        raise Wrong(Say.part(given=part["type"]))
    return text


def _answer(message: Mapping[str, Any], content: Any, kind: Kind, speech: Tongue) -> Turn:
    """A turn of the assistant: text, a thought, calls, and how much it counts."""
    if type(content) is str and kind == "assistant" and len(message) == 2:
        thought, text = thought_and_answer(content)
        if not text or text.isspace():
            raise Wrong(Say.no_answer())
        return Turn("assistant", text, thought)
    thought = next((message[key] for key in THOUGHT_KEYS if message.get(key)), "")
    calls = []
    for key in ("tool_calls", "function_call"):
        if message.get(key):
            calls += calls_of(message[key])
    if isinstance(content, list | tuple) and all(isinstance(part, Mapping) and "type" in part for part in content):
        content, inner, found = _answer_parts(content)
        thought, calls = thought or inner, calls + found
    if kind == "function" and not calls:
        inner, content, calls = _called(content)
        thought = thought or inner
    if content is None and speech.content not in message and not calls:
        raise _unknown(message, message.get(speech.role), speech)
    if not isinstance(content, str):
        content = "" if content is None else _text(content, kind, speech)
    if not isinstance(thought, str):
        raise Wrong(Say.not_text(given=shown(thought)))
    if thought and content.startswith(OPENING):
        raise Wrong(Say.two_thoughts())
    if not thought:
        thought, content = thought_and_answer(content if content or not calls else "")
    if blank(content) and not calls:
        raise Wrong(Say.no_answer())
    weight = _weight(message)
    return Turn("assistant", content, thought, calls, 1.0 if weight is None else weight[1])


def _called(content: Any) -> tuple[str, str, list[Any]]:
    """Thought, text and calls of a turn that is a call by its role."""
    if not isinstance(content, str):
        return "", "", calls_of(content)
    thought, content = thought_and_answer(content)
    return thought, *text_and_calls(content)


def _answer_parts(parts: Sequence[Mapping[str, Any]]) -> tuple[str, str, list[Any]]:
    """Text, thought and calls of an answer in parts."""
    texts, thoughts, calls = "", "", list[Any]()
    for part in parts:
        value = part.get("value", part.get("text"))
        if part["type"] in ("reasoning", "thinking"):
            thoughts += str(value or part.get(part["type"]) or "")
        elif part["type"] == "tool_call":
            inner = from_json(value) if isinstance(value, str) else value
            calls += calls_of(value if inner is None else inner)
        else:
            texts += _part(part)
    return texts, thoughts, calls


def _weight(message: Mapping[str, Any]) -> tuple[str, float] | None:
    """The key that says how much the message counts, and how much."""
    for key in WEIGHT_KEYS:
        value = message.get(key)
        if value is None:
            continue
        if not isinstance(value, int | float) or not 0 <= value <= MOST:
            raise Wrong(Say.weight(given=shown(value)))
        return key, float(value)
    return None
