"""What a report asks: rows held out, rows learned, the same in other words, halves of answers, and who the model is.

The rows are told apart as the run itself did: the same rows in the same order, drawn by the same seed.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from workbench.chats.encoding import Encoder
from workbench.evaluating.identity import taught_name
from workbench.evaluating.languages import language_of
from workbench.evaluating.paraphrasing import identity_questions, paraphrases
from workbench.evaluating.records import Question
from workbench.examining.divided import Row, divided, drawn
from workbench.formats import Sample
from workbench.specs import TrainSpec
from workbench.suite import general
from workbench.workspace import Workspace

HELD, TRAIN, REPHRASED, IDENTITY, CONTINUED, GENERAL = "held", "train", "rephrased", "identity", "continued", "general"
LANGUAGES = ("en", "zh")
LEAST_HALF = {"en": 16, "zh": 6}
"""Characters that a half of an answer needs, so that to go on word for word says something."""
GRAM, ALIKE = 5, 0.6
"""Two answers are near twins when they share so many of their runs of five characters."""
LOOKED_AT = 2_000
NAMED_ROWS = 5
"""A name that stands in so many answers is what the set teaches, if its placeholder is called name."""


@dataclass
class Plan:
    """Everything that is asked, and whose loss is measured, by kind."""

    questions: list[Question] = field(default_factory=list)
    samples: dict[str, Sample] = field(default_factory=dict)
    languages: Sequence[str] = LANGUAGES
    """Those of the set's rows."""
    name: str = ""
    """Who the set teaches the model to be."""
    twins: int = 0
    rows: int = 0
    """How many rows were learned."""


def plan_rows(workspace: Workspace, spec: TrainSpec, encoder: Encoder, count: int, asked: Sequence[str]) -> Plan:
    """What to ask of a run; at most ``count`` rows of a kind. ``asked``: the person's own questions of identity."""
    rows = divided(workspace, spec, encoder)
    learned = rows.learned
    lot = random.Random(spec.optim.seed)  # noqa: S311
    plan = Plan(languages=_languages(learned), name=_taught_name(spec, learned), rows=len(learned))
    held, train = drawn(lot, rows.held, count), drawn(lot, learned, count)
    _put(plan, HELD, held)
    _put(plan, TRAIN, train)
    plan.questions += [one for row in train if row.question for one in _rephrased(row.question)]
    halves, plan.twins = _halves(lot, learned, count)
    plan.questions += halves
    if plan.name:
        plan.questions += _who(plan.languages, asked)
    for language in plan.languages:
        for at, text in enumerate(general(language)[: max(8, count // 2)]):
            plan.samples[f"{GENERAL}:{language}{at}"] = Sample(text=text)
    return plan


def _put(plan: Plan, kind: str, rows: Sequence[Row]) -> None:
    for row in rows:
        plan.samples[f"{kind}:{row.place}"] = row.sample
        if row.question:
            plan.questions.append(replace(row.question, set=kind, row=row.place))


def _languages(rows: Sequence[Row]) -> list[str]:
    """The languages that a tenth of the rows are in; both where none can be told."""
    counted = Counter[str](language_of(_answer(row)) for row in rows[:LOOKED_AT])
    return [one for one in LANGUAGES if counted[one] * 10 >= len(rows[:LOOKED_AT])] or list(LANGUAGES)


def _answer(row: Row) -> str:
    return row.question.reference if row.question else row.sample.text or ""


def _taught_name(spec: TrainSpec, rows: Sequence[Row]) -> str:
    """The value of the set's placeholder ``name``, where its answers speak of it; else the name that they repeat."""
    name = spec.data.dataset_values.get("name", "").strip()
    if name and sum(name in _answer(row) for row in rows) >= NAMED_ROWS:
        return name
    return taught_name([row.sample for row in rows[:LOOKED_AT]])


def _rephrased(question: Question) -> Iterator[Question]:
    """The question in other words, where its last message is a person's."""
    *before, last = question.messages
    if last.get("role") == "user" and (others := paraphrases(str(last["content"]), 1)):
        messages = [*before, {**last, "content": others[0]}]
        yield replace(question, set=REPHRASED, row=question.row, messages=messages)


def _who(languages: Sequence[str], own: Sequence[str]) -> Iterator[Question]:
    """Ways to ask who the model is."""
    asked = [(language, one) for language in languages for one in identity_questions(language)]
    asked += [(language_of(one), one) for one in own]
    for at, (_, text) in enumerate(asked):
        yield Question(IDENTITY, at, [{"role": "user", "content": text}], "")


def _halves(lot: random.Random, rows: Sequence[Row], count: int) -> tuple[list[Question], int]:
    """Learned answers cut in two, to be gone on with; and how many were left out since others are nearly the same."""
    grams = [_grams(_answer(row)) for row in rows[:LOOKED_AT]]
    often = Counter(gram for some in grams for gram in some)
    halves, twins = list[Question](), 0
    for at in lot.sample(range(len(grams)), len(grams)):
        row = rows[at]
        if row.question is None or len(halves) >= count:
            continue
        begun, rest = _cut(row.question.reference)
        if min(len(begun), len(rest)) < LEAST_HALF.get(language_of(row.question.reference), 16):
            continue
        shared = sum(often[gram] > 1 for gram in grams[at]) / max(1, len(grams[at]))
        if shared >= ALIKE:
            twins += 1
            continue
        halves.append(replace(row.question, set=CONTINUED, row=row.place, reference=rest, beginning=begun))
    return halves, twins


def _grams(text: str) -> set[str]:
    return {text[at : at + GRAM] for at in range(len(text) - GRAM + 1)}


def _cut(text: str) -> tuple[str, str]:
    """A text in two halves, between words where it has any."""
    middle = len(text) // 2
    space = text.find(" ", middle)
    at = space if 0 <= space < middle + 24 else middle
    return text[:at], text[at:]
