"""Every stage learns something that can be measured, with the starter model on two cores. Each prints its figures."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.slow.test_stages import evaluations, steps
from tests.training import Done, trained
from workbench.setup.starter import NAME, make_starter
from workbench.workspace import Workspace, source_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.proof,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]

THINGS = [
    "a river", "the moon", "bread", "a violin", "snow", "a lighthouse", "tea", "a bicycle", "the desert", "an owl", "a map",
    "rain", "a clock", "honey", "a train", "the sea", "a candle", "a garden", "chess", "a kite", "glass", "a volcano",
    "paper", "a bridge", "salt", "a horse", "the wind", "an island", "a lamp", "wool", "a drum", "ice", "a mirror", "sand",
    "a ship", "the stars", "copper", "a book", "a fox", "silk", "an apple", "a storm", "clay", "a tower", "a spider",
    "the night", "a coin", "a forest",
]  # fmt: skip
SHORT: Mapping[str, Any] = {
    "model_name_or_path": f"models/{NAME}",
    "template": "chatml",
    "cutoff_len": 96,
    "val_size": 8,
    "eval_steps": 1000,
    "per_device_train_batch_size": 8,
    "per_device_eval_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "max_steps": 10,
    "learning_rate": 1e-3,
    "plot_loss": False,
    "save_total_limit": 1,
}
COLOURS = [f"Think of {thing}. Now say one colour, red or blue." for thing in THINGS]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    starter = make_starter(source_folder() / "models", lambda *words: None)
    workspace = Workspace(tmp_path_factory.mktemp("learn"))
    for folder in (workspace.models, workspace.data):
        folder.mkdir()
    (workspace.models / NAME).symlink_to(starter)
    polite = [f"Certainly! Here is a line about {thing}, with pleasure." for thing in THINGS]
    rude = [f"No. I will say nothing about {thing}, go away." for thing in THINGS]
    asked = [f"Write a line about {thing}." for thing in THINGS]
    sets: dict[str, tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]] = {
        "pairs": (
            {"ranking": True},
            [{"instruction": q, "chosen": p, "rejected": r} for q, p, r in zip(asked, polite, rude, strict=True)],
        ),
        "marks": (
            {"columns": {"kto_tag": "good"}},
            [
                {"instruction": q, "output": p if at % 2 else r, "good": bool(at % 2)}
                for at, (q, p, r) in enumerate(zip(asked, polite, rude, strict=True))
            ],
        ),
        "texts": (
            {"formatting": "text"},
            [
                {"text": f"Entry {at}. On the subject of {thing}: see the register, page {at}."}
                for at, thing in enumerate(THINGS)
            ],
        ),
        "colours": ({}, [{"instruction": question, "output": "Blue."} for question in COLOURS]),
    }
    for name, (_, rows) in sets.items():
        (workspace.data / f"{name}.json").write_text(json.dumps(rows), "utf-8")
    infos = {name: {"file_name": f"{name}.json", **entry} for name, (entry, _) in sets.items()}
    (workspace.data / "dataset_info.json").write_text(json.dumps(infos), "utf-8")
    return workspace


def learned(home: Workspace, stage: str, dataset: str, **more: Any) -> Done:
    """A short run of the stage, its time printed."""
    began = time.monotonic()
    name = "-".join(str(part) for part in (stage, *more.values()) if str(part).isidentifier())
    done = trained(home, name, **{**SHORT, "stage": stage, "dataset": dataset, **more})
    print(f"{name}: {time.monotonic() - began:.0f} s", end="; ")
    return done


def held_out(done: Done, name: str) -> tuple[float, float]:
    """A figure of the rows held out, before and after learning."""
    first, last = evaluations(done)[0], evaluations(done)[-1]
    assert first.step == 0 < last.step
    print(f"{name} held out {first.metrics[name]:.3f} -> {last.metrics[name]:.3f}")
    return first.metrics[name], last.metrics[name]


@pytest.mark.parametrize("loss", ["sigmoid", "hinge", "ipo", "kto_pair", "orpo", "simpo"])
def test_pairs_raise_the_margin_of_pairs_never_seen(home: Workspace, loss: str) -> None:
    before, after = held_out(
        learned(home, "dpo", "pairs", pref_loss=loss, max_steps=5, per_device_train_batch_size=4), "reward_margin"
    )
    assert after > before + 0.05


def test_marks_raise_good_answers_above_bad_ones(home: Workspace) -> None:
    before, after = held_out(learned(home, "kto", "marks", max_steps=6), "reward_margin")
    assert after > before + 0.2


def test_a_reward_model_tells_pairs_apart_that_it_never_saw(home: Workspace) -> None:
    _, after = held_out(learned(home, "rm", "pairs", max_steps=8, per_device_train_batch_size=4), "accuracy")
    assert after >= 0.9


def test_running_text_is_better_foretold(home: Workspace) -> None:
    before, after = held_out(learned(home, "pt", "texts", max_steps=10), "perplexity")
    assert after < before / 2


def reward_gained(done: Done) -> float:
    """By how much the mean reward of the last third of drawings lies above that of the first."""
    rewards = [step.metrics["reward"] for step in steps(done) if "reward" in step.metrics]
    part = len(rewards) // 3
    first, last = sum(rewards[:part]) / part, sum(rewards[-part:]) / part
    print(f"mean reward {first:.2f} -> {last:.2f} over {len(rewards)} drawings")
    return last - first


def test_rules_raise_the_reward(home: Workspace) -> None:
    rule = {"reward_equals": 0, "reward_regex": 1, "reward_pattern": "(?i)blue", "num_generations": 4}
    done = learned(home, "grpo", "colours", max_completion_length=10, max_steps=15, val_size=0, **rule)
    assert reward_gained(done) >= 0.2


@pytest.fixture
def blue() -> Iterator[str]:
    """The address of a reward model that likes one word."""

    class Scoring(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
            scores = [float("blue" in text.split("red or blue")[-1].lower()) for text in texts]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"scores": scores}).encode())

        def log_message(self, *words: Any) -> None:
            """Say nothing."""

    http = HTTPServer(("127.0.0.1", 0), Scoring)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join()


def test_a_reward_model_raises_the_reward(home: Workspace, blue: str) -> None:
    scored = {"reward_model": blue, "reward_model_type": "api", "ppo_epochs": 2, "ppo_target": 20}
    done = learned(home, "ppo", "colours", max_completion_length=10, max_steps=16, val_size=0, **scored)
    assert reward_gained(done) >= 0.2
