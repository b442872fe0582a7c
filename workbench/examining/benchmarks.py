"""Benchmarks by lm-evaluation-harness over any engine: its tasks and our own offline suite. Knows no engine by name."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from workbench import suite
from workbench.engines import Engine
from workbench.examining.examinee import Answered, Done, Examinee, shown_chat, written_chat
from workbench.fields import plain
from workbench.problems import UserError, first_line
from workbench.text import Message, Text, verbatim

OTHER_NAMES: Mapping[str, str] = {
    "mmlu_test": "mmlu",
    "ceval_validation": "ceval-valid",
    "ceval_test": "ceval-test",
    "cmmlu_test": "cmmlu",
}
"""What LLaMA-Factory calls a task, and lm-eval's name of it. Its ``lang`` chose words that lm-eval's tasks bring along."""
FEWSHOT_SEED, RANDOM_SEED = 1234, 0
"""As lm-eval has them, so that its own command line shows the same examples."""
TRIES = (OSError, ValueError, KeyError, RuntimeError, TypeError)
"""What the loading of a task's data ends with where they can't be had."""
Told = Callable[[int, int], None]


class Say:
    unknown = Text("There is no benchmark named '{given}'. Accepted: {near}. Choose one of these, or another task of lm-eval.")
    no_data = Text(
        "The data of the benchmark '{name}' can't be had: {reason}. Accepted: everyday_en and everyday_zh, which come with "
        "the workbench, or a task whose data lie in the cache of Hugging Face. Fetch them where there is a network, or "
        "take the task out."
    )
    no_scores = Text(
        "The benchmark '{name}' asks how likely given answers are, which this engine does not tell. Accepted: the engines "
        "transformers and vllm, or a benchmark that asks for written answers, such as gsm8k. Choose one of these."
    )
    no_package = Text(
        "The benchmark '{name}' needs a package that is not installed: {reason}. Accepted: everyday_en, everyday_zh and all "
        "whose packages are there. Install it with 'pip install', or take the task out."
    )
    own_shots = Text(
        "The benchmark '{name}' brings its examples in its own words: 'Examples before a question' changes nothing there."
    )
    picture = Text("The benchmark '{name}' shows pictures or sounds. Accepted: benchmarks of text. Take it out.")
    unsafe = Text("The benchmark '{name}' runs code that the model writes. Accepted: benchmarks that don't. Take it out.")


@dataclass(frozen=True)
class Marked:
    """One question and how the model did. ``score``: None where the task gives no number for a single question."""

    category: str
    number: int
    """Its place in the task's data, from 0: the same question has the same place for every model."""
    prompt: str
    target: str
    answer: str
    score: float | None


@dataclass(frozen=True)
class TaskResult:
    """What one model reached in one task, by the task's first metric, as lm-eval computes it."""

    metric: str
    score: float | None
    """None where lm-eval gives no number."""
    higher_is_better: bool
    categories: Mapping[str, float | None] = field(default_factory=dict)
    """The same for the task's parts, by the names that people see; none where it has no parts."""
    questions: Sequence[Marked] = ()


def task_name(given: str) -> str:
    """The name that lm-eval knows for one that LLaMA-Factory knows."""
    return OTHER_NAMES.get(given, given)


def run_tasks(
    engine: Engine,
    models: Mapping[str, str],
    tasks: Sequence[str],
    num_fewshot: int | None,
    limit: int | None,
    told: Told,
    answered: Answered,
    chat: bool = False,
) -> dict[str, dict[str, TaskResult]]:
    """The results by label of the model, then by task as it was given.

    ``models``: what each is called in the results, and its name in the engine. ``limit``: questions of each part of a
    task. ``told`` hears how many questions are answered of how many. ``chat``: ask in the model's chat template.
    """
    loaded = load_tasks(tasks, num_fewshot)
    loaded.check(engine)
    return ask_tasks(engine, models, loaded, limit, told, answered, chat)


def ask_tasks(
    engine: Engine,
    models: Mapping[str, str],
    loaded: "Loaded",
    limit: int | None,
    told: Told,
    answered: Answered,
    chat: bool = False,
) -> dict[str, dict[str, TaskResult]]:
    """The same of tasks that are loaded and checked."""
    counts = [_count(task, limit) for found in loaded.tasks.values() for task in found["tasks"].values()]
    progress = Progress(sum(counts) * len(models), told)
    results: dict[str, dict[str, TaskResult]] = {}
    for label, name in models.items():
        random.setstate(loaded.state)
        examinee = Examinee(engine, name, label, answered)
        results[label] = {
            given: _result(found, _evaluated(examinee, found, limit, chat, progress)) for given, found in loaded.tasks.items()
        }
    return results


