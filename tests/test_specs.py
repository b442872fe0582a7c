"""Specs: flat outside, sections inside, the same from YAML, a form or a command line; tutorial files; every problem at once."""

from typing import Any

import pytest
import yaml

from workbench.problems import UserError
from workbench.specs import Reading, ServeSpec, TrainSpec, read_flat, read_yaml, yaml_mapping

TUTORIAL = """
### model
model_name_or_path: meta-llama/Meta-Llama-3-8B-Instruct
trust_remote_code: true

### method
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all

### dataset
dataset: identity,alpaca_en_demo
template: llama3
cutoff_len: 2048
max_samples: 1000
overwrite_cache: true
preprocessing_num_workers: 16
dataloader_num_workers: 4

### output
output_dir: saves/llama3-8b/lora/sft
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none

### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null

### eval
val_size: 0.1
per_device_eval_batch_size: 1
eval_strategy: steps
eval_steps: 500
"""


def problems(reading: Reading[Any]) -> dict[str | None, str]:
    return {problem.key: str(problem.message) for problem in reading.problems}


def warnings(reading: Reading[Any]) -> list[str]:
    return [str(message) for message in reading.warnings]


def test_a_spec_is_flat_outside_and_comes_back_whole() -> None:
    spec = read_flat(
        TrainSpec, {"learning_rate": "1e-4", "lora_rank": 16, "dataset": "a, b", "dataset_values": {"x": "1"}}
    )
    whole = spec.unwrap()
    assert whole.optim.learning_rate == 1e-4
    assert whole.data.dataset == ["a", "b"]
    again = read_yaml(TrainSpec, whole.to_yaml())
    assert again.spec == whole
    assert not again.warnings
    head = yaml.safe_load(whole.to_yaml())
    assert (head.pop("version"), head.pop("job")) == (1, "train")
    assert list(head) == list(whole.flat())
    assert set(head) == {
        key for key, knob in TrainSpec.knobs().items() if not knob.owners or {"sft", "lora"} & {*knob.owners}
    }


def test_a_tutorial_file_runs_unchanged() -> None:
    reading = read_yaml(TrainSpec, TUTORIAL)
    assert not reading.problems
    flat = reading.unwrap().flat()
    assert flat["precision"] == "bf16"
    assert flat["dataset"] == ["identity", "alpaca_en_demo"]
    assert flat["lora_target"] == ["all"]
    assert flat["output_dir"] == "saves/llama3-8b/lora/sft"
    assert flat["learning_rate"] == 1e-4
    told = "\n".join(warnings(reading))
    assert len(reading.warnings) == 1
    assert (flat["dataloader_num_workers"], flat["report_to"], flat["ddp_timeout"]) == (4, [], 180_000_000)
    assert "'preprocessing_num_workers: 16' has no effect" in told


@pytest.mark.parametrize(
    ("given", "precision"),
    [
        ({"bf16": True}, "bf16"),
        ({"bf16": "True"}, "bf16"),
        ({"pure_bf16": True}, "pure_bf16"),
        ({"pure_bf16": "yes", "bf16": "1"}, "pure_bf16"),
        ({"fp16": "true"}, "fp16"),
        ({"fp16": False, "bf16": "false"}, "auto"),
        ({"fp16": None}, "auto"),
        ({"precision": "bf16", "bf16": True}, "bf16"),
    ],
)
def test_the_tutorials_words_for_precision(given: dict[str, Any], precision: str) -> None:
    reading = read_flat(TrainSpec, given)
    assert reading.unwrap().memory.precision == precision
    assert not reading.warnings


def test_what_precision_overrules_is_told() -> None:
    reading = read_flat(TrainSpec, {"bf16": True, "precision": "fp32"})
    assert reading.unwrap().memory.precision == "fp32"
    assert warnings(reading) == ["'bf16: true' has no effect: precision is 'fp32'."]


def test_precision_twice_or_as_a_word_is_a_problem() -> None:
    assert "Both bf16 and fp16" in problems(read_flat(TrainSpec, {"bf16": True, "fp16": True}))["precision"]
    assert problems(read_flat(TrainSpec, {"bf16": "maybe"})) == {
        "bf16": "bf16 is 'maybe'. Accepted: true or false. Enter, for example, true."
    }


@pytest.mark.parametrize("given", [-1, "-1", 0, "", None, "none"])
def test_no_most_steps(given: Any) -> None:
    assert read_flat(TrainSpec, {"max_steps": given}).unwrap().optim.max_steps is None


def test_checkpointing_in_other_words() -> None:
    for given, wanted in ((True, False), ("false", True)):
        spec = read_flat(TrainSpec, {"disable_gradient_checkpointing": given}).unwrap()
        assert spec.memory.gradient_checkpointing is wanted


