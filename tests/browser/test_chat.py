"""The Chat tab in a real browser. The echo engine answers where the tab itself is tried, a tiny model where a model is."""

import json
import os
import shutil
import signal
from collections.abc import Callable

import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window, open_process, picture
from tests.browser.test_train import choose, type_into
from tests.test_chatting import tuned_run
from workbench.events import Started
from workbench.runs import Run, list_runs

pytestmark = pytest.mark.browser
LONG = 600
"""So many words take a minute to say at ten a second: what presses Stop comes in time on a busy machine too."""
Visit = Callable[..., Page]

MARKUP = """Look <b>here</b> <img src="http://outside.invalid/a.png"> <script>document.title = "taken"</script>
![p](http://outside.invalid/b.png) **strong** `code`
```python
if a < b:
    print("&amp;")
```"""


@pytest.fixture
def tuned(shared: Window) -> Run:
    """A run with an adapter that the echo engine can be given."""
    return tuned_run(shared.workspace, "my-run", dataset=["identity_en"], template="chatml")


def open_chat(page: Page) -> None:
    page.locator("#tabs").get_by_role("tab").filter(has_text="Chat").click()
    expect(page.locator("#chat-box")).to_be_visible()


def choose_echo(page: Page, delay: str = "0") -> None:
    page.get_by_role("button", name="Advanced").click()
    choose(page, "field-infer_backend", "echo")
    type_into(page, "field-echo_delay", delay)


def load(page: Page) -> None:
    page.locator("#chat-load").click()
    expect(page.locator("#chat-status .chip.finished")).to_have_text("loaded", timeout=60_000)


def say(page: Page, text: str) -> None:
    page.locator("#chat-box textarea").fill(text)
    page.locator("#chat-box textarea").press("Enter")


def turns(page: Page, pane: int) -> list[str]:
    return page.locator(f"#pane-{pane} .turn .body").all_inner_texts()


def wait_answered(page: Page, pane: int, count: int) -> None:
    expect(page.locator(f"#pane-{pane} .turn")).to_have_count(count)
    expect(page.locator("#chat-send")).to_be_visible()


def server_pid(window: Window) -> int:
    run = next(run for run in list_runs(window.workspace, "serve") if run.state() == "running")
    started = run.view().started
    assert isinstance(started, Started)
    return started.pid


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_load_talk_compare_clear_reload_unload(shared: Window, tuned: Run, visit: Visit) -> None:
    page = visit(shared.url)
    open_chat(page)
    expect(page.locator("#chat-status")).to_contain_text("Nothing is loaded yet")
    choose_echo(page)
    choose(page, "who", "my-run  ·  tiny")
    expect(page.locator("#field-model_name_or_path input")).to_have_value("tiny")
    expect(page.locator("#field-model_name_or_path input")).to_have_value("tiny")
    expect(page.locator("#field-template input")).to_have_value("chatml")
    load(page)
    expect(page.locator("#chat-status .name")).to_have_text("tiny with my-run")
    say(page, "first of all")
    wait_answered(page, 0, 2)
    assert turns(page, 0) == ["first of all", "my-run: first of all"]
    expect(page.locator("#speaker-0 h3")).to_have_text("my-run")
    expect(page.locator("#chat-box textarea")).to_have_value("")
    page.locator("#compare input").check()
    say(page, "who are you")
    wait_answered(page, 1, 2)
    assert turns(page, 0)[2:] == ["who are you", "my-run: who are you"]
    assert turns(page, 1) == ["who are you", "base: who are you"]
    facts = page.locator(".speaking .facts").all_inner_texts()
    assert facts[0].split("seed ")[1] == facts[1].split("seed ")[1]
    page.reload()
    open_chat(page)
    expect(page.locator("#chat-status .name")).to_have_text("tiny with my-run")
    expect(page.locator("#who input")).to_have_value("my-run  ·  tiny")
    expect(page.locator("#pane-0 .turn")).to_have_count(4)
    expect(page.locator("#pane-1 .turn")).to_have_count(2)
    say(page, "again")
    wait_answered(page, 1, 4)
    page.locator("#chat-clear").click()
    expect(page.locator(".talk .turn")).to_have_count(0)
    pid = server_pid(shared)
    page.locator("#chat-unload").click()
    expect(page.locator("#chat-status")).to_contain_text("Nothing is loaded yet")
    assert not is_alive(pid)
    assert list_runs(shared.workspace, "serve") == []


