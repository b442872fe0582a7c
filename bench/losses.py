"""Losses: our curves beside LLaMA-Factory's, from one file for both. Knows files, commands and curves, no formula.

Both are given the same YAML, rows, model in fp32, template, batch, rank and seed, and nothing is arranged beyond that: the seed
alone gives both the same order of rows and the same start of the adapter. Only the run's name differs. ``--peer`` is a virtual
environment that LLaMA-Factory is installed in. With ``--folder`` runs stay there, and finished ones are not run again.
"""

import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench.peer import command
from bench.table import machine
from workbench.chats import template_text
from workbench.cli import main as run_command
from workbench.events import Step, tail
from workbench.setup.starter import starter_folder
from workbench.workspace import Workspace, default_workspace, source_folder

STEPS = 20
MODEL, LINE_END_MODEL = "whole", "line-end"
COMMON: Mapping[str, Any] = {
    "model_name_or_path": f"models/{MODEL}",
    "do_train": True,
    "template": "smollm2",
    # Theirs ends with a full stop, the model's own does not: so it is said aloud.
    "default_system": "You are a helpful AI assistant named SmolLM, trained by Hugging Face.",
    "cutoff_len": 256,
    "val_size": 0,
    "max_steps": STEPS,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 2,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "optim": "adamw_torch",
    "seed": 42,
    "logging_steps": 1,
    "save_strategy": "no",
    "plot_loss": False,
    "report_to": "none",
    "disable_gradient_checkpointing": True,
    "dataloader_num_workers": 0,
    "bf16": False,
    "fp16": False,
}
LORA: Mapping[str, Any] = {"finetuning_type": "lora", "lora_rank": 8, "lora_target": "all", "learning_rate": 1e-4}
CASES: Mapping[str, Mapping[str, Any]] = {
    "sft_lora": {**LORA, "stage": "sft", "dataset": "alpaca_en_demo"},
    "sft_full": {"stage": "sft", "dataset": "alpaca_en_demo", "finetuning_type": "full", "learning_rate": 1e-5},
    "dpo_lora": {**LORA, "stage": "dpo", "dataset": "dpo_en_demo", "pref_beta": 0.1},
    "kto_lora": {**LORA, "stage": "kto", "dataset": "kto_en_demo", "pref_beta": 0.1},
}
AS_IT_IS, LINE_END = "as it is", "line end learned"
VARIANTS: Mapping[str, Sequence[str]] = {
    LINE_END: (f"model_name_or_path=models/{LINE_END_MODEL}", "template=auto"),
    AS_IT_IS: (),
}
"""What our command is given beside the file. The peer learns the line end behind an answer's end of turn too; a model whose
own template has it among what is learned does so here."""
DRAWN: Sequence[tuple[str, str]] = (*((case, LINE_END) for case in CASES), ("sft_lora", AS_IT_IS))
MARKED = "'<|im_end|>' }}\n        {%- endgeneration %}\n        {{- '\\n' }}"
LEARNED = "'<|im_end|>\\n' }}\n        {%- endgeneration %}"


@dataclass(frozen=True)
class Curves:
    """The losses of both, step by step."""

    name: str
    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def differences(self) -> list[float]:
        """How far ours is from theirs at each step, as a share of theirs."""
        return [abs(our - their) / abs(their) for our, their in zip(self.ours, self.theirs, strict=True)]

    def row(self) -> str:
        losses = (self.ours[0], self.theirs[0], self.ours[-1], self.theirs[-1])
        shares = (statistics.median(self.differences), max(self.differences))
        told = [f"{loss:.4f}" for loss in losses] + [f"{share:.4%}" for share in shares]
        return f"| {self.name} | {len(self.ours)} | {' | '.join(told)} |"


@dataclass
class Comparison:
    """All curves that were drawn."""

    curves: list[Curves] = field(default_factory=list)

    def markdown(self) -> str:
        heads = ("", "steps", "first loss", "theirs", "last loss", "theirs", "median difference", "largest")
        lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
        return "\n".join(
            ["## Losses beside LLaMA-Factory's", "", machine(), "", *lines, *(one.row() for one in self.curves), ""]
        )

    def to_json(self) -> dict[str, Any]:
        curves = [{"name": one.name, "ours": list(one.ours), "theirs": list(one.theirs)} for one in self.curves]
        return {"title": "Losses beside LLaMA-Factory's", "machine": machine(), "curves": curves}


