"""The rows of sets as questions with the set's own answers, and as samples whose loss is measured. Knows no engine."""

import json
from dataclasses import dataclass, field, replace

from workbench.data.datasets import Entry, chosen_entries, read_catalogue
from workbench.data.hub_datasets import fetch_dataset
from workbench.data.samples import read_set, told
from workbench.desk import Desk
from workbench.evaluating.records import Question
from workbench.formats import Sample, Turn
from workbench.plans import unfetched
from workbench.problems import UserError
from workbench.sections import SetsSection
from workbench.text import Text

TOLD_ROWS = 5


class Say:
    more = Text("{count} more rows are left out; worker.log lists every one.")
    nothing = Text("No row of {names} can be asked. The first reason: {reason} Choose another set.")
    bad_answers = Text("{count} rows of '{name}' hold answers marked bad: they are not asked, since they hold no answer to be like.")
    only_text = Text("'{name}' is running text: nothing is asked, its loss is measured.")
    no_rows = Text("there is none.")
    twice = Text("{count} rows of '{name}' are chosen more than once. Each is asked once.")


@dataclass
class Asked:
    """What is asked of a model, and the samples to measure its loss on, by their place."""

    questions: list[Question] = field(default_factory=list)
    samples: dict[str, Sample] = field(default_factory=dict)


def gather(sets: SetsSection, desk: Desk) -> Asked:
    """All rows of the chosen sets, fetched first where they lie on a hub; UserError when there is none."""
    asked = Asked()
    if not sets.dataset:
        return asked
    reasons: list[object] = []
    names = list(dict.fromkeys(sets.dataset))
    for entry in chosen_entries(read_catalogue(desk.run.workspace, sets.dataset_dir), names):
        if unfetched(entry):
            fetch_dataset(desk.run.workspace, entry, lambda done, total, file: desk.phase("fetching", done, total))
        before = len(asked.samples)
        reasons += _take(entry, sets, desk, asked)
        if sets.dataset.count(entry.name) > 1:
            desk.note(Say.twice(count=len(asked.samples) - before, name=entry.name), "warning")
    if not asked.samples:
        reason = reasons[0] if reasons else Say.no_rows()
        raise UserError(Say.nothing(names=", ".join(sets.dataset), reason=reason), key="dataset")
    return asked


def _take(entry: Entry, sets: SetsSection, desk: Desk, asked: Asked) -> list[object]:
    """Add the rows of one set; why some are left out, each told."""
    left, bad, texts, again = [], 0, 0, 0
    for read in read_set(entry, sets.dataset_values, sets.max_samples):
        place = f"{entry.name}:{read.number}"
        if place in asked.samples:  # its entry draws rows again by lot
            again += 1
        elif read.sample is None:
            left.append(told(entry.name, read))
        elif read.sample.shape == "label" and not read.sample.label:
            bad += 1
        else:
            question, sample = as_asked(read.sample, entry.name, read.number)
            asked.samples[place] = sample
            texts += question is None
            asked.questions += [question] if question else []
    for message in left:
        print(message)
    for message in left[:TOLD_ROWS]:
        desk.note(message, "warning")
    if len(left) > TOLD_ROWS:
        desk.note(Say.more(count=len(left) - TOLD_ROWS), "warning")
    if again:
        desk.note(Say.twice(count=again, name=entry.name), "warning")
    if bad:
        desk.note(Say.bad_answers(count=bad, name=entry.name), "warning")
    if texts:
        desk.note(Say.only_text(name=entry.name))
    return list(left)


def as_asked(sample: Sample, set_name: str, row: int) -> tuple[Question | None, Sample]:
    """The question that a sample's last answer answers, none for running text; and the sample as a dialogue or text."""
    if sample.shape == "text":
        return None, sample
    turns = [*sample.turns, *sample.chosen]
    last = max(at for at, turn in enumerate(turns) if turn.role == "assistant")
    head = [turn.message() for turn in turns[:last]]
    question = Question(set_name, row, head, reference_text(turns[last]), sample.tools)
    return question, replace(sample, turns=turns[: last + 1], chosen=(), rejected=(), label=None)


def reference_text(turn: Turn) -> str:
    """An answer as an engine writes it: its words, then its calls."""
    calls = [
        f"<tool_call>\n{json.dumps({'name': one.name, 'arguments': dict(one.arguments)}, ensure_ascii=False)}\n</tool_call>"
        for one in turn.tool_calls
    ]
    return "\n".join([turn.content, *calls] if turn.content else calls)


