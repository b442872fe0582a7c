"""More of the Chat tab in a real browser: asked again, edited, compared blindly, saved; tools; the API from the page."""

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window, free_port, open_process, picture
from tests.browser.test_chat import LONG, Visit, choose_echo, load, open_chat, say, tuned, turns, wait_answered
from tests.browser.test_train import choose, type_into
from workbench.runs import Run, list_runs

pytestmark = pytest.mark.browser
__all__ = ["tuned"]


def test_ask_again_edit_vote_and_save(shared: Window, tuned: Run, visit: Visit) -> None:
    page = visit(shared.url)
    open_chat(page)
    choose_echo(page)
    choose(page, "who", "my-run  ·  tiny")
    expect(page.locator("#field-model_name_or_path input")).to_have_value("tiny")
    load(page)
    page.locator("#compare input").check()
    page.locator("#compare-differences input").check()
    say(page, "who are you")
    wait_answered(page, 1, 2)
    expect(page.locator("#pane-0 mark")).to_have_text("my-run")
    expect(page.locator("#pane-1 mark")).to_have_text("base")
    say(page, "and then")
    wait_answered(page, 1, 4)
    told = page.locator("#speaker-0 .facts").inner_text()
    press(page, 0, 3, "Again")
    expect(page.locator("#speaker-0 .facts")).not_to_have_text(told)  # another seed, once it has answered
    expect(page.locator("#chat-send")).to_be_visible()
    expect(page.locator("#pane-0 .turn .body").nth(3)).to_have_text("my-run: and then")
    assert turns(page, 0)[2:] == ["and then", "my-run: and then"]
    press(page, 0, 0, "Edit")
    page.locator(".editing textarea").fill("say it otherwise")
    page.locator(".editing textarea").press("Enter")
    expect(page.locator("#pane-1 .turn .body").nth(1)).to_have_text("base: say it otherwise")
    wait_answered(page, 0, 2)
    assert turns(page, 0) == ["say it otherwise", "my-run: say it otherwise"]
    page.locator("#chat-keep > button").click()
    type_into(page, "keep-name", "my talk")
    page.locator("#keep-save").click()
    expect(page.locator("#keep-told")).to_contain_text("saves/chats/my talk.json")
    page.locator("#compare-blind input").check()
    say(page, "which is better")
    expect(page.locator(".voting button")).to_have_count(4)
    assert page.locator(".speaking h3").all_inner_texts()[:2] == ["A", "B"]
    expect(page.locator("#pane-who-0")).to_be_hidden()
    chosen = turns(page, 0)[1].split(":")[0]
    page.locator(".voting button").first.click()
    expect(page.locator("#chat-vote")).to_contain_text(f"{chosen} 1 of 1")
    expect(page.locator("#speaker-0 h3")).to_have_text(chosen)
    choose(page, "keep-list", "my talk")
    expect(page.locator("#pane-0 .turn").first).to_contain_text("say it otherwise")


def test_what_is_asked_while_an_answer_comes_is_told_and_stays(shared: Window, tuned: Run, visit: Visit) -> None:
    page = visit(shared.url)
    open_chat(page)
    choose_echo(page, "0.1")
    choose(page, "who", "my-run  ·  tiny")
    expect(page.locator("#field-model_name_or_path input")).to_have_value("tiny")
    load(page)
    words = " ".join(f"word{at}" for at in range(LONG))
    say(page, words)
    expect(page.locator("#pane-0 .turn .body").nth(1)).to_contain_text("word3")
    say(page, "and something else")
    expect(page.locator("#chat-notice")).to_contain_text("still being written")
    stop(page)
    assert turns(page, 0)[0] == words and f"my-run: {words}".startswith(turns(page, 0)[1]), "the answer is heard once"
    expect(page.locator("#chat-box textarea")).to_have_value("and something else")
    press(page, 0, 0, "Edit")
    page.locator(".editing textarea").fill("said otherwise")
    page.evaluate(  # both in one moment, before the page has heard of either
        """() => { document.querySelectorAll("#pane-0 .turn")[1].querySelector(".act:last-child").click();
                   document.querySelector(".editing").requestSubmit(); }"""
    )
    expect(page.locator("#chat-notice")).to_contain_text("still being written")
    expect(page.locator("#chat-stop")).to_be_visible()
    expect(page.locator("#pane-0 .turn .body").first).to_contain_text("word3")
    expect(page.locator(".editing textarea")).to_have_value("said otherwise")
    stop(page)
    (answer,) = turns(page, 0)  # the question is the form in which it is edited
    assert f"my-run: {words}".startswith(answer)
    page.locator(".editing textarea").press("Enter")
    expect(page.locator("#pane-0 .turn .body").nth(1)).to_have_text("my-run: said otherwise")
    wait_answered(page, 0, 2)


