"""Keys and values of tutorials' files that say in other words what a field of ours says. Knows names only."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.fields import Knob, plain
from workbench.problems import Problem
from workbench.text import Message, Text
from workbench.tutorials.reasons import Say as Why
from workbench.tutorials.reasons import is_nothing


class Say:
    by_shards = Text("weights are laid together on the processor, a few rows at a time, with the same result")
    safe_files = Text("weights are always written as safetensors, which nobody can hide code in")
    two_precisions = Text("Both bf16 and fp16 are true. Accepted: one of them, or 'precision: auto'. Take one out.")
    two_optimisers = Text("Several optimisers are chosen: {given}. Accepted: one of them. Take the others out.")
    not_yes_no = Text("{key} is '{given}'. Accepted: true or false. Enter, for example, true.")
    overruled = Text("{key} is '{given}'.")
    no_effect = Text("'{key}: {given}' has no effect: {reason}")
    only_predicts = Text(
        "'do_predict' is true and 'do_train' is not: the file measures a model and trains none. Accepted here: "
        "files that train. Set 'do_train: true', or measure the model: python app.py eval FILE."
    )
    only_trains = Text(
        "'do_train' is true and 'do_predict' is not: the file trains a model. Accepted here: files that measure one. Start "
        "it so: python app.py train FILE."
    )
    few_shot = Text(
        "benchmarks show their questions as plain text, with 'n_shot' examples before them; sets are asked as the model's own "
        "template says"
    )


@dataclass
class Draft:
    """A flat mapping on its way to our keys, and what there is to say of it."""

    values: dict[str, Any]
    knobs: Mapping[str, Knob]
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Message] = field(default_factory=list)

    def takes(self, key: str) -> bool:
        return key in self.knobs

    def has_no_effect(self, key: str, given: Any, reason: Message) -> None:
        self.warnings.append(Say.no_effect(key=key, given=plain(given), reason=reason))

    def flags(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys that are true; all are taken out. One that is neither true nor false is a problem."""
        asked = {key: self.values.pop(key) for key in keys if key in self.values}
        for key, value in asked.items():
            if not is_true(value) and not is_nothing(value):
                self.problems.append(Problem(Say.not_yes_no(key=key, given=plain(value)), key))
        return [key for key, value in asked.items() if is_true(value)]

    def suppose(self, key: str, value: str, because: str) -> None:
        """Set a field that the file leaves open; where it says something else, what asked for it has no effect."""
        if plain(self.values.setdefault(key, value)) != value:
            self.has_no_effect(because, True, Say.overruled(key=key, given=plain(self.values[key])))


def is_true(value: Any) -> bool:
    return str(value).strip().lower() in ("true", "1", "yes", "on")


NAMES = {
    "use_liger_kernel": "enable_liger_kernel",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size",
    "evaluation_strategy": "eval_strategy",
    "swanlab_project": "project",
    "swanlab_run_name": "run_name",
    "max_new_tokens": "max_completion_length",
    "temperature": "rollout_temperature",
}
"""Keys that are called otherwise here."""
VALUES: Mapping[str, Mapping[str, Any]] = {
    "infer_backend": {"huggingface": "transformers", "hf": "transformers"},
    "max_steps": {"-1": None, "0": None},
    "badam_switch_interval": {"-1": None},
    "report_to": {"none": [], "": []},
    "resume_from_checkpoint": {"false": None},
    "ddp_find_unused_parameters": {"": False, "none": False},
    "optim": {
        "adamw_hf": "adamw_torch",
        "adamw_bnb_8bit": "adamw_8bit",
        "paged_adamw": "paged_adamw_32bit",
        "lion": "lion_32bit",
        "galore_adamw_layerwise": "galore_adamw",
        "apollo_adamw_layerwise": "apollo_adamw",
    },
    "flash_attn": {"flash_attention_2": "fa2", "flash_attention_3": "fa3", "eager": "disabled"},
}
"""Values that are called otherwise here, as they are written."""
OPTIMISERS = {
    "use_galore": "galore_adamw",
    "use_apollo": "apollo_adamw",
    "use_badam": "badam",
    "use_adam_mini": "adam_mini",
    "use_muon": "muon",
    "adafactor": "adafactor",
}
PLAIN_OPTIMISERS = ("adamw_torch", "adamw_torch_fused")
"""What files write beside ``use_galore`` and its like, and what transformers supposes."""
ZERO = {"2": "zero2", "3": "zero3"}
ZERO_FILE = re.compile(r"(?:^|/)ds_z(?P<stage>[023])(?P<offload>_offload)?(?:_fp8|_autotp)?_config\.json$")
"""Files with DeepSpeed's settings in LLaMA-Factory's examples, and those that its page writes."""
OFFLOADS = ("fsdp_offload_params", "offload_params", "fsdp_cpu_offload", "cpu_offload")
ORDERS = {"disable_shuffling": "sequential", "group_by_length": "group_by_length"}


