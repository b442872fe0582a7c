"""The Data tab in a real browser, zh and en: from a file in an old encoding to a run on its mended rows."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Window, picture
from tests.browser.test_train import type_into
from workbench.data.datasets import read_catalogue
from workbench.runs import list_runs
from workbench.specs import TrainSpec
from workbench.text import Locale, load_locales
from workbench.ui.data.checking import Say as Check
from workbench.ui.data.report import Say as Report
from workbench.ui.tabs.data import Say as Data
from workbench.wording import STATES
from workbench.workspace import source_folder

pytestmark = pytest.mark.browser
LANGUAGES = {"en": "en-US", "zh": "zh-CN"}
ASKED = [
    *("你是谁？", "天空为什么是蓝色的？", "水的化学式是什么？", "一年有几个季节？", "月亮会发光吗？", "怎样煮鸡蛋？"),
    *("什么是光年？", "请推荐一本书。", "鲸鱼是鱼吗？", "怎样学好数学？", "茶有哪些种类？", "彩虹有几种颜色？"),
]
ANSWERED = [
    *("我是小光，一个乐于助人的助手。", "因为空气更容易散射蓝光。", "水由氢和氧组成。", "四个：春、夏、秋、冬。"),
    *("不会，它反射太阳的光。", "水开之后煮八分钟。", "光在一年里走过的距离。", "可以读一读《西游记》。"),
    *("不是，鲸鱼是哺乳动物。", "多想、多算、多总结。", "绿茶、红茶、乌龙茶等。", "通常说有七种。"),
]
OpenPage = Callable[..., Page]


@pytest.fixture
def open_data(chromium: Browser, window: Window) -> Iterator[OpenPage]:
    """``open_data("zh")``: a visitor before the Data tab; fails on script errors, dialogues and outside requests."""
    wrong: list[str] = []
    contexts = []

    def open_page(language: str, width: int = 1440, height: int = 900) -> Page:
        context = chromium.new_context(locale=LANGUAGES[language], viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: wrong.append(f"script error: {error}"))
        page.on("dialog", lambda dialog: wrong.append(f"dialogue: {dialog.message}"))
        page.on("request", lambda request: _note_outside(request.url, wrong))
        page.goto(window.url)
        page.locator("#tab-data-button").click()
        page.wait_for_selector("#data-rows .one")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def _note_outside(url: str, wrong: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1", "data:", "blob:")):
        wrong.append(f"outside request: {url}")


def old_table(file: Path) -> Path:
    """12 rows under Chinese names in GB18030, with two problems: one row twice, one with a control character inside."""
    rows = [(str(number), *two) for number, two in enumerate(zip(ASKED, ANSWERED, strict=True), 1)]
    rows[4] = ("5", ASKED[4], ANSWERED[4].replace("反射", "反\x07射"))
    rows.append(("13", ASKED[0], ANSWERED[0]))
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("序号", "甲", "乙"), *rows])
    file.write_bytes(text.getvalue().encode("gb18030"))
    return file


def choose(page: Page, field: str, value: str) -> None:
    """Pick an entry of a drop-down by its shown words, which another one's list may have too."""
    page.locator(f"#{field} input").click()
    page.locator(f"#{field}").get_by_role("option", name=value, exact=True).click()


