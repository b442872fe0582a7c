"""What stands in an evaluation's way, as far as it can be told without loading a model. Knows no page and no terminal."""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches

from workbench import metrics, suite
from workbench.answering import answer_problems
from workbench.chats import check_template
from workbench.data.datasets import chosen_entries, read_catalogue
from workbench.data.samples import value_problems
from workbench.evaluating.own_checks import parse
from workbench.evaluating.section import EvaluatingSection
from workbench.fields import plain
from workbench.metrics import public
from workbench.models import check_model
from workbench.problems import Problem, UserError
from workbench.sockets import plugins
from workbench.specs import EvalSpec
from workbench.text import Text
from workbench.workspace import Workspace


class Say:
    judge = Text("The judge's address is '{given}'. Accepted: such as http://127.0.0.1:8000/v1. Mend it, or leave it empty.")
    no_judge = Text("A judge is named and has no model. Accepted: the name of a model on that server. Give it.")
    no_pair = Text("A judge compares base and tuned, and only one is asked. Accepted: an adapter, and 'Beside the base model'.")
    nothing = Text("Neither a dataset nor a benchmark is chosen. Accepted: at least one of them. Choose one.")
    one_adapter = Text("{count} adapters are chosen. Accepted: one, or none to measure the base model alone. Take the others out.")
    path = Text("'{given}' is a file's path, and a benchmark's file may run any code. Accepted: a name, such as {known}. Choose one.")
    no_everyday = Text("There is no benchmark named '{given}'. Accepted: {known}, or a task of lm-eval. Choose one of these.")
    shots = Text("{given} examples are asked for, and the benchmark '{name}' has {most}. Accepted: 0 to {most}. Lower it.")
    no_metric = Text("No metric is called '{given}'. Accepted: {known}. Did you mean {nearest}?")
    no_metric_far = Text("No metric is called '{given}'. Accepted: {known}. Choose one of these, or leave it empty.")


def problems_of(workspace: Workspace, spec: EvalSpec) -> list[Problem]:
    """Every problem, each beside its field."""
    local = bool(spec.model.model_name_or_path) or isinstance(spec.engine, type(EvalSpec().engine))
    problems = check_model(workspace, spec.model, gguf=True) if local else []
    problems += answer_problems(workspace, spec.model)
    problems += _raised(lambda: check_template(spec.model.template))
    if not spec.sets.dataset and not spec.evaluating.task:
        problems.append(Problem(Say.nothing(), "dataset"))
    if spec.sets.dataset:
        problems += _raised(lambda: _check_sets(workspace, spec))
    if (count := len(spec.model.adapter_name_or_path)) > 1:
        problems.append(Problem(Say.one_adapter(count=count), "adapter_name_or_path"))
    problems += _raised(lambda: parse(spec.evaluating.own_checks, "own_checks"))
    problems += _judge_problems(spec)
    known = [public(name) for name in plugins(metrics)]
    problems += [_no_metric(name, known) for name in spec.evaluating.metrics if name not in known]
    return problems + _task_problems(spec.evaluating)


def _task_problems(asked: EvaluatingSection) -> list[Problem]:
    """What names alone tell of the benchmarks. lm-eval's own are not known here: to look them up takes seconds."""
    problems, ours = [], [f"{task}{end}" for task in suite.TASKS for end in ("", *(f"_{one}" for one in suite.CATEGORIES))]
    for name in asked.task:
        if re.search(r"[/\\]|\.ya?ml$", name):
            problems.append(Problem(Say.path(given=plain(name), known=", ".join(suite.TASKS)), "task"))
        elif name.startswith("everyday") and name not in ours:
            problems.append(Problem(Say.no_everyday(given=plain(name), known=", ".join(ours)), "task"))
    mine = next((name for name in asked.task if name in ours), None)
    if mine and asked.n_shot and asked.n_shot > suite.MOST_SHOTS:
        problems.append(Problem(Say.shots(given=asked.n_shot, name=mine, most=suite.MOST_SHOTS), "n_shot"))
    return problems


def _check_sets(workspace: Workspace, spec: EvalSpec) -> None:
    entries = chosen_entries(read_catalogue(workspace, spec.sets.dataset_dir), spec.sets.dataset)
    here = [entry for entry in entries if entry.files()]
    if wrong := value_problems(here, spec.sets.dataset_values, spec.sets.max_samples):
        raise UserError(*wrong)


def _judge_problems(spec: EvalSpec) -> list[Problem]:
    given = spec.evaluating
    if not given.judge_url:
        return []
    found = []
    if not given.judge_url.startswith(("http://", "https://")):
        found.append(Problem(Say.judge(given=plain(given.judge_url)), "judge_url"))
    if not given.judge_model:
        found.append(Problem(Say.no_judge(), "judge_model"))
    if not (given.compare_base and spec.model.adapter_name_or_path):
        found.append(Problem(Say.no_pair(), "judge_url"))
    return found


def _no_metric(name: str, known: Sequence[str]) -> Problem:
    told, near = {"given": plain(name), "known": ", ".join(known)}, get_close_matches(name, known, 1, 0.5)
    return Problem(Say.no_metric(**told, nearest=near[0]) if near else Say.no_metric_far(**told), "metrics")


def _raised(action: Callable[[], object]) -> list[Problem]:
    """The problems that the action ends on."""
    try:
        action()
    except UserError as error:
        return list(error.problems)
    return []