def test_an_answer_streams_and_is_stopped(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    open_chat(page)
    choose(page, "field-model_name_or_path", "tiny")
    choose_echo(page, "0.1")
    load(page)
    say(page, " ".join(f"w{at}" for at in range(LONG)))
    body = page.locator("#pane-0 .turn .body").nth(1)
    expect(body).to_contain_text("base: w0")
    expect(body).to_contain_text("w9")
    assert "w200" not in body.inner_text()
    expect(page.locator("#chat-clear")).to_be_disabled()
    page.locator("#chat-stop").click()
    expect(page.locator("#chat-send")).to_be_visible()
    stopped = body.inner_text()
    expect(page.locator("#speaker-0 .facts")).to_contain_text("stopped")
    page.wait_for_timeout(400)
    assert body.inner_text() == stopped
    assert "w200" not in stopped
    say(page, "and now")
    wait_answered(page, 0, 4)
    assert turns(page, 0)[3] == "base: and now"


def test_a_trained_run_is_one_press_away(shared: Window, tuned: Run, visit: Visit) -> None:
    page = visit(shared.url)
    open_chat(page)
    choose_echo(page)
    page.locator("#tabs").get_by_role("tab").filter(has_text="Train").click()
    page.locator("#chat-with").click()
    expect(page.locator("#chat-status .chip.finished")).to_be_visible(timeout=60_000)
    expect(page.locator("#who input")).to_have_value("my-run  ·  tiny")
    expect(page.locator("#speaker-0 h3")).to_have_text("my-run")
    say(page, "hello")
    wait_answered(page, 0, 2)
    assert turns(page, 0)[1] == "my-run: hello"


def test_nothing_that_is_written_can_act(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    open_chat(page)
    choose(page, "field-model_name_or_path", "tiny")
    choose_echo(page)
    load(page)
    page.locator("#chat-box textarea").fill(MARKUP)
    page.locator("#chat-send").click()
    wait_answered(page, 0, 2)
    asked, answered = turns(page, 0)
    assert asked == MARKUP
    assert answered.startswith('base: Look <b>here</b> <img src="http://outside.invalid/a.png"> <script>')
    assert page.locator(".talk img, .talk b, .talk script, .talk a").count() == 0
    assert page.locator(".talk pre").inner_text() == 'if a < b:\n    print("&amp;")'
    assert page.title() == "Workbench"


def test_a_killed_server_is_told_and_forgotten(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    open_chat(page)
    choose(page, "field-model_name_or_path", "tiny")
    choose_echo(page, "0.1")
    load(page)
    say(page, " ".join(f"w{at}" for at in range(LONG)))
    expect(page.locator("#pane-0 .turn .body").nth(1)).to_contain_text("w3")
    os.kill(server_pid(shared), signal.SIGKILL)
    expect(page.locator("#chat-notice")).to_contain_text("its process ended by itself")
    expect(page.locator("#chat-status")).to_contain_text("Nothing is loaded yet")
    expect(page.locator("#chat-unload")).to_be_disabled()
    say(page, "still there?")
    expect(page.locator("#chat-notice")).to_contain_text("No model is loaded that could answer")
    expect(page.locator("#chat-box textarea")).to_have_value("still there?")
    load(page)
    page.locator("#chat-send").click()
    wait_answered(page, 0, 4)
    assert turns(page, 0)[3] == "base: still there?"


def test_wrong_values_stand_beside_their_fields(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    open_chat(page)
    for field, given, words in (
        ("temperature", "abc", "Temperature is 'abc'"),
        ("top_p", "0", "Top-p is '0'"),
        ("max_new_tokens", "0", "Longest answer is '0'"),
        ("sampling_seed", "-1", "Seed of the answer is '-1'"),
    ):
        type_into(page, f"field-{field}", given)
        expect(page.locator(f"#field-{field}.wrong")).to_contain_text(words)
    choose(page, "field-model_name_or_path", "tiny")
    choose_echo(page)
    load(page)
    say(page, "hi")
    expect(page.locator("#chat-notice")).to_contain_text("Temperature is 'abc'. Accepted: a number")
    assert turns(page, 0) == []
    for field, given in (("temperature", "0"), ("top_p", "1"), ("max_new_tokens", "2"), ("sampling_seed", "")):
        type_into(page, f"field-{field}", given)
        expect(page.locator(f"#field-{field}.wrong")).to_have_count(0)
    say(page, "one two three")
    wait_answered(page, 0, 2)
    assert turns(page, 0)[1] == "base: one"
    expect(page.locator("#speaker-0 .facts")).to_contain_text("cut off")


def test_what_can_not_be_loaded_says_why(shared: Window, visit: Visit) -> None:
    tiny = shared.workspace.models / "tiny"
    broken = shutil.copytree(tiny, tiny.with_name("broken"))
    (broken / "config.json").write_text(json.dumps({"model_type": "no such family"}), "utf-8")
    page = visit(shared.url)
    open_chat(page)
    choose_echo(page, "99")
    page.locator("#chat-load").click()
    expect(page.locator("#chat-status")).to_contain_text("Pause between words is '99'")
    expect(page.locator("#field-echo_delay.wrong")).to_have_count(1)
    type_into(page, "field-echo_delay", "0")
    choose(page, "field-infer_backend", "transformers")
    choose(page, "field-model_name_or_path", "broken")
    page.locator("#chat-load").click()
    expect(page.locator("#chat-status .plan.wrong")).to_be_visible(timeout=60_000)
    expect(page.locator("#chat-status details pre")).to_have_count(1)
    expect(page.locator("#chat-load")).to_be_enabled()
    shutil.rmtree(broken)


def test_the_model_outlives_the_window(window: Window, visit: Visit) -> None:
    page = visit(window.url)
    open_chat(page)
    choose(page, "field-model_name_or_path", "tiny")
    choose_echo(page)
    load(page)
    pid = server_pid(window)
    window.kill()
    again = open_process(window.workspace, int(window.url.rsplit(":", 1)[1]))
    try:
        later = visit(again.url)
        open_chat(later)
        expect(later.locator("#chat-status .name")).to_have_text("tiny")
        say(later, "hello")
        wait_answered(later, 0, 2)
        assert turns(later, 0)[1] == "base: hello"
        assert server_pid(window) == pid
    finally:
        again.kill()


def test_two_visitors_do_not_mix(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    open_chat(page)
    choose(page, "field-model_name_or_path", "tiny")
    choose_echo(page, "0.1")
    load(page)
    other = visit(shared.url)
    open_chat(other)
    expect(other.locator("#chat-status .chip.finished")).to_be_visible()
    say(page, " ".join(f"mine{at}" for at in range(LONG)))
    say(other, " ".join(f"yours{at}" for at in range(LONG)))
    expect(page.locator("#pane-0 .turn .body").nth(1)).to_contain_text("mine3")
    expect(other.locator("#pane-0 .turn .body").nth(1)).to_contain_text("yours3")
    other.locator("#chat-stop").click()
    expect(other.locator("#chat-send")).to_be_visible()
    expect(page.locator("#chat-stop")).to_be_visible()
    assert "yours" not in page.locator("#pane-0").inner_text()
    page.locator("#chat-stop").click()
    expect(page.locator("#chat-send")).to_be_visible()


def test_a_real_model_answers(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    open_chat(page)
    choose(page, "field-model_name_or_path", "tiny")
    type_into(page, "field-max_new_tokens", "12")
    type_into(page, "field-sampling_seed", "3")
    page.locator("#chat-load").click()
    expect(page.locator("#chat-status .bar")).to_be_visible()
    expect(page.locator("#chat-status .chip.finished")).to_be_visible(timeout=90_000)
    say(page, "hello")
    wait_answered(page, 0, 2)
    expect(page.locator("#speaker-0 .facts")).to_contain_text("seed 3")
    first = turns(page, 0)[1]
    page.locator("#chat-clear").click()
    expect(page.locator("#pane-0 .turn")).to_have_count(0)
    say(page, "hello")
    wait_answered(page, 0, 2)
    assert turns(page, 0)[1] == first != ""


@pytest.mark.parametrize(("width", "height", "dark"), [(1440, 900, False), (1366, 768, True), (390, 844, False)])
def test_it_fits(shared: Window, tuned: Run, visit: Visit, width: int, height: int, dark: bool) -> None:
    page = visit(shared.url, width=width, height=height, dark=dark)
    open_chat(page)
    page.locator("#compare input").check()
    expect(page.locator("#pane-1")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    if width > 900:
        assert page.evaluate("document.documentElement.scrollHeight <= window.innerHeight + 1")
        assert page.locator("#pane-0").evaluate("pane => pane.getBoundingClientRect().height") > height * 0.45
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("input, textarea, button, select, [role=log]")]
          .filter(one => one.offsetParent && one.type !== "file")
          .filter(one => !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length || one.title))
          .map(one => one.outerHTML.slice(0, 160))"""
    )
    assert nameless == []
    picture(page, f"chat_{width}")
