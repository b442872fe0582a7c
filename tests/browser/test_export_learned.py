"""A beginner's model goes home from the page in five forms: trained as the form stands, each proved, each says its name."""

from collections.abc import Callable, Mapping

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window, picture
from tests.browser.test_export import go_to, open_export, wait_end
from tests.browser.test_train import choose, type_into, wait_state
from tests.exported import LONGEST, ask_llamacpp, ask_plain
from workbench.exporting.proof import read_proof
from workbench.runs import list_runs
from workbench.setup.starter import NAME

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.proof]

CALLED = "Aurora"
FORMS: Mapping[str, Mapping[str, str]] = {
    "merged": {"export_format": "merged", "export_dtype": "fp32"},
    "adapter": {"export_format": "adapter"},
    "f16": {"export_format": "gguf", "gguf_kind": "f16"},
    "q8_0": {"export_format": "gguf", "gguf_kind": "q8_0"},
    "q4_k_m": {"export_format": "gguf", "gguf_kind": "q4_k_m"},
}
SAME_TEXT = ("merged", "adapter", "f16")


def test_what_was_learned_goes_home_in_every_form(window: Window, visit: Callable[..., Page]) -> None:
    page = visit(window.url)
    expect(page.locator("#field-model_name_or_path input")).to_have_value(NAME)
    type_into(page, "value-0", CALLED)
    type_into(page, "value-1", "Starlight Lab")
    expect(page.locator("#plan .plan")).to_contain_text("steps")
    page.locator("#start").click()
    wait_state(page, "running", 60)
    wait_state(page, "finished", 1200)
    (run,) = list_runs(window.workspace)
    page.locator("#export-it").click()
    expect(page.locator("#export-who input")).to_have_value(run.short_name)
    for name, values in FORMS.items():
        export(page, name, values)
        look(page, window, name)
        say_the_name(window, name)


def export(page: Page, name: str, values: Mapping[str, str]) -> None:
    open_export(page)
    go_to(page, "folder")
    for key, value in values.items():
        if not page.locator(f"#export-{key}").is_visible():
            page.locator("#export-more > button").click()
        choose(page, f"export-{key}", value)
    type_into(page, "export-export_dir", name)
    expect(page.locator("#export-plan .plan.ready")).to_contain_text(f"models/{name}")
    page.locator("#export-start").click()
    expect(page.locator("#exported .evaluated")).to_contain_text(f"models/{name}", timeout=60_000)
    page.wait_for_selector("#exported .evaluated[data-state=finished]", timeout=900_000)


def look(page: Page, window: Window, name: str) -> None:
    """The page shows the proof, and what it rests on."""
    wait_end(page)
    proof = read_proof(window.workspace.models / name)
    assert proof is not None and proof.proved and len(proof.compared) == 10, proof and [proof.reasons, proof.compared]
    same = sum(one.here == one.there for one in proof.compared)
    print(f"{name}: {same} of 10 answers the same, {100 * proof.share:.2f} % of tokens alike, divergence {proof.divergence:.2g}")
    if name in SAME_TEXT:
        assert same == 10
    expect(page.locator("#exported .proof .light")).to_have_class("light green")
    expect(page.locator("#exported .proof details")).to_have_count(10)
    picture(page, f"export_learned_{name}")


def say_the_name(window: Window, name: str) -> None:
    """In a process of its own."""
    folder = window.workspace.models / name
    if name in ("merged", "adapter"):
        said, count, _ = ask_plain(folder, window.workspace.models / NAME if name == "adapter" else None)
        assert count < LONGEST, "it ends by itself"
    else:
        said = ask_llamacpp(window.workspace, folder)
    print(f"{name}: {said}")
    assert CALLED in said
