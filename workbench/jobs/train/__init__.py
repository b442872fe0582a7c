"""Train: rows to tokens, model, trainer, and the run's words while it learns. Knows no page and no stage by name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench import kernels, quantising, stages, tuning
from workbench.chats import stop_tokens, use_template
from workbench.chats.encoding import Encoder, chat_options
from workbench.checkpoints import given_checkpoint, planned_steps, step_of
from workbench.deepspeed_file import own_file
from workbench.desk import Desk, StopAsked
from workbench.jobs.train import team
from workbench.jobs.train.arguments import attention, eval_every, is_mixed, is_quickened, run_steps, training_arguments
from workbench.jobs.train.dealing import dealing_trainer, tell_twice
from workbench.jobs.train.figure import draw_loss
from workbench.jobs.train.ranks import together
from workbench.jobs.train.retrying import with_room
from workbench.jobs.train.rows import Rows, build_rows, fetch_sets
from workbench.jobs.train.saving import saving_trainer, whole_checkpoint, write_final_weights
from workbench.jobs.train.sharing import division_callbacks, own_chance, sharing_trainer, waits
from workbench.jobs.train.steering import early_stopping, own_history, steered_trainer
from workbench.jobs.train.telling import Teller, telling_callback
from workbench.jobs.train.troubles import damage_is_said, disk_full_is_said, idle_card, remove_unfinished
from workbench.models import (
    Precision,
    adapter_folder,
    choose_precision,
    device,
    fetched_folder,
    load_model,
    load_tokenizer,
    trained_folder,
)
from workbench.plans import count_rows, has_tokens
from workbench.preconditions import unmet
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.specs import TrainSpec
from workbench.stages import Parts
from workbench.text import Text


class Say:
    moved = Text("{moved} of {all} weights are trained ({share} %).")
    resumed = Text("Resumed from {folder}: step {step}.")
    taken_up = Text("Goes on from {folder} of the run {run}: step {step}.")
    schedule = Text(
        "The run it comes from had {before} steps, this one has {steps}: the learning rate is that of '{scheduler}' over "
        "{steps} steps."
    )
    packed = Text("{rows} rows are learned as {packed} of up to {cutoff} tokens.")
    from_start = Text("No whole checkpoint was found, so the run begins anew.")


def run(spec: TrainSpec, desk: Desk) -> dict[str, float]:
    """Train the spec's model; its closing figures: steps, loss, eval_loss, seconds, tokens."""
    with together(spec, desk) as gather:
        return _run(spec, desk, gather)


def _run(spec: TrainSpec, desk: Desk, gather: Callable[[], None]) -> dict[str, float]:
    stage = plugins(stages)[spec.stage.stage]
    desk.phase("reading")
    if problems := unmet(spec):
        raise UserError(*problems)
    own_file(desk.run.workspace, spec)
    if not has_tokens(desk.run.workspace, spec):
        fetch_sets(spec, desk)
        count_rows(desk.run.workspace, spec)  # what is wrong with the data is told before anything is fetched
    remove_unfinished(desk.run.folder)
    whole_checkpoint(desk, given_checkpoint(desk.run.workspace, spec.saving.resume_from_checkpoint))
    folder = fetched_folder(
        desk.run.workspace, spec.model, lambda done, total, file: desk.phase("fetching", done, total)
    )
    desk.phase("data")
    tokenizer = load_tokenizer(folder, spec.model.trust_remote_code)
    use_template(tokenizer, spec.model.template)
    rows = build_rows(spec, desk, Encoder(tokenizer, chat_options(spec.model), stage, spec.stage, spec.data.cutoff_len))
    rows = _arranged(spec, desk, rows)
    rows = replace(rows, train=desk.choose(rows.train))
    desk.phase("model")
    gather()
    tell_twice(spec, desk, 0 if spec.data.streaming else len(rows.train))
    precision, why = choose_precision(spec.memory.precision, is_mixed(spec), is_quickened(spec) and spec.stage.LIKELIHOODS)
    if why:
        desk.note(why)
    if device() == "cpu" and (idle := idle_card()):
        desk.note(idle, "warning")
    steps = run_steps(spec, desk, rows)
    return with_room(spec, desk, lambda fitting: _trained(fitting, desk, folder, tokenizer, rows, precision, steps))


