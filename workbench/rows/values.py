"""The values of a row: texts, lists, yes or no, and what can be put right in them. Knows no format and no message."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from workbench.formats import Fault, Layout, Row, Sample
from workbench.text import Message, Text

ROUNDS = 200
"""More mends than this for one row are not tried."""
MEDIA = ("images", "videos", "audios")
PLAIN_TRUTH: Mapping[str, bool] = {
    **dict.fromkeys(("true", "1", "1.0"), True),
    **dict.fromkeys(("false", "0", "0.0"), False),
}
"""How programs write yes and no, in text or as numbers: nothing needs to be put right there."""
TRUTH: Mapping[str, bool] = {**PLAIN_TRUTH, "yes": True, "是": True, "no": False, "否": False}


class Say:
    not_text = Text("'{column}' is {given}. Accepted: text. Put text there, or choose another column.")
    number = Text("'{column}' is a number. Accepted: text. It is read as {given}; put it in quotes to keep it as written.")
    not_list = Text("'{column}' is {given}. Accepted: a list of {items}. Put a list there, or choose another column.")
    list_in_text = Text("'{column}' is text that holds a list. Accepted: a list of {items}. It is read as that list.")
    label = Text("'{column}' is {given}. Accepted: true or false. Write which of them is meant.")
    label_word = Text("'{column}' is {given}. Accepted: true or false. It is read as {meant}.")
    media = Text("'{column}' holds images, video or sound. Accepted: text only. Take the row out, or empty the column.")
    nothing = Text("empty or missing")
    messages = Text("messages")
    several = Text("{first} {others}")
    pairs = Text("pairs of a question and an answer")


class Wrong(Exception):
    """What keeps a row from being read. ``change`` holds the columns as they could be; it ends as a Fault."""

    def __init__(self, reason: Message, change: Mapping[str, Any] | None = None, safe: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.change, self.safe = reason, change, safe


def reader(read: Callable[[Row, Layout], Sample]) -> Callable[[Row, Layout], Sample | Fault]:
    """A format's ``sample`` from a function that raises Wrong. Whatever mend its faults bring can itself be read."""

    @wraps(read)
    def sample(row: Row, layout: Layout) -> Sample | Fault:
        try:
            return read(row, layout)
        except Wrong as wrong:
            return _fault(read, row, layout, wrong)

    return sample


def _fault(read: Callable[[Row, Layout], Sample], row: Row, layout: Layout, wrong: Wrong) -> Fault:
    """Every change that the row needs in turn, each with its reason; or the one thing that nobody but a person knows."""
    reasons, safe = dict[tuple[str, Any], Message](), True
    for _ in range(ROUNDS):
        if wrong.change is None:
            break
        reasons.setdefault((wrong.reason.key, wrong.reason.args.get("column")), wrong.reason)
        row, safe = {**row, **wrong.change}, safe and wrong.safe
        try:
            read(row, layout)
        except Wrong as further:
            wrong = further
        else:
            return Fault(_several([*reasons.values()]), row, safe)
    return Fault(wrong.reason)


def _several(reasons: Sequence[Message]) -> Message:
    return reasons[0] if len(reasons) == 1 else Say.several(first=reasons[0], others=_several(reasons[1:]))


def shown(value: Any) -> Message | str:
    """A value of the wrong kind, in short."""
    if value is None or value == "":
        return Say.nothing()
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def blank(text: str) -> bool:
    """Whether a text says nothing."""
    return not text or text.isspace()


def digits(value: Any) -> str | None:
    """The digits of a number that stands where text is meant; None for anything else."""
    if isinstance(value, float):
        return str(value) if math.isfinite(value) else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def text_in(row: Row, column: str) -> str:
    """The text of a column; empty when it is missing."""
    value = row.get(column)
    if type(value) is str:
        return value
    if value is None:
        return ""
    raise not_text(column, value)


def not_text(column: str, value: Any) -> Wrong:
    """The error of a value that should be text; a number becomes its digits."""
    number = digits(value)
    if number is None:
        return Wrong(Say.not_text(column=column, given=shown(value)))
    return Wrong(Say.number(column=column, given=number), {column: number}, safe=True)


def list_in(row: Row, column: str, items: Text) -> list[Any]:
    """The list of a column; empty when it is missing. A table's cell may hold it as JSON."""
    value = row.get(column)
    if type(value) is list:
        return value
    if value is None or (isinstance(value, str) and blank(value)):
        return []
    if isinstance(value, tuple):
        return list(value)
    inner = from_json(value)
    if isinstance(inner, list):
        raise Wrong(Say.list_in_text(column=column, items=items()), {column: inner}, safe=True)
    raise Wrong(Say.not_list(column=column, given=shown(value), items=items()))


def from_json(value: Any) -> Any:
    """What a text that looks like a JSON list or object holds; None when it holds neither."""
    if not (isinstance(value, str) and value.lstrip()[:1] in ("{", "[")):
        return None
    try:
        return json.loads(value)
    except (json.JSONDecodeError, RecursionError):
        return None


def label_in(row: Row, column: str) -> bool:
    """Whether the answer is a good one."""
    value = row.get(column)
    if value is True or value is False:
        return bool(value)
    word = str(value).strip().lower() if isinstance(value, str | int | float) else ""
    if word in PLAIN_TRUTH:
        return PLAIN_TRUTH[word]
    meant = TRUTH.get(word)
    if meant is None:
        raise Wrong(Say.label(column=column, given=shown(value)))
    said = Say.label_word(column=column, given=shown(value), meant="true" if meant else "false")
    raise Wrong(said, {column: meant}, safe=True)


def no_media(row: Row, layout: Layout) -> None:
    """Wrong when the row holds more than text."""
    for name in MEDIA:
        column = layout.columns.get(name)
        if column and row.get(column):
            raise Wrong(Say.media(column=column))
