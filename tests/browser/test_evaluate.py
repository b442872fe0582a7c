"""The Evaluate tab in a real browser: the real job with the echo engine, so that no model is needed to have answers."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window, picture
from tests.browser.test_train import choose, type_into
from tests.test_chatting import tuned_run
from workbench.evaluating.records import ANSWERS
from workbench.runs import Run, list_runs

pytestmark = pytest.mark.browser
Visit = Callable[..., Page]
ROWS = 24


@pytest.fixture
def tuned(shared: Window) -> Run:
    """A run with an adapter that the echo engine can be given."""
    values = {"name": "Aurora", "author": "Starlight"}
    return tuned_run(shared.workspace, "my-run", dataset=["identity_en"], dataset_values=values, template="chatml")


def open_evaluate(page: Page) -> None:
    page.locator("#tab-evaluate-button, #tabs [role=tab]").nth(2).click()
    expect(page.locator("#eval-start")).to_be_visible()


def choose_echo(page: Page, delay: str = "0") -> None:
    page.locator("#eval-advanced > button").click()
    page.locator("#eval-section-engine > button").click()
    choose(page, "eval-infer_backend", "echo")
    type_into(page, "eval-echo_delay", delay)


def press(page: Page, action: str) -> None:
    page.locator(f"#evaluated button[data-action={action}]").first.click()


def wait_state(page: Page, state: str, seconds: float = 60) -> None:
    expect(page.locator(f'#evaluated .evaluated[data-state="{state}"]')).to_be_visible(timeout=seconds * 1000)


def shown_rows(page: Page) -> list[int]:
    return [int(one) for one in page.locator(".sample button[data-action=open]").all_inner_texts()]


@pytest.mark.parametrize(("locale", "finished"), [("en-US", "finished"), pytest.param("zh-CN", "已完成", marks=pytest.mark.proof)])
def test_a_run_is_measured_and_its_table_is_read(
    shared: Window, tuned: Run, visit: Visit, locale: str, finished: str, tmp_path: Path
) -> None:
    page = visit(shared.url, locale=locale)
    page.locator("#evaluate-with").click()
    expect(page.locator("#eval-who input")).to_have_value("my-run  ·  tiny")
    expect(page.locator("#eval-dataset .token")).to_contain_text("identity_en")
    expect(page.locator("#eval-value-0").locator("textarea, input").first).to_have_value("Aurora")
    expect(page.locator("#field-template input")).to_have_value("chatml")
    expect(page.locator("#evaluated .empty")).to_be_visible()
    choose_echo(page)
    type_into(page, "eval-max_samples", str(ROWS))
    type_into(page, "eval-own_checks", "contains Aurora\nnot_contains base")
    expect(page.locator("#eval-plan .plan.unwise")).to_contain_text(str(ROWS))
    page.locator("#eval-start").click()
    wait_state(page, "finished")
    expect(page.locator("#evaluated .chip")).to_have_text(finished)
    expect(page.locator("#eval-picker input")).to_have_value(f"{list_runs(shared.workspace, 'evaluate')[0].short_name}  ·  {finished}")
    table = page.locator(".figures .measured").first
    for name in ("ROUGE-L", "contains Aurora", "not_contains base"):
        expect(table.get_by_role("rowheader", name=name)).to_be_visible()
    assert page.locator(".figures .verdict.better").count() >= 1
    picture(page, f"evaluate_{locale[:2]}")
    read_samples(page)
    with page.expect_download() as download:
        page.locator("#evaluated button[data-action=file][data-at=csv]").click()
    saved = tmp_path / "samples.csv"
    download.value.save_as(saved)
    check_csv(saved, download.value.suggested_filename)


def read_samples(page: Page) -> None:
    """Sort, filter, turn pages, open a sample."""
    assert shown_rows(page) == list(range(1, 21))
    page.locator("#evaluated button[data-action=page]").nth(1).click()
    expect(page.locator(".sample")).to_have_count(ROWS - 20)
    page.locator("select[data-action=measure]").select_option("not_contains base")
    page.locator(".sheet th button[data-at=change]").click()
    expect(page.locator(".sheet th.change")).to_have_attribute("aria-sort", "ascending")
    page.locator(".sheet th button[data-at=change]").click()
    expect(page.locator(".sheet th.change")).to_have_attribute("aria-sort", "descending")
    page.locator("button[data-action=only][data-at=better]").click()
    expect(page.locator(".sheet td.change.better").first).to_have_text("+100.0")
    assert page.locator(".sheet td.change.worse").count() == 0
    sample = page.locator(".sample").first
    expect(sample.locator(".beneath")).to_be_hidden()
    sample.locator("button[data-action=open]").click()
    expect(sample.locator(".beneath .measured")).to_contain_text("ROUGE-L")
    expect(sample.locator("td.base del").first).to_have_text("base")
    expect(sample.locator("td.tuned ins").first).to_have_text("my-run")
    page.locator("button[data-action=only][data-at=length]").click()
    expect(page.locator(".samples .empty")).to_be_visible()


def check_csv(saved: Path, name: str) -> None:
    assert name.startswith("my-run-identity_en-") and name.endswith(".csv")
    assert saved.read_bytes().startswith(b"\xef\xbb\xbf")
    with saved.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == ROWS and rows[0]["base"].startswith("base: ") and rows[0]["tuned"].startswith("my-run: ")
    assert float(rows[0]["not_contains base change"]) == 1


def test_an_evaluation_survives_a_reload_a_stop_and_goes_on(shared: Window, tuned: Run, visit: Visit) -> None:
    page = visit(shared.url)
    open_evaluate(page)
    choose(page, "eval-who", "my-run  ·  tiny")
    choose_echo(page, "0.4")
    type_into(page, "eval-max_samples", "70")
    page.locator("#eval-start").click()
    expect(page.locator("#evaluated .steps")).to_have_text(re.compile(r"base · [1-9]\d* / 70"))
    press(page, "stop")
    wait_state(page, "stopped")
    run = list_runs(shared.workspace, "evaluate")[0]
    assert 0 < len((run.folder / ANSWERS).read_text("utf-8").splitlines()) < 140
    press(page, "resume")
    wait_state(page, "running")
    page.reload()
    open_evaluate(page)
    expect(page.locator("#eval-picker input")).to_have_value(re.compile("^my-run-identity_en-"))
    wait_state(page, "finished")
    lines = [json.loads(line) for line in (run.folder / ANSWERS).read_text("utf-8").splitlines()]
    asked = [(one["model"], one["place"]) for one in lines if "answer" in one]
    assert len(asked) == len(set(asked)) == 140
    expect(page.locator(".sample")).to_have_count(20)
    page.on("dialog", lambda dialog: dialog.accept())
    press(page, "delete")
    expect(page.locator("#evaluated .empty")).to_be_visible()
    assert not run.folder.exists()


def test_errors_stand_beside_their_fields_and_the_preview_is_the_spec(shared: Window, tuned: Run, visit: Visit) -> None:
    page = visit(shared.url)
    open_evaluate(page)
    page.locator("#eval-start").click()
    expect(page.locator("#eval-dataset.wrong")).to_contain_text("Neither a dataset nor a benchmark")
    choose(page, "eval-who", "my-run  ·  tiny")
    expect(page.locator("#eval-dataset .token")).to_contain_text("identity_en")
    expect(page.locator("#eval-value-1").locator("textarea, input").first).to_have_value("Starlight")
    for field, given in (("max_new_tokens", "abc"), ("own_checks", "contians Aurora"), ("max_samples", "0")):
        type_into(page, f"eval-{field}", given)
    page.locator("#eval-start").click()
    for field, words in (("max_new_tokens", "'abc'"), ("own_checks", "contians"), ("max_samples", "'0'")):
        expect(page.locator(f"#eval-{field}.wrong")).to_contain_text(words)
    expect(page.locator("#eval-value-1").locator("textarea, input").first).to_have_value("Starlight")
    picture(page, "evaluate_errors")
    for field, given in (("max_new_tokens", "64"), ("own_checks", "contains Aurora"), ("max_samples", "5")):
        type_into(page, f"eval-{field}", given)
    page.locator("#eval-preview").click()
    expect(page.locator("#eval-preview-panel")).to_contain_text("job: evaluate")
    expect(page.locator("#eval-preview-panel")).to_contain_text("python app.py eval spec.yaml")
    expect(page.locator("#eval-asking .wrong")).to_have_count(0)
    assert list_runs(shared.workspace, "evaluate") == []
