"""What stands in an evaluation's way, as far as it can be told without loading a model. Knows no page and no terminal."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches

from workbench import metrics
from workbench.answering import answer_problems
from workbench.chats import check_template
from workbench.data.datasets import chosen_entries, read_catalogue
from workbench.data.samples import value_problems
from workbench.evaluating.own_checks import parse
from workbench.fields import plain
from workbench.metrics import public
from workbench.models import check_model
from workbench.problems import Problem, UserError
from workbench.sockets import plugins
from workbench.specs import EvalSpec
from workbench.text import Text
from workbench.workspace import Workspace


class Say:
    nothing = Text("Neither a dataset nor a benchmark is chosen. Accepted: at least one of them. Choose one.")
    one_adapter = Text("{count} adapters are chosen. Accepted: one, or none to measure the base model alone. Take the others out.")
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
    known = [public(name) for name in plugins(metrics)]
    problems += [_no_metric(name, known) for name in spec.evaluating.metrics if name not in known]
    return problems


def _check_sets(workspace: Workspace, spec: EvalSpec) -> None:
    entries = chosen_entries(read_catalogue(workspace, spec.sets.dataset_dir), spec.sets.dataset)
    here = [entry for entry in entries if entry.files()]
    if wrong := value_problems(here, spec.sets.dataset_values, spec.sets.max_samples):
        raise UserError(*wrong)


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
