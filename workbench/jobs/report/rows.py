"""What a report asks: rows held out, rows learned, the same in other words, halves of answers, and who the model is.

The rows are told apart as the run itself did: the same rows in the same order, drawn by the same seed.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from workbench.chats.encoding import Encoder
from workbench.data.datasets import chosen_entries, read_catalogue
from workbench.data.samples import of_shape, read_set
from workbench.evaluating.identity import taught_name
from workbench.evaluating.languages import language_of
from workbench.evaluating.paraphrasing import identity_questions, paraphrases
from workbench.evaluating.records import Question
from workbench.examining.questions import as_asked
from workbench.formats import Sample
from workbench.plans import held_places
from workbench.problems import UserError
from workbench.specs import TrainSpec
from workbench.suite import general
from workbench.text import Message, Text
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


class Say:
    no_rows = Text("No row of {names} can be asked. Accepted: the sets that the run learned from, as they were. Put them back.")


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


@dataclass(frozen=True)
class _Row:
    """A row that the run could use."""

    place: int
    question: Question | None
    sample: Sample
    good: bool = True
    """Whether its answer is one to be like: one marked bad is not."""


def plan_rows(workspace: Workspace, spec: TrainSpec, encoder: Encoder, count: int, asked: Sequence[str]) -> Plan:
    """What to ask of a run; at most ``count`` rows of a kind. ``asked``: the person's own questions of identity."""
    names = spec.data.dataset
    usable = _usable(workspace, spec, encoder, names)
    # Streams are not counted beforehand, so a run holds out others of them than a draw would tell.
    told = not spec.data.eval_dataset and not spec.data.streaming
    apart = set(held_places(spec, len(usable)) if told else ())
    learned = [row for row in usable if row.place not in apart and row.good]
    tried = [row for row in usable if row.place in apart and row.good]
    if spec.data.eval_dataset:
        tried = [row for row in _usable(workspace, spec, encoder, spec.data.eval_dataset) if row.good]
    lot = random.Random(spec.optim.seed)  # noqa: S311
    plan = Plan(languages=_languages(learned), name=_taught_name(spec, learned), rows=len(learned))
    held, train = _drawn(lot, tried, count), _drawn(lot, learned, count)
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


def _usable(workspace: Workspace, spec: TrainSpec, encoder: Encoder, names: Sequence[str]) -> list[_Row]:
    """The rows that become tokens, in the run's order: places count them through all sets."""
    found: list[_Row] = []
    for entry in chosen_entries(read_catalogue(workspace, spec.data.dataset_dir), names):
        reads = of_shape(read_set(entry, spec.data.dataset_values, spec.data.max_samples), encoder.stage.SHAPES)
        good = [read for read in reads if read.sample is not None]
        rows = encoder.rows(read.sample for read in good if read.sample)
        for read, row in zip(good, rows, strict=True):
            if row is not None and not isinstance(row, Message) and read.sample:
                asked = as_asked(read.sample, entry.name, read.number)
                found.append(_Row(len(found), *asked, good=read.sample.label is not False))
    if not found:
        raise UserError(Say.no_rows(names=", ".join(names)), key="report_run")
    return found


def _put(plan: Plan, kind: str, rows: Sequence[_Row]) -> None:
    for row in rows:
        plan.samples[f"{kind}:{row.place}"] = row.sample
        if row.question:
            plan.questions.append(replace(row.question, set=kind, row=row.place))


def _drawn(lot: random.Random, rows: Sequence[_Row], count: int) -> list[_Row]:
    return sorted(lot.sample(rows, min(count, len(rows))), key=lambda row: row.place)


def _languages(rows: Sequence[_Row]) -> list[str]:
    """The languages that a tenth of the rows are in; both where none can be told."""
    counted = Counter[str](language_of(_answer(row)) for row in rows[:LOOKED_AT])
    return [one for one in LANGUAGES if counted[one] * 10 >= len(rows[:LOOKED_AT])] or list(LANGUAGES)


def _answer(row: _Row) -> str:
    return row.question.reference if row.question else row.sample.text or ""


def _taught_name(spec: TrainSpec, rows: Sequence[_Row]) -> str:
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


def _halves(lot: random.Random, rows: Sequence[_Row], count: int) -> tuple[list[Question], int]:
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
