"""The page goes on when what happens on it and the end of its connection cross on their way."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window
from tests.browser.test_chat import Visit, choose_echo, open_chat
from tests.browser.test_export import open_export
from tests.browser.test_train import choose, type_into

pytestmark = pytest.mark.browser

LATE = """
const ask = window.fetch
window.fetch = async (...given) => {
  const answer = await ask(...given)
  if (!String(given[0].url || given[0]).includes("/queue/data")) return answer
  const hold = new TransformStream({
    async transform(bytes, out) {
      const text = new TextDecoder().decode(bytes), at = text.indexOf('data: {"msg":"close_stream"')
      if (at < 0) return out.enqueue(bytes)
      const cut = new TextEncoder().encode(text.slice(0, at)).length
      out.enqueue(bytes.slice(0, cut))
      window.held = (window.held || 0) + 1
      await new Promise(done => setTimeout(done, 1500))
      out.enqueue(bytes.slice(cut))
    }
  })
  return new Response(answer.body.pipeThrough(hold), {status: answer.status, headers: answer.headers})
}
"""
"""Gradio's server ends the stream of a page that waits for nothing; this page hears of it late, as on a busy machine."""

OVERTAKING = """
const ask = window.fetch
window.sent = 0
window.fetch = async (...given) => {
  const late = window.overtaking && String(given[0].url || given[0]).includes("/queue/join")
  if (late) await new Promise(done => setTimeout(done, Math.max(0, 600 - 100 * window.sent++)))
  return ask(...given)
}
"""
"""Each event is longer on its way than the one after it."""

HANGING = """
const ask = window.fetch
window.fetch = async (...given) => {
  if (!window.hanging || !String(given[0].url || given[0]).includes("/queue/join")) return ask(...given)
  window.hanging = false
  return new Promise(() => {})
}
"""
"""One event is never answered, as on a connection that has died unseen."""


def opened_with(script: str, window: Window, visit: Visit) -> Page:
    """A page whose requests go as the script says."""
    page = visit(window.url)
    page.add_init_script(script)
    page.reload()
    page.wait_for_selector("#plan .plan")
    return page


def named_a(script: str, window: Window, visit: Visit) -> Page:
    """Such a page on Export, where the name for Ollama is 'a' and the line above Start knows it."""
    page = opened_with(script, window, visit)
    open_export(page)
    type_into(page, "export-ollama_name", "a")
    expect(page.locator("#export-plan")).to_contain_text("'a'")
    return page


def test_an_event_that_crosses_the_end_of_the_stream_is_not_lost(shared: Window, visit: Visit) -> None:
    page = opened_with(LATE, shared, visit)
    open_chat(page)
    choose_echo(page)
    choose(page, "field-model_name_or_path", "tiny")
    page.locator("#chat-load").click()
    expect(page.locator("#chat-status .chip.finished")).to_be_visible()
    assert page.evaluate("window.held") > 0


def test_what_was_typed_last_is_what_is_answered_last(shared: Window, visit: Visit) -> None:
    page = named_a(OVERTAKING, shared, visit)
    page.evaluate("window.overtaking = true")
    page.locator("#export-ollama_name").locator("textarea, input").press_sequentially("urora", delay=10)
    page.wait_for_timeout(1_500)  # an answer that comes too late would come now
    expect(page.locator("#export-plan")).to_contain_text("'aurora'")
    assert page.evaluate("window.sent") >= len("urora")


def test_an_event_that_hangs_holds_up_no_other_for_long(shared: Window, visit: Visit) -> None:
    page = named_a(HANGING, shared, visit)
    page.evaluate("window.hanging = true")
    type_into(page, "export-ollama_name", "ab")
    type_into(page, "export-ollama_name", "abc")
    expect(page.locator("#export-plan")).to_contain_text("'abc'", timeout=10_000)
    assert page.evaluate("window.hanging") is False
