"""Train: rows to tokens, model, trainer, and the run's words while it learns. Knows no page and no stage by name."""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench import stages, tuning
from workbench.chats import use_template
from workbench.fields import plain
from workbench.jobs import Desk, StopAsked
from workbench.jobs.train.encoding import encode_samples, write_excluded
from workbench.jobs.train.figure import draw_loss
from workbench.jobs.train.saving import (
    disk_full_is_said,
    remove_unfinished,
    saving_trainer,
    write_final_weights,
)
from workbench.jobs.train.telling import Teller, telling_callback
from workbench.models import adapter_folder, choose_precision, device, fetched_folder, load_model, load_tokenizer
from workbench.plans import FEW_STEPS, every, few_steps, read_samples, total_steps, validation_rows
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.specs import TrainSpec
from workbench.stages import Encoded, Parts
from workbench.text import Text

EVALS_A_RUN = 8
SAVES_A_RUN = 4


class Say:
    rows = Text("{train} rows to learn from, {held} held out; {tokens} tokens, of which {trained} are learned.")
    moved = Text("{moved} of {all} weights are trained ({share} %).")
    resumed = Text("Resumed from {folder}: step {step}.")
    from_start = Text("No whole checkpoint was found, so the run begins anew.")
    damaged = Text(
        "Checkpoint {folder} can't be read ({reason}). Delete that folder, then press Resume to use an older one."
    )


def run(spec: TrainSpec, desk: Desk) -> dict[str, float]:
    """Train the spec's model; its closing figures: steps, loss, eval_loss, seconds, tokens."""
    from transformers import set_seed

    stage = plugins(stages)[spec.stage.stage]
    method = plugins(tuning)[spec.tuning.finetuning_type]
    desk.phase("reading")
    samples = read_samples(desk.run.workspace, spec)
    write_excluded(desk, samples.excluded)
    folder = fetched_folder(
        desk.run.workspace, spec.model, lambda done, total, file: desk.phase("fetching", done, total)
    )
    desk.phase("data")
    tokenizer = load_tokenizer(folder, spec.model.trust_remote_code)
    use_template(tokenizer, spec.model.template)
    rows = encode_samples(spec, stage, tokenizer, samples.samples, desk)
    train, held = _split(rows, spec)
    _tell_rows(desk, train, held)
    desk.phase("model")
    set_seed(spec.optim.seed)
    precision, why = choose_precision(spec.memory.precision, spec.tuning.finetuning_type == "full")
    if why:
        desk.note(why)
    base = load_model(folder, precision, spec.model.trust_remote_code)
    base.config.use_cache = False
    adapters = [found for one in spec.model.adapter_name_or_path if (found := adapter_folder(desk.run.workspace, one))]
    model = method.apply(base, spec.tuning, adapters)
    _name_base(model, spec)
    _tell_weights(desk, model)
    steps = total_steps(spec, len(train))
    if steps < FEW_STEPS:
        desk.note(few_steps(spec, len(train), steps), "warning")
    teller = Teller(desk, spec, tokenizer, steps, every(spec.saving.eval_steps, steps, EVALS_A_RUN))
    parts = Parts(
        model=model,
        tokenizer=tokenizer,
        train_rows=_dataset(train),
        eval_rows=_dataset(held) if held else None,
        arguments=_arguments(spec, desk, steps, precision, bool(held)),
        callbacks=[telling_callback(teller)],
        saving=saving_trainer(desk, teller, spec.saving.save_total_limit),
    )
    return _learn(spec, desk, stage.trainer(spec.stage, parts), teller)


