"""The page when the window's program is gone, and when another one answers in its place."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window, open_process, picture
from tests.browser.test_chat import Visit
from tests.browser.test_train import prepare, type_into, wait_state
from workbench.runs import list_runs

pytestmark = pytest.mark.browser
LOOKED_AT = "window.dispatchEvent(new Event('focus'))"
WORDS = {"en-US": "does not answer", "zh-CN": "没有应答"}


@pytest.mark.parametrize("locale", sorted(WORDS))
def test_a_page_says_that_its_window_is_away_and_comes_back_by_itself(window: Window, visit: Visit, locale: str) -> None:
    page = visit(window.url, locale=locale)
    away = page.locator("#away")
    expect(away).to_be_hidden()
    type_into(page, "field-learning_rate", "5e-4")
    expect(page.locator("#field-learning_rate[data-changed]")).to_have_count(1)
    window.kill()
    page.evaluate(LOOKED_AT)
    expect(away).to_be_visible()
    expect(away).to_contain_text(WORDS[locale])
    page.locator("#preview").click()
    expect(page.locator(".toast-body")).to_be_attached()
    expect(page.locator(".toast-body")).to_be_hidden()
    picture(page, f"away_{locale}")
    again = open_process(window.workspace, int(window.url.rsplit(":", 1)[1]))
    try:
        expect(page.locator("#plan .plan")).to_be_visible()
        expect(away).to_be_hidden()
        expect(page.locator("#field-learning_rate textarea")).to_have_value("5e-4")
    finally:
        again.kill()


def test_whoever_watches_a_run_hears_of_it_without_a_press(window: Window, visit: Visit) -> None:
    page: Page = visit(window.url)
    prepare(page, "400")
    page.locator("#start").click()
    wait_state(page, "running", 30)
    window.kill()
    expect(page.locator("#away")).to_be_visible(timeout=10_000)
    for run in list_runs(window.workspace):
        run.kill()


def test_what_stands_between_says_so_too(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    away = page.locator("#away")
    page.route(re.compile("/gradio_api/(component_server|app_id)"), lambda route: route.fulfill(status=502, json={"detail": "Bad Gateway"}))
    page.evaluate("window.opened = true")
    page.evaluate(LOOKED_AT)
    expect(away).to_be_visible()
    page.wait_for_timeout(2_500)  # it is asked again, and what stands between is not taken for a window
    expect(away).to_be_visible()
    page.unroute_all()
    expect(away).to_be_hidden()
    assert page.evaluate("window.opened"), "the same window answers again: nothing is opened anew"


def test_a_lost_answer_alone_alarms_nobody(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    page.route("**/component_server/", lambda route: route.abort())
    with page.expect_request("**/gradio_api/app_id"):
        page.evaluate(LOOKED_AT)
    page.wait_for_timeout(500)
    expect(page.locator("#away")).to_be_hidden()
