"""Training runs of the tiny model inside the test's own process: what a worker does between its first and its last word."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bad_inputs import GOOD
from workbench.desk import Desk, StopAsked
from workbench.events import Event, EventLog, Finished, Started, Step, Stopped, tail
from workbench.jobs import train
from workbench.runs import Run, create
from workbench.specs import TrainSpec, read_flat
from workbench.workspace import Workspace

ROWS = [{"instruction": f"Say a {at} times.", "output": "a " * (1 + at * 7 % 20)} for at in range(20)]
"""Rows of unlike length, so that batches are padded."""
SMALL: Mapping[str, Any] = {
    **GOOD,
    "dataset": "uneven",
    "precision": "fp32",
    "max_steps": 10,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "val_size": 0.2,
    "lora_dropout": 0.1,
    "learning_rate": 5e-3,
    "watch_prompts": ["Say a 3 times."],
    "watch_max_tokens": 4,
    "save_steps": 3,
    "save_total_limit": 3,
    "eval_steps": 4,
}
"""16 rows to learn from, four steps an epoch: the run ends within its third, and saves within and at the end of one."""


def lay_rows(workspace: Workspace) -> Workspace:
    """Put the set ``uneven`` into the workspace."""
    (workspace.data / "uneven.json").write_text(json.dumps(ROWS), "utf-8")
    (workspace.data / "dataset_info.json").write_text(json.dumps({"uneven": {"file_name": "uneven.json"}}), "utf-8")
    return workspace


@dataclass
class Done:
    """A run that has ended in this process."""

    run: Run
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def events(self) -> list[Event]:
        return [entry.event for entry in tail(self.run.events, 0)[0]]

    def steps(self, after: int = 0) -> list[tuple[Any, ...]]:
        """What the steps said of learning, without times and memory."""
        steps = [event for event in self.last_life() if isinstance(event, Step) and event.step > after]
        return [(s.step, s.total, s.epoch, s.loss, s.learning_rate, s.grad_norm, s.tokens, s.padding) for s in steps]

    def last_life(self) -> list[Event]:
        """What was said since the last start."""
        first = max(place for place, event in enumerate(self.events) if isinstance(event, Started))
        return self.events[first:]

    def weights(self) -> bytes:
        return (self.run.folder / "adapter_model.safetensors").read_bytes()


def spec_of(**more: Any) -> TrainSpec:
    return read_flat(TrainSpec, {**SMALL, **more}).unwrap()


def work(run: Run) -> Done:
    """Let the job work on the run, resuming if it has begun; what ends it badly is raised."""
    spec = run.read_spec().unwrap()
    assert isinstance(spec, TrainSpec)
    resuming = run.events.exists()
    log = EventLog(run.events)
    log.write(Started(1, run.first_step()))
    try:
        numbers = train.run(spec, Desk(run, log, resuming))
        log.write(Finished(numbers))
        return Done(run, numbers)
    except StopAsked:
        log.write(Stopped(run.saved_step()))
        return Done(run)
    finally:
        run.stop_file.unlink(missing_ok=True)
        log.close()


def trained(workspace: Workspace, name: str, **more: Any) -> Done:
    """A new run of this name, trained."""
    return work(create(workspace, spec_of(output_dir=name, **more)))


def as_killed_after(done: Done, name: str, step: int) -> Run:
    """A copy of the run as if its worker had been killed before it saved anything after this step."""
    folder = done.run.folder.with_name(name)
    shutil.copytree(done.run.folder, folder)
    for path in folder.glob("checkpoint-*"):
        if int(path.name.removeprefix("checkpoint-")) > step:
            shutil.rmtree(path)
    for path in (*folder.glob("adapter*"), folder / "training_loss.png"):
        path.unlink()
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "events.jsonl").write_bytes(b"".join(lines[:-1]))
    return Run(done.run.workspace, folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