@dataclass(frozen=True)
class Loaded:
    """Tasks with their data, by the names that were given."""

    tasks: Mapping[str, Any]
    notes: Sequence[Message]
    """What a person should know of them."""
    state: Any
    """Of Python's random numbers once they were loaded: for every model lm-eval draws on from here."""

    def check(self, engine: Engine) -> None:
        """UserError for what can't be asked of the engine, or must not be."""
        for given, found in self.tasks.items():
            _check(given, found, engine)


def load_tasks(tasks: Sequence[str], num_fewshot: int | None) -> Loaded:
    """The tasks by name; UserError for one that is not known, and for one whose data or packages can't be had."""
    random.seed(RANDOM_SEED)
    manager, notes = _manager(tasks), list[Message]()
    found = {given: _loaded(task_name(given), manager) for given in dict.fromkeys(tasks)}
    for given, one in found.items():
        if not _with_shots(one, num_fewshot):
            notes.append(Say.own_shots(name=plain(given)))
    return Loaded(found, notes, random.getstate())


@dataclass
class Progress:
    """How many questions are answered: one is when all its requests are."""

    total: int
    told: Told
    done: int = 0

    def over(self, requests: Sequence[Any]) -> Done:
        """To be told with the number of a request as soon as it is answered."""
        places = [(request.task_name, request.doc_id) for request in requests]
        left: dict[Any, int] = {}
        for place in places:
            left[place] = left.get(place, 0) + 1

        def done(at: int) -> None:
            left[places[at]] -= 1
            if not left[places[at]]:
                self.done += 1
                self.told(self.done, self.total)

        return done


def engine_model(examinee: Examinee, progress: Progress) -> Any:
    """The examinee as a model of lm-eval."""
    from lm_eval.api.model import LM

    class EngineModel(LM):
        tokenizer_name = ""

        def loglikelihood(self, requests: Sequence[Any]) -> Any:
            return examinee.pairs([request.args for request in requests], progress.over(requests))

        def loglikelihood_rolling(self, requests: Sequence[Any]) -> Any:
            return examinee.texts([request.args[0] for request in requests], progress.over(requests))

        def generate_until(self, requests: Sequence[Any]) -> Any:
            return examinee.answers([request.args for request in requests], progress.over(requests))

        def apply_chat_template(self, chat_history: Sequence[Any], add_generation_prompt: bool = True) -> str:
            return written_chat(chat_history)

    return EngineModel()


# Tasks


def _manager(tasks: Sequence[str]) -> Any:
    """Knows where the files of tasks lie. Those of lm-eval are many: they are looked through only where they are needed.

    A path to a file is no name: a task's file may run any Python beside it.
    """
    from lm_eval.tasks import TaskManager

    ours = TaskManager(include_path=str(suite.folder()), include_defaults=False)
    others = [given for given in tasks if task_name(given) not in ours.task_index]
    if not others:
        return ours
    manager = TaskManager(include_path=str(suite.folder()))
    for given in others:
        if task_name(given) not in manager.task_index:
            near = [*get_close_matches(task_name(given), manager.all_tasks, 5), *suite.TASKS]
            raise UserError(Say.unknown(given=plain(given), near=", ".join(near)), key="task")
    return manager


def _loaded(name: str, manager: Any) -> Any:
    """The task with its data, or the tasks of a group."""
    try:
        return manager.load([name])
    except ImportError as error:
        raise UserError(Say.no_package(name=plain(name), reason=verbatim(first_line(error))), key="task") from error
    except TRIES as error:
        raise UserError(Say.no_data(name=plain(name), reason=verbatim(first_line(error))), key="task") from error


def _with_shots(found: Any, num_fewshot: int | None) -> bool:
    """Let the tasks show so many examples; False where one of them shows its own whatever is asked for."""
    heeded = True
    for task in found["tasks"].values():
        own = task.get_config("num_fewshot")
        # A task of others that shows none by itself has its examples in its words already.
        if num_fewshot is not None and (own != 0 or _is_ours(task)):
            task.set_config(key="num_fewshot", value=num_fewshot)
        elif own is None:
            task.set_config(key="num_fewshot", value=0)
        else:
            heeded = heeded and not num_fewshot
    return heeded


def _is_ours(task: Any) -> bool:
    return Path(str(task.config.metadata["config_source"])).is_relative_to(suite.folder())


