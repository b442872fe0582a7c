"""Evaluate: ask base and tuned the same, keep every answer, score them, say what changed. Knows no metric by name.

A worker that goes on takes up every answer and loss that stands in answers.jsonl; nothing is asked twice.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from workbench import engines
from workbench.desk import Desk
from workbench.engines import BASE, Engine, Sampling
from workbench.evaluating import beforehand, llamafactory_files
from workbench.evaluating.own_checks import parse
from workbench.evaluating.records import ANSWERS, RESULTS, SAMPLES, TUNED, Kept, write_whole
from workbench.evaluating.results import Results, compared, samples_of, summary
from workbench.examining.asking import ask_all
from workbench.examining.benchmarks import TaskResult, run_tasks
from workbench.examining.examinee import BENCHMARKS, Answered
from workbench.examining.losses import encoders_of, measure_losses
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
    no_loss = Text("The engine '{engine}' does not tell how likely given answers are, so no loss is measured.")
    went_on = Text("{count} answers of an earlier worker are taken as they are.")


def run(spec: EvalSpec, desk: Desk) -> dict[str, float]:
    """All of it; the closing figures: how much was asked, and each metric's mean by model."""
    desk.phase("reading")
    if problems := beforehand.problems_of(desk.run.workspace, spec):
        raise UserError(*problems)
    asked = gather(spec.sets, desk)
    kept = Kept(desk.run.folder / ANSWERS)
    if kept.answers:
        desk.note(Say.went_on(count=len(kept.answers)))
    opening = prepare(spec.model, desk)
    tokenizer = opening.tokenizer if spec.engine.infer_backend != "remote" else None
    engine = plugins(engines)[spec.engine.infer_backend].open(spec.engine, opening)
    try:
        names = models_asked(spec, engine)
        seconds = {}
        for label, name in names.items():
            begun = time.monotonic()
            ask_all(engine, name, label, asked.questions, sampling(spec), kept, desk)
            seconds[label] = time.monotonic() - begun
        if asked.samples and "score" not in engine.lacks and tokenizer:
            encoders = encoders_of(tokenizer(), spec.model, spec.sets.cutoff_len)
            for label, name in names.items():
                measure_losses(engine, name, label, asked.samples, encoders, kept, desk)
        elif asked.samples:
            desk.note(Say.no_loss(engine=spec.engine.infer_backend), "warning")
        tasks = benchmarks_of(spec, desk, engine, names)
        desk.phase("scoring")
        return finish(spec, desk, asked, kept, list(names), seconds, tasks)
    finally:
        engine.close()


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


def benchmarks_of(spec: EvalSpec, desk: Desk, engine: Engine, names: Mapping[str, str]) -> dict[str, Any]:
    """Each chosen benchmark's figures by model, as results.json holds them; every question's mark lies in a file beside."""
    if not spec.evaluating.task:
        return {}
    desk.phase("benchmarks")
    shots, limit = spec.evaluating.n_shot, spec.sets.max_samples
    kept = Answered(desk.run.folder / BENCHMARKS)
    found = run_tasks(engine, names, spec.evaluating.task, shots, limit, lambda done, total: desk.phase("benchmarks", done, total), kept)
    marks = [
        json.dumps({"task": task, "model": label, **asdict(mark)}, ensure_ascii=False)
        for label, results in found.items()
        for task, result in results.items()
        for mark in result.questions
    ]
    write_whole(desk.run.folder / MARKS, "\n".join(marks) + "\n")
    return {task: task_figures({label: found[label][task] for label in names}) for task in spec.evaluating.task}


def task_figures(results: Mapping[str, TaskResult]) -> dict[str, Any]:
    """One benchmark: score, interval and categories by model, and what training changed, question by question."""
    scores = {label: [mark.score for mark in one.questions] for label, one in results.items()}
    held = compared(scores)
    for label, one in results.items():
        held[label] |= {"score": one.score, "metric": one.metric, "categories": dict(one.categories)}
    return held


def finish(
    spec: EvalSpec,
    desk: Desk,
    asked: Asked,
    kept: Kept,
    labels: list[str],
    seconds: Mapping[str, float],
    tasks: Mapping[str, Any],
) -> dict[str, float]:
    """Score what was answered and write all files of the run."""
    folder = desk.run.folder
    samples = samples_of(asked.questions, kept, labels, spec.evaluating)
    for check in parse(spec.evaluating.own_checks):
        if unsaid := sum(one.said[label].scores[check.name] is None for one in samples for label in labels):
            desk.note(check.slow(unsaid), "warning")
    write_whole(folder / SAMPLES, "".join(json.dumps(one.to_json(), ensure_ascii=False) + "\n" for one in samples))
    found: Results = summary(samples, kept, labels, tasks, seconds)
    write_whole(folder / RESULTS, json.dumps(found.to_json(), ensure_ascii=False, indent=1) + "\n")
    for name, text in llamafactory_files.files(samples, labels, seconds).items():
        write_whole(folder / name, text)
    return found.numbers()


