"""Report: did a finished run learn, what did it forget, does it know its rows by heart, are its answers sound?

Asks base and tuned the same, keeps every answer as an evaluation does, and goes on where an earlier worker ended.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from workbench import engines, reports, stages
from workbench.chats.encoding import Encoder, chat_options
from workbench.desk import Desk
from workbench.engines import BASE, Engine, Sampling
from workbench.evaluating.records import ANSWERS, TUNED, Kept, write_whole
from workbench.examining.asking import ask_all
from workbench.examining.benchmarks import run_tasks
from workbench.examining.examinee import BENCHMARKS, Answered
from workbench.examining.losses import encoders_of, measure_losses, room
from workbench.examining.rewording import in_other_words, reword
from workbench.jobs.report.figures import figures_of
from workbench.jobs.report.rows import IDENTITY, REPHRASED, TRAIN, Plan, plan_rows
from workbench.opening import prepare
from workbench.problems import UserError
from workbench.reporting import READABLE, REPORT, Pair, Shown
from workbench.reporting.card import card, readable
from workbench.runs import Run, find_run
from workbench.sockets import plugins
from workbench.specs import EvalSpec, ReportSpec, TrainSpec
from workbench.text import Text, load_locales
from workbench.workspace import source_folder

LEAST_TOKENS, MOST_TOKENS = 96, 512
"""Of an answer: half as long again as the longest of the set's own among those that are asked, within these bounds."""
LOST_SHOWN = 12
TOGETHER = 32
"""Answers that grow at once."""


class Say:
    streamed = Text("The run streamed its rows, so it can't be told which it held out: none is asked as held out.")
    begun = Text("{questions} questions and {losses} losses, each of base and tuned.")


def run(spec: ReportSpec, desk: Desk) -> dict[str, float]:
    """Measure, judge, and write report.json and report.md into the run's folder; how many parts have which light."""
    desk.phase("reading")
    trained, recipe = the_run(spec, desk)
    opening = prepare(recipe.model.model_copy(update={"adapter_name_or_path": [f"saves/{trained.name}"]}), desk)
    tokenizer = opening.tokenizer()
    stage = plugins(stages)[recipe.stage.stage]
    encoder = Encoder(tokenizer, chat_options(recipe.model), stage, recipe.stage, recipe.data.cutoff_len)
    plan = plan_rows(desk.run.workspace, recipe, encoder, spec.report.report_rows, spec.report.identity_questions)
    if recipe.data.streaming:
        desk.note(Say.streamed(), "warning")
    ask_in_other_words(spec, plan, desk)
    desk.note(Say.begun(questions=len(plan.questions), losses=len(plan.samples)))
    kept = Kept(desk.run.folder / ANSWERS)
    usual = EvalSpec().engine.model_copy(update={"max_num_seqs": TOGETHER})
    engine = plugins(engines)[usual.infer_backend].open(usual, opening)
    try:
        names = {BASE: BASE, TUNED: next(name for name in engine.models if name != BASE)}
        longest = max((len(tokenizer(one.reference)["input_ids"]) for one in plan.questions), default=0)
        tokens = min(MOST_TOKENS, max(LEAST_TOKENS, longest * 3 // 2))
        most = room(engine, names.values(), recipe.data.cutoff_len)
        measure(engine, names, plan, tokens, encoders_of(tokenizer, recipe.model, most), kept, desk)
        suite, lost = everyday(spec, desk, engine, names, plan)
    finally:
        engine.close()
    desk.phase("scoring")
    return write(spec, trained, card(figures_of(recipe, plan, kept, trained.view(), suite, lost)))


def ask_in_other_words(spec: ReportSpec, plan: Plan, desk: Desk) -> None:
    """Put a chosen model's words in the place of the rules' where one is named; who the model is is asked in both."""
    url, model = spec.report.paraphrase_url, spec.report.paraphrase_model
    if not url:
        return
    learned, who = ([one for one in plan.questions if one.set == kind] for kind in (TRAIN, IDENTITY))
    words = reword(url, model, [*learned, *who], desk.run.folder, desk)
    new = {one.place: one for one in in_other_words(learned, words, REPHRASED)}
    plan.questions = [new.pop(one.place, one) for one in plan.questions] + list(new.values())
    plan.questions += [replace(one, row=len(who) + at) for at, one in enumerate(in_other_words(who, words, IDENTITY))]


def everyday(
    spec: ReportSpec, desk: Desk, engine: Engine, names: Mapping[str, str], plan: Plan
) -> tuple[dict[str, Pair], list[Shown]]:
    """Right and wrong answers to the everyday questions, by category, in the languages of the set; and some that were
    right before and are wrong now."""
    if not spec.report.report_suite:
        return {}, []
    tasks = [f"everyday_{language}" for language in plan.languages]
    desk.phase("benchmarks")
    kept = Answered(desk.run.folder / BENCHMARKS)
    found = run_tasks(engine, names, tasks, None, None, lambda done, total: desk.phase("benchmarks", done, total), kept)
    marks = {
        label: [(task, one) for task in tasks for one in found[label][task].questions if one.score is not None]
        for label in names
    }
    lost = [
        Shown("everyday", before.prompt, before.target, before.answer, after.answer)
        for (_, before), (_, after) in zip(marks[BASE], marks[TUNED], strict=True)
        if before.score and not after.score
    ]
    categories = dict.fromkeys((task, one.category) for task, one in marks[BASE])
    suite = {
        f"{category} ({task.rpartition('_')[2]})": Pair(
            *([one.score or 0.0 for at, one in marks[label] if (at, one.category) == (task, category)] for label in (BASE, TUNED))
        )
        for task, category in categories
    }
    return suite, lost[:LOST_SHOWN]


def the_run(spec: ReportSpec, desk: Desk) -> tuple[Run, TrainSpec]:
    """The run that is reported on, and what it was told; UserError when it can't be."""
    if problems := reports.problems_of(desk.run.workspace, spec):
        raise UserError(*problems)
    trained = find_run(desk.run.workspace, spec.report.report_run)
    told = trained.read_spec().unwrap()
    assert isinstance(told, TrainSpec), "its problems were looked for"
    return trained, told


def measure(
    engine: Engine,
    names: Mapping[str, str],
    plan: Plan,
    tokens: int,
    encoders: Mapping[str, Encoder],
    kept: Kept,
    desk: Desk,
) -> None:
    """Every answer and every loss, of base and tuned."""
    sampling = Sampling(max_tokens=tokens, temperature=0.0, top_p=1.0)
    for label, name in names.items():
        ask_all(engine, name, label, plan.questions, sampling, kept, desk)
    measure_losses(engine, names, plan.samples, encoders, kept, desk)


def write(spec: ReportSpec, trained: Run, held: Mapping[str, Any]) -> dict[str, float]:
    """Both files, whole or not at all; how many lights are of which colour."""
    locales = load_locales(source_folder() / "locales")
    locale = locales.get(spec.report.report_lang, locales["en"])
    data = {**held, "run": trained.name, "made": round(time.time())}
    write_whole(trained.folder / REPORT, json.dumps(data, ensure_ascii=False, indent=1) + "\n")
    write_whole(trained.folder / READABLE, readable(data, locale))
    lights = [part["light"] for part in data["parts"]]
    return {light: float(lights.count(light)) for light in ("green", "amber", "red", "grey")}
