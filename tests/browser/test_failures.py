"""Runs that memory ends, and runs that have ended, in a real browser: what is said, and what its buttons begin."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Dialog, Page, expect

from tests.browser.conftest import Window, free_port, open_process, picture
from tests.browser.test_train import wait_state
from workbench.runs import Run, create, list_runs
from workbench.specs import TrainSpec, read_flat
from workbench.workspace import Workspace

pytestmark = pytest.mark.browser
Visit = Callable[..., Page]
ROOM = 4
NO_ROOM = f'''
"""Python reads this when a worker starts: batches of more than {ROOM} rows find no room on the card that there is not."""

import importlib.util
import sys

NAME = "transformers.models.llama.modeling_llama"


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != NAME:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        whole = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (whole(module), shrink(module.LlamaModel))
        return spec


def shrink(model):
    import torch

    whole = model.forward

    def forward(self, input_ids=None, **named):
        line = named.get("rows")
        rows = len(line.lengths if line else named["inputs_embeds"] if input_ids is None else input_ids)
        if self.training and rows > {ROOM}:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return whole(self, input_ids=input_ids, **named)

    model.forward = forward


sys.meta_path.insert(0, Finder())
'''


@pytest.fixture
def cramped(home: Workspace, tmp_path: Path) -> Iterator[Window]:
    """A window whose workers have room for a few rows only."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "sitecustomize.py").write_text(NO_ROOM, "utf-8")
    opened = open_process(home, free_port(), modules)
    yield opened
    opened.kill()


def begin(workspace: Workspace, **more: Any) -> Run:
    """A started run of the tiny model; how it ends is for the page to say."""
    values = {"model_name_or_path": "models/tiny", "dataset": ["alpaca_en_demo"], "output_dir": "mine", **more}
    run = create(workspace, read_flat(TrainSpec, values).unwrap())
    run.start()
    return run


def newest(window: Window) -> Run:
    return list_runs(window.workspace)[0]


def test_memory_that_ends_is_explained_and_mended_by_a_button(
    cramped: Window, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(cramped.workspace.root.parent / "modules"))
    begin(cramped.workspace, max_steps=6, per_device_train_batch_size=16, gradient_accumulation_steps=1)
    page = visit(cramped.url)
    wait_state(page, "failed")
    expect(page.locator("#live .problems")).to_contain_text("Memory ended (OutOfMemoryError: CUDA out of memory.")
    for rows in (8, 4):
        first = page.locator("#live .remedy").first
        expect(first).to_contain_text(f"Batch size: {2 * rows} → {rows}, Accumulation: {8 // rows} → {16 // rows}")
        expect(first).to_contain_text("It begins from the start: no checkpoint was saved yet.")
        picture(page, f"no_memory_{rows}")
        name = newest(cramped).name
        first.get_by_role("button", name="Apply and start again").click()
        expect(page.locator("#live .name")).not_to_have_text(name)
        wait_state(page, "finished" if rows == ROOM else "failed")
    done = newest(cramped)
    optim = done.read_spec().unwrap().flat()
    assert (optim["per_device_train_batch_size"], optim["gradient_accumulation_steps"]) == (4, 4)
    assert done.name.endswith("-again-2") and done.view().step.step == done.view().step.total == 6
    assert len(list_runs(cramped.workspace)) == 3


def test_a_finished_run_trains_on(window: Window, visit: Visit) -> None:
    first = begin(window.workspace, max_steps=5)
    page = visit(window.url)
    wait_state(page, "finished")
    longer = page.locator("#live .remedy")
    expect(longer).to_contain_text("It goes on from step 5 with its optimiser, as a new run.")
    longer.locator("input").fill("2")
    picture(page, "train_on")
    longer.get_by_role("button", name="Train on").click()
    expect(page.locator("#live .name")).to_have_text(f"{first.name}-more")
    wait_state(page, "finished")
    more = newest(window)
    assert more.view().loss.steps[0] == 6
    assert more.view().step.epoch == pytest.approx(first.view().step.epoch + 2, abs=0.2)
    page.get_by_role("tab", name="Runs").click()
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept("1")

    page.on("dialog", answer)
    page.get_by_role("button", name=f"Train on {more.name}").click()
    expect(page.locator("#runs td.run").first).to_have_text(f"{first.name}-more-2")
    assert "For how many epochs more?" in asked[0]
    assert newest(window).wait(90) == "finished"
