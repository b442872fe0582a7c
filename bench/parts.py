"""Where a training step's time goes, part by part, as torch's profiler tells it. Knows our own training alone.

Steps before the watched ones are for warming up; of the watched ones half run plain, so that what the profiler itself costs is seen.
"""

import sys
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.limits import Limits
from bench.table import machine, number
from bench.train import CASES, COMMON, OURS, lay, model_of, needed_flops
from workbench import runs
from workbench.desk import Desk
from workbench.events import EventLog, Step, tail
from workbench.specs import TrainSpec, read_flat
from workbench.workspace import Workspace

TITLE = "The parts of a training step"
WARM, PLAIN, WATCHED = 2, 3, 3
"""Steps of each kind, in this order."""
LEAST = 0.03
"""A part with a smaller share of the step is not named."""
PRODUCTS = ("aten::mm", "aten::addmm", "aten::addmm_", "aten::mkldnn_linear")
ATTENTION = ("attention", "aten::bmm", "aten::baddbmm")
NOTHING = "between operations, in Python"


@dataclass(frozen=True)
class Sides:
    """What tells one part's products from another's: sides of their matrices."""

    words: int
    rank: int | None


@dataclass
class Parts:
    """One way's steps: seconds by part, of all watched ones together."""

    name: str
    plain: float
    """Seconds of a step without the profiler."""
    watched: float
    """Seconds of a step with it."""
    share: float
    """What the mathematics needs, at the machine's own rate, as a share of a plain step."""
    seconds: Mapping[str, float] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Lines of the table, the largest part first; what is small as one."""
        total = self.watched * WATCHED
        large = {part: one for part, one in self.seconds.items() if one >= LEAST * total}
        small = [one for part, one in self.seconds.items() if part not in large]
        named = sorted(large.items(), key=lambda item: -item[1])
        rows = [*named, (f"{len(small)} others, each under {LEAST:.0%}", sum(small))]
        return [f"| {self.name} | {part} | {number(1000 * one / WATCHED)} | {one / total:.0%} |" for part, one in rows]


@dataclass
class Profile:
    """All ways that were watched."""

    limits: Limits
    ways: list[Parts] = field(default_factory=list)

    def markdown(self) -> str:
        heads = ["|  | part | ms a step | share |", "| --- | --- | ---: | ---: |"]
        told = [
            f"{one.name}: {one.plain:.2f} s a step, {one.watched:.2f} while watched; what the mathematics needs is {one.share:.0%} of it "
            "at the machine's rate."
            for one in self.ways
        ]
        lines = [line for one in self.ways for line in one.lines()]
        return "\n".join([f"## {TITLE}", "", machine(), "", self.limits.words(), "", *heads, *lines, "", *told, ""])

    def to_json(self) -> dict[str, Any]:
        return {"title": TITLE, "machine": machine(), "limits": vars(self.limits), "ways": [vars(one) for one in self.ways]}


def measure(cases: Sequence[str]) -> Profile:
    """Every way of ours in these cases; none: plain SFT with LoRA."""
    found = Profile(Limits.measured())
    with tempfile.TemporaryDirectory() as root:
        home = lay(Path(root).resolve())
        for case in cases or ["sft lora"]:
            for name, values in OURS.items():
                print(f"{case}, {name}", file=sys.stderr, flush=True)
                told = {"model_name_or_path": model_of(home), **COMMON, **CASES[case], **values}
                found.ways.append(taken(home, f"{case}, {name}", case, told, found.limits))
    return found


def taken(home: Workspace, name: str, case: str, told: Mapping[str, Any], limits: Limits) -> Parts:
    """Train in this process, and watch the last steps."""
    from transformers import AutoConfig

    from workbench.jobs import train

    steps = WARM + PLAIN + WATCHED
    spec = read_flat(TrainSpec, {**told, "max_steps": steps, "watch_prompts": []}).unwrap()
    run = runs.create(home, spec)
    with Watch() as watch:
        train.run(spec, Desk(run, EventLog(run.events), False))
    tokens = [entry.event.tokens for entry in tail(run.events, 0)[0] if isinstance(entry.event, Step)][WARM : WARM + PLAIN]
    folder = home.root / str(told["model_name_or_path"])
    sides = Sides(AutoConfig.from_pretrained(folder).vocab_size, told.get("lora_rank"))
    plain = sum(watch.seconds[WARM : WARM + PLAIN])
    needed = needed_flops(folder, str(told["finetuning_type"]), case) * sum(tokens) / 1e9 / limits.fastest
    parts = grouped(watch.heard(), sides)
    parts[NOTHING] = watch.watched - sum(parts.values())
    run.delete()
    return Parts(name, plain / PLAIN, watch.watched / WATCHED, needed / plain, parts)


class Watch:
    """Seconds of every step, and what the profiler hears in the watched ones."""

    def __init__(self) -> None:
        from torch.profiler import ProfilerActivity, profile

        self.seconds: list[float] = []
        self.watched = self._watched = 0.0
        """Seconds from the first watched step to the last, with what is between them."""
        self._profiler = profile(activities=[ProfilerActivity.CPU], record_shapes=True)
        self._patches: list[Any] = []

    def __enter__(self) -> "Watch":
        from workbench.jobs.train.telling import Teller

        begins, ends = Teller.step_begins, Teller.step_ends

        def step_begins(teller: Teller) -> None:
            begins(teller)
            if len(self.seconds) == WARM + PLAIN:
                self._profiler.start()
                self._watched = time.perf_counter()
            self._began = time.perf_counter()

        def step_ends(teller: Teller) -> None:
            self.seconds.append(time.perf_counter() - self._began)
            ends(teller)
            if len(self.seconds) == WARM + PLAIN + WATCHED:
                self.watched = time.perf_counter() - self._watched
                self._profiler.stop()

        self._patches = [patch.object(Teller, "step_begins", step_begins), patch.object(Teller, "step_ends", step_ends)]
        for one in self._patches:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._patches:
            one.stop()

    def heard(self) -> list[tuple[str, Collection[int], float]]:
        """Each operation: its name, the sides of what it was given, and its own seconds without those that it began."""
        return [
            (one.key, {side for shape in one.input_shapes or () for side in shape}, one.self_cpu_time_total / 1e6)
            for one in self._profiler.key_averages(group_by_input_shape=True)
        ]


def grouped(heard: Sequence[tuple[str, Collection[int], float]], sides: Sides) -> dict[str, float]:
    """Seconds by part."""
    found: dict[str, float] = {}
    for name, given, seconds in heard:
        part = part_of(name, given, sides)
        found[part] = found.get(part, 0.0) + seconds
    return found


def part_of(name: str, given: Collection[int], sides: Sides) -> str:
    """To which part an operation belongs, by its name and the sides of what it is given."""
    if name in PRODUCTS:
        if sides.words in given:
            return "last layer: products"
        return "adapters: products" if sides.rank in given else "layers: products"
    if sides.words in given:
        return "last layer: chances"
    if any(one in name for one in ATTENTION):
        return "attention"
    return name.removeprefix("aten::")