def measure(peer: Path | None, folder: Path | None) -> Comparison:
    """Run every case with both, one after the other, and put the curves side by side."""
    program = command(peer)
    place: AbstractContextManager[Any] = nullcontext(folder) if folder else tempfile.TemporaryDirectory()
    with place as root:
        workspace = lay(Path(root).resolve())
        found = Comparison()
        for case, variant in DRAWN:
            theirs = their_losses(workspace, case, program)
            found.curves.append(Curves(f"{case}, {variant}", our_losses(workspace, case, variant), theirs))
        return found


# The workspace


def lay(root: Path) -> Workspace:
    """A workspace with our demo sets, both models and a file for each case; what is there already stays."""
    workspace = Workspace(root)
    if not workspace.data.exists():
        shutil.copytree(source_folder() / "data", workspace.data)
    if not (workspace.models / LINE_END_MODEL).exists():
        lay_models(starter_folder(default_workspace().models), workspace.models)
    for case, values in CASES.items():
        (root / f"{case}.yaml").write_text(yaml.safe_dump({**COMMON, **values}, sort_keys=False), "utf-8")
    return workspace


def lay_models(source: Path, models: Path) -> None:
    """The model in fp32, since the peer computes in what the files hold; and again with the other template."""
    from safetensors.torch import load_file, save_file

    whole, other = models / MODEL, models / LINE_END_MODEL
    shutil.copytree(source, whole, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    config = json.loads((whole / "config.json").read_text("utf-8"))
    config.pop("torch_dtype", None)
    (whole / "config.json").write_text(json.dumps({**config, "dtype": "float32"}), "utf-8")
    weights = {name: weight.float() for name, weight in load_file(source / "model.safetensors").items()}
    save_file(weights, whole / "model.safetensors", metadata={"format": "pt"})
    other.mkdir()
    for file in whole.iterdir():
        if file.name != "chat_template.jinja":
            (other / file.name).symlink_to(file.resolve())
    (other / "chat_template.jinja").write_text(line_end_learned(template_text(str(COMMON["template"]))), "utf-8")


def line_end_learned(template: str) -> str:
    """The template with the line end behind an answer's end of turn among what is learned."""
    assert template.count(MARKED) == 1, "the template has changed"
    return template.replace(MARKED, LEARNED)


# The runs


def their_losses(workspace: Workspace, case: str, program: Path) -> list[float]:
    """The peer's curve, from its own log."""
    name = f"saves/peer_{case}"
    log = workspace.root / name / "trainer_log.jsonl"
    if not log.is_file() or len(read_peer_log(log)) < STEPS:
        words = [str(program), "train", f"{case}.yaml", f"output_dir={name}"]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        subprocess.run([*words, "overwrite_output_dir=true"], cwd=workspace.root, env=environment, check=True)
    return whole_curve(read_peer_log(log), case)


def our_losses(workspace: Workspace, case: str, variant: str) -> list[float]:
    """Our curve, from the run's events."""
    name = f"{case}_{variant.replace(' ', '_')}"
    words = [str(workspace.root / f"{case}.yaml"), "precision=fp32", f"output_dir={name}", *VARIANTS[variant]]
    found = list(workspace.saves.glob(f"*/*/{name}/events.jsonl"))
    if not found or len(read_events(found[0])) < STEPS:
        if run_command(["train", *words, "overwrite_output_dir=true"], workspace):
            raise SystemExit(f"Our run of {case} has failed.")
        found = list(workspace.saves.glob(f"*/*/{name}/events.jsonl"))
    return whole_curve(read_events(found[0]), case)


def read_peer_log(log: Path) -> list[float]:
    """The losses in a ``trainer_log.jsonl``, whose last line sums up and has none."""
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def read_events(events: Path) -> list[float]:
    """The losses in an ``events.jsonl``."""
    told = (entry.event for entry in tail(events, 0)[0])
    return [event.loss for event in told if isinstance(event, Step) and event.loss is not None]


def whole_curve(losses: list[float], case: str) -> list[float]:
    if len(losses) != STEPS:
        raise SystemExit(f"{case} has {len(losses)} losses where {STEPS} were to be.")
    return losses