def _learn(spec: TrainSpec, desk: Desk, trainer: Any, teller: Teller) -> dict[str, float]:
    remove_unfinished(desk.run.folder)
    checkpoint = desk.run.checkpoint() if desk.resuming else None
    if desk.resuming:
        step = int(checkpoint.name.removeprefix("checkpoint-")) if checkpoint else 0
        desk.note(Say.resumed(folder=checkpoint.name, step=step) if checkpoint else Say.from_start())
    desk.phase("training")
    if checkpoint is None:
        teller.watch(trainer.model, 0)
    try:
        with disk_full_is_said(desk.run.folder):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except (OSError, ValueError, RuntimeError) as error:
        if checkpoint is not None and teller.silent:
            reason = plain(f"{type(error).__name__}: {error}")
            raise UserError(Say.damaged(folder=checkpoint.name, reason=reason)) from error
        raise
    if teller.stopped_at is not None:
        raise StopAsked(teller.stopped_at)
    desk.say_phase("saving")
    with disk_full_is_said(desk.run.folder):
        write_final_weights(desk, trainer)
        if spec.saving.plot_loss:
            draw_loss(desk.run.view(), desk.run.folder / "training_loss.png", desk.run.name)
    return teller.figures()


def _split(rows: Sequence[Encoded], spec: TrainSpec) -> tuple[list[Encoded], list[Encoded]]:
    """Rows to learn from and rows held out, drawn by the seed, each in its old order."""
    held = validation_rows(spec.data.val_size, len(rows))
    drawn = set(random.Random(spec.optim.seed).sample(range(len(rows)), min(held, len(rows) - 1)))  # noqa: S311
    return [row for at, row in enumerate(rows) if at not in drawn], [rows[at] for at in sorted(drawn)]


def _dataset(rows: Sequence[Encoded]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict(
        {"input_ids": [list(row.input_ids) for row in rows], "labels": [list(row.labels) for row in rows]}
    )


def _arguments(spec: TrainSpec, desk: Desk, steps: int, precision: str, validating: bool) -> dict[str, Any]:
    """Keywords of TrainingArguments. On a CPU bf16 means weights held in it, not autocast, which gains nothing there."""
    optim, saving, where = spec.optim, spec.saving, device()
    return {
        "output_dir": str(desk.run.folder),
        "max_steps": steps,
        "per_device_train_batch_size": optim.per_device_train_batch_size,
        "per_device_eval_batch_size": optim.per_device_eval_batch_size,
        "gradient_accumulation_steps": optim.gradient_accumulation_steps,
        "learning_rate": optim.learning_rate,
        "lr_scheduler_type": optim.lr_scheduler_type,
        "warmup_steps": optim.warmup_steps or math.ceil(optim.warmup_ratio * steps),
        "weight_decay": optim.weight_decay,
        "max_grad_norm": optim.max_grad_norm,
        "optim": optim.optim,
        "seed": optim.seed,
        "bf16": precision == "bf16" and where == "cuda",
        "fp16": precision == "fp16",
        "use_cpu": where == "cpu",
        "gradient_checkpointing": spec.memory.gradient_checkpointing,
        "logging_steps": saving.logging_steps,
        "logging_nan_inf_filter": False,
        "eval_strategy": "steps" if validating else "no",
        "eval_on_start": validating and not desk.resuming,
        "eval_steps": every(saving.eval_steps, steps, EVALS_A_RUN),
        "save_strategy": "steps",
        "save_steps": every(saving.save_steps, steps, SAVES_A_RUN),
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": where == "cuda",
    }


def _name_base(model: Any, spec: TrainSpec) -> None:
    """Let the adapter's config name the base as the person did, not by a path that another machine lacks."""
    for config in model.peft_config.values():
        config.base_model_name_or_path = spec.model.model_name_or_path


def _tell_rows(desk: Desk, train: Sequence[Encoded], held: Sequence[Encoded]) -> None:
    tokens = sum(len(row.input_ids) for row in train)
    trained = sum(row.num_trained for row in train)
    desk.note(Say.rows(train=len(train), held=len(held), tokens=f"{tokens:,}", trained=f"{trained:,}"))


def _tell_weights(desk: Desk, model: Any) -> None:
    moved = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    everything = sum(weight.numel() for weight in model.parameters())
    share = f"{100 * moved / everything:.2f}"
    desk.note(Say.moved(moved=f"{moved:,}", all=f"{everything:,}", share=share))
