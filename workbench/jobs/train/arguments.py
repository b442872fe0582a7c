"""A spec as the keywords of transformers' TrainingArguments. Knows no trainer, no stage and no tuning method by name."""

import math
import multiprocessing
import os
from collections.abc import Mapping
from typing import Any

from workbench.desk import Desk
from workbench.jobs.train.optimisers import transformers_name
from workbench.jobs.train.rows import Rows
from workbench.jobs.train.sharing import sharing_arguments
from workbench.models import device
from workbench.plans import FEW_STEPS, every, few_steps, total_steps
from workbench.problems import UserError
from workbench.sections import MemorySection
from workbench.specs import TrainSpec
from workbench.text import Text

EVALS_A_RUN = 8
SAVES_A_RUN = 4
NEEDED: Mapping[str, Mapping[str, float]] = {
    "cosine_with_min_lr": {"min_lr_rate": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr_rate": 0.1},
}
"""Settings without which these schedulers do not go, unless others are given."""
DECAY_SHARE = 0.1
"""Share of the steps in which warmup_stable_decay comes down, unless given."""
UNPAGED = {"paged_adamw_8bit": "adamw_8bit", "paged_adamw_32bit": "adamw_torch", "paged_lion_8bit": "lion_8bit"}
"""The same rule where nothing can be paged."""
ATTENTION = {"disabled": "eager", "sdpa": "sdpa", "fa2": "flash_attention_2", "fa3": "flash_attention_3"}


class Say:
    needs_card = Text(
        "{key} is '{given}', which needs a card of NVIDIA or AMD. This machine has none. Choose {instead}."
    )
    settings = Text(
        "Scheduler settings have '{name}', which is '{given}'. Accepted: a number, true or false. Enter, for example, 0.1."
    )
    not_paged = Text(
        "optim is '{given}', and only an NVIDIA card can page. {taken} is taken, whose state stays in memory."
    )
    loaders = Text("Batches are put together in the worker itself: this system has no cheap processes for it.")
    saves_with_evals = Text("A checkpoint is saved at each validation, every {steps} steps, so that the best is there.")


def is_mixed(spec: TrainSpec) -> bool:
    """Whether numbers of two kinds meet in half precision: weights of the model itself are trained, and held in fp32."""
    return spec.tuning.needs_autocast or spec.stage.HEAD == "score"


def is_quickened(spec: TrainSpec) -> bool:
    """Whether workbench/kernels compute."""
    return spec.memory.fast_kernels and device() == "cpu" and spec.sharing.way in ("", "ddp") and not spec.memory.torch_compile


def run_steps(spec: TrainSpec, desk: Desk, rows: Rows) -> int:
    """Optimiser steps of the run, with a warning when they are few."""
    count = _count(spec, rows)
    steps = total_steps(spec, count)
    if steps < FEW_STEPS:
        desk.note(few_steps(spec, count, steps), "warning")
    return steps


def eval_every(spec: TrainSpec, steps: int, rows: Rows) -> int:
    """Steps between validations, and between answers of the watched questions."""
    if spec.saving.eval_strategy == "epoch":
        return _epoch(spec, rows)
    return every(spec.saving.eval_steps if spec.saving.eval_strategy == "steps" else None, steps, EVALS_A_RUN)


def save_every(spec: TrainSpec, steps: int, rows: Rows) -> int:
    """Steps between checkpoints; at each validation where the best one is to be kept."""
    if spec.saving.load_best_model_at_end:
        return eval_every(spec, steps, rows)
    return (
        _epoch(spec, rows)
        if spec.saving.save_strategy == "epoch"
        else every(spec.saving.save_steps, steps, SAVES_A_RUN)
    )


def _count(spec: TrainSpec, rows: Rows) -> int:
    return 0 if spec.data.streaming else len(rows.train)


def _epoch(spec: TrainSpec, rows: Rows) -> int:
    """Optimiser steps of one epoch, as transformers' Trainer counts them."""
    at_once = spec.optim.per_device_train_batch_size * spec.sharing.processes
    batches = math.ceil(_count(spec, rows) / at_once)
    return max(1, math.ceil(batches / spec.optim.gradient_accumulation_steps))


def training_arguments(spec: TrainSpec, desk: Desk, steps: int, precision: str, rows: Rows) -> dict[str, Any]:
    """Keywords of TrainingArguments. On a CPU bf16 means weights held in it, not autocast, which gains nothing there."""
    optim, saving, where = spec.optim, spec.saving, device()
    validating = rows.held is not None and saving.eval_strategy != "no"
    if saving.load_best_model_at_end and saving.save_steps not in (None, eval_every(spec, steps, rows)):
        desk.note(Say.saves_with_evals(steps=eval_every(spec, steps, rows)))
    return {
        "output_dir": str(desk.run.folder),
        "max_steps": steps,
        "per_device_train_batch_size": optim.per_device_train_batch_size,
        "per_device_eval_batch_size": optim.per_device_eval_batch_size,
        "gradient_accumulation_steps": optim.gradient_accumulation_steps,
        "learning_rate": optim.learning_rate,
        "lr_scheduler_type": optim.lr_scheduler_type,
        "lr_scheduler_kwargs": scheduler_settings(spec, steps),
        "warmup_steps": optim.warmup_steps or math.ceil(optim.warmup_ratio * steps),
        "weight_decay": optim.weight_decay,
        "max_grad_norm": optim.max_grad_norm,
        "optim": _optimiser(spec, desk),
        "adam_beta1": optim.adam_beta1,
        "adam_beta2": optim.adam_beta2,
        "adam_epsilon": optim.adam_epsilon,
        "neftune_noise_alpha": optim.neftune_noise_alpha,
        "train_sampling_strategy": "sequential" if optim.train_sampling_strategy == "sequential" else "random",
        "seed": optim.seed,
        "data_seed": optim.seed if optim.data_seed is None else optim.data_seed,
        "bf16": precision == "bf16" and spec.memory.precision != "pure_bf16" and (where == "cuda" or is_mixed(spec)),
        "fp16": precision == "fp16",
        "use_cpu": where == "cpu",
        "activation_checkpointing": spec.memory.gradient_checkpointing,
        "activation_checkpointing_kwargs": {"use_reentrant": spec.memory.use_reentrant_gc},
        "use_liger_kernel": _liger(spec.memory),
        "liger_kernel_config": {"fused_linear_cross_entropy": False},  # the stages' losses have a fused head already
        "torch_compile": spec.memory.torch_compile,
        "logging_steps": saving.logging_steps,
        "logging_first_step": saving.logging_first_step,
        "logging_nan_inf_filter": False,
        "eval_strategy": "steps" if validating else "no",
        "eval_steps": eval_every(spec, steps, rows),
        "save_strategy": "no" if saving.save_strategy == "no" else "steps",
        "save_steps": save_every(spec, steps, rows),
        "disable_tqdm": True,
        "dataloader_num_workers": _loaders(spec.memory, desk),
        "dataloader_pin_memory": where == "cuda",
        **_best(spec, validating),
        **_trackers(spec, desk),
        **sharing_arguments(spec, desk),
    }


def _optimiser(spec: TrainSpec, desk: Desk) -> str:
    """The optimiser as transformers knows it."""
    given = spec.optim.optim
    if given in UNPAGED and device() != "cuda":
        desk.note(Say.not_paged(given=given, taken=UNPAGED[given]))
        return UNPAGED[given]
    name = transformers_name(spec.optim)
    return f"{name}_fused" if name == "adamw_torch" and is_quickened(spec) else name  # on a processor a tenth of the time


def scheduler_settings(spec: TrainSpec, steps: int) -> dict[str, Any]:
    """The scheduler's own settings as numbers, with what it can't go without; UserError for one that is none."""
    settings: dict[str, Any] = {}
    for name, given in spec.optim.lr_scheduler_kwargs.items():
        words = {"true": True, "false": False}
        try:
            settings[name] = words[given.lower()] if given.lower() in words else _number(given)
        except ValueError:
            raise UserError(Say.settings(name=name, given=given), key="lr_scheduler_kwargs") from None
    kind = spec.optim.lr_scheduler_type
    if kind == "warmup_stable_decay":
        return {"num_decay_steps": max(1, round(DECAY_SHARE * steps)), **settings}
    return settings if "min_lr" in settings else {**NEEDED.get(kind, {}), **settings}


def _number(given: str) -> int | float:
    return int(given) if given.lstrip("+-").isdecimal() else float(given)


def _best(spec: TrainSpec, validating: bool) -> dict[str, Any]:
    """Which figure of the validation is followed, where something needs one."""
    saving = spec.saving
    followed = saving.load_best_model_at_end or saving.early_stopping_steps or (
        spec.optim.lr_scheduler_type == "reduce_lr_on_plateau"
    )  # fmt: skip
    if not (validating and followed):
        return {}
    name = saving.metric_for_best_model
    return {"metric_for_best_model": name, "greater_is_better": not less_is_better(name)}


def less_is_better(metric: str) -> bool:
    """Whether a figure of the validation gets better by falling."""
    return metric.endswith(("loss", "perplexity", "kl"))


def _trackers(spec: TrainSpec, desk: Desk) -> dict[str, Any]:
    """Where figures go beside the run's own folder. The libraries read project and folder from the environment."""
    saving = spec.saving
    if not saving.report_to:
        return {"report_to": []}
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(desk.run.folder / "tensorboard"))
    os.environ.setdefault("SWANLAB_LOG_DIR", str(desk.run.folder / "swanlab"))
    if saving.project:
        for name in ("WANDB_PROJECT", "SWANLAB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
            os.environ.setdefault(name, saving.project)
    project = {"project": saving.project} if saving.project else {}
    return {"report_to": list(saving.report_to), "run_name": saving.run_name or desk.run.folder.name, **project}


def _loaders(memory: MemorySection, desk: Desk) -> int:
    """Processes that build batches: only where one is a fork, which shares the rows; elsewhere each would load all anew."""
    if memory.dataloader_num_workers and multiprocessing.get_start_method() != "fork":
        desk.note(Say.loaders(), "warning")
        return 0
    return memory.dataloader_num_workers


def _liger(memory: MemorySection) -> bool:
    if memory.enable_liger_kernel and device() != "cuda":
        raise UserError(
            Say.needs_card(key="enable_liger_kernel", given="true", instead="false"), key="enable_liger_kernel"
        )
    return memory.enable_liger_kernel


def attention(memory: MemorySection) -> str | None:
    """What ``from_pretrained`` is to take as ``attn_implementation``; None: its own choice."""
    if memory.flash_attn in ("fa2", "fa3") and device() != "cuda":
        raise UserError(Say.needs_card(key="flash_attn", given=memory.flash_attn, instead="auto"), key="flash_attn")
    return ATTENTION.get(memory.flash_attn)
