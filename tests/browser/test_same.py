"""The page and the terminal say the same: one spec, one command, and, with one seed, the same losses."""

import shlex
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window
from tests.browser.test_train import prepare, type_into, wait_state
from workbench import cli
from workbench.runs import find_run
from workbench.specs import TrainSpec, read_yaml
from workbench.workspace import source_folder

pytestmark = pytest.mark.browser
Visit = Callable[..., Page]


def code(page: Page, at: int) -> str:
    """The text of one of the two boxes of the preview."""
    lines = page.locator("#preview-panel .cm-content").nth(at).locator(".cm-line").all_inner_texts()
    return "\n".join(line.rstrip("\n") for line in lines).strip()


def test_the_quickstart_loaded_into_the_form_is_the_same_spec(shared: Window, visit: Visit) -> None:
    file = source_folder() / "examples" / "quickstart.yaml"
    page = visit(shared.url)
    page.locator("#load input[type=file], input[type=file]").first.set_input_files(file)
    expect(page.locator("#value-0").locator("textarea, input").first).to_have_value("Aurora")
    with page.expect_download() as saved:
        page.locator("#save").click()
    spec = read_yaml(TrainSpec, file.read_text("utf-8")).unwrap()
    assert saved.value.path().read_text("utf-8") == spec.to_yaml()


def test_the_command_of_the_preview_trains_the_same_run(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    prepare(page, "6")
    type_into(page, "field-output_dir", "page")
    page.locator("#preview").click()
    expect(page.locator("#preview-panel")).to_contain_text("output_dir=page")
    command = shlex.split(code(page, 1).replace("\\\n", " "))
    page.locator("#preview").click()
    page.locator("#start").click()
    wait_state(page, "finished", 120)
    assert command[:3] == ["python", "app.py", "train"]
    said = [one.replace("output_dir=page", "output_dir=terminal") for one in command[2:]]
    assert cli.main(said, shared.workspace) == 0
    mine, theirs = (find_run(shared.workspace, name) for name in ("page", "terminal"))
    texts = [(run.folder / "spec.yaml").read_text("utf-8") for run in (mine, theirs)]
    assert texts[0] == texts[1].replace("/terminal", "/page")
    assert mine.view().loss == theirs.view().loss
    page.reload()
    expect(page.locator("#run-picker input")).to_have_value("page  ·  tiny  ·  finished")
    weights = [(run.folder / "adapter_model.safetensors").read_bytes() for run in (mine, theirs)]
    assert weights[0] == weights[1]
