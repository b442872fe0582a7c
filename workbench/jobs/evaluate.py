"""Evaluate: ask base and tuned the same, keep every answer, score them, say what changed. Knows no metric by name.

A worker that goes on takes up every answer and loss that stands in answers.jsonl; nothing is asked twice.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from workbench import engines
from workbench.desk import Desk
from workbench.engines import BASE, Engine, Opening, Sampling
from workbench.evaluating import beforehand, llamafactory_files
from workbench.evaluating.marking import Marking, beside
from workbench.evaluating.own_checks import parse
from workbench.evaluating.records import ANSWERS, RESULTS, SAMPLES, TUNED, UNANSWERED, Kept, write_whole
from workbench.evaluating.results import Results, Sample, compared, metrics_for, samples_of, summary
from workbench.examining.asking import ask_all
from workbench.examining.benchmarks import Loaded, TaskResult, ask_tasks, load_tasks
from workbench.examining.examinee import BENCHMARKS, Answered
from workbench.examining.judging import judge_all
from workbench.examining.losses import encoders_of, measure_losses, room
from workbench.examining.questions import Asked, gather
from workbench.opening import prepare
from workbench.problems import UserError
from workbench.sampling import sampling_of
from workbench.sockets import plugins
from workbench.specs import EvalSpec
from workbench.text import Text

MARKS = "benchmark_samples.jsonl"
"""Every question of a benchmark with its mark."""


class Say:
    nothing = Text(
        "Loss is off, and the sets are running text, of which there is nothing else to measure. Accepted: Loss on, a set with "
        "questions, or a benchmark."
    )
    no_loss = Text("The engine '{engine}' does not tell how likely given answers are, so no loss is measured.")
    judged = Text(
        "The judge {model} chose the same answer of {agreed} of {count} pairs whichever came first; {unclear} of its words "
        "were no choice."
    )
    went_on = Text("{answers} answers and {losses} losses are kept from before: they are not asked again.")


def run(spec: EvalSpec, desk: Desk) -> dict[str, float]:
    """All of it; the closing figures: how much was asked, and each metric's mean by model."""
    desk.phase("reading")
    if problems := beforehand.problems_of(desk.run.workspace, spec):
        raise UserError(*problems)
    asked = gather(spec.sets, desk)
    tasks = load_tasks(spec.evaluating.task, spec.evaluating.n_shot) if spec.evaluating.task else None
    for note in tasks.notes if tasks else ():
        desk.note(note, "warning")
    if not (asked.questions or tasks or spec.evaluating.measure_loss):
        raise UserError(Say.nothing(), key="measure_loss")
    kept = Kept(desk.run.folder / ANSWERS)
    if kept.answers or kept.losses:
        desk.note(Say.went_on(answers=len(kept.answers), losses=len(kept.losses)))
    with beside(metrics_for(spec.evaluating, asked.questions), len(asked.questions)) as marking:
        return _run(spec, desk, asked, tasks, kept, marking)


def _run(
    spec: EvalSpec, desk: Desk, asked: Asked, tasks: Loaded | None, kept: Kept, marking: Marking
) -> dict[str, float]:
    opening = prepare(spec.model, desk)
    engine = plugins(engines)[spec.engine.infer_backend].open(spec.engine, opening)
    try:
        if tasks:
            tasks.check(engine)
        names = models_asked(spec, engine)
        seconds = ask(spec, desk, engine, names, asked, kept)
        measure(spec, desk, engine, names, asked, kept, opening)
        judged = judged_by(spec, desk, asked, kept)
        desk.phase("scoring")
        samples = samples_of(asked.questions, kept, list(names), spec.evaluating, judged, marking)
        found = written(spec, desk, samples, kept, list(names), seconds)
        if tasks:
            found = replace(found, tasks=benchmarks_of(spec, desk, engine, names, tasks))
            keep(desk, found)
        return found.numbers()
    finally:
        engine.close()


def ask(
    spec: EvalSpec, desk: Desk, engine: Engine, names: Mapping[str, str], asked: Asked, kept: Kept
) -> dict[str, float]:
    """Every answer; the seconds that all questions took, of each model that no earlier worker had begun with."""
    seconds = {}
    for label, name in names.items():
        begun = time.monotonic()
        if ask_all(engine, name, label, asked.questions, sampling(spec), kept, desk) == len(asked.questions):
            seconds[label] = time.monotonic() - begun
    return seconds


