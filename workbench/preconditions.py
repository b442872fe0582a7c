"""What a training spec presupposes: packages that are not always there, and settings that need one another.

Looks at the spec and at what is installed; loads nothing, and knows no stage and no tuning method by name.
"""

import platform
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from workbench.dividing import dividing
from workbench.fields import plain
from workbench.problems import Problem
from workbench.specs import TrainSpec
from workbench.text import Message, Text

PACKAGES = {
    ("optim", "galore_adamw"): ("galore_torch", "galore-torch"),
    ("optim", "apollo_adamw"): ("apollo_torch", "apollo-torch"),
    ("optim", "adam_mini"): ("adam_mini", "adam-mini"),
    ("flash_attn", "fa2"): ("flash_attn", "flash-attn"),
    ("flash_attn", "fa3"): ("flash_attn_interface", "flash-attn-3"),
    ("enable_liger_kernel", "true"): ("liger_kernel", "liger-kernel"),
    ("report_to", "tensorboard"): ("tensorboard", "tensorboard"),
    ("report_to", "wandb"): ("wandb", "wandb"),
    ("report_to", "swanlab"): ("swanlab", "swanlab"),
    ("report_to", "trackio"): ("trackio", "trackio"),
    ("report_to", "mlflow"): ("mlflow", "mlflow"),
}
"""What a value needs: the module that Python imports, and the package that brings it."""
WHOLE_WEIGHTS = ("galore_adamw", "apollo_adamw", "badam", "adam_mini")
"""Optimisers that are about the model's own matrices."""


DIVISIBLE = ("adamw_torch", "adamw_torch_fused", "sgd")
"""Optimisers that move parts of weights as they move whole ones."""


class Say:
    not_installed = Text(
        "{label} is '{given}', which needs the package {package}. It is not installed. Install it with '{command}', or "
        "choose something else."
    )
    own_weights = Text(
        "{label} is '{given}', which is made for the model's own weights, and the method '{method}' trains others. "
        "Choose full, or another optimiser."
    )
    needs_validation = Text(
        "{label} needs figures of a validation, and there is none. Set a validation share or a validation set, and "
        "'Validate by' to steps or epoch."
    )
    needs_checkpoints = Text("{label} needs checkpoints, and 'Save by' is no. Choose steps or epoch.")
    cards = Text("Cards are '{given}'. Accepted: different whole numbers from 0. Enter, for example, 0, 1.")
    more_cards = Text(
        "{processes} processes are asked for, and {cards} cards are chosen. Accepted: at most one process for each. Choose "
        "more cards, or leave the processes empty."
    )
    one_chip = Text(
        "{processes} processes are asked for, and Apple's chip computes for one. Accepted: 1. Leave 'Cards' and 'Processes' "
        "empty."
    )
    one_batch = Text(
        "{label} is on, and several processes must have batches of one size. Turn it off, or choose one process."
    )
    one_at_a_time = Text(
        "{label} is 'badam', which moves one layer at a time, and several processes agree beforehand on what moves. "
        "Choose another optimiser, or one process."
    )
    not_shared = Text(
        "Several processes can't share stage '{stage}' as {given}. Accepted: {known}. Choose one of these."
    )
    alone = Text("Stage '{stage}' learns in one process, and {processes} are asked for. Choose one card or process.")
    whole = Text("{label} is '{given}', which does not go with {way}. Accepted: {known}. Choose one of these, or ddp.")
    prompts = Text("What '{method}' learns can't be divided as {way} does. Choose ddp, or another method.")
    reference = Text(
        "The reference needs all weights as they were, which {way} divides. Accepted: a new adapter, a loss without "
        "reference, or ddp. Choose one of these."
    )
    no_epochs = Text("{label} is 'epoch', and streaming does not know where an epoch ends. Choose steps.")
    no_lengths = Text(
        "{label} is 'group_by_length', and streaming does not know how long the rows to come are. Choose random."
    )


def unmet(spec: TrainSpec) -> list[Problem]:
    """Every problem, each beside its field."""
    return [*_packages(spec), *_method(spec), *_validation(spec), *_streaming(spec), *_sharing(spec)]


def _packages(spec: TrainSpec) -> Iterator[Problem]:
    flat = spec.flat()
    for (key, value), (module, package) in PACKAGES.items():
        given = flat[key]
        if value in ([*given] if isinstance(given, list) else [plain(given)]) and find_spec(module) is None:
            yield _not_installed(key, value, package)


