"""One benchmark, asked three ways of the starter model: by lm-eval's own model, through our engine, through our API's URL."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving import serving
from tests.test_engines import open_engine
from workbench import suite
from workbench.engines import BASE, Engine
from workbench.examining.benchmarks import TaskResult, run_tasks
from workbench.examining.examinee import Answered
from workbench.setup.starter import NAME
from workbench.workspace import Workspace

pytestmark = [pytest.mark.slow, pytest.mark.proof, pytest.mark.filterwarnings("ignore")]  # lm-eval and what it asks with warn of much

TASKS = ("everyday_en_knowledge", "everyday_en_arithmetic", "everyday_en_reading")
LEAST = 100


@pytest.fixture(scope="module")
def engine(starter_home: Workspace) -> Iterator[Engine]:
    engine = open_engine(starter_home, model_name_or_path=f"models/{NAME}", infer_dtype="float32")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def ours(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TaskResult]:
    answered = Answered(tmp_path_factory.mktemp("ours") / "answers.jsonl")
    return run_tasks(engine, {BASE: BASE}, TASKS, None, None, lambda done, total: None, answered)[BASE]


def theirs(kind: str, **arguments: Any) -> Any:
    """lm-eval's results with a model of its own."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(suite.folder()), include_defaults=False)
    return simple_evaluate(kind, arguments, tasks=list(TASKS), task_manager=manager, batch_size=8, bootstrap_iters=0)


def agree(told: Any, ours: dict[str, TaskResult]) -> int:
    """Whether scores, and what was chosen for each question, are the same; of how many questions."""
    for name in TASKS:
        found = ours[name]
        assert told["results"][name]["acc,none"] == found.score
        assert [sample["acc"] for sample in told["samples"][name]] == [one.score for one in found.questions]
    return sum(len(ours[name].questions) for name in TASKS)


def test_our_engine_scores_as_the_own_model_of_lm_eval(starter_home: Workspace, ours: dict[str, TaskResult]) -> None:
    told = theirs("hf", pretrained=str(starter_home.models / NAME), dtype="float32", device="cpu")
    assert agree(told, ours) >= LEAST
    assert all(0.2 < ours[name].score < 1 for name in TASKS[:1])


def test_our_api_scores_as_our_engine(engine: Engine, starter_home: Workspace, ours: dict[str, TaskResult]) -> None:
    tokenizer = str(starter_home.models / NAME)
    with serving(engine) as url:
        asked = {"model": BASE, "base_url": f"{url}/v1/completions", "tokenizer": tokenizer, "tokenizer_backend": "huggingface"}
        told = theirs("local-completions", **asked, num_concurrent=1, max_retries=1)
    assert agree(told, ours) >= LEAST


def test_written_answers_are_those_of_the_own_model_of_lm_eval(
    engine: Engine, starter_home: Workspace, tmp_path: Path
) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    task, few = "everyday_en_following", 6
    manager = TaskManager(include_path=str(suite.folder()), include_defaults=False)
    arguments = {"pretrained": str(starter_home.models / NAME), "dtype": "float32", "device": "cpu"}
    told = simple_evaluate("hf", arguments, tasks=[task], task_manager=manager, limit=few, bootstrap_iters=0)
    answered = Answered(tmp_path / "answers.jsonl")
    found = run_tasks(engine, {BASE: BASE}, [task], None, few, lambda done, total: None, answered)[BASE][task]
    assert [one.answer for one in found.questions] == [sample["resps"][0][0] for sample in told["samples"][task]]
    assert len(found.questions) == few
