"""The starter model behind the API, as a process of its own: it answers, it can be stopped, and then it is gone."""

import time
from collections.abc import Iterator

import psutil
import pytest

from workbench import runs
from workbench.engines import Sampling
from workbench.events import Ready
from workbench.runs import Run
from workbench.setup.starter import NAME, make_starter
from workbench.specs import ServeSpec, read_flat
from workbench.talk import Ending, ask
from workbench.workspace import Workspace, source_folder

pytestmark = pytest.mark.slow

LOADED_S = 120
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    starter = make_starter(source_folder() / "models", lambda *words: None)
    home = Workspace(tmp_path_factory.mktemp("serve"))
    home.models.mkdir()
    (home.models / NAME).symlink_to(starter)
    run = runs.create(home, read_flat(ServeSpec, {"model_name_or_path": f"models/{NAME}"}).unwrap())
    run.start()
    yield run
    if run.state() == "running":
        run.kill()


@pytest.fixture(scope="module")
def ready(run: Run) -> Ready:
    deadline = time.monotonic() + LOADED_S
    while time.monotonic() < deadline and (view := run.view()).ended is None:
        if view.ready is not None:
            return view.ready
        time.sleep(0.1)
    raise AssertionError(f"{run.view().ended} {run.log_tail()}")


def answer(url: str, sampling: Sampling) -> tuple[str, Ending]:
    """The whole answer and its ending."""
    generator, words = ask(url, "base", QUESTION, sampling), ""
    while True:
        try:
            words += next(generator)
        except StopIteration as stop:
            return words, stop.value


def test_it_says_its_phases(run: Run, ready: Ready) -> None:
    assert run.view().phases == ["reading", "model", "serving"]
    assert list(ready.models) == ["base"]


def test_it_knows_the_capital_of_france_and_ends_its_answer(ready: Ready) -> None:
    words, ending = answer(ready.url, Sampling(max_tokens=64, temperature=0))
    assert "Paris" in words
    assert ending.finish == "stop"
    assert ending.answer_tokens < 64


def test_a_seed_gives_the_same_words_again(ready: Ready) -> None:
    texts = [answer(ready.url, Sampling(max_tokens=24, temperature=1.2, top_p=1, seed=seed))[0] for seed in (5, 5, 6)]
    assert texts[0] == texts[1] != texts[2]


def test_whoever_stops_reading_stops_the_model(ready: Ready) -> None:
    long = ask(ready.url, "base", QUESTION, Sampling(max_tokens=4000, temperature=1.5, top_p=1, seed=1))
    next(long)
    long.close()
    began = time.monotonic()
    assert answer(ready.url, Sampling(max_tokens=1, temperature=0))[1].finish == "length"
    assert time.monotonic() - began < 20


def test_stopped_its_process_is_gone(run: Run, ready: Ready) -> None:
    started = run.view().started
    assert started is not None
    assert psutil.Process(started.pid).memory_info().rss > 300_000_000
    run.stop()
    assert run.wait(10) == "stopped"
    deadline = time.monotonic() + 5
    while psutil.pid_exists(started.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(started.pid)
