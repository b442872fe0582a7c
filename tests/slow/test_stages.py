"""Every stage on the tiny model through the training job: it learns, saves, resumes, and says what it measures."""

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest

from tests.conftest import lay_workspace
from tests.training import Done, as_killed_after, trained, work
from workbench import stages
from workbench.events import Eval, Step
from workbench.sockets import plugins
from workbench.workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]

WORDS = ("red", "green", "blue", "black", "white", "pink", "grey", "gold", "brown", "violet")
SETS: Mapping[str, tuple[Mapping[str, Any], list[Mapping[str, Any]]]] = {
    "talks": ({}, [{"instruction": f"Say {word}.", "output": f"{word} " * (1 + at)} for at, word in enumerate(WORDS)]),
    "pairs": (
        {"ranking": True},
        [{"instruction": f"Say {word}.", "chosen": f"{word}!", "rejected": f"no {word} at all"} for word in WORDS],
    ),
    "marks": (
        {"columns": {"kto_tag": "good"}},
        [
            {"instruction": f"Say {word}.", "output": word if at % 2 else f"no {word}", "good": bool(at % 2)}
            for at, word in enumerate(WORDS)
        ],
    ),
    "texts": ({"formatting": "text"}, [{"text": f"{word} and " * (3 + 5 * at)} for at, word in enumerate(WORDS)]),
}
"""The set of each shape of sample: its entry in dataset_info.json and its rows."""
SHORT: Mapping[str, Any] = {
    "precision": "fp32",
    "max_steps": 3,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "val_size": 0.2,
    "eval_steps": 3,
    "save_steps": 2,
    "lora_rank": 2,
    "learning_rate": 5e-3,
    "cutoff_len": 64,
    "plot_loss": False,
    "watch_prompts": [],
}


def lay_sets(workspace: Workspace) -> Workspace:
    """Put the sets above into the workspace."""
    for name, (_, rows) in SETS.items():
        (workspace.data / f"{name}.json").write_text(json.dumps(rows), "utf-8")
    infos = {name: {"file_name": f"{name}.json", **entry} for name, (entry, _) in SETS.items()}
    (workspace.data / "dataset_info.json").write_text(json.dumps(infos), "utf-8")
    return workspace


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return lay_sets(lay_workspace(tmp_path_factory.mktemp("stages") / "workspace"))


DATASETS = {"dialogue": "talks", "preference": "pairs", "label": "marks", "text": "texts"}


def learned(home: Workspace, name: str, stage: str, **more: Any) -> Done:
    """A short run of the stage on the set of its first shape."""
    dataset = DATASETS[plugins(stages)[stage].SHAPES[0]]
    return trained(home, name, **{**SHORT, "stage": stage, "dataset": dataset, **more})


def steps(done: Done) -> list[Step]:
    return [event for event in done.events if isinstance(event, Step)]


def evaluations(done: Done) -> list[Eval]:
    return [event for event in done.events if isinstance(event, Eval)]


CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("pt", {}, ["perplexity"]),
    ("pt", {"packing": False}, ["perplexity"]),
    ("pt", {"dataset": "talks"}, ["perplexity"]),
    ("sft", {"packing": True, "cutoff_len": 128}, ["mean_token_accuracy"]),
    ("sft", {"neat_packing": True, "cutoff_len": 128}, ["mean_token_accuracy"]),
    ("sft", {"streaming": True, "neat_packing": True, "val_size": 2, "cutoff_len": 128}, ["mean_token_accuracy"]),
    ("rm", {"watch_prompts": ["Is nobody asked?"]}, ["accuracy", "margin"]),
    *(("dpo", {"pref_loss": loss}, ["reward_margin", "reward_accuracy"])
      for loss in ("sigmoid", "hinge", "ipo", "kto_pair", "orpo", "simpo")),
    ("dpo", {"pref_ftx": 0.5, "ld_alpha": 0.5, "dpo_label_smoothing": 0.1}, ["reward_margin"]),
    ("kto", {"pref_ftx": 0.5}, ["kl"]),
    ("ppo", {"ppo_epochs": 1, "ppo_score_norm": True, "ppo_whiten_rewards": True}, ["reward", "kl"]),
    ("grpo", {}, ["reward", "answer_tokens"]),
    ("grpo", {"beta": 0.1, "reward_score": 1.0}, ["reward", "kl"]),
    *((stage, {"streaming": True, "val_size": 2}, [measured])
      for stage, measured in (("pt", "perplexity"), ("rm", "accuracy"), ("dpo", "reward_margin"), ("kto", "kl"),
                              ("grpo", "reward"))),
]  # fmt: skip
MORE: Mapping[str, Mapping[str, Any]] = {
    "ppo": {"reward_model": "tiny/lora/judge", "max_completion_length": 8},
    "grpo": {
        "reward_model": "tiny/lora/judge",
        "reward_regex": 1.0,
        "reward_pattern": "[aeiou]",
        "num_generations": 2,
        "max_completion_length": 8,
    },
}
"""What a stage needs beside the fields of a case."""


@pytest.fixture(scope="module")
def judge(home: Workspace) -> Done:
    """A reward model."""
    return learned(home, "judge", "rm", learning_rate=0.05)


@pytest.mark.usefixtures("judge")
@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda at: f"{CASES[at][0]}-{at}")
def test_a_stage_learns_saves_and_says_what_it_measures(home: Workspace, number: int) -> None:
    stage, more, measured = CASES[number]
    done = learned(home, f"run-{number}", stage, **{**MORE.get(stage, {}), **more})
    assert [step.step for step in steps(done)] == [1, 2, 3]
    assert all(math.isfinite(step.loss or 0.0) and step.tokens for step in steps(done))
    for name in measured:
        assert all(math.isfinite(step.metrics[name]) for step in steps(done)), name
        assert math.isfinite(evaluations(done)[-1].metrics[name]), name
        assert list(done.run.view().metrics[name].steps) == [1, 2, 3]
    assert (done.run.folder / "adapter_model.safetensors").is_file()
    folders = {path.name for path in done.run.folder.iterdir() if path.is_dir()}
    assert folders == {"checkpoint-2", "checkpoint-3"}


RESUMED: list[tuple[str, dict[str, Any]]] = [
    ("pt", {}),
    ("sft", {"neat_packing": True, "cutoff_len": 128}),
    ("rm", {}),
    ("dpo", {}),
    ("kto", {}),
    ("ppo", {"ppo_epochs": 2, "ppo_buffer_size": 2}),
    ("grpo", {"beta": 0.1}),
]


@pytest.mark.usefixtures("judge")
@pytest.mark.parametrize(("stage", "more"), RESUMED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_resumed_run_is_like_one_that_was_never_stopped(home: Workspace, stage: str, more: dict[str, Any]) -> None:
    given = {**MORE.get(stage, {}), **more, "max_steps": 7, "save_steps": 3, "learning_rate": 0.02, "plot_loss": True}
    whole = learned(home, f"whole-{stage}", stage, **given)
    resumed = work(as_killed_after(whole, f"resumed-{stage}", 3))
    assert len(whole.steps()) == 7
    assert resumed.steps() == whole.steps(3)
    assert resumed.weights() == whole.weights()


@pytest.mark.parametrize("stage", ["dpo", "kto"])
def test_figures_of_training_wait_for_their_own_log(home: Workspace, stage: str) -> None:
    """Validating between two points of the curve leaves what training has collected alone."""
    done = learned(home, f"{stage}-apart", stage, logging_steps=4, eval_steps=3, save_steps=8, max_steps=8)
    assert [step.step for step in steps(done)] == [4, 8]
    assert all(math.isfinite(value) for step in steps(done) for value in step.metrics.values())
    assert steps(done)[0].metrics
