"""Every stage from the page: its fields come and the others go, it trains the tiny model, and its own figure is on the chart."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Window, picture
from tests.browser.test_train import choose, type_into, wait_state
from workbench import stages
from workbench.runs import list_runs
from workbench.sockets import plugins

pytestmark = [pytest.mark.browser, pytest.mark.proof]

WALK: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("sft", "alpaca_en_demo", "field-mask_history", {}),
    ("pt", "text_en_demo", "field-packing", {}),
    ("rm", "dpo_en_demo", "", {"output_dir": "judge"}),
    ("dpo", "dpo_en_demo", "field-pref_loss", {"output_dir": "pairs"}),
    ("kto", "kto_en_demo", "field-kto_chosen_weight", {"output_dir": "marks"}),
    ("ppo", "alpaca_en_demo", "field-ppo_epochs", {"output_dir": "by-score", "reward_model": "judge"}),
    ("grpo", "alpaca_en_demo", "field-num_generations", {"output_dir": "by-rules", "reward_length": "1"}),
)
"""Stage, set, a field that no other stage has, and what is typed beside."""
WORDS = {"en-US": ("Optimisation", "Stage", "finished"), "zh-CN": ("优化", "训练阶段", "已完成")}


def test_every_stage_has_its_walk() -> None:
    assert {stage for stage, *_ in WALK} == set(plugins(stages))


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_walk_through_the_stages(window: Window, visit: Callable[..., Page], locale: str) -> None:
    page = visit(window.url, locale=locale)
    optimisation, shared, finished = WORDS[locale]
    choose(page, "field-model_name_or_path", "tiny")
    page.locator("#mode label").nth(1).click()
    page.get_by_role("button", name=optimisation, exact=True).click()
    type_into(page, "field-max_steps", "3")
    own = [field for _, _, field, _ in WALK if field]
    for stage, dataset, field, typed in WALK:
        choose(page, "field-stage", stage)
        page.locator("#field-dataset input").press("Backspace")
        choose(page, "field-dataset", dataset)
        for other in own:
            expect(page.locator(f"#{other}")).to_have_count(1 if other == field else 0)
        for key, value in typed.items():
            type_into(page, f"field-{key}", value)
        page.locator("#start").click()
        expect(page.locator("#live .name")).to_contain_text(typed.get("output_dir", ""), timeout=30_000)
        wait_state(page, finished, 120)
        chart = page.locator("#live .chart .choices button").nth(1)
        chart.click()
        expect(page.locator("#live svg path.strong, #live svg circle").first).to_be_visible()
        picture(page, f"stage_{stage}_{locale[:2]}")
    assert [run.state() for run in list_runs(window.workspace)] == ["finished"] * len(WALK)