def _check(given: str, found: Any, engine: Engine) -> None:
    """UserError for what can't be asked of the engine, or must not be."""
    for task in found["tasks"].values():
        if task.get_config("doc_to_image") or task.get_config("doc_to_audio"):
            raise UserError(Say.picture(name=plain(given)), key="task")
        if task.get_config("unsafe_code"):
            raise UserError(Say.unsafe(name=plain(given)), key="task")
        if "score" in engine.lacks and task.OUTPUT_TYPE != "generate_until":
            raise UserError(Say.no_scores(name=plain(given)), key="task")


def _count(task: Any, limit: int | None) -> int:
    return min(len(task.eval_docs), limit or len(task.eval_docs))


def _evaluated(examinee: Examinee, found: Any, limit: int | None, chat: bool, progress: Progress) -> Any:
    """lm-eval's own results. Its intervals are left out: they are computed from the questions."""
    from lm_eval.evaluator import evaluate

    for task in found["tasks"].values():
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
    model = engine_model(examinee, progress)
    return evaluate(model, found, limit=limit, bootstrap_iters=0, apply_chat_template=chat, fewshot_as_multiturn=chat)


# Results


def _result(found: Any, told: Any) -> TaskResult:
    """The part of lm-eval's results that a comparison needs."""
    parts = {name: _metric(told["results"][name]) for name in found["tasks"]}
    questions = [one for name in found["tasks"] for one in _marked(found["tasks"][name], told["samples"][name], parts[name])]
    metrics = sorted({metric.partition(",")[0] for metric in parts.values()})
    first = next(iter(parts))
    higher = bool(told["higher_is_better"][first].get(parts[first].partition(",")[0], True))
    if len(parts) == 1:
        return TaskResult(metrics[0], number_of(told["results"][first][parts[first]]), higher, {}, questions)
    categories = {_alias(told, name): number_of(told["results"][name][metric]) for name, metric in parts.items()}
    return TaskResult(" / ".join(metrics), _whole(found, told, parts, questions), higher, categories, questions)


def _metric(results: Mapping[str, Any]) -> str:
    """The first metric of a task with its filter, as lm-eval writes them: acc,none."""
    return next(key for key in results if "," in key and "_stderr," not in key)


def number_of(told: Any) -> float | None:
    """A figure of lm-eval; None for what it writes where there is none: nan, N/A."""
    return float(told) if isinstance(told, int | float) and math.isfinite(told) else None


def _whole(found: Any, told: Any, parts: Mapping[str, str], questions: Sequence[Marked]) -> float | None:
    """A group's score: as lm-eval has it where one metric holds for all parts, else the mean over all questions."""
    for group in found["groups"]:
        if set(parts) <= set(_leaves(found, group)) and len(set(parts.values())) == 1:
            (metric,) = set(parts.values())
            if metric in told["results"].get(group, {}):
                return number_of(told["results"][group][metric])
    scores = [one.score for one in questions if one.score is not None]
    return sum(scores) / len(scores) if scores else None


def _leaves(found: Any, group: str) -> Iterator[str]:
    for child in found["group_map"].get(group, ()):
        if child in found["groups"]:
            yield from _leaves(found, child)
        else:
            yield child


def _alias(told: Any, name: str) -> str:
    return str(told["results"][name].get("alias") or name)


def _marked(task: Any, samples: Sequence[Mapping[str, Any]], metric: str) -> Iterator[Marked]:
    """The questions of one part, each with its own score."""
    name, _, filtered = metric.partition(",")
    category = str(task.get_config("task_alias") or task.task_name)
    for sample in samples:
        if sample["filter"] == filtered:
            value = sample.get(name)
            yield Marked(category, sample["doc_id"], _prompt(sample), _target(sample), _answer(sample), number_of(value))


def _prompt(sample: Mapping[str, Any]) -> str:
    return shown_chat(str(sample["arguments"][0][0]))


def _target(sample: Mapping[str, Any]) -> str:
    target = sample["target"]
    if isinstance(target, int) and 0 <= target < len(sample["arguments"]) and len(sample["arguments"][target]) > 1:
        return _choice(sample, target)
    return " / ".join(map(str, target)) if isinstance(target, list) else str(target)


def _choice(sample: Mapping[str, Any], at: int) -> str:
    return str(sample["arguments"][at][1]).strip()


def _answer(sample: Mapping[str, Any]) -> str:
    """What the model wrote, or the choice that it found likeliest."""
    told = [response[0] for response in sample["resps"]]
    if all(isinstance(one, str) for one in told):
        return str(told[0])
    if len(told) > 1:
        return _choice(sample, max(range(len(told)), key=lambda at: float(told[at][0])))
    return ""