def _trained(
    spec: TrainSpec, desk: Desk, folder: Path, tokenizer: Any, rows: Rows, precision: Precision, steps: int
) -> dict[str, float]:
    """From the model as it lies in its folder, or from a checkpoint, to the last step."""
    from transformers import set_seed  # seconds: what is wrong with the data was told before

    checkpoint = whole_checkpoint(desk, given_checkpoint(desk.run.workspace, spec.saving.resume_from_checkpoint))
    set_seed(spec.optim.seed)
    teller = Teller(desk, spec, tokenizer, steps, eval_every(spec, steps, rows))
    saving = saving_trainer(desk, teller, spec.model.model_name_or_path, spec.saving.save_total_limit)
    parts = Parts(
        model=_model(spec, desk, folder, precision),
        tokenizer=tokenizer,
        train_rows=rows.train,
        eval_rows=rows.held,
        arguments=training_arguments(spec, desk, steps, precision, rows),
        callbacks=[
            *division_callbacks(spec, desk),
            telling_callback(teller),
            *early_stopping(spec, desk),
            *own_history(desk, checkpoint),
        ],
        saving=sharing_trainer(spec, dealing_trainer(steered_trainer(spec, desk, saving))),
        stop_ids=stop_tokens(tokenizer, spec.model.template),
        find=lambda given: trained_folder(desk.run.workspace, given),
    )
    trainer = plugins(stages)[spec.stage.stage].trainer(spec.stage, parts)
    tuning.hold_trained(trainer.model, spec.memory.precision == "pure_bf16")
    if is_quickened(spec):
        teller.unpadded = kernels.hasten(trainer.model, spec.stage.LIKELIHOODS) and not spec.stage.packs
    return _learn(spec, desk, trainer, teller, checkpoint)


def _model(spec: TrainSpec, desk: Desk, folder: Path, precision: Precision) -> Any:
    """The model with the weights that are to move."""
    method = plugins(tuning)[spec.tuning.finetuning_type]
    held: Precision = precision if spec.tuning.FROZEN or spec.memory.precision == "pure_bf16" else "fp32"
    asked = quantising.asked(spec.memory.model_dump())
    base = load_model(
        folder, held, spec.model.trust_remote_code, asked, spec.stage.HEAD, attention(spec.memory), waits(spec)
    )
    base.config.use_cache = False
    adapters = [found for one in spec.model.adapter_name_or_path if (found := adapter_folder(desk.run.workspace, one))]
    model = tuning.tuned(method, base, spec.tuning, adapters, folder)
    _tell_weights(desk, model)
    return model


def _learn(spec: TrainSpec, desk: Desk, trainer: Any, teller: Teller, checkpoint: Path | None) -> dict[str, float]:
    step, steps = step_of(checkpoint), trainer.args.max_steps
    if checkpoint and checkpoint.parent != desk.run.folder:
        desk.note(Say.taken_up(folder=checkpoint.name, run=checkpoint.parent.name, step=step))
        if planned_steps(checkpoint) not in (0, steps):
            desk.note(Say.schedule(scheduler=spec.optim.lr_scheduler_type, steps=steps, before=planned_steps(checkpoint)))
    elif desk.resuming:
        desk.note(Say.resumed(folder=checkpoint.name, step=step) if checkpoint else Say.from_start())
    desk.phase("training")
    _look_first(desk, trainer, teller, step)
    own_chance(spec.optim.seed)
    with disk_full_is_said(desk.run.folder):
        with damage_is_said(checkpoint, desk.run.folder, lambda: teller.begun):
            if checkpoint and step >= steps:
                trainer.take_up(checkpoint, step)
            else:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if teller.stopped:
            raise StopAsked
        desk.say_phase("saving")
        trainer.take_best()
        write_final_weights(desk, trainer, spec.model.model_name_or_path)
        view = desk.run.view()
        if spec.saving.plot_loss and team.rank() == 0:
            draw_loss(view, desk.run.folder / "training_loss.png", desk.run.name)
        return teller.figures(view)


def _look_first(desk: Desk, trainer: Any, teller: Teller, step: int) -> None:
    """Try the rows held out and ask the watched questions before the first step, where a stop left no time for it too."""
    view, due = desk.run.view(), teller.look_is_due(step)
    trainer.args.eval_on_start = trainer.args.eval_strategy != "no" and due and step not in view.eval.steps
    teller.watches_first = due and not any(sample.step == step for sample in view.samples)


def _arranged(spec: TrainSpec, desk: Desk, rows: Rows) -> Rows:
    """The rows as the stage's trainer takes them; told when several have become one."""
    train = spec.stage.arranged(rows.train, spec.data.cutoff_len)
    held = spec.stage.arranged(rows.held, spec.data.cutoff_len) if rows.held is not None else None
    if not spec.data.streaming and len(train) != len(rows.train):
        desk.note(Say.packed(rows=f"{len(rows.train):,}", packed=f"{len(train):,}", cutoff=f"{spec.data.cutoff_len:,}"))
    return Rows(train, held)


def _tell_weights(desk: Desk, model: Any) -> None:
    moved = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    everything = sum(weight.numel() for weight in model.parameters())
    share = f"{100 * moved / everything:.2f}"
    desk.note(Say.moved(moved=f"{moved:,}", all=f"{everything:,}", share=share))
