"""The page: how soon it stands, what it sends, how soon a click becomes a loss; LLaMA-Factory's page beside it. Knows no torch.

Needs a browser, as the browser tests do. Every round opens each program anew. Seconds of a click end when the first loss is seen:
ours on the page, the peer's in the log that its page reads, its command started as its page starts it.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from playwright.sync_api import Browser, Locator, Page, Playwright, expect, sync_playwright

from bench.peer import command
from bench.servers import answers, family
from bench.table import Table
from tests.chromium import installed
from workbench.ports import free_port
from workbench.setup.starter import starter_folder
from workbench.workspace import Workspace, default_workspace, source_folder

HOST, ANY_PORT = "127.0.0.1", 0
PATIENCE_S, LOOK_S = 120.0, 0.05
WARM_S = 30.0
"""So long a person fills in the form before a click counts as warm."""
WATCHED_S = 10.0
PEER = "LLaMA-Factory"
OPEN = """
import sys
from pathlib import Path
from workbench.ui.window import open_window
from workbench.workspace import Workspace
open_window(Workspace(Path(sys.argv[1])), port=int(sys.argv[2]), lang="en", browser=False)
"""
FIRST_LOSS = "#live svg path.strong"

SWITCH = """option => {
  const began = performance.now()
  const seen = new MutationObserver(() => {
    if (document.querySelector("#start").textContent.trim() !== "开始") return
    seen.disconnect()
    requestAnimationFrame(() => { window.switched = performance.now() - began })
  })
  seen.observe(document.body, {subtree: true, childList: true, characterData: true})
  option.dispatchEvent(new MouseEvent("mousedown", {bubbles: true}))
  option.click()
}"""
"""Picks the language and waits, in the page, until its words are drawn."""


def measure(peer: Path | None, rounds: int) -> Table:
    """Every round: our page with a click soon and one a while later, then the peer's page and a run of its."""
    program, table, seen = command(peer), Table("The page"), dict[tuple[str, str], list[float]]()

    def note(name: str, unit: str, value: float) -> None:
        seen.setdefault((name, unit), []).append(value)
        print(f"  {name}: {value:.4g} {unit}", file=sys.stderr, flush=True)

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as root:
        browser = chromium(playwright)
        for at in range(rounds):
            print(f"round {at + 1}", file=sys.stderr, flush=True)
            home = lay(Path(root) / str(at))
            with ours(home, note) as (url, window):
                page, sent = visit(browser, url)
                interactive(sent, note, page.locator("#start"), page.locator("#field-model_name_or_path input"))
                note("memory of the window", "MB", memory(window.pid) / 2**20)
                click(page, note, "click to first loss, at once")
                watch_live(page, sent, note)
                page.context.close()
            with ours(lay(Path(root) / f"{at} warm"), None) as (url, _):
                page, sent = visit(browser, url)
                page.wait_for_timeout(WARM_S * 1000)
                click(page, note, "click to first loss, the form filled in for a while")
                page.context.close()
            with theirs(program, home, note) as (url, process):
                page, sent = visit(browser, url)
                start = page.get_by_role("button", name="Start", exact=True)
                interactive(sent, note, start, page.get_by_label("Model name").first, f"{PEER}: ")
                note(f"{PEER}: memory of the window", "MB", sum(memory(one.pid) for one in family(process)) / 2**20)
                page.context.close()
            their_run(program, home, note)
        browser.close()
    for (name, unit), values in sorted(seen.items(), key=lambda item: item[0][0].startswith(PEER)):
        table.add(name, unit, values)
    return table


def lay(root: Path) -> Workspace:
    """A workspace with the starter model and the demo sets."""
    home, starter = Workspace(root.resolve()), starter_folder(default_workspace().models)
    shutil.copytree(source_folder() / "data", home.data)
    home.models.mkdir(parents=True)
    home.saves.mkdir()
    shutil.copytree(starter, home.models / starter.name)
    return home


# The programs

Note = Callable[[str, str, float], None]


@contextmanager
def ours(home: Workspace, note: Note | None) -> Iterator[tuple[str, psutil.Popen]]:
    port = free_port(HOST, ANY_PORT)[0]
    words = [sys.executable, "-c", OPEN, str(home.root), str(port)]
    with opened(words, source_folder(), f"http://{HOST}:{port}", {}, home.root / "window.log") as (process, seconds):
        if note:
            note("command to a page that answers", "s", seconds)
        yield f"http://{HOST}:{port}", process


