"""The whole journey of a beginner on the real starter model, in Chinese and in English, with pictures of it."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window, picture
from tests.browser.test_train import choose, type_into, wait_state
from workbench.runs import list_runs

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.proof]

JOURNEYS = {
    "en": {
        "language": "English",
        "set": "identity_en",
        "name": "Aurora",
        "author": "Starlight Lab",
        "running": "running",
        "finished": "finished",
        "chat": "Chat",
        "question": "What is your name?",
    },
    "zh": {
        "language": "中文",
        "set": "identity_zh",
        "name": "小极光",
        "author": "星光实验室",
        "running": "运行中",
        "finished": "已完成",
        "chat": "对话",
        "question": "你叫什么名字？",
    },
}
TRAINING_S = 900


def choose_language(page: Page, shown: str) -> None:
    box = page.locator("#language input")
    if box.input_value() != shown:
        choose(page, "language", shown)
    expect(box).to_have_value(shown)


@pytest.mark.parametrize("locale", ["zh", "en"])
def test_journey(window: Window, visit: Callable[..., Page], locale: str, kept_journey: Path) -> None:
    words = JOURNEYS[locale]
    page = visit(window.url, locale="de-DE")
    choose_language(page, words["language"])
    choose(page, "field-model_name_or_path", "SmolLM2-135M-Instruct")
    page.locator("#field-dataset input").press("Backspace")
    choose(page, "field-dataset", words["set"])
    type_into(page, "value-0", words["name"])
    type_into(page, "value-1", words["author"])
    type_into(page, "field-watch_prompts", words["question"])
    expect(page.locator("#plan .plan.ready")).to_be_visible()
    page.locator("#start").click()
    wait_state(page, words["running"], 30)
    expect(page.locator("#live svg path.strong")).to_be_visible(timeout=120_000)
    before = drawn_points(page)
    page.reload()
    wait_state(page, words["running"], 30)
    page.wait_for_function(
        "before => (document.querySelector('#live path.strong')?.getAttribute('d') ?? '').split('L').length > before",
        arg=before,
        timeout=120_000,
    )
    wait_state(page, words["finished"], TRAINING_S)
    answers = page.locator("#live .samples dd")
    expect(answers.last).to_contain_text(words["name"])
    expect(answers.first).not_to_contain_text(words["name"])
    picture(page, f"train_{locale}")
    chat(page, words, locale)
    run = list_runs(window.workspace)[0]
    assert run.state() == "finished"
    assert (run.folder / "training_loss.png").read_bytes().startswith(b"\x89PNG")
    if locale == "en":
        shutil.copytree(run.folder, kept_journey / run.name, ignore=shutil.ignore_patterns("checkpoint-*"))


def drawn_points(page: Page) -> int:
    path = page.locator("#live path.strong").get_attribute("d") or ""
    return path.count("L") + 1


def chat(page: Page, words: dict[str, str], locale: str) -> None:
    """From the finished run into the chat: the tuned model says the name, the base beside it does not."""
    page.locator("#chat-with").click()
    expect(page.get_by_role("tab", name=words["chat"])).to_have_attribute("aria-selected", "true")
    expect(page.locator("#chat-status .chip.finished")).to_be_visible(timeout=120_000)
    page.locator("#compare input").check()
    if not page.locator("#field-temperature").is_visible():
        page.locator("#chat-drawer").click()
    type_into(page, "field-temperature", "0")
    box = page.locator("#chat-box textarea")
    box.fill(words["question"])
    box.press("Enter")
    expect(page.locator("#chat-stop")).to_be_visible()
    expect(page.locator("#chat-stop")).to_be_hidden(timeout=180_000)
    tuned, base = (page.locator(f"#pane-{at}").inner_text() for at in (0, 1))
    if re.search(r"\bbase\b", page.locator("#speaker-0").inner_text()):
        tuned, base = base, tuned
    assert words["name"] in tuned
    assert words["name"] not in base
    picture(page, f"chat_{locale}")
    page.locator("#chat-unload").click()
    expect(page.locator("#chat-unload")).to_be_disabled(timeout=60_000)