def _not_installed(key: str, value: str, package: str) -> Problem:
    command = f"pip install {package}"
    return Problem(Say.not_installed(label=_label(key), given=value, package=package, command=command), key)


def _method(spec: TrainSpec) -> Iterator[Problem]:
    if spec.optim.optim in WHOLE_WEIGHTS and spec.tuning.ADAPTER:
        method = spec.tuning.finetuning_type
        yield Problem(Say.own_weights(label=_label("optim"), given=spec.optim.optim, method=method), "optim")


def _validation(spec: TrainSpec) -> Iterator[Problem]:
    saving = spec.saving
    asked = {
        "load_best_model_at_end": saving.load_best_model_at_end,
        "early_stopping_steps": saving.early_stopping_steps is not None,
        "lr_scheduler_type": spec.optim.lr_scheduler_type == "reduce_lr_on_plateau",
    }
    if saving.eval_strategy == "no" or not (spec.data.val_size or spec.data.eval_dataset):
        yield from (Problem(Say.needs_validation(label=_label(key)), key) for key, wanted in asked.items() if wanted)
    if saving.load_best_model_at_end and saving.save_strategy == "no":
        yield Problem(Say.needs_checkpoints(label=_label("load_best_model_at_end")), "load_best_model_at_end")


def _streaming(spec: TrainSpec) -> Iterator[Problem]:
    if not spec.data.streaming:
        return
    for key in ("eval_strategy", "save_strategy"):
        if spec.flat()[key] == "epoch":
            yield Problem(Say.no_epochs(label=_label(key)), key)
    if spec.optim.train_sampling_strategy == "group_by_length":
        yield Problem(Say.no_lengths(label=_label("train_sampling_strategy")), "train_sampling_strategy")


def _sharing(spec: TrainSpec) -> Iterator[Problem]:
    section, way = spec.sharing, spec.sharing.way
    if any(not one.isdecimal() for one in section.devices) or len(set(section.devices)) < len(section.devices):
        yield Problem(Say.cards(given=plain(section.devices)), "devices")
    if section.devices and section.processes > len(section.devices):
        said = Say.more_cards(processes=section.processes, cards=len(section.devices))
        yield Problem(said, "num_processes")
    if section.processes > 1 and on_apple():
        yield Problem(Say.one_chip(processes=section.processes), "num_processes" if section.num_processes else "devices")
    if dividing(way).zero_stage and find_spec("deepspeed") is None:
        yield _not_installed("distributed", way, "deepspeed")
    if section.processes > 1 and spec.optim.auto_find_batch_size:
        yield Problem(Say.one_batch(label=_label("auto_find_batch_size")), "auto_find_batch_size")
    if section.processes > 1 and spec.optim.optim == "badam":
        yield Problem(Say.one_at_a_time(label=_label("optim")), "optim")
    stage = spec.stage.stage
    if section.processes > 1 and not spec.stage.SHARED:
        yield Problem(Say.alone(stage=stage, processes=section.processes), "num_processes")
    elif section.processes > 1 and way not in spec.stage.SHARED:
        yield Problem(Say.not_shared(stage=stage, given=way, known=", ".join(spec.stage.SHARED)), "distributed")
    if dividing(way).divides:
        yield from _divided(spec, way)


def on_apple() -> bool:
    """Whether torch takes Apple's chip here, for which it has no way to share."""
    return sys.platform == "darwin" and platform.machine() == "arm64"


def _divided(spec: TrainSpec, way: str) -> Iterator[Problem]:
    """What is about whole weights, or of weights of few bits, does not go with weights that are divided."""
    if spec.optim.optim not in DIVISIBLE:
        known = ", ".join(DIVISIBLE)
        yield Problem(Say.whole(label=_label("optim"), given=spec.optim.optim, way=way, known=known), "optim")
    if spec.memory.quantization_bit != "none":
        given = spec.memory.quantization_bit
        said = Say.whole(label=_label("quantization_bit"), given=given, way=way, known="none")
        yield Problem(said, "quantization_bit")
    if not spec.tuning.DIVISIBLE:
        yield Problem(Say.prompts(method=spec.tuning.finetuning_type, way=way), "distributed")
    if spec.stage.reference_passes and (not spec.tuning.ADAPTER or spec.model.adapter_name_or_path):
        yield Problem(Say.reference(way=way), "distributed")


def _label(key: str) -> Message:
    return Message(f"fields.{key}.label", TrainSpec.knobs()[key].ui.label)
