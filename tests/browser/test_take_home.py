"""What a beginner does with a run, in one go: train it, have it judged, look at a failing answer, take it home, talk to it there."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window, picture
from tests.browser.test_evaluate import choose_echo, open_evaluate
from tests.browser.test_evaluate import wait_state as wait_evaluated
from tests.browser.test_export import ask_little, go_to, open_export, talk_and_serve
from tests.browser.test_train import choose, type_into, wait_state
from tests.test_chatting import tuned_run
from tests.test_report_card import BAD, lay
from workbench.exporting.proof import read_proof
from workbench.runs import list_runs
from workbench.text import Locale, load_locales
from workbench.workspace import source_folder

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.proof]
STATES = {"en": ("running", "finished"), "zh": ("运行中", "已完成")}
RUN = "learner"


@pytest.mark.parametrize(("language", "visitor"), [("en", "en-US"), ("zh", "zh-CN")])
def test_a_run_is_trained_judged_and_taken_home(
    shared: Window, visit: Callable[..., Page], language: str, visitor: str, tmp_path: Path
) -> None:
    locale = load_locales(source_folder() / "locales")[language]
    for left in shared.workspace.models.glob(f"{RUN}-*"):  # of the walk in the other language
        shutil.rmtree(left)
    lay(tuned_run(shared.workspace, "older"), BAD)
    page = visit(shared.url, locale=visitor)
    train(page, locale, STATES[language])
    judge(page, language)
    look_at_failures(page, tmp_path)
    take_home(page, shared, "folder", "merged", language)
    take_home(page, shared, "client", "gguf", language)
    talk_and_serve(page, RUN)
    assert [run.state() for run in list_runs(shared.workspace, "export")] == ["finished", "finished"]


def train(page: Page, locale: Locale, states: tuple[str, str]) -> None:
    """A few steps with the tiny model, of which it learns next to nothing."""
    choose(page, "field-model_name_or_path", "tiny")
    type_into(page, "value-0", "Aurora")
    type_into(page, "value-1", "Starlight")
    page.locator("#mode label").nth(1).click()
    for section in ("max_steps", "output_dir"):
        title = page_section(section)
        page.get_by_role("button", name=locale.word(f"sections.{title}", title)).click()
    type_into(page, "field-max_steps", "4")
    type_into(page, "field-output_dir", RUN)
    page.locator("#start").click()
    wait_state(page, states[0], 30)
    wait_state(page, states[1], 120)


def page_section(field: str) -> str:
    from workbench.specs import TrainSpec

    return TrainSpec.knobs()[field].section


def judge(page: Page, language: str) -> None:
    """Press Report beside the run, read the lights, lay the older run's card beside."""
    page.locator("#report-on").click()
    expect(page.locator("#eval-picker input")).to_have_value(re.compile(RUN))
    expect(page.locator("#evaluated")).to_contain_text(f"tiny/lora/{RUN}", timeout=60_000)
    wait_evaluated(page, "finished", 180)
    lights = page.locator(".card .row[data-part] .light")
    expect(lights).to_have_count(4)
    assert all(word.strip() for word in lights.all_inner_texts())
    page.locator(".card .row[data-part=learned] details summary").click()
    picture(page, f"walk_report_{language}")
    page.locator("select[data-action=compare]").select_option("tiny/lora/older")
    expect(page.locator(".card.two .light")).to_have_count(8)


def look_at_failures(page: Page, folder: Path) -> None:
    """Measure the same run on its set, open an answer that failed a check, keep the table."""
    open_evaluate(page)
    choose(page, "eval-who", f"{RUN}  ·  tiny")
    choose_echo(page)
    type_into(page, "eval-max_samples", "6")
    type_into(page, "eval-own_checks", "contains Aurora")
    page.locator("#eval-start").click()
    expect(page.locator("#evaluated .sample")).to_have_count(6, timeout=60_000)
    page.locator("select[data-action=measure]").select_option("contains Aurora")
    sample = page.locator(".sample").first
    sample.locator("button[data-action=open]").click()
    expect(sample.locator(".beneath")).to_be_visible()
    with page.expect_download() as download:
        page.locator("#evaluated button[data-action=file][data-at=csv]").click()
    download.value.save_as(folder / "samples.csv")
    assert (folder / "samples.csv").read_text("utf-8-sig").count("base: ") >= 6


def take_home(page: Page, window: Window, destination: str, made: str, language: str) -> None:
    """Export, and read the proof and the sentences on the files."""
    open_export(page)
    go_to(page, destination)
    choose(page, "export-who", f"{RUN}  ·  tiny")
    if made == "merged":
        choose(page, "export-export_format", made)
        ask_little(page)
    expect(page.locator("#export-plan .plan.ready")).to_contain_text(f"models/{RUN}-{made}")
    page.locator("#export-start").click()
    expect(page.locator("#exported .guide")).to_contain_text({"merged": "model.safetensors", "gguf": ".gguf"}[made], timeout=120_000)
    expect(page.locator("#exported .proof .light")).to_be_visible(timeout=120_000)
    proof = read_proof(window.workspace.models / f"{RUN}-{made}")
    assert proof is not None and len(proof.compared) == 2
    if made == "merged":
        assert proof.proved, [proof.reasons, proof.compared]
    else:  # a random model's next words are nearly tied, so a word may turn in eight bits: the page says what the proof says
        assert proof.divergence < proof.bounds.most_divergence and {one.ending for one in proof.compared} <= {"same", "none"}
    expect(page.locator("#exported .proof .light")).to_have_class(f"light {'green' if proof.proved else 'red'}")
    picture(page, f"walk_{made}_{language}")
