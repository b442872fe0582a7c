"""A question and what may follow it: answers as texts or messages, the better of two, good or bad. Knows no format."""

import re
from collections.abc import Mapping, Sequence

from workbench.formats import Layout, Row, Sample, Turn
from workbench.rows.messages import turns_in
from workbench.rows.roles import usual_tags
from workbench.rows.tools import OPENING, thought_and_answer, tools_in
from workbench.rows.values import Wrong, blank, label_in, not_text, text_in
from workbench.text import Text

TRANSCRIPT = re.compile(r"\n\nHuman: (.*?)\n\nAssistant:(?: (.*?))?(?=\n\nHuman: |\Z)", re.DOTALL)
"""A conversation as one text, as early sets of preferences have it."""


class Say:
    no_prompt = Text("No question: '{column}' is empty or missing. Accepted: text or messages. Write it.")
    no_answer = Text("No answer: '{column}' is empty or missing. Accepted: text or messages. Write it.")
    only_pair = Text(
        "No answer: '{column}' is empty or missing, but there are '{chosen}' and '{rejected}'. "
        "Accepted: an answer, or ranking true for such rows. Set ranking in dataset_info.json."
    )
    two_systems = Text(
        "'{column}' is not the system text that leads the messages. Accepted: one. Join them, or remove one."
    )
    two_thoughts = Text("'{column}' and the answer both hold a thought. Accepted: one. Remove the other.")
    other_question = Text(
        "'{column}' begins with another question than '{other}'. Accepted: answers to one question. Mend the row."
    )
    both = Text("The row holds two answers to compare and '{column}'. Accepted: one of them. Empty the other.")


def with_system(row: Row, layout: Layout, turns: list[Turn]) -> list[Turn]:
    """The turns led by the text of the system column, where there is one."""
    column = layout.columns.get("system", "")
    text = text_in(row, column)
    if blank(text) or not turns:
        return turns
    if turns[0].role != "system":
        return [Turn("system", text), *turns]
    if turns[0].content.strip() != text.strip():
        raise Wrong(Say.two_systems(column=column))
    return turns


def answer(row: Row, column: str, thoughts: str = "") -> Turn:
    """The turn of a column of plain answers; ``thoughts`` names the column of what was thought before."""
    text = text_in(row, column)
    reasoning = text_in(row, thoughts) if thoughts else ""
    if not reasoning:
        reasoning, text = thought_and_answer(text)
    elif text.startswith(OPENING):
        raise Wrong(Say.two_thoughts(column=thoughts))
    if not text or text.isspace():
        raise Wrong(Say.no_answer(column=column))
    return Turn("assistant", text, reasoning)


def is_messages(row: Row, column: str) -> bool:
    """Whether the column holds messages rather than text."""
    return isinstance(row.get(column), list | tuple | Mapping)


def question(row: Row, column: str, tags: Mapping[str, str]) -> list[Turn]:
    """The turns up to the question, from a text or messages; empty when there are none."""
    if is_messages(row, column) and row[column]:
        return turns_in(row, column, {**usual_tags(row[column]), **tags}, "question")
    text = text_in(row, column) if not is_messages(row, column) else ""
    return [] if blank(text) else [Turn("user", text)]


def following(row: Row, column: str, tags: Mapping[str, str], thoughts: str = "") -> list[Turn]:
    """What a column says after the question: an answer, further turns, or the whole conversation once more."""
    value = row.get(column)
    if is_messages(row, column) and value:
        return turns_in(row, column, {**usual_tags(value), **tags}, None)
    if value is not None and not isinstance(value, str) and value != []:
        raise not_text(column, value)
    if isinstance(value, str) and value.startswith("\n\nHuman: "):
        turns = _transcript(value)
        if turns:
            return turns
    if not value:
        raise Wrong(Say.no_answer(column=column))
    return [answer(row, column, thoughts)]


def _transcript(text: str) -> list[Turn]:
    """The turns of a conversation that is one text; empty when it isn't written that way throughout."""
    found = list(TRANSCRIPT.finditer(text))
    whole = sum(one.end() - one.start() for one in found) == len(text)
    if not whole or not all(one[1].strip() and (one[2] or "").strip() for one in found):
        return []
    return [turn for one in found for turn in (Turn("user", one[1]), Turn("assistant", one[2]))]


def joined(asked: Sequence[Turn], said: list[Turn], column: str, other: str) -> list[Turn]:
    """The question with what follows it; ``said`` may repeat the question."""
    if said[0].role == "assistant":
        if not asked:
            raise Wrong(Say.no_prompt(column=other))
        return [*asked, *said]
    if asked and not _repeats(said, asked):
        raise Wrong(Say.other_question(column=column, other=other))
    leads = asked and asked[0].role == "system" and said[0].role != "system"
    return [asked[0], *said] if leads else said


def _repeats(said: Sequence[Turn], asked: Sequence[Turn]) -> bool:
    inner, outer = _spoken(asked), _spoken(said)
    return list(outer[: len(inner)]) == list(inner)


def _spoken(turns: Sequence[Turn]) -> Sequence[Turn]:
    return turns[1:] if turns and turns[0].role == "system" else turns


def preference(row: Row, layout: Layout, asked: list[Turn], asked_in: str) -> Sample:
    """The sample of a better and a worse answer. What both have in common at the beginning is the question."""
    names = layout.columns
    if row.get(names.get("kto_tag", "")) is not None:
        raise Wrong(Say.both(column=names["kto_tag"]))
    good = joined(asked, following(row, names["chosen"], layout.tags), names["chosen"], asked_in)
    bad = joined(asked, following(row, names["rejected"], layout.tags), names["rejected"], asked_in)
    repeated = asked and good[: len(asked)] == asked == bad[: len(asked)]
    place = len(asked) if repeated else _parting(good, bad)
    if good[place].role != "assistant" or bad[place].role != "assistant":
        raise Wrong(Say.other_question(column=names["rejected"], other=names["chosen"]))
    turns = with_system(row, layout, good[:place])
    return Sample(turns, tools_in(row, names.get("tools", "")), good[place:], bad[place:])


def _parting(good: Sequence[Turn], bad: Sequence[Turn]) -> int:
    """The first turn in which two conversations differ; their last when they are the same."""
    last = min(len(good), len(bad)) - 1
    return next((at for at in range(last) if good[at] != bad[at]), last)


def labelled(row: Row, layout: Layout) -> bool | None:
    """Whether the last answer is good; None when the row does not say."""
    column = layout.columns.get("kto_tag", "")
    return None if not column or row.get(column) is None else label_in(row, column)