@contextmanager
def theirs(program: Path, home: Workspace, note: Note) -> Iterator[tuple[str, psutil.Popen]]:
    port = free_port(HOST, ANY_PORT)[0]
    told = {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": HOST, "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    url = f"http://{HOST}:{port}"
    with opened([str(program), "webui"], home.root, url, told, home.root / "peer.log") as (process, seconds):
        note(f"{PEER}: command to a page that answers", "s", seconds)
        yield url, process


@contextmanager
def opened(
    words: list[str], folder: Path, url: str, told: dict[str, str], log: Path
) -> Iterator[tuple[psutil.Popen, float]]:
    """A program whose page answers, and how many seconds that took; it and all below it end with the block."""
    began = time.perf_counter()
    with log.open("wb") as out:
        process = psutil.Popen(words, cwd=folder, env={**os.environ, **told}, stdout=out, stderr=subprocess.STDOUT)
    try:
        while not answers(url):
            if process.poll() is not None or time.perf_counter() - began > PATIENCE_S:
                raise SystemExit(f"{words[0]} did not come up:\n{log.read_text('utf-8', 'replace')[-3000:]}")
            time.sleep(LOOK_S)
        yield process, time.perf_counter() - began
    finally:
        for one in family(process):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


def memory(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


# The page


class Sent:
    """What a page was sent: bytes as they came over the wire, requests, and hosts from outside."""

    def __init__(self, page: Page) -> None:
        self.bytes, self.requests, self.outside = 0, 0, set[str]()
        watch = page.context.new_cdp_session(page)
        watch.send("Network.enable")
        watch.on("Network.requestWillBeSent", self._asked)
        watch.on("Network.dataReceived", self._came)

    def _asked(self, event: dict[str, Any]) -> None:
        url = event["request"]["url"]
        self.requests += not url.startswith(("data:", "blob:"))
        if not url.startswith((f"http://{HOST}", "data:", "blob:")):
            self.outside.add(httpx.URL(url).host)

    def _came(self, event: dict[str, Any]) -> None:
        self.bytes += event["encodedDataLength"]


def chromium(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=installed(), args=["--no-sandbox", "--disable-background-networking"])


def visit(browser: Browser, url: str) -> tuple[Page, Sent]:
    page = browser.new_context(viewport={"width": 1400, "height": 1000}, locale="en-US").new_page()
    sent = Sent(page)
    page.goto(url, wait_until="commit")
    return page, sent


def interactive(sent: Sent, note: Note, start: Locator, models: Locator, whose: str = "") -> None:
    """Seconds from the first byte until the start button stands and the list of models opens; what was sent for it."""
    page, began = start.page, time.perf_counter()
    start.wait_for()
    models.click()
    page.get_by_role("option").first.wait_for()
    note(f"{whose}page to interactive", "s", time.perf_counter() - began)
    page.keyboard.press("Escape")
    page.wait_for_timeout(3000)
    note(f"{whose}sent until then", "kB", sent.bytes / 1000)
    note(f"{whose}requests until then", "", sent.requests)
    note(f"{whose}hosts from outside", "", len(sent.outside))


def click(page: Page, note: Note, name: str) -> None:
    """Fill in what a beginner fills in, press Start, and see the first loss."""
    for at, words in enumerate(("Aurora", "Starlight Lab")):
        page.locator(f"#value-{at}").locator("textarea, input").first.fill(words)
    expect(page.locator("#plan .plan")).to_contain_text("steps", timeout=30_000)
    began = time.perf_counter()
    page.locator("#start").click()
    page.locator(FIRST_LOSS).wait_for(state="attached", timeout=PATIENCE_S * 1000)
    note(name, "s", time.perf_counter() - began)


def watch_live(page: Page, sent: Sent, note: Note) -> None:
    """Bytes a second while a run goes on, requests after it ended, and how long the other language takes."""
    before, began = sent.bytes, time.perf_counter()
    page.wait_for_timeout(WATCHED_S * 1000)
    note("sent while a run goes on", "kB a second", (sent.bytes - before) / 1000 / (time.perf_counter() - began))
    page.locator("#stop").click()
    expect(page.locator("#live .chip")).to_have_text("stopped", timeout=PATIENCE_S * 1000)
    page.wait_for_timeout(5000)
    requests = sent.requests
    page.wait_for_timeout(WATCHED_S * 1000)
    note(f"requests in {WATCHED_S:.0f} s after it ended", "", sent.requests - requests)
    page.locator("#language input").click()
    page.get_by_role("option", name="中文", exact=True).evaluate(SWITCH)
    page.wait_for_function("window.switched")
    note("language switched", "s", page.evaluate("window.switched") / 1000)


def their_run(program: Path, home: Workspace, note: Note) -> None:
    """Seconds from the command that its page starts to the first loss in the log that its page reads."""
    place, file = home.saves / "peer", home.root / "peer.yaml"
    told = {
        "model_name_or_path": f"models/{next(home.models.iterdir()).name}", "stage": "sft", "do_train": True, "template": "smollm2",
        "finetuning_type": "lora", "dataset": "alpaca_en_demo", "cutoff_len": 512, "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 4, "max_steps": 2, "logging_steps": 1, "bf16": True, "use_cpu": True, "save_strategy": "no",
        "output_dir": str(place), "overwrite_output_dir": True, "report_to": "none", "plot_loss": False, "dataloader_num_workers": 0,
    }  # fmt: skip
    file.write_text(yaml.safe_dump(told), "utf-8")
    log, began = place / "trainer_log.jsonl", time.perf_counter()
    with (home.root / "peer.log").open("wb") as out:
        process = psutil.Popen([str(program), "train", str(file)], cwd=home.root, stdout=out, stderr=out)
    while not (log.is_file() and "loss" in json.loads(log.read_text("utf-8").partition("\n")[0] or "{}")):
        if process.poll() or time.perf_counter() - began > PATIENCE_S:
            raise SystemExit(f"{PEER} failed:\n{(home.root / 'peer.log').read_text('utf-8', 'replace')[-3000:]}")
        time.sleep(LOOK_S)
    note(f"{PEER}: command to first loss", "s", time.perf_counter() - began)
    process.kill()
    process.wait()
