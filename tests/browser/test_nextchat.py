"""NextChat's requests, with its headers and from a page of another origin: answered, and when refused, readable."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.serving import BASE, TUNED, serving, wait_until_idle
from workbench.engines.echo import Echo

pytestmark = pytest.mark.browser

CLIENT = """
window.seen = [];
// As NextChat asks: these headers, this body, a stream that is read event by event; model lists without a body.
window.nextchat = async (base, messages, more = {}) => {
  const headers = {"Content-Type": "application/json", "Accept": "application/json", "Authorization": "Bearer any-key",
                   "x-requested-with": "XMLHttpRequest"};
  const body = {messages, stream: true, model: "gpt-4o-mini", temperature: 0.5, presence_penalty: 0,
                frequency_penalty: 0, top_p: 1, ...more};
  const controller = new AbortController();
  window.stop = () => controller.abort();
  let response;
  try {
    response = await fetch(`${base}/v1/chat/completions`,
                           {method: "POST", headers, body: JSON.stringify(body), signal: controller.signal});
  } catch (error) { return {failed: error.message}; }
  const found = {status: response.status, type: response.headers.get("content-type"),
                 model: response.headers.get("X-Model"), told: response.headers.get("X-Messages"),
                 retry: response.headers.get("Retry-After"), text: "", thought: "", done: false};
  if (!found.type.startsWith("text/event-stream")) return {...found, body: await response.json()};
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  try {
    for (;;) {
      const {value, done} = await reader.read();
      if (done) break;
      waiting += value;
      const events = waiting.split("\\n\\n");
      waiting = events.pop();
      for (const event of events) {
        const data = event.slice("data: ".length);
        if (data === "[DONE]") { found.done = true; continue; }
        const delta = JSON.parse(data).choices[0]?.delta ?? {};
        found.text += delta.content ?? "";
        found.thought += delta.reasoning_content ?? "";
        window.seen.push(data);
      }
    }
  } catch (error) { found.aborted = error.name; }
  return found;
};
window.models = async (base) => {
  const response = await fetch(`${base}/v1/models`, {headers: {"Content-Type": "application/json",
    "Authorization": "Bearer any-key", "x-requested-with": "XMLHttpRequest"}});
  return (await response.json()).data.map((model) => model.id);
};
"""


class Elsewhere(BaseHTTPRequestHandler):
    """An empty page with the client's script."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(f"<!doctype html><title>chat</title><script>{CLIENT}</script>".encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(chromium: Browser, origin: str) -> Iterator[Page]:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(origin)
    yield page
    context.close()


def localhost(url: str) -> str:
    """As tutorials write it."""
    return url.replace("127.0.0.1", "localhost")


def ask(page: Page, url: str, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("([base, messages, more]) => nextchat(base, messages, more)", [url, messages, more])
    return found


def say(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


HELLO, ASKED = say("assistant", "Hello! How can I help?"), say("user", "who are you")
ORDERS: list[tuple[str, list[dict[str, Any]], str, str]] = [
    ("one question", [ASKED], "who are you", ""),
    ("two systems", [say("system", "a"), say("system", "b"), ASKED], "who are you", "system messages were joined"),
    ("system last", [ASKED, HELLO, say("system", "sum up")], "sum up", "became a user message"),
    ("answer first", [HELLO, ASKED], "who are you", ""),
    ("two questions", [say("user", "hm"), ASKED], "hm\n\nwho are you", "same role in a row"),
    ("parts", [say("user", [{"type": "text", "text": "who are you"}])], "who are you", ""),
]


@pytest.mark.parametrize("where", ["localhost", "127.0.0.1"])
def test_every_order_of_messages_is_answered(page: Page, where: str) -> None:
    with serving(Echo((BASE, TUNED), 0.0)) as url:
        base = localhost(url) if where == "localhost" else url
        assert page.evaluate("(base) => models(base)", base) == [BASE, TUNED]
        for name, messages, said, told in ORDERS:
            found = ask(page, base, messages)
            assert (found["status"], found["done"], found["text"]) == (200, True, f"{TUNED}: {said}"), name
            assert told in (found["told"] or "")
            assert found["model"]
        thinking = ask(page, base, [ASKED], enable_thinking=True)
        assert (thinking["thought"], thinking["text"]) == ("I was asked: who are you", f"{TUNED}: who are you")
        title = ask(page, base, [ASKED, HELLO, say("user", "name this chat")], stream=False)
        assert title["body"]["choices"][0]["message"]["content"] == f"{TUNED}: name this chat"


def test_what_is_refused_can_be_read(page: Page) -> None:
    """A page sees "Failed to fetch" and nothing else where an error lacks its headers."""
    with serving(Echo((BASE,), 0.0), any_model_name=False, max_requests=1) as url:
        refused = [
            (ask(page, url, []), 400, "'messages' is []"),
            (ask(page, url, [ASKED], model="base", temperature=9), 400, "'temperature' is 9"),
            (ask(page, url, [ASKED]), 404, "There is no model 'gpt-4o-mini' here"),
            (ask(page, url, [ASKED], model="base", n=2), 400, "Accepted: up to 1"),
            (ask(page, url, [say("user", [{"type": "image_url", "image_url": {"url": "x"}}])]), 400, "read text only"),
        ]
        for found, status, words in refused:
            assert (found.get("status"), "failed" in found) == (status, False)
            assert words in found["body"]["error"]["message"]
    with serving(Echo((BASE,), 0.0), "another key") as url:
        found = ask(page, url, [ASKED])
        assert (found["status"], found["body"]["error"]["code"]) == (401, "invalid_api_key")


def test_a_page_that_is_not_listed_hears_nothing(page: Page, origin: str) -> None:
    with serving(Echo((BASE,), 0.0), origins=[origin]) as url:
        assert ask(page, url, [ASKED])["status"] == 200
    with serving(Echo((BASE,), 0.0), origins=["https://chat.example"]) as url:
        assert ask(page, url, [ASKED])["failed"] == "Failed to fetch"


def test_stop_frees_the_place_and_a_full_server_says_when_to_come_back(page: Page) -> None:
    with serving(Echo((BASE,), 0.05), max_requests=1) as url:
        long = [say("user", "word " * 400)]
        page.evaluate("([base, messages]) => { window.answer = nextchat(base, messages) }", [localhost(url), long])
        page.wait_for_function("window.seen.length > 3")
        full = ask(page, url, [ASKED])
        assert (full["status"], full["body"]["error"]["code"]) == (429, "rate_limit_exceeded")
        assert int(full["retry"]) >= 1
    with serving(Echo((BASE,), 0.05)) as url:
        page.evaluate("([base, messages]) => { window.seen = []; window.answer = nextchat(base, messages) }", [url, long])
        page.wait_for_function("window.seen.length > 3")
        page.evaluate("window.stop()")
        assert page.evaluate("window.answer")["aborted"] == "AbortError"
        assert wait_until_idle(url, 1)
