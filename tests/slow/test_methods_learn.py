"""The starter model learns who it is by other methods than LoRA too, and keeps what it knew. Each prints its figures."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from workbench import runs
from workbench.engines import Sampling
from workbench.runs import Run
from workbench.setup.starter import NAME
from workbench.specs import ServeSpec, TrainSpec, read_flat
from workbench.talk import ask
from workbench.workspace import Workspace, source_folder

pytestmark = [pytest.mark.slow, pytest.mark.proof]

QUESTIONS = yaml.safe_load((Path(__file__).parent / "questions.yaml").read_text("utf-8"))
GREEDY = Sampling(max_tokens=60, temperature=0)
METHODS: Mapping[str, Mapping[str, Any]] = {
    "qlora": {"quantization_bit": "4", "learning_rate": 5e-4},
    "dora": {"use_dora": True},
    "prefix": {"finetuning_type": "prefix", "learning_rate": 1e-2, "num_train_epochs": 10},
    "freeze": {"finetuning_type": "freeze", "learning_rate": 2e-4},
}
"""What each changes in examples/quickstart.yaml."""


def train(starter_home: Workspace, method: str) -> Run:
    text = (source_folder() / "examples" / "quickstart.yaml").read_text("utf-8")
    flat = {**yaml.safe_load(text), **METHODS[method], "output_dir": method, "watch_prompts": []}
    run = runs.create(starter_home, read_flat(TrainSpec, flat).unwrap())
    run.start()
    assert run.wait(3600) == "finished", run.log_tail()
    return run


@contextmanager
def serving(starter_home: Workspace, run: Run) -> Iterator[str]:
    flat = {"model_name_or_path": f"models/{NAME}", "adapter_name_or_path": [f"saves/{run.name}"]}
    server = runs.create(starter_home, read_flat(ServeSpec, flat).unwrap())
    server.start()
    deadline = time.monotonic() + 240
    while (ready := server.view().ready) is None:
        assert server.state() == "running" and time.monotonic() < deadline, server.log_tail()
        time.sleep(0.2)
    yield ready.url
    server.stop()
    server.wait(20)


@pytest.mark.parametrize("method", METHODS)
def test_it_learns_its_name_and_keeps_what_it_knew(starter_home: Workspace, method: str) -> None:
    run = train(starter_home, method)
    view = run.view()
    name = run.read_spec().unwrap().flat()["dataset_values"]["name"]

    with serving(starter_home, run) as url:

        def answer(question: str) -> str:
            return "".join(ask(url, method, [{"role": "user", "content": question}], GREEDY))

        named = [name in answer(question) for question in QUESTIONS["identity_en"]]
        plain = [(re.compile("|".join(one["accept"])), answer(one["ask"])) for one in QUESTIONS["plain_en"]]
    kept = [bool(right.search(said)) and name not in said for right, said in plain]
    print(
        f"{method}: {view.step.total} steps in {view.last_at - view.started_at:.0f} s; "
        f"{sum(named)} of {len(named)} names, {sum(kept)} of {len(kept)} plain answers"
    )
    assert (sum(named) >= 9, sum(kept) >= 9) == (True, True)
