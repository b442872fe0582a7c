"""The page changes its language at once, wholly, and for whoever changes their mind too; no event costs what it need not."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window
from tests.browser.test_chat import Visit

pytestmark = pytest.mark.browser

NOTED = """
const entries = Object.entries
Object.entries = given => {
  const found = entries(given)
  window.noted = (window.noted || 0) + found.filter(([, one]) => one && one.stream_state).length
  return found
}
"""
"""Counts what Gradio has noted of the progress of events, below what keeps it from components."""


def speak(page: Page, name: str) -> None:
    page.locator("#language input").click()
    page.get_by_role("option", name=name, exact=True).click()


def test_all_words_change_and_stay(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    speak(page, "中文")
    expect(page.locator("#start")).to_have_text("开始")
    expect(page.locator("#tab-chat-button")).to_have_text("对话")
    page.locator("#tab-chat-button").click()
    expect(page.locator("#chat-load")).to_have_text("加载")
    page.reload()
    expect(page.locator("#start")).to_have_text("开始")


def test_who_changes_their_mind_gets_the_last_language(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    for name in ("中文", "English", "中文", "English"):
        speak(page, name)
    page.wait_for_timeout(3000)
    expect(page.locator("#start")).to_have_text("Start")
    expect(page.locator("#tab-chat-button")).to_have_text("Chat")
    speak(page, "中文")
    speak(page, "English")
    speak(page, "中文")
    page.wait_for_timeout(3000)
    expect(page.locator("#start")).to_have_text("开始")
    page.locator("#tab-chat-button").click()
    expect(page.locator("#chat-load")).to_have_text("加载")


def test_progress_is_passed_to_no_component(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    page.add_init_script(NOTED)
    page.reload()
    page.wait_for_selector("#plan .plan")
    speak(page, "中文")
    expect(page.locator("#start")).to_have_text("开始")
    assert page.evaluate("window.noted") > 0, "Gradio notes nothing any more: quiet.js is not needed"
    one = "{fn_index: 1, stream_state: 'closed', show_progress: 'hidden'}"
    assert page.evaluate(f"Object.entries({{7: {one}}})") == []
    assert page.evaluate(f"Object.entries({{7: {one}, 8: {{}}}})") == []
    assert page.evaluate("Object.entries({8: {}})") == [["8", {}]]
    assert page.evaluate("Object.entries({a: 1, b: null})") == [["a", 1], ["b", None]]
    assert page.evaluate(f"Object.entries({{7: {one}, a: 1}}).length") == 2