def test_the_usual_engine_has_two_names() -> None:
    for name in ("huggingface", "hf", "transformers"):
        assert read_flat(ServeSpec, {"infer_backend": name}).unwrap().engine.infer_backend == "transformers"


def test_keys_without_an_effect_are_told_only_when_they_ask_for_something() -> None:
    quiet = {"do_train": True, "do_eval": False, "overwrite_cache": True, "report_to": "none", "save_only_model": False}
    assert warnings(read_flat(TrainSpec, quiet)) == []
    told = warnings(read_flat(TrainSpec, {"do_train": True, "do_predict": True, "save_only_model": "true"}))
    assert [words.split("'")[1] for words in told] == ["do_predict: true", "save_only_model: true"]


def test_a_key_of_a_plugin_that_is_not_chosen_is_told() -> None:
    chosen = read_flat(ServeSpec, {"infer_backend": "echo"})
    other = [key for key, knob in ServeSpec.knobs().items() if knob.plugin not in (None, "echo")]
    assert other, "the engines have fields of their own"
    reading = read_flat(ServeSpec, {"infer_backend": "echo", other[0]: ServeSpec.knobs()[other[0]].default})
    assert reading.spec == chosen.spec
    assert warnings(reading) == [f"'{other[0]}' has no effect: infer_backend 'echo' does not use it."]


def test_every_problem_is_told_at_once() -> None:
    reading = read_flat(
        TrainSpec,
        {
            "learning_rate": "abc",
            "lora_rank": 0,
            "learning_ratee": 1,
            "zzz": 2,
            "stage": "dance",
            "bf16": True,
            "fp16": True,
        },
    )
    found = problems(reading)
    assert set(found) == {"learning_rate", "lora_rank", "learning_ratee", "zzz", "stage", "precision"}
    assert (
        found["learning_ratee"]
        == "Unknown key 'learning_ratee'. Nearest known key: learning_rate. Rename it or take it out."
    )
    assert "no known key is near it" in found["zzz"]
    assert found["stage"].startswith("stage is 'dance'. Accepted: one of dpo")
    with pytest.raises(UserError) as caught:
        reading.unwrap()
    assert len(caught.value.problems) == 6


def test_yes_is_no_number() -> None:
    assert "'true'" in problems(read_flat(TrainSpec, {"lora_rank": True}))["lora_rank"]
    assert "'true'" in problems(read_yaml(TrainSpec, "num_train_epochs: yes"))["num_train_epochs"]


@pytest.mark.parametrize(
    ("head", "key", "words"),
    [
        ({"version": 2}, "version", "version 2. Accepted: up to 1"),
        ({"version": "x"}, "version", "version x"),
        ({"job": "serve"}, "job", "for 'serve'. Accepted here: 'train'"),
    ],
)
def test_a_spec_of_another_kind_is_refused(head: dict[str, Any], key: str, words: str) -> None:
    found = problems(read_flat(TrainSpec, {**head, "learning_rate": "abc"}))
    assert list(found) == [key]
    assert words in found[key]


def test_the_version_may_be_quoted() -> None:
    assert not read_yaml(TrainSpec, 'version: "1"\njob: train\n').problems


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1,\n", "line 2, column 1"),
        ("a: 1\n b: 2\n", "line 2, column 3"),
        ("a: 1\n\tb: 2\n", "line 2, column 1"),
        ("seed: 1\nlora_rank: 3\nseed: 2\n", "'seed' stands in line 1 and again in line 3"),
        ("{seed: 1, seed: 1}", "in line 1 and again in line 1"),
        ("a: !!python/object:os.system x", "line 1, column 4"),
        ("? [a]\n: b\n", "unhashable"),
        ("[" * 2000, "recursion"),
        ("a\x00b", "not YAML"),
        ("", "The spec is NoneType"),
        ("- a\n- b\n", "The spec is list"),
        ("just words", "The spec is str"),
    ],
)
def test_what_is_no_mapping_is_told_with_its_place(text: str, words: str) -> None:
    (problem,) = read_yaml(TrainSpec, text).problems
    assert words in str(problem.message)
    assert problem.key is None


def test_dates_and_numbers_stay_what_was_written() -> None:
    assert yaml_mapping("output_dir: 2026-01-01\nother: 2024-13-45\n5: x") == {
        "output_dir": "2026-01-01",
        "other": "2024-13-45",
        "5": "x",
    }
    spec = read_yaml(TrainSpec, "output_dir: 2026\nlearning_rate: 1e-4\ndataset: 7\ndataset_values: {name: 5}").unwrap()
    assert (spec.saving.output_dir, spec.optim.learning_rate) == ("2026", 1e-4)
    assert (spec.data.dataset, spec.data.dataset_values) == (["7"], {"name": "5"})