def _names(draft: Draft) -> None:
    for key, ours in NAMES.items():
        if draft.takes(ours) and key in draft.values:
            draft.values.setdefault(ours, draft.values.pop(key))


def _values(draft: Draft) -> None:
    for key, words in VALUES.items():
        given = plain(draft.values.get(key, "-")).lower()
        if draft.takes(key) and given in words:
            draft.values[key] = words[given]


def _precision(draft: Draft) -> None:
    if not draft.takes("precision"):
        return
    asked = draft.flags(("pure_bf16", "bf16", "fp16"))
    if "fp16" in asked and len(asked) > 1:
        draft.problems.append(Problem(Say.two_precisions(), "precision"))
    elif asked:
        draft.suppose("precision", asked[0], asked[0])


def _optimiser(draft: Draft) -> None:
    if not draft.takes("optim"):
        return
    asked = draft.flags(tuple(OPTIMISERS))
    if len(asked) > 1:
        draft.problems.append(Problem(Say.two_optimisers(given=", ".join(asked)), "optim"))
    elif asked:
        if draft.values.get("optim") in PLAIN_OPTIMISERS:
            del draft.values["optim"]
        draft.suppose("optim", OPTIMISERS[asked[0]], asked[0])


def _order(draft: Draft) -> None:
    if draft.takes("train_sampling_strategy"):
        for key in draft.flags(tuple(ORDERS)):
            draft.suppose("train_sampling_strategy", ORDERS[key], key)


def _checkpointing(draft: Draft) -> None:
    if not draft.takes("gradient_checkpointing"):
        return
    if "disable_gradient_checkpointing" in draft.values:
        draft.values["gradient_checkpointing"] = not draft.flags(("disable_gradient_checkpointing",))
    settings = draft.values.pop("gradient_checkpointing_kwargs", None)
    if isinstance(settings, Mapping) and "use_reentrant" in settings:
        draft.values.setdefault("use_reentrant_gc", settings["use_reentrant"])
    elif not is_nothing(settings):
        draft.has_no_effect("gradient_checkpointing_kwargs", settings, Why.by_itself())


def _trackers(draft: Draft) -> None:
    if draft.takes("report_to") and draft.flags(("use_swanlab",)):
        given = draft.values.get("report_to") or []
        names = given if isinstance(given, list) else [name.strip() for name in str(given).split(",")]
        draft.values["report_to"] = [*(name for name in names if name not in ("none", "swanlab")), "swanlab"]


def _warm_up(draft: Draft) -> None:
    """Since transformers 5 a share of the steps may stand where their number stood."""
    try:
        share = float(draft.values.get("warmup_steps") or 0)
    except (TypeError, ValueError):
        return
    if draft.takes("warmup_ratio") and 0 < share < 1:
        del draft.values["warmup_steps"]
        draft.values.setdefault("warmup_ratio", share)


def _settings(draft: Draft) -> None:
    given = draft.values.get("lr_scheduler_kwargs")
    if isinstance(given, Mapping):
        draft.values["lr_scheduler_kwargs"] = {name: plain(value) for name, value in given.items()}


