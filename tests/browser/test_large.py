"""A set of a gigabyte: opened at once, checked and turned into tokens without taking the memory that it would fill."""

import json
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import free_port, open_process
from workbench.data.datasets import read_catalogue
from workbench.data.samples import count_set
from workbench.workspace import Workspace, source_folder

pytestmark = [pytest.mark.browser, pytest.mark.proof]

GIGABYTE = 1_000_000_000
MOST_BYTES = 1_500_000_000
SENTENCE = "The river runs past the old mill, and in the evening the light lies on the water for a while. "
WORK = """
import json, sys
from pathlib import Path
from workbench.checks import Context
from workbench.data.checkup import check_set
from workbench.data.datasets import read_catalogue
from workbench.chats.encoding import Encoder, chat_options
from workbench.events import EventLog
from workbench.desk import Desk
from workbench.jobs.train.rows import build_rows
from workbench.chats import use_template
from workbench.models import load_tokenizer
from workbench.runs import create
from workbench.sockets import plugins
from workbench import stages
from workbench.specs import TrainSpec, read_flat
from workbench.workspace import Workspace

workspace = Workspace(Path(sys.argv[1]))
shares = []
report = check_set(read_catalogue(workspace).entries["large"], Context(), told=lambda rows, share: shares.append(share))
spec = read_flat(TrainSpec, {"model_name_or_path": "models/tiny", "template": "chatml", "dataset": "large",
                             "cutoff_len": 256, "output_dir": "large"}).unwrap()
run = create(workspace, spec)
tokenizer = load_tokenizer(workspace.models / "tiny", False)
use_template(tokenizer, "chatml")
stage = plugins(stages)["sft"]
encoder = Encoder(tokenizer, chat_options(spec.model), stage, spec.stage, spec.data.cutoff_len)
rows = build_rows(spec, Desk(run, EventLog(run.events), False), encoder)
# Not getrusage: a child begins with its parent's peak there, and the tests before this one trained models.
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
print(json.dumps({"checked": report.rows, "excluded": report.excluded, "told": len(shares), "shares": shares[:1] + shares[-1:],
                  "rows": len(rows.train) + len(rows.held), "peak": peak}))
"""


@pytest.fixture
def large(home: Workspace) -> int:
    """The set ``large`` of a gigabyte, the first of the list; the number of its rows."""
    answer = SENTENCE * 210
    rows = 0
    with (home.data / "large.jsonl").open("w", encoding="utf-8") as file:
        while file.tell() < GIGABYTE:
            lines = (
                json.dumps({"instruction": f"Tell tale {rows + at}.", "output": f"{rows + at}: {answer}"})
                for at in range(500)
            )
            file.write("\n".join(lines) + "\n")
            rows += 500
    info = home.data / "dataset_info.json"
    entries = {"large": {"file_name": "large.jsonl"}} | json.loads(info.read_text("utf-8"))
    info.write_text(json.dumps(entries), "utf-8")
    return rows


def opening(home: Workspace, visit: Callable[..., Page]) -> float:
    """Seconds from the press on the tab to the first row, in a window that has just been started."""
    window = open_process(home, free_port())
    try:
        page = visit(window.url)
        start = time.monotonic()
        page.locator("#tab-data-button").click()
        page.locator("#data-rows", has_text=f"0: {SENTENCE[:40]}").wait_for()
        return time.monotonic() - start
    finally:
        window.kill()


def test_a_gigabyte_is_opened_at_once(large: int, home: Workspace, visit: Callable[..., Page]) -> None:
    took = [opening(home, visit) for _ in range(2)]
    print(f"the tab opened in {took} s")
    assert min(took) < 2, "the other tests share the machine: one of two windows has to make it"
    count = count_set(read_catalogue(home).entries["large"], {}, None)
    assert not count.exact
    assert abs(count.samples - large) < large / 50


def test_a_gigabyte_is_checked_and_tokenised_in_little_memory(large: int, home: Workspace) -> None:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(home.root)], cwd=source_folder(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    print(f"{large:,} rows checked and tokenised in {time.monotonic() - start:.0f} s; {seen}")
    assert (seen["checked"], seen["rows"], seen["excluded"]) == (large, large, 0)
    assert seen["peak"] < MOST_BYTES
    assert seen["told"] > 10 and seen["shares"][0] < 0.2 and seen["shares"][1] == 1.0
    events = (home.saves / "tiny/lora/large/events.jsonl").read_text("utf-8")
    assert events.count('"name": "data"') > 10, "progress is said while rows become tokens"