def judged_by(spec: EvalSpec, desk: Desk, asked: Asked, kept: Kept) -> dict[str, float | None] | None:
    """Which answers a judge finds better, by place; None where there is no judge. How often the order did not matter is told."""
    url, model = spec.evaluating.judge_url, spec.evaluating.judge_model
    if not url:
        return None
    found = judge_all(url, model, asked.questions, kept, desk.run.folder, desk)
    scores = {place: one.score() for place, one in found.items()}
    agreed = sum(one.agrees for one in found.values())
    unclear = sum(score is None for score in scores.values())
    desk.note(Say.judged(model=model, agreed=agreed, count=len(found), unclear=unclear))
    return scores


def measure(
    spec: EvalSpec, desk: Desk, engine: Engine, names: Mapping[str, str], asked: Asked, kept: Kept, opening: Opening
) -> None:
    """Every loss, where the engine tells it."""
    if not asked.samples or not spec.evaluating.measure_loss:
        return
    if "score" in engine.lacks or "tokens" in engine.lacks:
        desk.note(Say.no_loss(engine=spec.engine.infer_backend), "warning")
        return
    most = room(engine, names.values(), spec.sets.cutoff_len)
    measure_losses(engine, names, asked.samples, encoders_of(opening.tokenizer(), spec.model, most), kept, desk)


def models_asked(spec: EvalSpec, engine: Engine) -> Mapping[str, str]:
    """The engine's names of those that are asked, by what they are called in the results."""
    tuned = [name for name in engine.models if name != BASE]
    if not tuned:
        return {BASE: BASE}
    return {BASE: BASE, TUNED: tuned[0]} if spec.evaluating.compare_base else {TUNED: tuned[0]}


def sampling(spec: EvalSpec) -> Sampling:
    """The likeliest words, unless the spec asks for drawn ones."""
    drawn = sampling_of(spec.drawing)
    return drawn if spec.evaluating.do_sample else replace(drawn, temperature=0.0, top_p=1.0)


def benchmarks_of(spec: EvalSpec, desk: Desk, engine: Engine, names: Mapping[str, str], tasks: Loaded) -> dict[str, Any]:
    """Each benchmark's figures by model, as results.json holds them; every question's mark lies in a file beside."""
    desk.phase("benchmarks")
    kept = Answered(desk.run.folder / BENCHMARKS)
    found = ask_tasks(engine, names, tasks, spec.sets.max_samples, lambda done, total: desk.phase("benchmarks", done, total), kept)
    marks = [
        json.dumps({"task": task, "model": label, **asdict(mark)}, ensure_ascii=False)
        for label, results in found.items()
        for task, result in results.items()
        for mark in result.questions
    ]
    write_whole(desk.run.folder / MARKS, "\n".join(marks) + "\n")
    return {task: task_figures({label: found[label][task] for label in names}) for task in tasks.tasks}


def task_figures(results: Mapping[str, TaskResult]) -> dict[str, Any]:
    """One benchmark: score, interval and categories by model, and what training changed, question by question. Where the
    score is not the mean of the questions' marks their interval is not its own, and none is told."""
    scores = {label: [mark.score for mark in one.questions] for label, one in results.items()}
    held = compared(scores, not all(one.higher_is_better for one in results.values()))
    for label, one in results.items():
        mean = held[label]["mean"]
        if one.score is None or mean is None or not math.isclose(one.score, mean, abs_tol=1e-9):
            held[label] |= {"low": None, "high": None}
        held[label] |= {"score": one.score, "metric": one.metric, "categories": dict(one.categories)}
    return held


def written(
    spec: EvalSpec, desk: Desk, samples: Sequence[Sample], kept: Kept, labels: list[str], seconds: Mapping[str, float]
) -> Results:
    """Write all files of the run: what benchmarks may end on is not lost with them."""
    folder = desk.run.folder
    answers = [one.said[label] for one in samples for label in labels if one.said[label].finish != UNANSWERED]
    for check in parse(spec.evaluating.own_checks):
        if unsaid := sum(one.scores[check.name] is None for one in answers):
            desk.note(check.slow(unsaid), "warning")
    write_whole(folder / SAMPLES, "".join(json.dumps(one.to_json(), ensure_ascii=False) + "\n" for one in samples))
    for name, text in llamafactory_files.files(samples, labels, seconds).items():
        write_whole(folder / name, text)
    found = summary(samples, kept, labels, seconds=seconds)
    keep(desk, found)
    return found


def keep(desk: Desk, found: Results) -> None:
    """Write results.json."""
    write_whole(desk.run.folder / RESULTS, json.dumps(found.to_json(), ensure_ascii=False, indent=1) + "\n")
