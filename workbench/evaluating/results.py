"""Answers become scores, scores become figures with intervals and verdicts. Knows no engine, no metric by name, no page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from workbench import metrics
from workbench.evaluating.intervals import compare, estimate
from workbench.evaluating.marking import Marking, mark
from workbench.evaluating.own_checks import parse
from workbench.evaluating.records import BASE, TUNED, UNANSWERED, Kept, Question
from workbench.evaluating.section import EvaluatingSection
from workbench.metrics import fitting, public
from workbench.sockets import plugins

VERSION = 1
JUDGE = "judge"
"""Under which name a judge's verdicts stand among the metrics."""


@dataclass(frozen=True)
class Said:
    """A model's answer with its scores by metric: none where it is unanswered."""

    answer: str
    finish: str
    """stop, length or unanswered."""
    tokens: int
    scores: Mapping[str, float | None]


@dataclass(frozen=True)
class Sample:
    """One question with what each model said to it."""

    question: Question
    said: Mapping[str, Said]

    def to_json(self) -> dict[str, Any]:
        asked = self.question
        held = {"set": asked.set, "row": asked.row, "prompt": list(asked.messages), "reference": asked.reference}
        return {**held, **{label: asdict(one) for label, one in self.said.items()}}


@dataclass(frozen=True)
class Results:
    """All figures of an evaluation, as results.json holds them."""

    models: Sequence[str]
    samples: int
    metrics: Mapping[str, Any]
    losses: Mapping[str, Any]
    tasks: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long the asking of all questions took, by model; nothing of one that a later worker went on with."""
    unanswered: Mapping[str, int] = field(default_factory=dict)
    """By model, how many questions could not be asked and are not scored."""

    def to_json(self) -> dict[str, Any]:
        return {"version": VERSION, **asdict(self)}

    def numbers(self) -> dict[str, float]:
        """The closing figures of the run."""
        found: dict[str, float] = {"samples": float(self.samples)}
        for label in self.models:
            found |= {f"{label} {name}": one[label]["mean"] for name, one in self.metrics.items()}
            found |= {f"{label} loss": self.losses[label]["loss"]} if label in self.losses else {}
            found |= {f"{label} {name}": one[label]["score"] for name, one in self.tasks.items()}
        return {name: value for name, value in found.items() if value is not None}


def metrics_for(section: EvaluatingSection, questions: Sequence[Question]) -> list[str]:
    """The metrics that are chosen, else those that say something of these questions; names of their modules."""
    known = plugins(metrics)
    return [name for name in known if public(name) in section.metrics] or fitting(known, [one.reference for one in questions])


def samples_of(
    questions: Sequence[Question],
    kept: Kept,
    labels: Sequence[str],
    section: EvaluatingSection,
    judged: Mapping[str, float | None] | None = None,
    marking: Marking = mark,
) -> list[Sample]:
    """Every question with its answers, scored by the chosen metrics, the person's own checks and a judge. ``judged``: by
    place how far the tuned answer was found better than the base's, 0 to 1."""
    names, checks = metrics_for(section, questions), parse(section.own_checks)
    heards = [(kept.answers[label, one.place], one.reference) for one in questions for label in labels]
    marks = iter(marking(names, [(heard.answer, reference) for heard, reference in heards if heard.answered]))
    samples = []
    for question in questions:
        said = {}
        for label in labels:
            heard = kept.answers[label, question.place]
            scores = dict(next(marks)) if heard.answered else dict.fromkeys(map(public, names))
            scores |= {one.name: one.score(heard.answer, question.reference) if heard.answered else None for one in checks}
            if judged is not None:
                won = judged.get(question.place)
                scores[JUDGE] = None if won is None else won if label == TUNED else 1 - won
            said[label] = Said(heard.answer, heard.finish, heard.tokens, scores)
        samples.append(Sample(question, said))
    return samples


def summary(
    samples: Sequence[Sample],
    kept: Kept,
    labels: Sequence[str],
    tasks: Mapping[str, Any] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> Results:
    """Means with their intervals, and what training changed where base and tuned were both asked."""
    names = list(samples[0].said[labels[0]].scores) if samples else []
    found = {
        name: compared({label: [one.said[label].scores[name] for one in samples] for label in labels}) for name in names
    }
    unanswered = {label: sum(one.said[label].finish == UNANSWERED for one in samples) for label in labels if samples}
    losses = _losses(kept, labels)
    return Results(labels, len(samples), found, losses, tasks or {}, seconds or {}, unanswered)


def compared(scores: Mapping[str, Sequence[float | None]], lower_is_better: bool = False) -> dict[str, Any]:
    """Each model's mean with its interval; ``change`` where there are both."""
    found: dict[str, Any] = {label: asdict(estimate(values)) for label, values in scores.items()}
    if BASE in scores and TUNED in scores:
        found["change"] = asdict(compare(scores[BASE], scores[TUNED], lower_is_better))
    return found


def _losses(kept: Kept, labels: Sequence[str]) -> dict[str, Any]:
    """The mean loss over all tokens and perplexity, as training reports them; ``by_row``, the mean over rows with its
    interval, and the change, which is of the same rows."""
    rows = {label: {place: one for (model, place), one in kept.losses.items() if model == label} for label in labels}
    found: dict[str, Any] = {}
    for label, losses in rows.items():
        if tokens := sum(one.tokens for one in losses.values()):
            loss = math.fsum(one.nll for one in losses.values()) / tokens
            by_row = estimate([one.nll / one.tokens for one in losses.values() if one.tokens])
            held = {"loss": loss, "perplexity": math.exp(min(loss, 700)), "tokens": tokens, "rows": by_row.count}
            found[label] = {**held, "by_row": asdict(by_row)}
    if BASE in found and TUNED in found:
        places = [place for place, one in rows[BASE].items() if one.tokens and rows[TUNED][place].tokens]
        before, after = ([rows[label][place].nll / rows[label][place].tokens for place in places] for label in (BASE, TUNED))
        found["change"] = asdict(compare(before, after, lower_is_better=True))
    return found
