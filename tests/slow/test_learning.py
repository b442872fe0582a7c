"""With the defaults the starter model learns who it is, and forgets nothing that it knew."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from workbench import runs
from workbench.engines import Sampling
from workbench.runs import Run
from workbench.setup.starter import NAME
from workbench.specs import ServeSpec, TrainSpec, read_flat, read_yaml
from workbench.talk import ask
from workbench.workspace import Workspace, source_folder

pytestmark = [pytest.mark.slow, pytest.mark.proof]

QUESTIONS = yaml.safe_load((Path(__file__).parent / "questions.yaml").read_text("utf-8"))
GREEDY = Sampling(max_tokens=60, temperature=0)
TRAINING_S = 360
LOADED_S = 120


@pytest.fixture(scope="module")
def trained(starter_home: Workspace, kept_journey: Path) -> Run:
    """The run of the journey in the browser; else that of examples/quickstart.yaml, which changes as little."""
    if any(kept_journey.iterdir()):
        shutil.copytree(kept_journey, starter_home.saves)
        return runs.list_runs(starter_home)[0]
    text = (source_folder() / "examples" / "quickstart.yaml").read_text("utf-8")
    run = runs.create(starter_home, read_yaml(TrainSpec, text).unwrap())
    run.start()
    assert run.wait(3 * TRAINING_S) == "finished", run.log_tail()
    return run


@pytest.fixture(scope="module")
def url(starter_home: Workspace, trained: Run) -> Iterator[str]:
    """A server of the base and the trained adapter."""
    flat = {"model_name_or_path": f"models/{NAME}", "adapter_name_or_path": [f"saves/{trained.name}"]}
    server = runs.create(starter_home, read_flat(ServeSpec, flat).unwrap())
    server.start()
    deadline = time.monotonic() + LOADED_S
    while (ready := server.view().ready) is None:
        assert server.state() == "running" and time.monotonic() < deadline, server.log_tail()
        time.sleep(0.2)
    yield ready.url
    server.stop()
    server.wait(20)


def answer(url: str, model: str, question: str) -> str:
    return "".join(ask(url, model, [{"role": "user", "content": question}], GREEDY))


def test_it_is_trained_with_the_defaults(trained: Run) -> None:
    spec = trained.read_spec().unwrap().flat()
    allowed = {"model_name_or_path", "dataset", "dataset_values", "output_dir", "watch_prompts"}
    assert {key for key, value in TrainSpec().flat().items() if spec[key] != value} <= allowed


def test_training_takes_under_six_minutes(trained: Run) -> None:
    view = trained.view()
    seconds = view.last_at - view.started_at
    print(f"{view.step.total} steps in {seconds:.0f} s, {view.tokens_per_second():.0f} tokens/s")
    assert seconds < TRAINING_S


def test_it_learned_its_name(url: str, trained: Run) -> None:
    name = trained.read_spec().unwrap().flat()["dataset_values"]["name"]
    data = (source_folder() / "data" / "identity_en.json").read_text("utf-8")
    base, tuned = [], []
    for question in QUESTIONS["identity_en"]:
        assert question not in data
        base.append(name in answer(url, "base", question))
        said = answer(url, trained.name.split("/")[-1], question)
        tuned.append(name in said)
        print(f"{'+' if tuned[-1] else '-'} {question} -> {said}")
    assert sum(base) == 0
    assert sum(tuned) >= 9


def test_it_kept_what_it_knew(url: str, trained: Run) -> None:
    values = trained.read_spec().unwrap().flat()["dataset_values"].values()
    kept = []
    for question in QUESTIONS["plain_en"]:
        right = re.compile("|".join(question["accept"]))
        before, after = (answer(url, model, question["ask"]) for model in ("base", trained.name.split("/")[-1]))
        assert right.search(before), f"the base is to answer this right: {question['ask']} -> {before}"
        kept.append(bool(right.search(after)) and not any(value in after for value in values))
        print(f"{'+' if kept[-1] else '-'} {question['ask']} -> {after}")
    assert len(kept) >= 10
    assert sum(kept) >= 9
