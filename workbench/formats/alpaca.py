"""The alpaca format: a question, perhaps with an input, and its answer in columns of text. Knows no files."""

from collections.abc import Mapping, Sequence

from workbench.formats import Layout, Row, Sample, Turn
from workbench.rows.pairs import Say as PairsSay
from workbench.rows.pairs import answer, labelled, preference, with_system
from workbench.rows.tools import thought_and_answer, tools_in
from workbench.rows.values import Say as ValuesSay
from workbench.rows.values import Wrong, blank, digits, list_in, no_media, reader, shown, text_in
from workbench.text import Text


class Say:
    pair = Text(
        "Entry {number} of '{column}' is {given}. Accepted: a question and its answer. Mend it, or leave the entry out."
    )
    pair_number = Text("Entry {number} of '{column}' holds a number. Accepted: text. It is read as these digits.")


COLUMNS: Mapping[str, str] = {
    "prompt": "instruction",
    "query": "input",
    "response": "output",
    "system": "system",
    "history": "history",
    "reasoning": "reasoning",
    "tools": "tools",
    "chosen": "chosen",
    "rejected": "rejected",
    "kto_tag": "kto_tag",
    "images": "images",
    "videos": "videos",
    "audios": "audios",
}
TAGS: Mapping[str, str] = {}
EXAMPLE: Row = {"instruction": "Name a prime number.", "input": "", "output": "7"}


def matches(columns: Sequence[str]) -> bool:
    """Alpaca has an instruction with an output, or with two outputs to compare."""
    names = set(columns)
    answers = "output" in names or {"chosen", "rejected"} <= names
    return "instruction" in names and answers and not names & {"messages", "conversations"}


@reader
def sample(row: Row, layout: Layout) -> Sample:
    """System, history, then the question (instruction and input on lines of their own) and its answer or answers."""
    names = layout.columns
    no_media(row, layout)
    asked = text_in(row, names["prompt"])
    more = text_in(row, names["query"]) if names["query"] != names["prompt"] else ""
    if not blank(more):
        asked = more if blank(asked) else f"{asked}\n{more}"
    if blank(asked):
        raise Wrong(PairsSay.no_prompt(column=names["prompt"]))
    turns = [*_history(row, names["history"]), Turn("user", asked)]
    if layout.ranking:
        return preference(row, layout, turns, names["prompt"])
    if _only_pair(row, names):
        said = {"chosen": names["chosen"], "rejected": names["rejected"]}
        raise Wrong(PairsSay.only_pair(column=names["response"], **said))
    turns.append(answer(row, names["response"], names["reasoning"]))
    turns = with_system(row, layout, turns)
    return Sample(turns, tools_in(row, names["tools"]), label=labelled(row, layout))


def _only_pair(row: Row, names: Mapping[str, str]) -> bool:
    """Whether there are two answers to compare where one is meant."""
    return not row.get(names["response"]) and bool(row.get(names["chosen"])) and bool(row.get(names["rejected"]))


def _history(row: Row, column: str) -> list[Turn]:
    turns: list[Turn] = []
    pairs = list_in(row, column, ValuesSay.pairs)
    for place, pair in enumerate(pairs):
        texts = list(pair) if isinstance(pair, list | tuple) else []
        numbers = [digits(one) or one for one in texts]
        if numbers != texts:
            mended = [*pairs[:place], numbers, *pairs[place + 1 :]]
            raise Wrong(Say.pair_number(column=column, number=place + 1), {column: mended}, safe=True)
        if len(texts) != 2 or not all(isinstance(text, str) and not blank(text) for text in texts):
            rest = {column: [*pairs[:place], *pairs[place + 1 :]]}
            raise Wrong(Say.pair(column=column, number=place + 1, given=shown(pair)), rest)
        thought, said = thought_and_answer(texts[1])
        if not said:
            raise Wrong(Say.pair(column=column, number=place + 1, given=shown(pair)))
        turns += [Turn("user", texts[0]), Turn("assistant", said, thought)]
    return turns
