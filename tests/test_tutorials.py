"""Files of tutorials: every key of LLaMA-Factory is known, and what is not done as it is asked for is said."""

from typing import Any

import pytest

from workbench import generate
from workbench.specs import EvalSpec, ExportSpec, Reading, ServeSpec, TrainSpec, read_flat
from workbench.tutorials import known_keys
from workbench.tutorials import reasons as reasons_module
from workbench.tutorials.renames import NAMES, OPTIMISERS, ORDERS, VALUES

LEAST_KEYS = 417
"""LLaMA-Factory 0.9.5's own, with those of transformers' TrainingArguments 4.57 and 5.8."""
KNOBS = {key for kind in generate.specs(generate.modules()) for key in kind.knobs()}


def read(**given: Any) -> Reading[TrainSpec]:
    return read_flat(TrainSpec, given)


def told(reading: Reading[Any]) -> list[str]:
    return [str(message) for message in reading.warnings]


def problems(reading: Reading[Any]) -> dict[str | None, str]:
    return {problem.key: str(problem.message) for problem in reading.problems}


def test_every_key_is_known_and_has_one_fate() -> None:
    keys = known_keys()
    assert len(keys) >= LEAST_KEYS
    ours = {key for key, known in keys.items() if known.fate == "ours"}
    assert ours <= KNOBS
    assert not KNOBS & {key for key, known in keys.items() if known.fate == "translated"}
    reasons = {known.why for known in keys.values() if known.fate == "no_effect"}
    assert reasons <= set(vars(reasons_module.Say)) and len(reasons) >= 25
    assert {known.why for known in keys.values() if known.fate == "other_tools"} >= {"Megatron", "Ray", "KTransformers"}


def test_every_translation_leads_to_a_field() -> None:
    assert {*NAMES.values(), *VALUES} <= KNOBS
    knobs = TrainSpec.knobs()
    assert set(OPTIMISERS.values()) <= set(knobs["optim"].choices)
    assert set(ORDERS.values()) <= set(knobs["train_sampling_strategy"].choices)
    for key in ("optim", "flash_attn"):
        assert set(VALUES[key].values()) <= set(knobs[key].choices)
        assert not set(VALUES[key]) & set(knobs[key].choices)


@pytest.mark.parametrize("key", sorted(key for key, known in known_keys().items() if known.fate == "no_effect"))
def test_a_key_without_an_effect_is_told_unless_it_asks_for_nothing(key: str) -> None:
    if key in KNOBS:
        pytest.fail(f"{key} is a field now: move it in tutorials/keys.yaml")
    bare = read().unwrap()
    for nothing in (None, False, "false", ""):
        reading = read(**{key: nothing})
        assert reading.spec == bare and not reading.warnings
    reading = read(**{key: "something"})
    assert reading.spec == bare
    (words,) = told(reading)
    assert words.startswith(f"'{key}: ") and len(words.split(" has no effect: ")[1]) >= 20


@pytest.mark.parametrize("key", ["hf_hub_token", "swanlab_api_key", "swanlab_lark_secret", "push_to_hub_token"])
def test_secrets_are_not_repeated(key: str) -> None:
    (words,) = told(read(**{key: "hunter2"}))
    assert "hunter2" not in words and "environment" in words


def test_what_happens_anyway_needs_no_word() -> None:
    quiet = {
        "ddp_timeout": 1800,
        "low_cpu_mem_usage": True,
        "disable_tqdm": True,
        "include_num_input_tokens_seen": "all",
        "eval_on_start": "True",
        "badam_mode": "layer",
        "badam_verbose": 2,
        "tensor_model_parallel_size": 1,
        "ray_num_workers": 1,
        "freeze_vision_tower": True,
        "save_safetensors": "true",
        "do_train": True,
    }
    reading = read(**quiet)
    assert reading.spec == read().spec and not reading.warnings


@pytest.mark.parametrize(
    ("key", "value", "tool"),
    [
        ("tensor_model_parallel_size", 4, "Megatron"),
        ("use_mca", True, "Megatron"),
        ("ray_num_workers", 4, "Ray"),
        ("use_kt", True, "KTransformers"),
        ("kt_config", {"kt_backend": "auto"}, "KTransformers"),
        ("model_class", "llm", "LLaMA-Factory v1"),
        ("batch_size", 4, "LLaMA-Factory's eval"),
    ],
)
def test_a_key_for_another_tool_is_a_problem_that_says_so(key: str, value: Any, tool: str) -> None:
    reading = read(**{key: value})
    assert reading.spec is None
    words = problems(reading)[key]
    assert words.startswith(f"Keys for {tool}, ") and f": {key}." in words