def stop(page: Page) -> None:
    page.locator("#chat-stop").click()
    expect(page.locator("#chat-send")).to_be_visible()


@pytest.mark.proof
def test_the_whole_conversation_in_chinese(shared: Window, tuned: Run, visit: Visit) -> None:
    page = visit(shared.url, locale="zh-CN")
    page.locator("#tab-chat-button").click()
    page.locator("#chat-advanced > button").click()
    choose(page, "field-infer_backend", "echo")
    type_into(page, "field-echo_delay", "0.1")
    choose(page, "who", "my-run  ·  tiny")
    expect(page.locator("#field-model_name_or_path input")).to_have_value("tiny")
    page.locator("#chat-load").click()
    expect(page.locator("#chat-status .chip.finished")).to_have_text("已加载", timeout=60_000)
    say(page, " ".join(f"词{at}" for at in range(300)))
    expect(page.locator("#pane-0 .turn .body").nth(1)).to_contain_text("词5")
    page.locator("#chat-stop").click()
    expect(page.locator("#chat-send")).to_be_visible()
    assert "词200" not in turns(page, 0)[1]
    page.locator("#chat-clear").click()
    expect(page.locator(".talk .turn")).to_have_count(0)
    page.locator("#compare input").check()
    say(page, "你是谁")
    wait_answered(page, 1, 2)
    press(page, 0, 1, "重新回答")
    expect(page.locator("#chat-stop")).to_be_visible()
    wait_answered(page, 0, 2)
    expect(page.locator("#chat-stop")).to_be_hidden()
    assert turns(page, 0) == ["你是谁", "my-run: 你是谁"]
    press(page, 0, 0, "修改")
    page.locator(".editing textarea").fill("换个说法")
    page.locator(".editing textarea").press("Enter")
    expect(page.locator("#pane-1 .turn .body").nth(1)).to_have_text("base: 换个说法")
    wait_answered(page, 0, 2)
    page.locator("#chat-keep > button").click()
    type_into(page, "keep-name", "我的对话")
    page.locator("#keep-save").click()
    expect(page.locator("#keep-told")).to_contain_text("saves/chats/我的对话.json")
    page.locator("#compare-blind input").check()
    say(page, "哪个更好")
    expect(page.locator(".voting button")).to_have_count(4)
    page.locator(".voting button").first.click()
    expect(page.locator("#chat-vote")).to_contain_text("你选了 A")
    picture(page, "chat_walk_zh")
    page.reload()
    page.locator("#tab-chat-button").click()
    expect(page.locator("#pane-0 .turn").first).to_contain_text("哪个更好")
    page.locator("#chat-unload").click()
    expect(page.locator("#chat-status .chip.finished")).to_have_count(0)


def press(page: Page, pane: int, turn: int, name: str) -> None:
    """A button below a turn, which is seen when the turn is pointed at."""
    one = page.locator(f"#pane-{pane} .turn").nth(turn)
    one.hover()
    one.get_by_role("button", name=name).click()


