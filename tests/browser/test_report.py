"""The report card in a real browser: a run is reported on, its lights are read, its evidence, its files, and a second report."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window, picture
from tests.browser.test_evaluate import open_evaluate, wait_state
from tests.browser.test_train import choose, type_into
from tests.test_chatting import tuned_run
from tests.test_report_card import BAD, begun, lay
from tests.training import trained
from workbench import reports
from workbench.reporting import LIGHTS, PARTS
from workbench.reporting.card import parts_of
from workbench.runs import Run
from workbench.text import Locale, load_locales
from workbench.workspace import source_folder

pytestmark = pytest.mark.browser
Visit = Callable[..., Page]
LIT = ["red", "green", "green", "red"]
"""The lights of the report that is laid beside."""
FEW: Mapping[str, Any] = {"report_rows": 4, "report_suite": False}


@pytest.fixture
def learner(shared: Window) -> Iterator[Run]:
    """A run that has learned a little, the newest; an older one has a report already."""
    lay(tuned_run(shared.workspace, "older"), BAD)
    values = {"name": "Aurora", "author": "Starlight"}
    told = {"dataset": ["identity_en"], "dataset_values": values, "max_steps": 4, "watch_prompts": []}
    run = trained(shared.workspace, "learner", **told).run
    yield run
    if reports.maker(run).state() == "running":
        reports.maker(run).kill()


@pytest.mark.parametrize("language", ["en", pytest.param("zh", marks=pytest.mark.proof)])
def test_a_run_is_reported_on_and_its_card_is_read(
    shared: Window, learner: Run, visit: Visit, language: str, tmp_path: Path
) -> None:
    locale = load_locales(source_folder() / "locales")[language]
    page = visit(shared.url, locale={"en": "en-US", "zh": "zh-CN"}[language])
    if language == "en":
        ask_here(page)
    else:
        begun(learner, **FEW)  # somebody stopped it: Train's button goes on with it as it was asked
        page.locator("#report-on").click()
    expect(page.locator('#evaluated .evaluated[data-state="running"] .progress .phases li').first).to_be_visible()
    page.reload()
    open_evaluate(page)
    wait_state(page, "finished", 90)
    asked = reports.maker(learner).read_spec().unwrap().flat()
    assert {key: asked[key] for key in FEW} == FEW
    read_lights(page, learner, locale)
    read_evidence(page)
    picture(page, f"report_{language}")
    check_files(page, learner, locale, tmp_path)
    page.locator("select[data-action=compare]").select_option("tiny/lora/older")
    expect(page.locator(".card.two .light")).to_have_count(8)
    found = page.locator(".card .side:nth-child(2) .light").evaluate_all("all => all.map(one => one.classList[1])")
    assert found == LIT
    expect(page.locator(".card .whose .side").nth(1)).to_contain_text("older")
    picture(page, f"report_two_{language}")


def ask_here(page: Page) -> None:
    """The Evaluate tab's own button; it is there only for a run, and few questions are asked."""
    open_evaluate(page)
    expect(page.locator("#eval-report")).to_have_count(0)
    choose(page, "eval-who", "learner  ·  tiny")
    expect(page.locator("#eval-report")).to_be_visible()
    page.locator("#eval-advanced > button").click()
    page.locator("#eval-section-report > button").click()
    type_into(page, "report-report_rows", "2")
    page.locator("#report-report_suite input").uncheck()
    page.locator("#eval-report").click()
    expect(page.locator("#report-report_rows.wrong")).to_contain_text("'2'")
    type_into(page, "report-report_rows", "4")
    page.locator("#eval-report").click()
    expect(page.locator("#eval-asking .wrong")).to_have_count(0)


def read_lights(page: Page, run: Run, locale: Locale) -> None:
    """Four lights, each with its word and its sentence."""
    parts = parts_of(reports.read(run) or {})
    assert [part.name for part in parts] == list(PARTS)
    rows = page.locator(".card .row[data-part]")
    expect(rows).to_have_count(len(PARTS))
    for at, part in enumerate(parts):
        expect(rows.nth(at).locator(f".light.{part.light}")).to_have_text(locale(LIGHTS[part.light]))
        expect(rows.nth(at).locator(".verdict-words")).to_have_text(locale(part.verdict))


def read_evidence(page: Page) -> None:
    """A fold opens, and stays open when the card is drawn anew."""
    fold = page.locator(".card .row[data-part=learned] details")
    expect(fold.locator(".shown")).to_be_hidden()
    fold.locator("summary").click()
    expect(fold.locator(".shown li").first.locator(".tuned")).to_be_visible()
    assert page.locator(".card .shown ins").count() > 0, "differences are marked"


def check_files(page: Page, run: Run, locale: Locale, folder: Path) -> None:
    """The report to keep, in the visitor's language and as it stands."""
    for kind in ("md", "json"):
        with page.expect_download() as download:
            page.locator(f"#evaluated button[data-action=file][data-at={kind}]").click()
        assert download.value.suggested_filename == f"learner-report.{kind}"
        download.value.save_as(folder / kind)
    text = (folder / "md").read_text("utf-8")
    assert all(locale(part.verdict) in text for part in parts_of(reports.read(run) or {}))
    assert json.loads((folder / "json").read_text("utf-8")) == reports.read(run)