def test_all_keys_for_one_tool_are_told_in_one_sentence() -> None:
    given = {"use_kt": True, "sequence_parallel": True, "kt_weight_path": "x", "moe_grouped_gemm": True}
    found = problems(read(**given))
    assert set(found) == {"use_kt", "sequence_parallel"}
    assert "here: use_kt, kt_weight_path. Take" in str(found["use_kt"])


def test_an_unknown_key_still_names_the_nearest() -> None:
    assert "Nearest known key: lora_rank" in problems(read(lora_rnk=8))["lora_rnk"]


def test_a_training_file_in_chat_says_what_is_not_used() -> None:
    reading = read_flat(ServeSpec, {"infer_backend": "huggingface", "learning_rate": 1e-4, "use_muon": True})
    assert reading.spec is not None
    assert [words.split(":")[0] for words in told(reading)] == ["'learning_rate", "'use_muon"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"use_galore": True, "galore_rank": 128}, {"optim": "galore_adamw", "galore_rank": 128}),
        ({"use_apollo": "true", "optim": "adamw_torch"}, {"optim": "apollo_adamw"}),
        ({"use_badam": True, "badam_switch_interval": -1}, {"optim": "badam", "badam_switch_interval": None}),
        ({"use_adam_mini": True}, {"optim": "adam_mini"}),
        ({"use_muon": True, "use_galore": False}, {"optim": "muon"}),
        ({"adafactor": True}, {"optim": "adafactor"}),
        ({"optim": "adamw_bnb_8bit"}, {"optim": "adamw_8bit"}),
        ({"optim": "paged_adamw_8bit"}, {"optim": "paged_adamw_8bit"}),
        ({"disable_shuffling": True}, {"train_sampling_strategy": "sequential"}),
        ({"group_by_length": "yes"}, {"train_sampling_strategy": "group_by_length"}),
        ({"report_to": "none"}, {"report_to": []}),
        ({"report_to": None}, {"report_to": []}),
        ({"report_to": ["tensorboard", "wandb"]}, {"report_to": ["tensorboard", "wandb"]}),
        ({"use_swanlab": True, "report_to": "none"}, {"report_to": ["swanlab"]}),
        ({"use_swanlab": True, "report_to": "wandb", "swanlab_project": "p"}, {"report_to": ["wandb", "swanlab"], "project": "p"}),
        ({"flash_attn": "flash_attention_2"}, {"flash_attn": "fa2"}),
        ({"use_liger_kernel": True}, {"enable_liger_kernel": True}),
        ({"evaluation_strategy": "epoch"}, {"eval_strategy": "epoch"}),
        (
            {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
            {"use_reentrant_gc": True},
        ),
        ({"auto_find_batch_size": True, "resume_from_checkpoint": False},
         {"auto_find_batch_size": True, "resume_from_checkpoint": None}),
        ({"resume_from_checkpoint": "saves/a/checkpoint-4"}, {"resume_from_checkpoint": "saves/a/checkpoint-4"}),
        ({"warmup_steps": 0.1}, {"warmup_ratio": 0.1, "warmup_steps": 0}),
        ({"warmup_steps": 20}, {"warmup_ratio": 0.05, "warmup_steps": 20}),
        ({"lr_scheduler_kwargs": {"num_cycles": 2, "x": True}}, {"lr_scheduler_kwargs": {"num_cycles": "2", "x": "true"}}),
        ({"pure_bf16": True, "bf16": True}, {"precision": "pure_bf16"}),
        ({"per_gpu_train_batch_size": 3}, {"per_device_train_batch_size": 3}),
    ],
    ids=lambda given: " ".join(given),
)  # fmt: skip
def test_other_words_for_fields(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    reading = read(**given)
    assert not reading.problems and not reading.warnings
    flat = reading.unwrap().flat()
    assert {key: flat[key] for key in wanted} == wanted


def test_what_contradicts_itself_is_told() -> None:
    assert "use_galore, use_badam" in problems(read(use_galore=True, use_badam=True))["optim"]
    assert "Accepted: true or false" in problems(read(use_muon="perhaps"))["use_muon"]
    assert told(read(use_muon=True, optim="sgd")) == ["'use_muon: true' has no effect: optim is 'sgd'."]
    assert told(read(disable_shuffling=True, group_by_length=True)) == [
        "'group_by_length: true' has no effect: train_sampling_strategy is 'sequential'."
    ]
    assert "Both bf16 and fp16" in problems(read(pure_bf16=True, fp16=True))["precision"]


def test_a_file_that_only_measures_is_refused() -> None:
    assert "trains none" in problems(read(do_predict=True))["do_predict"]
    assert "trains none" in problems(read(do_predict=True, do_train=False))["do_predict"]
    assert told(read(do_train=True, do_predict=True)) == [
        "'do_predict: true' has no effect: the command chooses what is done"
    ]


def test_values_of_a_list_are_named() -> None:
    words = problems(read(report_to="neptune"))["report_to"]
    assert "'neptune'" in words and "of tensorboard, wandb, swanlab, trackio, mlflow" in words


def test_files_that_predict_or_evaluate_are_for_the_command_that_measures() -> None:
    predicts = {"model_name_or_path": "m", "stage": "sft", "do_predict": True, "finetuning_type": "lora", "template": "llama3",
                "eval_dataset": "identity,alpaca_en_demo", "cutoff_len": 2048, "max_samples": 50, "predict_with_generate": True,
                "per_device_eval_batch_size": 1, "output_dir": "saves/x/lora/predict", "overwrite_output_dir": True}  # fmt: skip
    reading = read_flat(EvalSpec, predicts)
    spec = reading.unwrap()
    assert (spec.sets.dataset, spec.sets.max_samples, spec.model.template) == (["identity", "alpaca_en_demo"], 50, "llama3")
    assert [one for one in told(reading) if "per_device_eval_batch_size" in one] == told(reading)
    evaluates = {"model_name_or_path": "m", "finetuning_type": "lora", "task": "mmlu_test", "template": "fewshot", "lang": "en",
                 "n_shot": 5, "batch_size": 4}  # fmt: skip
    reading = read_flat(EvalSpec, evaluates)
    assert (reading.unwrap().evaluating.task, reading.unwrap().evaluating.n_shot) == (["mmlu_test"], 5)
    assert reading.unwrap().model.template == "auto" and len(told(reading)) == 3
    assert "do_predict" in problems(read(**{**predicts, "dataset": "a"}))
    assert "do_train" in problems(read_flat(EvalSpec, {"model_name_or_path": "m", "dataset": "a", "do_train": True}))


MERGE: dict[str, Any] = {
    "model_name_or_path": "Qwen/Qwen3-4B-Instruct-2507",
    "template": "qwen3_nothink",
    "trust_remote_code": True,
    "export_dir": "saves/qwen3_sft_merged",
    "export_size": 5,
    "export_device": "cpu",
    "export_legacy_format": False,
}
"""What LLaMA-Factory's examples/merge_lora files say."""


def exported(**more: Any) -> Reading[ExportSpec]:
    return read_flat(ExportSpec, {**MERGE, **more})


def test_files_that_merge_run_without_a_word() -> None:
    for more in ({"adapter_name_or_path": "saves/qwen3-4b/lora/sft"}, {"model_name_or_path": "saves/qwen3-4b/full/sft"}):
        reading = exported(**more)
        spec = reading.unwrap()
        assert not reading.warnings and spec.exporter.export_format == "merged"
        flat = spec.flat()
        assert (flat["export_size"], flat["export_dir"]) == (5.0, "saves/qwen3_sft_merged")
        assert flat["adapter_name_or_path"] == ([more["adapter_name_or_path"]] if "adapter_name_or_path" in more else [])


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_bits_without_a_format_mean_gptq(bits: int) -> None:
    reading = exported(export_quantization_bit=bits, export_quantization_dataset="data/c4_demo.jsonl")
    flat = reading.unwrap().flat()
    assert not reading.warnings
    told = {key: flat[key] for key in flat if key.startswith(("export_quant", "quantization_way", "export_format", "export_size"))}
    assert told == {
        "export_format": "quantized",
        "quantization_way": "gptq",
        "export_quantization_bit": str(bits),
        "export_quantization_dataset": "data/c4_demo.jsonl",
        "export_quantization_nsamples": 128,
        "export_quantization_maxlen": 1024,
        "export_size": 5.0,
    }


def test_a_format_that_is_named_keeps_its_own_way() -> None:
    flat = exported(export_format="quantized", export_quantization_bit=4).unwrap().flat()
    assert flat["quantization_way"] == "bitsandbytes"
    nothing = exported(export_quantization_bit=None)
    assert nothing.unwrap().exporter.export_format == "merged" and not nothing.warnings
    assert "does not use it" in told(exported(export_format="gguf", export_quantization_bit=4))[-1]


def test_what_an_export_does_otherwise_is_said_in_words_of_an_export() -> None:
    assert not exported(export_device="auto").warnings
    for key, value, reason in (("export_device", "cuda", "processor"), ("export_legacy_format", True, "safetensors")):
        (words,) = told(exported(**{key: value}))
        assert words.startswith(f"'{key}: ") and reason in words and "export only" not in words
    (words,) = told(read(export_legacy_format=True))
    assert "export only" in words
