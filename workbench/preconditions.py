"""What a training spec presupposes: packages that are not always there, and settings that need one another.

Looks at the spec and at what is installed; loads nothing, and knows no stage and no tuning method by name.
"""

from collections.abc import Iterator
from importlib.util import find_spec

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
    no_epochs = Text("{label} is 'epoch', and streaming does not know where an epoch ends. Choose steps.")
    no_lengths = Text(
        "{label} is 'group_by_length', and streaming does not know how long the rows to come are. Choose random."
    )


def unmet(spec: TrainSpec) -> list[Problem]:
    """Every problem, each beside its field."""
    return [*_packages(spec), *_method(spec), *_validation(spec), *_streaming(spec)]


def _packages(spec: TrainSpec) -> Iterator[Problem]:
    flat = spec.flat()
    for (key, value), (module, package) in PACKAGES.items():
        given = flat[key]
        if value in ([*given] if isinstance(given, list) else [plain(given)]) and find_spec(module) is None:
            command = f"pip install {package}"
            said = Say.not_installed(label=_label(key), given=value, package=package, command=command)
            yield Problem(said, key)


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


def _label(key: str) -> Message:
    return Message(f"fields.{key}.label", TrainSpec.knobs()[key].ui.label)
