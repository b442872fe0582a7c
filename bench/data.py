"""Data: how fast rows are read, checked and turned into tokens, and how soon a second run of the same rows begins."""

import json
import random
import shutil
import tempfile
import time
from pathlib import Path

from bench.table import Table
from workbench import stages
from workbench.chats import ChatOptions, use_template
from workbench.chats.encoding import Encoder
from workbench.checks import Context
from workbench.data.checkup import check_set
from workbench.data.datasets import read_catalogue
from workbench.desk import Desk
from workbench.events import EventLog
from workbench.jobs.train.rows import build_rows
from workbench.models import load_tokenizer
from workbench.runs import create
from workbench.setup.starter import starter_folder
from workbench.sockets import plugins
from workbench.specs import TrainSpec, read_flat
from workbench.workspace import Workspace, default_workspace

ROWS = 50_000
TEXT = (
    "the a of to in is that for with as on by from water light river stone garden letter number music winter "
    "city road bread paper window morning because between before after under while quickly slowly often never "
    "always answer question reason example small large early late simple careful several another without "
    "through against during "
)
WORDS = TEXT.split()


def sentence(lot: random.Random, words: int) -> str:
    """So many words by lot."""
    return " ".join(lot.choices(WORDS, k=words)).capitalize() + "."


def lay(root: Path, count: int = ROWS) -> Workspace:
    """A workspace with the set: so many alpaca rows of 20 to 150 words."""
    workspace = Workspace(root)
    workspace.data.mkdir(parents=True)
    workspace.saves.mkdir()
    starter = starter_folder(default_workspace().models)
    shutil.copytree(starter, workspace.models / starter.name, ignore=shutil.ignore_patterns("*.safetensors"))
    lot = random.Random(1)  # noqa: S311 - no secret
    rows = [
        {"instruction": sentence(lot, 8 + at % 20), "input": "", "output": sentence(lot, 12 + at % 110)}
        for at in range(count)
    ]
    (workspace.data / "many.json").write_text(json.dumps(rows), "utf-8")
    (workspace.data / "dataset_info.json").write_text(json.dumps({"many": {"file_name": "many.json"}}), "utf-8")
    return workspace


def measure(runs: int) -> Table:
    """Rows a second of checking and tokenising, and seconds of a start whose rows are in the cache."""
    table = Table(f"{ROWS:,} alpaca rows")
    root = Path(tempfile.mkdtemp())
    try:
        workspace = lay(root / "workspace")
        checking, first, second = [], [], []
        for at in range(runs):
            entry = read_catalogue(workspace).entries["many"]
            start = time.perf_counter()
            check_set(entry, Context())
            checking.append(ROWS / (time.perf_counter() - start))
            shutil.rmtree(workspace.cache, ignore_errors=True)
            first.append(ROWS / built(workspace, f"first-{at}"))
            second.append(built(workspace, f"second-{at}"))
        table.add("checked", "rows a second", checking)
        table.add("read, rendered and tokenised, no cache", "rows a second", first)
        table.add("second start: tokenizer loaded, rows from the cache", "seconds", second)
    finally:
        shutil.rmtree(root)
    return table


def built(workspace: Workspace, name: str) -> float:
    """Seconds from nothing to the rows of a run."""
    model = next(workspace.models.iterdir())
    spec = read_flat(
        TrainSpec, {"model_name_or_path": f"models/{model.name}", "dataset": "many", "output_dir": name}
    ).unwrap()
    run = create(workspace, spec)
    log = EventLog(run.events)
    stage = plugins(stages)["sft"]
    start = time.perf_counter()
    tokenizer = load_tokenizer(model, False)
    use_template(tokenizer, "auto")
    build_rows(spec, Desk(run, log, False), Encoder(tokenizer, ChatOptions(), stage, spec.stage, spec.data.cutoff_len))
    seconds = time.perf_counter() - start
    log.close()
    return seconds
