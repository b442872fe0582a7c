"""The Train tab in a real browser, on the tiny model: errors beside fields, start, reload, stop, resume, two windows."""

import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window, open_process, picture
from workbench.runs import list_runs

pytestmark = pytest.mark.browser
Visit = Callable[..., Page]
ASKING_MS = 1000
"""How often the page asks what is new in a run that goes on: PAUSE_MS of live.js."""


def choose(page: Page, field: str, value: str) -> None:
    """Pick an entry of a drop-down by its shown words."""
    box = page.locator(f"#{field} input")
    box.click()
    page.get_by_role("option", name=value, exact=True).click()
    page.keyboard.press("Escape")


def type_into(page: Page, field: str, value: str) -> None:
    """Type as a person would: not within the milliseconds in which a field that just appeared still takes its first value."""
    box = page.locator(f"#{field}").locator("textarea, input").first
    box.wait_for()
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 20)))")
    box.fill(value)


def prepare(page: Page, steps: str = "40") -> None:
    """The tiny model, identity_en with its values, some steps."""
    choose(page, "field-model_name_or_path", "tiny")
    type_into(page, "value-0", "Aurora")
    type_into(page, "value-1", "Starlight Lab")
    page.locator("#mode label").nth(1).click()
    page.get_by_role("button", name="Optimisation").click()
    type_into(page, "field-max_steps", steps)
    expect(page.locator("#plan .plan")).to_contain_text(f"{steps} steps")
    page.locator("#mode label").nth(0).click()
    expect(page.locator("#plan .plan")).to_contain_text(f"{steps} steps")


def wait_state(page: Page, word: str, seconds: float = 90) -> None:
    expect(page.locator("#live .chip")).to_have_text(word, timeout=seconds * 1000)


