"""Checkpoints and final weights: written beside their final names, then renamed, so that each is whole or not there."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench.events import Saved
from workbench.fields import plain
from workbench.jobs import Desk
from workbench.jobs.train.telling import Teller
from workbench.problems import UserError
from workbench.text import Text

STAGING = ".saving"
FULL = re.compile(r"No space left|os error 28|Disk quota|file write failed|unexpected pos|enforce fail", re.IGNORECASE)


class Say:
    disk_full = Text(
        "The disk is full: {free} MB are free, and a checkpoint could not be written ({reason}). "
        "Everything saved before is whole. Free some space, then press Resume."
    )


def remove_unfinished(folder: Path) -> None:
    """Delete what a killed worker was writing."""
    shutil.rmtree(folder / STAGING, ignore_errors=True)


@contextmanager
def disk_full_is_said(folder: Path) -> Iterator[None]:
    """Turn a write that the disk refused into words, after making room by deleting the unfinished part."""
    try:
        yield
    except Exception as error:
        if (isinstance(error, OSError) and error.errno in (28, 122)) or FULL.search(str(error)):
            free = shutil.disk_usage(folder).free // 1_000_000
            remove_unfinished(folder)
            raise UserError(Say.disk_full(free=free, reason=plain(str(error).splitlines()[0]))) from error
        raise


def write_through(folder: Path) -> None:
    """Wait until the disk has every file of the folder, so that a power cut after the rename finds them whole."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def saving_trainer(desk: Desk, teller: Teller, keep: int | None) -> type[Any]:
    """A class to mix in before a transformers Trainer: counts tokens, saves whole checkpoints, keeps the last ones."""

    class SavingTrainer:
        def training_step(self, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
            mask = inputs["attention_mask"]
            teller.count(mask.sum(), mask.numel())
            return super().training_step(model, inputs, *rest, **named)  # type: ignore[misc]

        def create_model_card(self, *args: Any, **named: Any) -> None:
            """The run's folder says more than a card of the library would."""

        def _save_checkpoint(self: Any, model: Any, trial: Any) -> None:
            staging, step = desk.run.folder / STAGING, self.state.global_step
            remove_unfinished(desk.run.folder)
            self.args.output_dir = str(staging)
            try:
                super()._save_checkpoint(model, trial)  # type: ignore[misc]
            finally:
                self.args.output_dir = str(desk.run.folder)
            name = f"checkpoint-{step}"
            write_through(staging / name)
            shutil.rmtree(desk.run.folder / name, ignore_errors=True)
            (staging / name).rename(desk.run.folder / name)
            remove_unfinished(desk.run.folder)
            desk.say(Saved(step, name))
            _drop_old(desk.run.folder, keep)

    return SavingTrainer


def _drop_old(folder: Path, keep: int | None) -> None:
    """Delete all but the last checkpoints; each is renamed first, so that a half-deleted one is never resumed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.removeprefix("checkpoint-")))
    for old in found[: -keep if keep else 0]:
        (folder / STAGING).mkdir(exist_ok=True)
        old.rename(folder / STAGING / old.name)
    remove_unfinished(folder)


def write_final_weights(desk: Desk, trainer: Any) -> None:
    """The trained weights and the tokenizer into the run's folder itself; the config that names them comes last."""
    staging = desk.run.folder / STAGING
    remove_unfinished(desk.run.folder)
    trainer.save_model(str(staging))
    for unneeded in ("training_args.bin", "README.md"):
        (staging / unneeded).unlink(missing_ok=True)
    for path in staging.iterdir():
        path.chmod(0o644)
    write_through(staging)
    for path in sorted(staging.iterdir(), key=lambda path: path.name == "adapter_config.json"):
        path.replace(desk.run.folder / path.name)
    remove_unfinished(desk.run.folder)
    desk.say(Saved(trainer.state.global_step, "."))