@pytest.mark.parametrize("language", ["en", pytest.param("zh", marks=pytest.mark.proof)])
def test_from_an_old_table_to_a_run(window: Window, open_data: OpenPage, tmp_path: Path, language: str) -> None:
    say: Locale = load_locales(source_folder() / "locales")[language]
    page = open_data(language)
    expect(page.locator("#tab-data-button")).to_have_text(say(Data.title))
    choose(page, "field-model_name_or_path", "tiny")

    page.locator("#data-drop input[type=file]").set_input_files(old_table(tmp_path / "问答.csv"))
    expect(page.locator("#draft-head")).to_contain_text("GB18030")
    choose(page, "draft-column-0", "甲")
    choose(page, "draft-column-2", "乙")
    first = page.locator("#draft-rows .one").first
    expect(first.locator(".said.user .words")).to_have_text(ASKED[0])
    expect(first.locator(".said.assistant .words")).to_have_text(ANSWERED[0])
    picture(page, f"data_draft_{language}")
    page.locator("#register").click()
    expect(page.locator("#set-title h2")).to_have_text("问答")
    assert read_catalogue(window.workspace).entries["问答"].layout.columns["response"] == "乙"

    page.locator("#view-check-button").click()
    page.locator("#check").click()
    expect(page.locator("#report .finding")).to_have_count(2)
    expect(page.locator("#report ins, #report .removing")).to_have_count(1)
    picture(page, f"data_check_{language}")
    page.locator("#accept-all").click()
    expect(page.locator("#report .accept input:checked")).to_have_count(2)
    page.locator("#write-mended").click()
    expect(page.locator("#set-title h2")).to_have_text("问答_mended")
    words = say(Check.written(name="问答_mended", rows=12, changed=1, removed=1))
    expect(page.locator("#check-status")).to_contain_text(words)
    page.locator("#check").click()
    expect(page.locator("#report .empty")).to_have_text(say(Report.nothing))

    page.locator("#view-tokens-button").click()
    expect(page.locator("#tokens .tokens .tok.learned").first).to_be_visible(timeout=60_000)
    assert page.locator("#tokens .tokens .tok.learned.special").count() == 1, "the end of the turn is learned"
    assert page.locator("#tokens .tokens .tok.read.special").count() >= 3
    picture(page, f"data_tokens_{language}")

    page.locator("#train-on").click()
    expect(page.locator("#field-dataset")).to_contain_text("问答_mended")
    for field, value in (
        ("num_train_epochs", "1"),
        ("per_device_train_batch_size", "4"),
        ("gradient_accumulation_steps", "1"),
        ("val_size", "0"),
    ):
        type_into(page, f"field-{field}", value)
    expect(page.locator("#plan .plan.ready, #plan .plan.unwise")).to_contain_text("12")
    page.locator("#start").click()
    expect(page.locator("#live .chip")).to_have_text(say(STATES["finished"]), timeout=120_000)
    (run,) = list_runs(window.workspace)
    spec = run.read_spec().unwrap()
    assert isinstance(spec, TrainSpec) and spec.flat()["dataset"] == ["问答_mended"]
    assert run.view().step.step == 3


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1366, 768), (390, 844)])
def test_nothing_overflows(open_data: OpenPage, width: int, height: int) -> None:
    page = open_data("zh", width, height)
    for view in ("rows", "check", "statistics", "tokens", "edit", "set"):
        page.locator(f"#view-{view}-button").click(force=True)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1"), view


def test_a_page_at_rest_asks_for_nothing(open_data: OpenPage) -> None:
    page = open_data("en")
    page.locator('#shelf [data-at="plain"], #shelf li:nth-child(2) button').first.click()
    page.locator("#tab-train-button").click()
    page.wait_for_selector("#plan .plan")
    page.wait_for_timeout(4000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(3000)
    assert [url for url in asked if "heartbeat" not in url] == []


def test_what_a_row_holds_is_shown_and_never_runs(open_data: OpenPage, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script> {{name}} ${alert(3)} {{{x}}}"
    file = tmp_path / "evil.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([("question", "answer", evil), (evil, evil, evil)])
    page = open_data("en")
    page.locator("#data-drop input[type=file]").set_input_files(file)
    expect(page.locator("#draft-rows .said.user .words")).to_have_text(evil)
    (tmp_path / "nothing.json").write_bytes(b"")
    page.locator("#data-drop input[type=file]").set_input_files(tmp_path / "nothing.json")
    expect(page.locator("#data-told")).to_contain_text("'nothing.json' has no rows")
    expect(page.locator("#register")).to_be_hidden()  # what would be registered is not what was dropped last
    page.locator("#data-drop input[type=file]").set_input_files(file)
    page.locator("#register").click()
    expect(page.locator("#set-title h2")).to_have_text("evil")
    expect(page.locator("#data-rows .said.assistant .words")).to_have_text(evil)
    page.locator("#view-check-button").click()
    page.locator("#check").click()
    expect(page.locator("#report .finding").first).to_be_visible()
    page.locator("#view-edit-button").click()
    expect(page.locator("#edit-table")).to_contain_text("onerror=alert(1)")
    page.locator("#view-set-button").click()
    expect(page.locator("#set-format")).to_be_visible()
    page.wait_for_timeout(500)
    assert page.locator("#data img").count() == 0
