"""What is given and has no part in what happens: fields without an effect are told, and what can't answer is refused."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.bad_inputs import GOOD
from workbench.checking import check_serve
from workbench.specs import TrainSpec, read_flat
from workbench.ui.form import _component, shown
from workbench.workspace import Workspace


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"galore_rank": 64}, "'galore_rank: 64' has no effect: it counts only where 'optim' is galore_adamw."),
        (
            {"save_strategy": "epoch", "save_steps": 50},
            "'save_steps: 50' has no effect: it counts only where 'save_strategy'",
        ),
        ({"optim": "sgd", "adam_beta1": 0.5}, "'adam_beta1: 0.5' has no effect"),
        ({"pissa_iter": 4}, "'pissa_iter: 4' has no effect: it counts only where 'pissa_init' is true."),
    ],
)
def test_a_field_without_an_effect_is_told(given: Mapping[str, Any], words: str) -> None:
    reading = read_flat(TrainSpec, given)
    assert reading.spec is not None
    (said,) = map(str, reading.warnings)
    assert said.startswith(words)


@pytest.mark.parametrize(
    "given",
    [
        {"galore_rank": 64, "optim": "galore_adamw"},
        {"galore_rank": 16, "galore_target": "all"},
        {"optim": "sgd", "adam_beta1": 0.9, "adam_beta2": "0.999"},
        {"save_steps": 50},
        {"eval_strategy": "no", "eval_steps": None},
        {"pissa_init": True, "pissa_iter": 4},
    ],
)
def test_what_counts_or_happens_anyway_needs_no_word(given: Mapping[str, Any]) -> None:
    reading = read_flat(TrainSpec, given)
    assert reading.spec is not None and reading.warnings == []


def test_a_saved_spec_is_read_without_a_word() -> None:
    whole = read_flat(
        TrainSpec, {**GOOD, "optim": "galore_adamw", "finetuning_type": "full", "galore_rank": 4}
    ).unwrap()
    assert read_flat(TrainSpec, whole.flat()).warnings == []


def test_trackers_are_chosen_from_a_list() -> None:
    knob = TrainSpec.knobs()["report_to"]
    assert shown(knob, ["wandb"]) == ["wandb"] and shown(knob, []) == []
    made = _component(knob, [], {})()
    assert made.multiselect and [value for _, value in made.choices] == list(knob.choices)
    assert list(knob.choices) == ["tensorboard", "wandb", "swanlab", "trackio", "mlflow"]
    for given, wanted in (
        ("none", []),
        ([], []),
        (["none"], []),
        ("wandb, mlflow", ["wandb", "mlflow"]),
        (["trackio"], ["trackio"]),
    ):
        assert read_flat(TrainSpec, {"report_to": given}).unwrap().saving.report_to == wanted


@pytest.mark.parametrize("kind", ["adapter", "whole"])
def test_what_was_trained_to_score_does_not_answer(kind: str, workspace: Workspace) -> None:
    run = workspace.saves / "tiny" / "lora" / "scorer"
    run.mkdir(parents=True)
    (run / "spec.yaml").write_text("stage: rm\n", "utf-8")
    if kind == "adapter":
        config = {"task_type": "SEQ_CLS", "base_model_name_or_path": "models/tiny"}
        (run / "adapter_config.json").write_text(json.dumps(config), "utf-8")
        values: dict[str, Any] = {
            "model_name_or_path": "models/tiny",
            "adapter_name_or_path": ["saves/tiny/lora/scorer"],
        }
    else:
        whole = json.loads((workspace.models / "tiny" / "config.json").read_text("utf-8"))
        (run / "config.json").write_text(
            json.dumps({**whole, "architectures": ["LlamaForSequenceClassification"]}), "utf-8"
        )
        for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            (run / name).write_bytes((workspace.models / "tiny" / name).read_bytes())
        values = {"model_name_or_path": "saves/tiny/lora/scorer"}
    checked = check_serve(workspace, values)
    said = [str(problem.message) for problem in checked.problems]
    assert checked.spec is None
    assert any("was trained to score answers (stage rm), and can't give any" in words for words in said)


def test_what_was_trained_to_answer_does(workspace: Workspace) -> None:
    assert check_serve(workspace, {"model_name_or_path": "models/tiny"}).problems == []
