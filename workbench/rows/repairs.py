"""What could be done with messages in an order that can't be learned; never by itself. Knows no format."""

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.formats import Turn
from workbench.rows.order import Misplaced
from workbench.rows.values import Wrong, blank
from workbench.text import Text


class Say:
    empty = Text("'{column}' holds no messages. Accepted: a question and an answer. Write them, or take the row out.")
    system = Text(
        "Message {number} of '{column}' is a system text. Accepted: one, as the first message. Move it there."
    )
    first = Text(
        "The first message of '{column}' is from '{given}'. Accepted: {accepted} first. "
        "Leave out what stands before it, or take the row out."
    )
    twice = Text(
        "Messages {before} and {number} of '{column}' are both from '{given}'. Accepted: question and answer in turn. "
        "Join the two, or remove one."
    )
    follows = Text(
        "Message {number} of '{column}' is from '{given}' and follows one from '{other}'. "
        "Accepted: question and answer in turn. Move or remove it."
    )
    last = Text(
        "'{column}' ends with a message from '{given}'. Accepted: {accepted} at the end. "
        "Write what is missing, or leave the last message out."
    )
    moved = Text(
        "The results in '{column}' come in another order than their calls. It is read in the order of the calls."
    )
    answer = Text("an answer")
    question = Text("a question")


def order_wrong(
    found: Misplaced, column: str, messages: Sequence[Mapping[str, Any]], turns: Sequence[Turn], role: str, content: str
) -> Wrong:
    """The error of a misplaced message with the messages as they could be, to be proposed."""
    at, given = found.at, messages[found.at][role] if found.at < len(messages) else ""
    if found.kind == "empty":
        return Wrong(Say.empty(column=column))
    if found.kind == "system":
        mended = _joined(messages, turns, at, role, content) if at == 1 else None
        return Wrong(Say.system(column=column, number=at + 1), _change(column, mended))
    if found.kind == "first":
        wants_question = turns[at].role != "user"
        start = next((i for i in range(at, len(turns)) if (turns[i].role == "user") is wants_question), None)
        mended = None if start is None else [*messages[:at], *messages[start:]]
        accepted = Say.question() if wants_question else Say.answer()
        return Wrong(Say.first(column=column, given=given, accepted=accepted), _change(column, mended))
    if found.kind == "twice":
        mended = _joined(messages, turns, at, role, content)
        return Wrong(Say.twice(column=column, before=at, number=at + 1, given=given), _change(column, mended))
    if found.kind == "follows":
        return Wrong(Say.follows(column=column, number=at + 1, given=given, other=messages[at - 1][role]))
    accepted = Say.question() if turns[at].role == "assistant" else Say.answer()
    end = at
    while end and turns[end - 1].role == turns[at].role:
        end -= 1
    mended = list(messages[:end]) if any(turn.role != "system" for turn in turns[:end]) else None
    return Wrong(Say.last(column=column, given=given, accepted=accepted), _change(column, mended))


def _change(column: str, mended: Sequence[Any] | None) -> Mapping[str, Any] | None:
    return None if mended is None else {column: mended}


def _joined(
    messages: Sequence[Mapping[str, Any]], turns: Sequence[Turn], at: int, role: str, content: str
) -> list[Mapping[str, Any]] | None:
    """The messages with two neighbours of one role as one, a blank line between their texts."""
    first, second = messages[at - 1], messages[at]
    texts = first.get(content), second.get(content)
    if turns[at - 1].tool_calls or not all(isinstance(text, str) or text is None for text in texts):
        return None
    text = "\n\n".join(text for text in texts if text and not blank(text))
    return [*messages[: at - 1], {**first, **second, content: text}, *messages[at + 1 :]]


def results_moved(column: str, messages: Sequence[Mapping[str, Any]], turns: Sequence[Turn]) -> Wrong | None:
    """The error of results that stand in another order than the calls whose ids they carry; a turn keeps no ids."""
    mended = list(messages)
    for at, turn in enumerate(turns):
        calls = messages[at].get("tool_calls")
        if turn.role != "assistant" or not isinstance(calls, list | tuple):
            continue
        asked = [str(call.get("id")) for call in calls if isinstance(call, Mapping)]
        end = at + 1
        while end < len(turns) and turns[end].role == "tool":
            end += 1
        by_id = {str(message.get("tool_call_id")): message for message in messages[at + 1 : end]}
        if len(by_id) == len(asked) == end - at - 1 and set(by_id) == set(asked):
            mended[at + 1 : end] = [by_id[one] for one in asked]
    return None if mended == messages else Wrong(Say.moved(column=column), {column: mended}, safe=True)