def _dividing(draft: Draft) -> None:
    """DeepSpeed and FSDP. Files that are called as LLaMA-Factory calls its own say by their names what is in them."""
    if not draft.takes("distributed"):
        return
    given, fsdp = draft.values.pop("deepspeed", None), draft.values.pop("fsdp", None)
    if isinstance(given, Mapping):
        zero = given.get("zero_optimization") or {}
        _divide(draft, ZERO.get(plain(zero.get("stage", 0)), "ddp"), any(name.startswith("offload") for name in zero))
    elif not is_nothing(given):
        name = plain(given)
        own = ZERO_FILE.search(name)
        _divide(draft, ZERO.get(own["stage"], "ddp") if own else "zero3", bool(own and own["offload"]))
        if not own:
            draft.values["deepspeed"] = name
    if not is_nothing(fsdp):
        _divide(draft, "fsdp2", "offload" in plain(fsdp))
    settings = draft.values.pop("fsdp_config", None)
    left = dict(settings) if isinstance(settings, Mapping) else {}
    offloads = [is_true(left.pop(name, False)) for name in OFFLOADS]
    if any(offloads):
        draft.values.setdefault("offload", True)
    if left or (settings and not isinstance(settings, Mapping)):
        draft.has_no_effect("fsdp_config", left or settings, Why.by_itself())


def _divide(draft: Draft, way: str, offload: bool) -> None:
    draft.values.setdefault("distributed", way)
    if offload:
        draft.values.setdefault("offload", True)


def _resuming(draft: Draft) -> None:
    """In transformers true means the run's own newest checkpoint."""
    if draft.takes("resume_from_checkpoint") and draft.values.get("resume_from_checkpoint") in (True, "true", "True"):
        draft.has_no_effect("resume_from_checkpoint", draft.values.pop("resume_from_checkpoint"), Why.by_resume())


def _evaluating(draft: Draft) -> None:
    """Files that predict or evaluate: the sets to validate on are those that are asked."""
    if not draft.takes("compare_base"):
        return
    trains, predicts = (is_true(draft.values.pop(key, None)) for key in ("do_train", "do_predict"))
    if trains and not predicts:
        draft.problems.append(Problem(Say.only_trains(), "do_train"))
    if not draft.values.get("dataset") and "eval_dataset" in draft.values:
        draft.values["dataset"] = draft.values.pop("eval_dataset")
    if draft.values.get("template") == "fewshot":
        draft.has_no_effect("template", draft.values.pop("template"), Say.few_shot())
    for key in ("stage", "finetuning_type", "predict_with_generate"):
        draft.values.pop(key, None)  # a set's answers are always written, whatever was trained
    for key, why in ASIDE.items():
        if key in draft.values:
            draft.has_no_effect(key, draft.values.pop(key), why())


def _exporting(draft: Draft) -> None:
    """Files that merge or quantise: bits without a format mean GPTQ."""
    if not draft.takes("export_format"):
        return
    if not is_nothing(draft.values.get("export_quantization_bit")):
        if "export_format" not in draft.values:
            draft.values.setdefault("quantization_way", "gptq")
        draft.values.setdefault("export_format", "quantized")
    else:
        draft.values.pop("export_quantization_bit", None)
    device = draft.values.pop("export_device", None)
    if not is_nothing(device) and plain(device) not in ("cpu", "auto"):
        draft.has_no_effect("export_device", device, Say.by_shards())
    legacy = draft.values.pop("export_legacy_format", None)
    if is_true(legacy):
        draft.has_no_effect("export_legacy_format", legacy, Say.safe_files())


def _commands(draft: Draft) -> None:
    trains, predicts = (draft.values.pop(key, None) for key in ("do_train", "do_predict"))
    if is_true(predicts) and not is_true(trains):
        draft.problems.append(Problem(Say.only_predicts(), "do_predict"))
    elif is_true(predicts):
        draft.has_no_effect("do_predict", predicts, Why.by_command())
    elif trains is not None and not is_true(trains):
        draft.has_no_effect("do_train", trains, Why.by_command())


ASIDE: Mapping[str, Text] = {
    "lang": Why.own_words,
    "batch_size": Why.by_engine,
    "per_device_eval_batch_size": Why.by_engine,
    "save_dir": Why.own_folder,
    "task_dir": Why.own_folder,
    "download_mode": Why.own_folder,
    "overwrite_cache": Why.by_worker,
}
"""Keys of files that evaluate, and what happens instead."""
RULES: Sequence[Callable[[Draft], None]] = (
    _names,
    _optimiser,
    _order,
    _trackers,
    _values,
    _precision,
    _checkpointing,
    _warm_up,
    _settings,
    _resuming,
    _dividing,
    _evaluating,
    _exporting,
    _commands,
)
