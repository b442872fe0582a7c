"""Train: rows to tokens, model, trainer, and the run's words while it learns. Knows no page and no stage by name."""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench import stages, tuning
from workbench.chats import use_template
from workbench.jobs import Desk, StopAsked
from workbench.jobs.train.encoding import encode_samples, write_excluded
from workbench.jobs.train.figure import draw_loss
from workbench.jobs.train.saving import saving_trainer, whole_checkpoint, write_final_weights
from workbench.jobs.train.telling import Teller, telling_callback
from workbench.jobs.train.troubles import damage_is_said, disk_full_is_said, no_memory_is_said, remove_unfinished
from workbench.models import adapter_folder, choose_precision, device, fetched_folder, load_model, load_tokenizer
from workbench.plans import FEW_STEPS, every, few_steps, read_samples, total_steps, validation_rows
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


def run(spec: TrainSpec, desk: Desk) -> dict[str, float]:
    """Train the spec's model; its closing figures: steps, loss, eval_loss, seconds, tokens."""
    stage = plugins(stages)[spec.stage.stage]
    desk.phase("reading")
    samples = read_samples(desk.run.workspace, spec)
    write_excluded(desk, samples.excluded)
    remove_unfinished(desk.run.folder)
    checkpoint = whole_checkpoint(desk)
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
    from transformers import set_seed  # seconds: what is wrong with the data was told before

    set_seed(spec.optim.seed)
    precision, why = choose_precision(spec.memory.precision, spec.tuning.finetuning_type == "full")
    if why:
        desk.note(why)
    steps = total_steps(spec, len(train))
    if steps < FEW_STEPS:
        desk.note(few_steps(spec, len(train), steps), "warning")
    teller = Teller(desk, spec, tokenizer, steps, every(spec.saving.eval_steps, steps, EVALS_A_RUN))
    with no_memory_is_said():
        parts = Parts(
            model=_model(spec, desk, folder, precision),
            tokenizer=tokenizer,
            train_rows=_dataset(train),
            eval_rows=_dataset(held) if held else None,
            arguments=_arguments(spec, desk, steps, precision, bool(held)),
            callbacks=[telling_callback(teller)],
            saving=saving_trainer(desk, teller, spec.model.model_name_or_path, spec.saving.save_total_limit),
        )
        return _learn(spec, desk, stage.trainer(spec.stage, parts), teller, checkpoint)


def _model(spec: TrainSpec, desk: Desk, folder: Path, precision: Any) -> Any:
    """The model with the weights that are to move."""
    method = plugins(tuning)[spec.tuning.finetuning_type]
    base = load_model(folder, precision, spec.model.trust_remote_code)
    base.config.use_cache = False
    adapters = [found for one in spec.model.adapter_name_or_path if (found := adapter_folder(desk.run.workspace, one))]
    model = method.apply(base, spec.tuning, adapters)
    for config in model.peft_config.values():
        # While saving, peft looks for the base under this name, and on the hub when there is no such folder.
        config.base_model_name_or_path = str(folder)
    _tell_weights(desk, model)
    return model


def _learn(spec: TrainSpec, desk: Desk, trainer: Any, teller: Teller, checkpoint: Path | None) -> dict[str, float]:
    step, steps = desk.run.saved_step(), trainer.args.max_steps
    if desk.resuming:
        desk.note(Say.resumed(folder=checkpoint.name, step=step) if checkpoint else Say.from_start())
    desk.phase("training")
    _look_first(desk, trainer, teller, step)
    with disk_full_is_said(desk.run.folder):
        with damage_is_said(checkpoint, lambda: teller.begun):
            if checkpoint and step >= steps:
                trainer.take_up(checkpoint, step)
            else:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if teller.stopped:
            raise StopAsked
        desk.say_phase("saving")
        write_final_weights(desk, trainer, spec.model.model_name_or_path)
        view = desk.run.view()
        if spec.saving.plot_loss:
            draw_loss(view, desk.run.folder / "training_loss.png", desk.run.name)
        return teller.figures(view)


def _look_first(desk: Desk, trainer: Any, teller: Teller, step: int) -> None:
    """Try the rows held out and ask the watched questions before the first step, where a stop left no time for it too."""
    view, due = desk.run.view(), teller.look_is_due(step)
    trainer.args.eval_on_start = trainer.eval_dataset is not None and due and step not in view.eval.steps
    teller.watches_first = due and not any(sample.step == step for sample in view.samples)


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
        "activation_checkpointing": spec.memory.gradient_checkpointing,
        "logging_steps": saving.logging_steps,
        "logging_nan_inf_filter": False,
        "eval_strategy": "steps" if validating else "no",
        "eval_steps": every(saving.eval_steps, steps, EVALS_A_RUN),
        "save_strategy": "steps",
        "save_steps": every(saving.save_steps, steps, SAVES_A_RUN),
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": where == "cuda",
    }


def _tell_rows(desk: Desk, train: Sequence[Encoded], held: Sequence[Encoded]) -> None:
    tokens = sum(len(row.input_ids) for row in train)
    trained = sum(row.num_trained for row in train)
    desk.note(Say.rows(train=len(train), held=len(held), tokens=f"{tokens:,}", trained=f"{trained:,}"))


def _tell_weights(desk: Desk, model: Any) -> None:
    moved = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    everything = sum(weight.numel() for weight in model.parameters())
    share = f"{100 * moved / everything:.2f}"
    desk.note(Say.moved(moved=f"{moved:,}", all=f"{everything:,}", share=share))
