"""Checkpoints and final weights: written beside their final names, then renamed, so that each is whole or not there."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from workbench.checkpoints import CONTENTS, STAGING, drop, lost_file, surplus
from workbench.desk import Desk
from workbench.events import Saved
from workbench.jobs.train import team
from workbench.jobs.train.telling import Teller
from workbench.jobs.train.troubles import damaged, remove_unfinished
from workbench.text import Text


class Say:
    missing = Text("its {file} is missing")
    other_size = Text("its {file} has {found} bytes instead of {size}")


def whole_checkpoint(desk: Desk, given: Path | None = None) -> Path | None:
    """The run's newest checkpoint, before the first one that which is ``given``; UserError when one of its files is
    missing or not as long as it was written."""
    newest = desk.run.checkpoint() or given
    if newest is not None and (lost := lost_file(newest)):
        name, found, size = lost
        said = Say.missing(file=name) if found is None else Say.other_size(file=name, found=found, size=size)
        raise damaged(newest, said)
    return newest


def saving_trainer(desk: Desk, teller: Teller, base: str, keep: int | None) -> type[Any]:
    """A class to mix in before a transformers Trainer: counts tokens, saves whole checkpoints, keeps the last ones."""

    class SavingTrainer:
        def count(self, mask: Any) -> None:
            """Count the tokens that are computed; stages that make their own batches call it themselves."""
            teller.count(mask.sum(), mask.numel())

        def training_step(self, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
            if "attention_mask" in inputs:
                self.count(inputs["attention_mask"])
            return super().training_step(model, inputs, *rest, **named)  # type: ignore[misc]

        def evaluate(self, *rest: Any, **named: Any) -> Any:
            # A pass over rows draws a number; training must not depend on how often there was one.
            import torch

            cards = [torch.cuda.current_device()] if torch.cuda.is_available() else []
            with torch.random.fork_rng(cards):
                return super().evaluate(*rest, **named)  # type: ignore[misc]

        def create_model_card(self, *args: Any, **named: Any) -> None:
            """The run's folder says more than a card of the library would."""

        def take_up(self: Any, checkpoint: Path, step: int) -> None:
            """Be as at the end of the checkpoint's step, with nothing left to train."""
            from transformers import TrainerState

            self._load_from_checkpoint(str(checkpoint))
            self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
            self.state.global_step = step

        def _save_checkpoint(self: Any, model: Any, trial: Any) -> None:
            staging, step = desk.run.folder / STAGING, self.state.global_step
            if team.rank() == 0:
                remove_unfinished(desk.run.folder)
            team.meet()
            self.args.output_dir = str(staging)
            try:
                super()._save_checkpoint(model, trial)  # type: ignore[misc]
            finally:
                self.args.output_dir = str(desk.run.folder)
            team.meet()
            if team.rank() == 0:
                _keep_checkpoint(desk, step, base)
                for old in surplus(desk.run.folder, keep, self.state.best_global_step or 0):
                    drop(old)
            team.meet()

    return SavingTrainer


def _keep_checkpoint(desk: Desk, step: int, base: str) -> None:
    """Give a checkpoint that is written its final name."""
    written, final = desk.run.folder / STAGING / f"checkpoint-{step}", desk.run.folder / f"checkpoint-{step}"
    _finish(written, base)
    sizes = {path.relative_to(written).as_posix(): path.stat().st_size for path in _files(written)}
    (written / CONTENTS).write_text(json.dumps(sizes, indent=1), "utf-8")
    write_through(written)
    shutil.rmtree(final, ignore_errors=True)
    written.rename(final)
    _sync(desk.run.folder)
    remove_unfinished(desk.run.folder)
    desk.say(Saved(step, final.name))


def write_final_weights(desk: Desk, trainer: Any, base: str) -> None:
    """The trained weights and the tokenizer into the run's folder itself; the config that names them comes last."""
    staging = desk.run.folder / STAGING
    if team.rank() == 0:
        remove_unfinished(desk.run.folder)
    team.meet()
    trainer.save_model(str(staging))
    team.meet()
    if team.rank() == 0:
        _keep_final(desk, base, trainer.state.global_step)
    team.meet()


def _keep_final(desk: Desk, base: str, step: int) -> None:
    staging = desk.run.folder / STAGING
    (staging / "training_args.bin").unlink(missing_ok=True)
    _finish(staging, base)
    write_through(staging)
    for path in sorted(staging.iterdir(), key=lambda path: path.name in ("adapter_config.json", "config.json")):
        path.replace(desk.run.folder / path.name)
    _sync(desk.run.folder)
    remove_unfinished(desk.run.folder)
    desk.say(Saved(step, "."))


def _finish(folder: Path, base: str) -> None:
    """Let the adapter name its base as the person did, not by a path that another machine lacks; no empty card."""
    (folder / "README.md").unlink(missing_ok=True)
    config = folder / "adapter_config.json"
    if config.is_file():
        values = {**json.loads(config.read_text("utf-8")), "base_model_name_or_path": base}
        config.write_text(json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False), "utf-8")
    whole = folder / "config.json"
    if whole.is_file():
        values = {**json.loads(whole.read_text("utf-8")), "use_cache": True}  # off while training only
        whole.write_text(json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False), "utf-8")
    for path in _files(folder):
        path.chmod(0o644)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def write_through(folder: Path) -> None:
    """Wait until the disk has every file of the folder, so that a power cut after the rename finds them whole."""
    for path in _files(folder):
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    _sync(folder)


def _sync(folder: Path) -> None:
    """The same for the names in a folder; Windows can't and need not."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