def test_errors_stand_beside_their_fields(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    page.locator("#start").click()
    expect(page.locator("#plan .plan.wrong, #plan .plan.later")).to_contain_text("name, author")
    for field, given in (("learning_rate", "abc"), ("num_train_epochs", "-1"), ("cutoff_len", "3")):
        type_into(page, f"field-{field}", given)
    for field, words in (
        ("learning_rate", "Learning rate is 'abc'"),
        ("num_train_epochs", "Epochs is '-1'"),
        ("cutoff_len", "Cutoff length is '3'"),
    ):
        expect(page.locator(f"#field-{field}.wrong")).to_contain_text(words)
    picture(page, "errors_en")
    type_into(page, "field-learning_rate", "0.0003")
    expect(page.locator("#field-learning_rate.wrong")).to_have_count(0)
    assert list_runs(shared.workspace) == []


def test_a_run_is_watched_reloaded_stopped_and_resumed(shared: Window, visit: Visit) -> None:
    page, other = visit(shared.url), visit(shared.url, locale="zh-CN")
    prepare(page, "300")
    page.locator("#start").click()
    wait_state(page, "running", 30)
    expect(page.locator("#live svg path.strong")).to_be_visible(timeout=60_000)
    page.reload()
    expect(page.locator("#live svg path.strong")).to_be_visible()
    expect(page.locator("#value-0").locator("textarea, input").first).to_have_value("Aurora")
    other.reload()
    expect(other.locator("#live .chip")).to_have_text("运行中")
    page.locator("#stop").click()
    wait_state(page, "stopped")
    expect(other.locator("#live .chip")).to_have_text("已停止", timeout=10_000)
    run = list_runs(shared.workspace)[0]
    saved = run.checkpoint()
    assert saved is not None
    assert run.view().step.step == int(saved.name.removeprefix("checkpoint-"))
    page.locator("#resume").click()
    wait_state(page, "running", 40)
    wait_state(page, "finished", 240)
    assert run.view().loss.steps == list(range(1, 301))


def test_the_window_dies_and_the_run_goes_on(window: Window, visit: Visit) -> None:
    page = visit(window.url)
    prepare(page, "150")
    page.locator("#start").click()
    wait_state(page, "running", 30)
    page.close()  # what it asks for now nobody answers
    window.kill()
    run = list_runs(window.workspace)[0]
    assert run.wait(240) == "finished"
    again = open_process(window.workspace, int(window.url.rsplit(":", 1)[1]))
    try:
        later = visit(again.url)
        wait_state(later, "finished", 20)
        expect(later.locator("#live .steps")).to_have_text("150 / 150")
    finally:
        again.kill()


def test_language_switches_in_place_and_is_remembered(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    type_into(page, "field-learning_rate", "abc")
    expect(page.locator("#field-learning_rate.wrong")).to_have_count(1)
    started = time.monotonic()
    choose(page, "language", "中文")
    expect(page.locator("#start")).to_have_text("开始")
    assert time.monotonic() - started < 5
    expect(page.locator("#field-learning_rate")).to_contain_text("学习率")
    expect(page.get_by_role("tab", name="训练")).to_be_visible()
    page.reload()
    expect(page.locator("#start")).to_have_text("开始")
    picture(page, "language_zh")


def test_a_changed_field_is_marked_and_goes_back(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    expect(page.locator("#asking [data-changed]")).to_have_count(0)
    type_into(page, "field-learning_rate", "5e-4")
    back = page.locator("#field-learning_rate .back")
    expect(back).to_have_attribute("aria-label", "Back to 3e-4")
    page.reload()
    expect(page.locator("#field-learning_rate textarea")).to_have_value("5e-4")
    back.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#field-learning_rate textarea")).to_have_value("3e-4")
    expect(page.locator("#asking [data-changed]")).to_have_count(0)


def test_the_simple_form_tells_what_advanced_has_changed(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    told = page.locator("#changes-marked p")
    expect(told).to_be_hidden()
    prepare(page)
    expect(told).to_have_text("Set under 'advanced': Max steps 40.")
    picture(page, "simple_tells_advanced")
    page.locator("#mode label").nth(1).click()
    expect(page.locator("#sections")).to_be_visible()
    expect(told).to_be_hidden()
    type_into(page, "field-max_steps", "")
    page.locator("#mode label").nth(0).click()
    expect(page.locator("#sections")).to_be_hidden()
    expect(told).to_be_hidden()


def test_preview_shows_the_spec_and_its_command(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    prepare(page)
    page.locator("#preview").click()
    expect(page.locator("#preview-panel")).to_contain_text("model_name_or_path: models/tiny")
    expect(page.locator("#preview-panel")).to_contain_text("python app.py train")
    expect(page.locator("#preview-panel")).to_contain_text("max_steps=40")


def test_a_spec_file_is_saved_and_loaded(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    prepare(page, "77")
    with page.expect_download() as saved:
        page.locator("#save").click()
    path = saved.value.path()
    assert "max_steps: 77" in path.read_text("utf-8")
    file = path.with_suffix(".yaml")
    file.write_text(path.read_text("utf-8").replace("learning_rate: 0.0003", "learning_rate: 0.0007"), "utf-8")
    fresh = visit(shared.url)
    fresh.locator("#load input[type=file], input[type=file]").first.set_input_files(file)
    expect(fresh.locator("#field-learning_rate textarea")).to_have_value("7e-4")
    expect(fresh.locator("#value-0").locator("textarea, input").first).to_have_value("Aurora")


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1366, 768), (390, 844)])
def test_nothing_overflows(shared: Window, visit: Visit, width: int, height: int) -> None:
    page = visit(shared.url, width=width, height=height)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    if height == 900:
        bottom = page.locator("#start").evaluate("button => button.getBoundingClientRect().bottom")
        assert bottom <= height


def test_every_control_has_a_name(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("input, textarea, button, select")]
          .filter(one => one.offsetParent && one.type !== "file")
          .filter(one => !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length || one.title))
          .map(one => one.outerHTML.slice(0, 160))"""
    )
    assert nameless == []


def test_an_ended_run_is_not_asked_for_again(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    prepare(page, "5")
    page.locator("#start").click()
    wait_state(page, "finished", 90)
    page.wait_for_timeout(1000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(3 * ASKING_MS)
    assert [url for url in asked if "heartbeat" not in url] == []
