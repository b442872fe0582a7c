"""Training: real tokens a second, memory and losses beside LLaMA-Factory's, on the same rows. Knows files, commands and figures.

Both are given the same rows, model, template, rank, rate, seed and rows a step, so they see the same rows in the same order. A
token of padding is not counted; seconds are those of the steps alone. Each is run at several settings of its own, since
neither is at its best at the other's.
"""

import json
import os
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from bench.limits import Limits
from bench.losses import read_events, read_peer_log
from bench.peer import command
from bench.servers import watched
from bench.table import machine, number
from workbench import runs
from workbench.events import Step, tail
from workbench.setup.starter import starter_folder
from workbench.specs import TrainSpec, read_flat
from workbench.workspace import Workspace, default_workspace, source_folder

TITLE = "Training beside LLaMA-Factory"
PEER = "LLaMA-Factory"
STEPS, ROWS_A_STEP = 5, 8
WORDS_MEAN = 85
"""Words of an answer on average, with which a row has about 150 tokens."""
COMMON: Mapping[str, Any] = {
    "template": "smollm2", "default_system": "You are a helpful AI assistant named SmolLM, trained by Hugging Face.",
    "cutoff_len": 512, "val_size": 0, "max_steps": STEPS, "lr_scheduler_type": "cosine", "warmup_steps": 1, "max_grad_norm": 1.0,
    "optim": "adamw_torch", "seed": 42, "logging_steps": 1, "save_strategy": "no", "plot_loss": False, "report_to": "none",
}  # fmt: skip
LORA: Mapping[str, Any] = {"finetuning_type": "lora", "lora_rank": 8, "lora_target": "all", "learning_rate": 1e-4}
CASES: Mapping[str, Mapping[str, Any]] = {
    "sft lora": {**LORA, "stage": "sft", "dataset": "long"},
    "dpo lora": {**LORA, "stage": "dpo", "dataset": "pairs", "pref_beta": 0.1},
    "sft full": {"stage": "sft", "dataset": "long", "finetuning_type": "full", "learning_rate": 1e-5},
}
ALL, ONE, TWO = (
    {"per_device_train_batch_size": rows, "gradient_accumulation_steps": ROWS_A_STEP // rows} for rows in (ROWS_A_STEP, 1, 2)
)
OURS: Mapping[str, Mapping[str, Any]] = {
    "fp32, two rows at a time": {**TWO, "precision": "fp32"}, "bf16, two rows at a time": {**TWO, "precision": "bf16"}, "as it comes": ALL,
}  # fmt: skip
HALF: Mapping[str, Any] = {"bf16": True, "use_cpu": True}
NO_TWICE: Mapping[str, Any] = {"disable_gradient_checkpointing": True}
THEIRS: Mapping[str, Mapping[str, Any]] = {
    "fp32, a row at a time, no checkpointing": {**ONE, **NO_TWICE},
    "bf16, a row at a time, no checkpointing": {**ONE, **NO_TWICE, **HALF},
    "bf16, two rows at a time": {**TWO, **HALF},
}
"""Its bf16 needs ``use_cpu``; it does not sort rows by length, so that more rows at a time are more padding."""


@dataclass
class Figures:
    """What was seen of one way: an entry for each round."""

    case: str
    name: str
    seconds: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """By step; the same in every round."""

    @property
    def is_peer(self) -> bool:
        return self.name.startswith(PEER)

    @property
    def half(self) -> bool:
        """Whether it computes in bf16."""
        return "fp32" not in self.name


@dataclass
class Comparison:
    """All figures, with the tokens of a case's rows and what the machine can do."""

    limits: Limits
    tokens: dict[str, int] = field(default_factory=dict)
    flops: dict[str, float] = field(default_factory=dict)
    all: dict[tuple[str, str], Figures] = field(default_factory=dict)

    def figures(self, case: str, name: str) -> Figures:
        return self.all.setdefault((case, name), Figures(case, name))

    def rate(self, one: Figures) -> float:
        """Real tokens a second, the median of the rounds."""
        return self.tokens[one.case] / statistics.median(one.seconds)

    def best(self, case: str, only: str = "") -> Figures:
        """The peer's fastest way of a case, of those whose name has ``only`` in it."""
        return max((one for one in self.all.values() if one.is_peer and one.case == case and only in one.name), key=self.rate)

    def row(self, one: Figures) -> str:
        """A line of the table."""
        rates = sorted(self.tokens[one.case] / seconds for seconds in one.seconds)
        ratio = "" if one.is_peer else f"{self.rate(one) / self.rate(self.best(one.case)):.2f}"
        equal = "" if one.is_peer else f"{self.rate(one) / self.rate(self.best(one.case, 'bf16' if one.half else 'fp32')):.2f}"
        share = f"{self.flops[one.case] * self.rate(one) / 1e9 / self.limits.fastest:.0%}"
        held = f"{statistics.median(one.memory) / 2**20:,.0f}"
        spread = f"{number(rates[0])} to {number(rates[-1])}"
        told = [one.case, one.name, number(self.rate(one)), spread, ratio, equal, share, held, f"{one.losses[-1]:.4f}"]
        return f"| {' | '.join(told)} |"

    def markdown(self) -> str:
        heads = ("", "", "tokens/s", "spread", "of its best", "of its best alike", "of the machine", "MB", "last loss")
        lines = ["| " + " | ".join(heads) + " |", "| --- | --- |" + " ---: |" * (len(heads) - 2)]
        lines += [self.row(one) for one in self.all.values()]
        note = (
            f"{STEPS} steps of {ROWS_A_STEP} rows, {', '.join(f'{case}: {count:,} tokens' for case, count in self.tokens.items())}. "
            f"Of its best: over {PEER}'s fastest way; alike: over its fastest in the same numbers. Of the machine: products that the "
            "mathematics needs, as a share of the machine's own rate at the model's shapes, tokens that rows begin with alike counted "
            "for each. MB: main memory at most."
        )
        return "\n".join([f"## {TITLE}", "", machine(), "", self.limits.words(), "", *lines, "", note, ""])

    def to_json(self) -> dict[str, Any]:
        lines = [{**vars(one), "tokens": self.tokens[one.case], "rate": self.rate(one)} for one in self.all.values()]
        return {"title": TITLE, "machine": machine(), "limits": vars(self.limits), "lines": lines}


def measure(peer: Path | None, rounds: int, cases: Sequence[str]) -> Comparison:
    """Every way in every round, ours and the peer's in turn, the order turned about each time. ``cases``: none means all."""
    program = command(peer)
    with tempfile.TemporaryDirectory() as root:
        home = lay(Path(root).resolve())
        found = Comparison(Limits.measured())
        for case in cases or CASES:
            ways = list(ours_and_theirs())
            for at in range(rounds):
                for name, values in ways[:: -1 if at % 2 else 1]:
                    print(f"{case}, round {at + 1}: {name}", file=sys.stderr, flush=True)
                    told = {"model_name_or_path": model_of(home), **COMMON, **CASES[case], **values}
                    taken(found, home, case, name, told, program)
                    one = found.figures(case, name)
                    print(f"  {one.seconds[-1]:.1f} s, {one.memory[-1] >> 20:,} MB, loss {one.losses[-1]:.4f}", file=sys.stderr, flush=True)
    return found


def ours_and_theirs() -> Iterator[tuple[str, Mapping[str, Any]]]:
    ours, theirs = list(OURS.items()), [(f"{PEER}, {name}", values) for name, values in THEIRS.items()]
    for at in range(max(len(ours), len(theirs))):
        yield from (*ours[at : at + 1], *theirs[at : at + 1])


def taken(found: Comparison, home: Workspace, case: str, name: str, told: Mapping[str, Any], program: Path) -> None:
    """Run one way once and take in what is seen."""
    one = found.figures(case, name)
    if one.is_peer:
        seconds, memory, losses = theirs(home, told, program)
    else:
        run, memory = ours(home, told)
        steps = [entry.event for entry in tail(run.folder / "events.jsonl", 0)[0] if isinstance(entry.event, Step)]
        seconds, losses = sum(step.seconds for step in steps), read_events(run.folder / "events.jsonl")
        found.tokens[case] = sum(step.tokens for step in steps)
        found.flops[case] = needed_flops(home.root / str(told["model_name_or_path"]), str(told["finetuning_type"]), case)
        run.delete()
    one.seconds.append(seconds)
    one.memory.append(memory)
    one.losses = losses


# The workspace


def lay(root: Path) -> Workspace:
    """A workspace with the starter model in fp32, since the peer computes in what the files hold, and two sets."""
    from safetensors.torch import load_file, save_file

    home, starter = Workspace(root), starter_folder(default_workspace().models)
    home.saves.mkdir()
    target = home.models / starter.name
    shutil.copytree(starter, target, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((target / "config.json").read_text("utf-8"))
    config.pop("torch_dtype", None)
    (target / "config.json").write_text(json.dumps({**config, "dtype": "float32"}), "utf-8")
    weights = {name: weight.float() for name, weight in load_file(starter / "model.safetensors").items()}
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    home.data.mkdir()
    lot = random.Random(1)  # noqa: S311 - no secret
    demo = json.loads((source_folder() / "data" / "alpaca_en_demo.json").read_text("utf-8"))
    rows = [{"instruction": row["instruction"], "input": row["input"], "output": answer(lot, demo)} for row in demo]
    pairs = [
        {"conversations": [{"from": "human", "value": row["instruction"]}],
         "chosen": {"from": "gpt", "value": answer(lot, demo)}, "rejected": {"from": "gpt", "value": answer(lot, demo)}}
        for row in demo
    ]  # fmt: skip
    (home.data / "long.json").write_text(json.dumps(rows), "utf-8")
    (home.data / "pairs.json").write_text(json.dumps(pairs), "utf-8")
    tags = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    paired = {"file_name": "pairs.json", "ranking": True, "formatting": "sharegpt", "columns": tags}
    info = {"long": {"file_name": "long.json"}, "pairs": paired}
    (home.data / "dataset_info.json").write_text(json.dumps(info), "utf-8")
    return home


def answer(lot: random.Random, demo: Sequence[Mapping[str, str]]) -> str:
    """Answers of the demo set one behind the other, as many words as are drawn: few short ones, some long."""
    wanted, said = lot.lognormvariate(0, 0.6) * WORDS_MEAN / 1.2, list[str]()
    while len(" ".join(said).split()) < wanted:
        said.append(lot.choice(demo)["output"])
    return " ".join(" ".join(said).split()[: max(4, int(wanted))])


def model_of(home: Workspace) -> str:
    return f"models/{next(home.models.iterdir()).name}"


# The runs


def ours(home: Workspace, told: Mapping[str, Any]) -> tuple[runs.Run, int]:
    """The finished run, and the most main memory that its worker held."""
    run = runs.create(home, read_flat(TrainSpec, {**told, "watch_prompts": []}).unwrap())
    run.start()
    while (started := run.view().started) is None:
        run.wait(0.1)
    with watched(psutil.Process(started.pid)) as held:
        ended = run.wait(3600)
    if ended != "finished":
        raise SystemExit(f"{run.name} did not finish:\n{run.log_tail()}")
    return run, max(held)


def theirs(home: Workspace, told: Mapping[str, Any], program: Path) -> tuple[float, int, list[float]]:
    """Seconds of its steps, the most main memory that its processes held, its losses."""
    place, file = home.root / "saves" / "peer", home.root / "peer.yaml"
    values = {**told, "do_train": True, "output_dir": str(place), "overwrite_output_dir": True, "dataloader_num_workers": 0}
    file.write_text(yaml.safe_dump(values), "utf-8")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with (home.root / "peer.log").open("wb") as log:
        process = psutil.Popen([str(program), "train", str(file)], cwd=home.root, env=environment, stdout=log, stderr=log)
        with watched(process) as held:
            failed = process.wait()
    if failed:
        raise SystemExit(f"{PEER} failed:\n{(home.root / 'peer.log').read_text('utf-8', 'replace')[-3000:]}")
    seconds = json.loads((place / "train_results.json").read_text("utf-8"))["train_runtime"]
    losses = read_peer_log(place / "trainer_log.jsonl")
    shutil.rmtree(place)
    return seconds, max(held), losses


def needed_flops(folder: Path, method: str, case: str) -> float:
    """Operations that one token needs at least: products with the layers' weights forward (2 a weight) and back to what came
    before (2 more), for weights that move another 2; a pair's reference forward once more. The last layer, which learned places
    alone need, attention and adapters are left out."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    width, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    keys = width // config["num_attention_heads"] * config["num_key_value_heads"]
    weights = layers * (2 * width * width + 2 * width * keys + 3 * width * inner)
    passes = {"full": 6, "lora": 4}[method] + (2 if case.startswith("dpo") else 0)
    return float(passes * weights)