def test_tools_and_thoughts_by_hand(shared: Window, visit: Visit) -> None:
    page = visit(shared.url)
    open_chat(page)
    choose(page, "field-model_name_or_path", "tiny")
    choose_echo(page)
    load(page)
    page.locator("#chat-tools > button").click()
    type_into(page, "field-tools", "[{}]")
    expect(page.locator("#tools-told")).to_contain_text("Tool 1 has no name")
    page.locator("#field-tools textarea").fill('{"name": "weather", "parameters": {"type": "object"}}')
    expect(page.locator("#tools-told")).to_have_text("Offered: weather")
    page.locator("#chat-more > button").click()
    choose(page, "field-thinking", "on")
    say(page, 'call weather {"city": "Paris"}')
    expect(page.locator("#pane-0 .call")).to_contain_text("Paris")
    page.locator("#pane-0 .results textarea").fill("12 degrees")
    page.locator("#pane-0 .results button").click()
    wait_answered(page, 0, 4)
    thought = page.locator("#pane-0 .turn").nth(3).locator("details.thought")
    expect(thought.locator("p")).to_be_hidden()
    thought.locator("summary").click()
    expect(thought.locator("p")).to_have_text("I was asked: 12 degrees")
    page.locator("#preset-exact").click()
    expect(page.locator("#field-temperature input, #field-temperature textarea").first).to_have_value("0")


def a_new_window_is_told_the_key(shared: Window, visit: Visit) -> None:
    """It finds the API and says that it does not know its key, until somebody enters it."""
    anew = open_process(shared.workspace, free_port())
    try:
        page = visit(anew.url)
        open_chat(page)
        page.locator("#chat-api > button").click()
        expect(page.locator("#api-state .warning")).to_contain_text("Its key is not known here any more")
        picture(page, "chat_api_forgotten")
        page.locator("#api-key input").fill("another")
        page.locator("#api-key input").press("Enter")
        expect(page.locator("#api-told")).to_contain_text("does not take this key")
        page.locator("#api-key input").fill("geheim-密钥")
        page.locator("#api-key input").press("Enter")
        expect(page.locator("#api-state")).to_contain_text("It asks for the key that it was started with")
        expect(page.locator("#api-told")).to_be_empty()
        say(page, "hello again")
        wait_answered(page, 0, 2)
        assert turns(page, 0)[1] == "my-run: hello again"
    finally:
        anew.kill()


def test_the_api_is_opened_from_the_page(shared: Window, tuned: Run, visit: Visit) -> None:
    port = str(free_port())
    page = visit(shared.url, locale="zh-CN")
    page.locator("#tabs").get_by_role("tab").filter(has_text="对话").click()
    page.locator("#chat-advanced > button").click()
    choose(page, "field-infer_backend", "echo")
    choose(page, "who", "my-run  ·  tiny")
    expect(page.locator("#field-model_name_or_path input")).to_have_value("tiny")
    page.locator("#chat-api > button").click()
    type_into(page, "field-api_port", port)
    type_into(page, "api-key", "geheim-密钥")
    page.locator("#api-start").click()
    expect(page.locator("#api-state .chip.finished")).to_have_text("已打开", timeout=60_000)
    asked = {"model": "my-run", "messages": [{"role": "user", "content": "hi"}]}
    address = f"http://127.0.0.1:{port}/v1/chat/completions"
    assert httpx.post(address, json=asked, trust_env=False).status_code == 401
    told = {b"Authorization": "Bearer geheim-密钥".encode()}
    answer = httpx.post(address, json=asked, headers=told, trust_env=False).json()
    assert answer["choices"][0]["message"]["content"] == "my-run: hi"
    files = [path for path in shared.workspace.root.rglob("*") if path.is_file() and path.stat().st_size < 2**20]
    assert not [path for path in files if "geheim" in path.read_text("utf-8", errors="replace")]
    page.reload()
    page.locator("#tabs").get_by_role("tab").filter(has_text="对话").click()
    expect(page.locator("#chat-status .chip.finished")).to_be_visible()
    page.locator("#chat-api > button").click()
    expect(page.locator("#api-state code.name")).to_have_text(f"http://127.0.0.1:{port}/v1")
    page.locator("#api-state .client summary").first.click()
    say(page, "你好")
    wait_answered(page, 0, 2)
    assert turns(page, 0)[1] == "my-run: 你好"
    picture(page, "chat_api_zh")
    a_new_window_is_told_the_key(shared, visit)
    page.locator("#api-stop").click()
    expect(page.locator("#api-state")).to_contain_text("没有打开的 API")
    expect(page.locator("#chat-unload")).to_be_disabled()
    assert list_runs(shared.workspace, "serve") == []
