"""Growth: what happens to time and memory as rows, lengths, ranks, runs and steps grow. Knows commands, files and a browser.

Every size is measured after the one before it; the exponent says how time grew between the two: 1 is in proportion, 0 not at
all, 2 as the square. Rows are checked and tokenised, lengths and ranks are whole runs of some steps, of which the first is not
counted, runs lie finished in ``saves/`` while a page opens, and steps stand in the events of a run that is opened.
"""

import json
import math
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from bench import data, page, train
from bench.table import machine, number, timed
from workbench import runs
from workbench.checks import Context
from workbench.data.checkup import check_set
from workbench.data.datasets import read_catalogue
from workbench.events import EventLog, Finished, Started, Step, tail
from workbench.specs import TrainSpec, read_flat
from workbench.workspace import Workspace

TITLE = "As work grows"
ROWS = (1_000, 10_000, 100_000, 1_000_000)
LENGTHS = (128, 256, 512, 1024, 2048, 4096)
RANKS = (4, 16, 64, 256)
RUNS = (1, 20, 200, 2_000)
STEPS = (100, 1_000, 10_000, 100_000, 1_000_000)
TAKEN = 4
"""Steps of a run whose length or rank is measured."""


@dataclass
class Size:
    """One thing at one size."""

    thing: str
    size: int
    seconds: list[float] = field(default_factory=list)
    memory: int = 0
    """Most bytes that the processes held; 0 where it is not measured."""


@dataclass
class Growth:
    """All that was measured, the sizes of a thing in order."""

    all: list[Size] = field(default_factory=list)

    def take(self, thing: str, size: int, seconds: Sequence[float], memory: int = 0) -> None:
        self.all.append(Size(thing, size, list(seconds), memory))
        print(f"{thing}, {size:,}: {statistics.median(seconds):.3g} s", flush=True)

    def exponent(self, at: int) -> float | None:
        """How time grew since the size before; None for the first."""
        one, before = self.all[at], self.all[at - 1] if at else None
        if before is None or before.thing != one.thing:
            return None
        return math.log(statistics.median(one.seconds) / statistics.median(before.seconds)) / math.log(one.size / before.size)

    def markdown(self) -> str:
        lines = ["| | | seconds | spread | exponent | MB |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
        for at, one in enumerate(self.all):
            grown, held = self.exponent(at), f"{one.memory / 2**20:,.0f}" if one.memory else ""
            spread = f"{number(min(one.seconds))} to {number(max(one.seconds))}"
            told = [one.thing, f"{one.size:,}", number(statistics.median(one.seconds)), spread]
            lines.append(f"| {' | '.join([*told, '' if grown is None else f'{grown:.2f}', held])} |")
        return "\n".join([f"## {TITLE}", "", machine(), "", *lines, ""])

    def to_json(self) -> dict[str, Any]:
        return {"title": TITLE, "machine": machine(), "lines": [vars(one) for one in self.all]}


def measure(rounds: int, most: int = 10**9) -> Growth:
    """Everything, sizes up to ``most``."""
    found = Growth()
    for part, sizes in ((rows, ROWS), (lengths, LENGTHS), (ranks, RANKS), (saved_runs, RUNS), (steps, STEPS)):
        with tempfile.TemporaryDirectory() as root:
            part(found, Path(root).resolve(), [size for size in sizes if size <= most], rounds)
    return found


def rows(found: Growth, root: Path, sizes: Sequence[int], rounds: int) -> None:
    """Seconds to check alpaca rows, and to read, render and tokenise them without a cache."""
    homes = {size: data.lay(root / str(size), size) for size in sizes}
    for size, home in homes.items():
        entry = read_catalogue(home).entries["many"]
        found.take("rows checked", size, [timed(partial(check_set, entry, Context())) for _ in range(rounds)])
    for size, home in homes.items():
        seconds = []
        for at in range(rounds if size < ROWS[-1] else 1):
            shutil.rmtree(home.cache, ignore_errors=True)
            seconds.append(data.built(home, f"run-{at}"))
        found.take("rows tokenised", size, seconds)


def lengths(found: Growth, root: Path, sizes: Sequence[int], rounds: int) -> None:
    """Seconds a step of one row of so many tokens, as it comes."""
    home = train.lay(root)
    demo = json.loads((home.data / "long.json").read_text("utf-8"))
    words = " ".join(row["output"] for row in demo * 20).split()
    long = [{"instruction": "Go on.", "input": "", "output": " ".join(words[at:] + words[:at])} for at in range(TAKEN)]
    (home.data / "long.json").write_text(json.dumps(long), "utf-8")
    for size in sizes:
        trained(found, home, "tokens in a row", size, {"cutoff_len": size})


def ranks(found: Growth, root: Path, sizes: Sequence[int], rounds: int) -> None:
    """Seconds a step of one row with adapters of so many ranks."""
    home = train.lay(root)
    for size in sizes:
        trained(found, home, "rank", size, {"lora_rank": size})


def trained(found: Growth, home: Workspace, thing: str, size: int, more: dict[str, Any]) -> None:
    """A run of some steps; the first is left out, since it prepares."""
    told = {**train.COMMON, **train.CASES["sft lora"], **train.ONE, "gradient_accumulation_steps": 1, "max_steps": TAKEN, **more}
    run, memory = train.ours(home, {"model_name_or_path": train.model_of(home), **told})
    seen = [entry.event.seconds for entry in tail(run.events, 0)[0] if isinstance(entry.event, Step)]
    run.delete()
    found.take(thing, size, seen[1:], memory)


def saved_runs(found: Growth, root: Path, sizes: Sequence[int], rounds: int) -> None:
    """Seconds from a page that is asked for to one that can be used, with so many runs in ``saves/``."""
    home = page.lay(root)
    for size in sizes:
        for at in range(len(runs.list_runs(home)), size):
            ended_run(home, f"run-{at}", 20)
        seconds: list[float] = []
        with sync_playwright() as playwright, page.ours(home, None) as (url, _):
            browser = page.chromium(playwright)
            for _ in range(rounds + 1):
                visited, sent = page.visit(browser, url)
                page.interactive(
                    sent, taking(seconds), visited.locator("#start"), visited.locator("#field-model_name_or_path input")
                )
                visited.context.close()
            browser.close()
        found.take("runs in saves/, the page opens", size, seconds[1:])


def taking(seconds: list[float]) -> Callable[[str, str, float], None]:
    """Keeps how long a page took of all that is noted of it."""
    return lambda name, unit, value: seconds.append(value) if unit == "s" else None


def steps(found: Growth, root: Path, sizes: Sequence[int], rounds: int) -> None:
    """Seconds to open a run with so many steps in its events."""
    home = page.lay(root)
    for size in sizes:
        run = ended_run(home, f"steps-{size}", size)
        found.take("steps of a run that is opened", size, [timed(run.view) for _ in range(rounds)])


def ended_run(home: Workspace, name: str, count: int) -> runs.Run:
    """A finished run with so many steps; its weights are left out."""
    told = {"model_name_or_path": train.model_of(home), "dataset": "alpaca_en_demo", "output_dir": name}
    run = runs.create(home, read_flat(TrainSpec, told).unwrap())
    log = EventLog(run.events)
    log.write(Started())
    for at in range(1, count + 1):
        loss = 2 * math.exp(-at / count) + 0.1 * math.sin(at)
        log.write(Step(step=at, total=count, epoch=at / count, loss=loss, learning_rate=1e-4, grad_norm=1.0, tokens=1000, seconds=0.5))
    log.write(Finished())
    log.close()
    return run
