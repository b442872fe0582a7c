"""Every stage from the page: its fields come and the others go, it trains the tiny model, and its own figure is on the chart."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window, picture
from tests.browser.test_train import choose, type_into, wait_state
from workbench import stages
from workbench.runs import list_runs
from workbench.sockets import plugins
from workbench.specs import TrainSpec
from workbench.text import Locale, load_locales
from workbench.ui.desk import Desk
from workbench.ui.form import Form
from workbench.workspace import default_workspace, source_folder

pytestmark = pytest.mark.browser
Visit = Callable[..., Page]

WALK: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("sft", "alpaca_{}_demo", {}),
    ("pt", "text_{}_demo", {}),
    ("rm", "dpo_{}_demo", {}),
    ("dpo", "dpo_{}_demo", {}),
    ("kto", "kto_{}_demo", {}),
    ("ppo", "alpaca_{}_demo", {"reward_model": "saves/tiny/lora/run-rm"}),
    ("grpo", "alpaca_{}_demo", {"reward_length": "1"}),
)
"""Stage, set, and what is typed beside."""
TRAINED = {"en": [stage for stage, *_ in WALK], "zh": ["pt", "dpo"]}
"""English trains every stage; Chinese, where only words differ, two of them."""
POINTS = re.compile(r"M[\d.]+ [\d.]+")
"""A line of one point at least; PPO learns once from what it draws."""
FOUND = """() => [...document.querySelectorAll("#asking [id^=field-], #topbar [id^=field-]")]
  .map(one => one.id.replace("field-", "")).sort()"""
OPEN = """words => [...document.querySelectorAll("#sections .section > button:not(.open)")]
  .filter(one => words.includes(one.querySelector("span").textContent.trim())).forEach(one => one.click())"""


def own_fields(place: str) -> set[str]:
    """The fields that some choice at this place brings along."""
    return {key for key, knob in TrainSpec.knobs().items() if knob.place == place and knob.plugin}


def sections(keys: set[str], place: str, locale: Locale) -> list[str]:
    """The titles under which these fields stand."""
    knobs = TrainSpec.knobs()
    chooser = knobs[TrainSpec.CHOICES[place][1]].label(locale)
    return [chooser, *{locale.word(f"sections.{knobs[key].section}", knobs[key].section) for key in keys}]


def expect_fields(page: Page, place: str, chosen: str, locale: Locale) -> None:
    """Of all fields that this place knows exactly those of the choice are there, once their sections are open."""
    form = Form(Desk(default_workspace(), "en", None, None), TrainSpec)
    mine = own_fields(place)
    wanted = sorted(mine & form.used({TrainSpec.CHOICES[place][1]: chosen}))
    page.wait_for_function(
        f"([words, mine, wanted]) => {{ ({OPEN})(words);"
        f" return JSON.stringify(({FOUND})().filter(one => mine.includes(one))) === JSON.stringify(wanted) }}",
        arg=[sections(mine, place, locale), sorted(mine), wanted],
        polling=500,  # a section that was just pressed must not be pressed again while it opens
    )


def begin(page: Page, locale: Locale) -> None:
    """Advanced, the tiny model, two steps, nothing held out."""
    choose(page, "field-model_name_or_path", "tiny")
    page.locator("#mode label").nth(1).click()
    title = TrainSpec.knobs()["max_steps"].section
    page.get_by_role("button", name=locale.word(f"sections.{title}", title)).click()
    type_into(page, "field-max_steps", "2")
    type_into(page, "field-val_size", "0")


def choose_set(page: Page, name: str) -> None:
    """This set and no other."""
    page.locator("#field-dataset .remove-all").click()
    choose(page, "field-dataset", name)


def test_every_stage_has_its_walk() -> None:
    assert {stage for stage, *_ in WALK} == set(plugins(stages))


@pytest.mark.proof
@pytest.mark.parametrize(("language", "visitor"), [("en", "en-US"), ("zh", "zh-CN")])
def test_a_walk_through_the_stages(shared: Window, visit: Visit, language: str, visitor: str) -> None:
    page, locale = visit(shared.url, locale=visitor), load_locales(source_folder() / "locales")[language]
    finished = {"en": "finished", "zh": "已完成"}[language]
    begin(page, locale)
    for stage, dataset, typed in WALK:
        choose(page, "field-stage", stage)
        expect_fields(page, "stage", stage, locale)
        if stage not in TRAINED[language]:
            continue
        choose_set(page, dataset.format(language))
        for key, value in {"output_dir": f"run-{stage}", **typed}.items():
            type_into(page, f"field-{key}", value)
        page.locator("#start").click()
        expect(page.locator("#live .name")).to_contain_text(f"run-{stage}", timeout=30_000)
        wait_state(page, finished, 120)
        title = locale(next(iter(plugins(stages)[stage].Spec.METRICS.values())))
        page.locator("#live .chart .choices").get_by_role("button", name=title, exact=True).click()
        expect(page.get_by_role("img", name=title, exact=True).locator("path.strong")).to_have_attribute("d", POINTS)
        picture(page, f"stage_{stage}_{language}")
    assert [run.state() for run in list_runs(shared.workspace)] == ["finished"] * len(TRAINED[language])


@pytest.mark.parametrize(("language", "visitor"), [("en", "en-US"), ("zh", "zh-CN")])
def test_a_walk_through_the_methods(shared: Window, visit: Visit, language: str, visitor: str) -> None:
    page, locale = visit(shared.url, locale=visitor), load_locales(source_folder() / "locales")[language]
    page.locator("#mode label").nth(1).click()
    methods = TrainSpec.knobs()["finetuning_type"].choices
    assert len(methods) >= 8
    for method in methods:
        choose(page, "field-finetuning_type", method)
        expect_fields(page, "tuning", method, locale)
