"""The alpaca format: instruction, input, output, and optionally system and history. Knows no files."""

from collections.abc import Sequence
from typing import Any

from workbench.formats import Columns, Excluded, Row, Sample, Turn
from workbench.text import Text


class Say:
    no_prompt = Text("No question: '{column}' is empty or missing.")
    no_answer = Text("No answer: '{column}' is empty or missing.")
    not_text = Text("'{column}' is {given}, not text.")
    history = Text("'{column}' must be a list of pairs of a question and an answer.")


COLUMNS: Columns = {
    "prompt": "instruction",
    "query": "input",
    "response": "output",
    "system": "system",
    "history": "history",
}
EXAMPLE: Row = {"instruction": "Name a prime number.", "input": "", "output": "7"}


def matches(columns: Sequence[str]) -> bool:
    """Alpaca has an instruction and an output."""
    return {"instruction", "output"} <= set(columns)


def sample(row: Row, columns: Columns) -> Sample | Excluded:
    """System, history, then the question (instruction and input on lines of their own) and its answer."""
    texts: dict[str, str] = {}
    for name in ("prompt", "query", "response", "system"):
        column = columns.get(name, "")
        value = row.get(column) if column else None
        if value is not None and not isinstance(value, str):
            return Excluded(Say.not_text(column=column, given=type(value).__name__))
        texts[name] = value or ""
    question = "\n".join(part for part in (texts["prompt"], texts["query"]) if part.strip())
    if not question:
        return Excluded(Say.no_prompt(column=columns.get("prompt", "")))
    if not texts["response"].strip():
        return Excluded(Say.no_answer(column=columns.get("response", "")))
    history = _history(row.get(columns.get("history", "")) or [])
    if history is None:
        return Excluded(Say.history(column=columns["history"]))
    system = [Turn("system", texts["system"])] if texts["system"].strip() else []
    return Sample([*system, *history, Turn("user", question), Turn("assistant", texts["response"])])


def _history(pairs: Any) -> list[Turn] | None:
    turns: list[Turn] = []
    if not isinstance(pairs, list):
        return None
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            return None
        turns += [Turn("user", pair[0]), Turn("assistant", pair[1])]
    return turns
