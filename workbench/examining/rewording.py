"""Questions said in other words by a chosen model, on any OpenAI-compatible server. Knows no run and no light."""

import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from workbench.desk import Desk
from workbench.engines import Sampling
from workbench.evaluating.ledger import Ledger
from workbench.evaluating.records import Question
from workbench.examining.flight import Gone, fly
from workbench.talk import Ending, ask
from workbench.text import Text

REWORDED = "reworded.jsonl"
KEY_VARIABLE = "PARAPHRASE_API_KEY"
INSTRUCTION = (
    "Ask the same in other words, in the same language. Keep every name, number and text that the question needs. "
    "Write the new question alone, without quotes and without answering it."
)
SAMPLING = Sampling(max_tokens=512, temperature=0.7, top_p=0.9, seed=0)
THOUGHT, THOUGHT_ENDS = "<think>", "</think>"
QUOTES = ('""', "“”", "「」")


class Say:
    reworded = Text("{model} said {count} questions in other words.")
    unchanged = Text("Of {count} questions {model} gave no other words: the rules' words are asked instead, or none.")


def reword(url: str, model: str, asked: Sequence[Question], folder: Path, desk: Desk) -> dict[str, str]:
    """Other words for each question's last message, by its place; what was said before is not asked again."""
    ledger = Ledger(folder / REWORDED)
    found = {str(one["place"]): str(one["words"]) for one in ledger.read()}
    left = [one for one in asked if one.place not in found]
    key = os.environ.get(KEY_VARIABLE) or None
    desk.phase("rewording", len(asked) - len(left), len(asked))

    def put(question: Question, gone: Gone) -> None:
        given = f"{INSTRUCTION}\n\n{last_words(question)}"
        words = reworded(*whole(ask(url, model, [{"role": "user", "content": given}], SAMPLING, key)))
        # Also where nothing came: asked again the server would most likely say as little, and a resumed report would wait for it.
        ledger.add([{"place": question.place, "words": words}])
        found[question.place] = words

    fly(left, put, lambda question: desk.phase("rewording", len(found), len(asked)))
    good = {one.place: found[one.place] for one in asked if found[one.place] not in ("", last_words(one).strip())}
    desk.note(Say.reworded(model=model, count=len(good)))
    if len(good) < len(asked):
        desk.note(Say.unchanged(model=model, count=len(asked) - len(good)), "warning")
    return good


def whole(answer: Generator[str, None, Ending]) -> tuple[str, str]:
    """An answer's text, and why it ended."""
    said = list[str]()
    while True:
        try:
            said.append(next(answer))
        except StopIteration as ended:
            return "".join(said), ended.value.finish


def reworded(said: str, finish: str) -> str:
    """The question in an answer: without the thought before it and quotes around it. Nothing where it was cut off: then it is
    a part of a question, or of a thought, whose beginning some templates have written already."""
    words = said.rpartition(THOUGHT_ENDS)[2].strip()
    if finish == "length" or words.startswith(THOUGHT):
        return ""
    first, last = words[:1], words[-1:]
    around = len(words) > 1 and first + last in QUOTES and not {first, last} & set(words[1:-1])
    return words[1:-1].strip() if around else words


def in_other_words(asked: Sequence[Question], words: dict[str, str], kind: str) -> Iterator[Question]:
    """The questions with those words in the place of their own, as questions of another kind."""
    for one in asked:
        if said := words.get(one.place):
            *before, last = one.messages
            yield replace(one, set=kind, messages=[*before, {**last, "content": said}])


def last_words(question: Question) -> str:
    return str(question.messages[-1].get("content") or "")
