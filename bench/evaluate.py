"""Evaluating: how long answers, scores and the report card take, predictions beside LLaMA-Factory's. Knows commands, no engine.

Each is a whole command in a process of its own, from its start to its last file: loading counts. The peer predicts the same rows
with the same longest answer, greedy, in fp32 and in bf16, one row at a time and several.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from bench.peer import command
from bench.table import Table, timed
from workbench import reports, runs
from workbench.runs import Run
from workbench.setup.starter import starter_folder
from workbench.specs import EvalSpec, ReportSpec, Spec, TrainSpec, read_flat
from workbench.workspace import Workspace, default_workspace, source_folder

FEW, MANY, TOKENS = 20, 200, 64
SET, DEMO = "many", "alpaca_en_demo"
TOGETHER = 16
AS_IT_COMES, CROWDED = "fp32", "fp32, 8 rows at a time"
PEER: Mapping[str, Mapping[str, Any]] = {
    AS_IT_COMES: {"infer_dtype": "float32", "per_device_eval_batch_size": 1},
    "bf16": {"infer_dtype": "bfloat16", "bf16": True, "use_cpu": True, "per_device_eval_batch_size": 1},
    CROWDED: {"infer_dtype": "float32", "per_device_eval_batch_size": 8},
}
KINDS: Mapping[str, Mapping[str, Any]] = {"fp32": {"infer_dtype": "float32"}, "bf16": {"infer_dtype": "bfloat16"}}
NO_LOSS: Mapping[str, Any] = {"measure_loss": False}
"""The peer's predicting measures none."""


def measure(peer: Path | None, rounds: int, most: int) -> Table:
    """Seconds of everything, ours and the peer's in turn. ``most``: with fewer than the many rows only the few are predicted."""
    program, table = command(peer), Table(f"Evaluating {FEW} and {MANY} rows, up to {TOKENS} new tokens")
    seen: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as root:
        home = lay(Path(root).resolve())
        for at in range(rounds):
            for name, values in KINDS.items():
                note(seen, f"{FEW} rows, {name}, answers and losses", timed(partial(evaluated, home, FEW, **values)))
                alone = partial(evaluated, home, FEW, **values, **NO_LOSS)
                note(seen, f"{FEW} rows, {name}, answers alone", timed(alone))
            for name, values in PEER.items():
                note(seen, f"{FEW} rows, LLaMA-Factory, {name}", timed(partial(predicted, home, program, FEW, values)))
            if most >= MANY:
                many(home, program, seen)
            print(f"round {at + 1} of {rounds} is over", flush=True)
    for name, seconds in seen.items():
        table.add(name, "seconds", seconds)
    return table


def many(home: Workspace, program: Path, seen: dict[str, list[float]]) -> None:
    """A round of the large set, and of a run's report."""
    tuned = trained(home)
    adapter = f"saves/{tuned.name}"
    for name, values in KINDS.items():
        both = {**values, "adapter_name_or_path": [adapter]}
        note(seen, f"{MANY} rows, base and tuned, {name}, answers and losses", timed(partial(evaluated, home, MANY, **both)))
        note(seen, f"{MANY} rows, base and tuned, {name}, answers alone", timed(partial(evaluated, home, MANY, **both, **NO_LOSS)))
    for name in AS_IT_COMES, CROWDED:
        alone, over = (partial(predicted, home, program, MANY, {**PEER[name], **more}) for more in ({}, {"adapter_name_or_path": adapter}))
        note(seen, f"{MANY} rows, base and tuned, LLaMA-Factory, {name}", timed(alone) + timed(over))
    note(seen, "the report of a run", timed(partial(reported, tuned)))
    tuned.delete()


def note(seen: dict[str, list[float]], name: str, seconds: float) -> None:
    print(f"{name}: {seconds:.1f} s", flush=True)
    seen.setdefault(name, []).append(seconds)


def lay(root: Path) -> Workspace:
    """A workspace with the starter model, the demo sets, and one of so many rows."""
    home, starter = Workspace(root), starter_folder(default_workspace().models)
    shutil.copytree(source_folder() / "data", home.data)
    home.models.mkdir()
    (home.models / starter.name).symlink_to(starter)
    rows = json.loads((home.data / f"{DEMO}.json").read_text("utf-8"))
    many = [{**rows[at % len(rows)], "instruction": f"{rows[at % len(rows)]['instruction']} ({at + 1})"} for at in range(MANY)]
    (home.data / f"{SET}.json").write_text(json.dumps(many), "utf-8")
    info = json.loads((home.data / "dataset_info.json").read_text("utf-8"))
    (home.data / "dataset_info.json").write_text(json.dumps({**info, SET: {"file_name": f"{SET}.json"}}), "utf-8")
    return home


def model_of(home: Workspace) -> str:
    return f"models/{next(home.models.iterdir()).name}"


def trained(home: Workspace) -> Run:
    """A run of a few steps: what it learned does not matter here."""
    values = {"dataset": DEMO, "max_steps": 3, "watch_prompts": [], "val_size": 0.1, "output_dir": "short"}
    return ended(runs.create(home, spec_of(TrainSpec, home, values)))


def spec_of(kind: type[Any], home: Workspace, values: Mapping[str, Any]) -> Any:
    return read_flat(kind, {"model_name_or_path": model_of(home), **values}).unwrap()


def ended(run: Run) -> Run:
    run.start()
    if run.wait(7200) != "finished":
        raise SystemExit(f"{run.name} did not finish:\n{run.log_tail()}")
    return run


def evaluated(home: Workspace, rows: int, **more: Any) -> None:
    values = {"dataset": SET, "max_samples": rows, "max_new_tokens": TOKENS, "max_num_seqs": TOGETHER, **more}
    spec: Spec = spec_of(EvalSpec, home, values)
    ended(runs.create(home, spec))


def reported(trained_run: Run) -> None:
    if reports.maker(trained_run).folder.exists():
        reports.maker(trained_run).delete()
    made = reports.begin(trained_run.workspace, read_flat(ReportSpec, {"report_run": trained_run.name}).unwrap())
    if made.wait(7200) != "finished":
        raise SystemExit(f"{made.name} did not finish:\n{made.log_tail()}")


def predicted(home: Workspace, program: Path, rows: int, values: Mapping[str, Any]) -> None:
    """The peer's prediction of the same rows."""
    given = {
        "model_name_or_path": model_of(home), "stage": "sft", "do_predict": True, "finetuning_type": "lora",
        "eval_dataset": SET, "template": "smollm2", "cutoff_len": 1024, "max_samples": rows, "output_dir": "saves/peer",
        "overwrite_output_dir": True, "predict_with_generate": True, "do_sample": False, "max_new_tokens": TOKENS,
        "report_to": "none", "dataloader_num_workers": 0, **values,
    }  # fmt: skip
    file = home.root / "predict.yaml"
    file.write_text(yaml.safe_dump(given), "utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([str(program), "train", str(file)], cwd=home.root, env=environment, check=True, capture_output=True)
