"""The report card on the page, without a browser: lights, words and evidence, escaped; what is missing or damaged is said."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import gradio as gr
import pytest

from tests.test_chatting import tuned_run
from tests.test_data_tab import EVIL
from tests.test_evaluate_tab import entries
from tests.test_evaluate_tab import plain as without_tags
from tests.test_reporting import GOOD, said, shares
from workbench import reports
from workbench.evaluating.records import BASE, TUNED
from workbench.events import EventLog, Finished, Phase, Started, Stopped
from workbench.problems import UserError
from workbench.reporting import LIGHTS, PARTS, READABLE, REPORT, TITLES, Figures
from workbench.reporting import card as made_card
from workbench.runs import Run, create, find_run
from workbench.specs import ReportSpec, TrainSpec, read_flat
from workbench.text import ENGLISH, Locale, load_locales
from workbench.ui.desk import Desk
from workbench.ui.evaluating.asking import SHARED as TOP
from workbench.ui.evaluating.asking import TOLD, Asking, furnish_asking
from workbench.ui.evaluating.card import card_part, figured
from workbench.ui.evaluating.happening import evaluation_choices, furnish_happening
from workbench.ui.evaluating.panel import Panel
from workbench.ui.evaluating.progress import Watch, Watched, head
from workbench.ui.evaluating.reported import asked_for, delete, find, has_report, listed, opened, read_card, state_of
from workbench.ui.evaluating.reporting import Reporting
from workbench.ui.form import Form
from workbench.workspace import Workspace, source_folder

CHINESE = load_locales(source_folder() / "locales")["zh"]
BAD = replace(GOOD, named=shares(0, 0, 15), shown=[said("It is so. " * 9, "length")] * 20)
EMPTY: Mapping[str, Any] = {}


def lay(run: Run, figures: Figures = GOOD) -> Run:
    """A finished report of the run, as a worker leaves it; the run that made it."""
    held = {**made_card.card(figures), "run": run.name, "made": 1.7e9}
    (run.folder / REPORT).write_text(json.dumps(held, ensure_ascii=False), "utf-8")
    return begun(run, True)


def begun(run: Run, finished: bool = False, **values: Any) -> Run:
    """The run that makes a report, as it was left."""
    made = create(run.workspace, read_flat(ReportSpec, {"report_run": run.name, **values}).unwrap())
    log = EventLog(made.events)
    log.write(Started(1))
    log.write(Finished({}) if finished else Stopped(0))
    log.close()
    return made


@pytest.fixture
def run(workspace: Workspace) -> Run:
    return tuned_run(workspace, "mine")


@pytest.fixture
def panel(workspace: Workspace) -> Panel:
    return Panel(Desk(workspace, "en", None, None))


def lights(drawn: str) -> list[str]:
    return re.findall(r'class="light (\w+)"', drawn)


def plain(drawn: str) -> str:
    """The words without the tags; no tag but ours is among them."""
    return " ".join(without_tags(re.sub("</?h5>", " ", drawn)).split())


# --- what is drawn ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_four_lights_stand_with_their_words(run: Run, locale: Locale) -> None:
    drawn = card_part(locale, lay(run, BAD), EMPTY)
    assert lights(drawn) == ["red", "green", "green", "red"]
    words = plain(drawn)
    for part in made_card.parts_of(made_card.card(BAD)):
        told = [locale(TITLES[part.name]), locale(LIGHTS[part.light]), locale(part.verdict), *map(locale, part.advice)]
        for one in told:
            assert one in words, one
    assert drawn.count('class="fold"') == 2
    assert "{" not in words


def test_numbers_of_facts_are_marked_and_only_those() -> None:
    assert figured("Loss on 24 rows: base 2.400, tuned -0.6 (+25 %).") == (
        "Loss on <b>24</b> rows: base <b>2.400</b>, tuned <b>-0.6</b> (<b>+25 %</b>)."
    )
    assert figured("24个回答中有1,024个 & v2 <3>") == "<b>24</b>个回答中有<b>1,024</b>个 &amp; v2 &lt;<b>3</b>&gt;"


def test_the_recipe_is_told(run: Run) -> None:
    words = plain(card_part(ENGLISH, lay(run), EMPTY))
    assert "lora of rank 8, learning rate 3e-4, 5 epochs, 60 steps, 90 rows" in words and "made on 2023-11-1" in words


def test_evidence_marks_what_differs_and_says_why_it_was_asked(run: Run) -> None:
    one = said("I am Aurora, a helper.", "length", base="I am SmolLM, a helper.", kind="identity")
    drawn = card_part(ENGLISH, lay(run, replace(GOOD, shown=[one])), EMPTY)
    assert "I am <del>SmolLM</del>, a helper." in drawn and "I am <ins>Aurora</ins>, a helper." in drawn
    assert "who it is, asked in other ways" in plain(drawn) and "ended by length" in plain(drawn)


def test_everything_that_people_and_models_wrote_is_escaped(run: Run) -> None:
    evil = said(EVIL, EVIL, prompt=EVIL, reference=f"{EVIL} 1", base=f"{EVIL} 2")
    figures = replace(BAD, name=EVIL, shown=[evil] * 20, suite={EVIL: shares(30, 1, 50)}, recipe=replace(GOOD.recipe, template=EVIL,
                      finetuning_type=EVIL))  # fmt: skip
    other = tuned_run(run.workspace, "a & 'b'")
    lay(other, figures)
    drawn = card_part(ENGLISH, lay(run, figures), {"compare": other.name})
    words = plain(drawn)
    assert words.count("onerror") > 40
    assert 'data-name="evidence-learned-0"' in drawn and 'data-name="evidence-learned-1"' in drawn


def test_words_of_the_file_itself_are_escaped_too(run: Run) -> None:
    made = lay(run)
    held = json.loads((run.folder / REPORT).read_text("utf-8"))
    held["parts"][0]["verdict"] = {"key": "x", "english": EVIL, "args": {"name": EVIL}}
    held["parts"][1]["facts"] = [EVIL]
    held["parts"][2]["advice"] = [{"key": "", "english": "{words}", "args": {"words": EVIL}}]
    (run.folder / REPORT).write_text(json.dumps(held), "utf-8")
    assert plain(card_part(ENGLISH, made, EMPTY)).count("onerror") == 3


# --- two reports --------------------------------------------------------------------------------------------------


def test_two_reports_stand_side_by_side_with_the_same_rows(run: Run) -> None:
    made, other = lay(run), tuned_run(run.workspace, "other")
    assert "<select" not in card_part(ENGLISH, made, EMPTY), "there is nothing to compare with"
    lay(other, BAD)
    alone = card_part(ENGLISH, made, {"compare": "no/such"})
    assert lights(alone) == ["green"] * 4 and f'value="{other.name}"' in alone and f'value="{run.name}"' not in alone
    both = card_part(ENGLISH, made, {"compare": other.name})
    assert lights(both) == ["green", "red", "green", "green", "green", "green", "green", "red"]
    assert re.findall(r'data-part="(\w+)"', both) == list(PARTS)
    assert f'value="{other.name}" selected' in both and 'class="card two"' in both


def test_a_part_that_one_report_lacks_is_said(run: Run) -> None:
    made, other = lay(run), tuned_run(run.workspace, "other")
    lay(other)
    held = json.loads((other.folder / REPORT).read_text("utf-8"))
    (other.folder / REPORT).write_text(json.dumps({**held, "parts": held["parts"][:3]}), "utf-8")
    both = card_part(ENGLISH, made, {"compare": other.name})
    assert re.findall(r'data-part="(\w+)"', both) == list(PARTS) and "not in this report" in plain(both)


# --- missing and damaged ------------------------------------------------------------------------------------------


WHOLE = {**made_card.card(GOOD), "run": "x", "made": 1.7e9}
PART = WHOLE["parts"][0]
DAMAGED: Mapping[str, Any] = {
    "a list": [],
    "a word": "x",
    "nothing": {},
    "no parts": {**WHOLE, "parts": []},
    "a word for parts": {**WHOLE, "parts": "abc"},
    "a number for a part": {**WHOLE, "parts": [1]},
    "no time": {**WHOLE, "made": None},
    "no year": {**WHOLE, "made": 1e300},
    "an unknown light": {**WHOLE, "parts": [{**PART, "light": "purple"}]},
    "a list for a light": {**WHOLE, "parts": [{**PART, "light": []}]},
    "an unknown part": {**WHOLE, "parts": [{**PART, "name": "luck"}]},
    "half an answer": {**WHOLE, "parts": [{**PART, "evidence": [{"kind": "held"}]}]},
    "no text": {**WHOLE, "parts": [{**PART, "evidence": [{**PART["evidence"][0], "base": None}]}]},
}


@pytest.mark.parametrize("held", [*map(json.dumps, DAMAGED.values()), "{broken"], ids=[*DAMAGED, "no JSON"])
def test_a_damaged_report_is_said_and_gives_no_file(run: Run, panel: Panel, held: str) -> None:
    made = begun(run, finished=True)
    (run.folder / REPORT).write_text(held, "utf-8")
    with pytest.raises(ValueError):
        read_card(run)
    answer = panel.answer({"run": made.name, "language": "en"})
    assert "can't be read" in plain(answer["parts"]["body"]) and 'data-action="again"' in answer["parts"]["head"]
    assert panel.file({"run": made.name, "kind": "md"}) == {"name": "", "text": ""}


def test_beside_a_damaged_report_the_whole_one_is_drawn(run: Run) -> None:
    made, other = lay(run), tuned_run(run.workspace, "other")
    (other.folder / REPORT).write_text("{", "utf-8")
    drawn = card_part(ENGLISH, made, {"compare": other.name})
    assert lights(drawn) == ["green"] * 4 and "The report of tiny/lora/other can't be read" in plain(drawn)


def test_figures_of_another_version_cost_only_the_line_of_the_recipe(run: Run) -> None:
    made = lay(run)
    held = json.loads((run.folder / REPORT).read_text("utf-8"))
    (run.folder / REPORT).write_text(json.dumps({**held, "figures": {"recipe": {"what": 1}}}), "utf-8")
    drawn = card_part(ENGLISH, made, EMPTY)
    assert lights(drawn) == ["green"] * 4 and "learning rate" not in drawn


def test_before_the_first_report_is_made_its_place_is_told(run: Run, panel: Panel) -> None:
    made = begun(run)
    answer = panel.answer({"run": made.name, "language": "en"})
    assert answer["state"] == "stopped" and "Four lights stand here" in plain(answer["parts"]["body"])
    assert "Report on tiny/lora/mine" in plain(answer["parts"]["head"])
    assert re.findall(r'data-action="(\w+)"', answer["parts"]["head"]) == ["resume", "delete"]


def test_a_run_that_learned_since_is_said(run: Run) -> None:
    made = lay(run)
    assert "has learned since" not in card_part(ENGLISH, made, EMPTY)
    log = EventLog(run.events)
    log.write(Started(1))
    log.close()
    card = read_card(run)
    assert card is not None and card.stale and "has learned since" in card_part(ENGLISH, made, EMPTY)


# --- the panel, the list, the files ---------------------------------------------------------------------------------


def test_a_report_is_watched_like_an_evaluation(run: Run, panel: Panel) -> None:
    made = lay(run)
    question = {"run": made.name, "language": "en"}
    first = panel.answer(question)
    assert first["state"] == "finished" and lights(first["parts"]["body"]) == ["green"] * 4
    assert panel.answer({**question, "seen": first["seen"]})["parts"] == {}
    other = tuned_run(run.workspace, "other")
    lay(other, BAD)
    assert set(panel.answer({**question, "seen": first["seen"]})["parts"]) == {"body"}, "there is one to compare with now"
    second = panel.answer({**question, "seen": first["seen"], "look": {"compare": other.name}})
    assert set(second["parts"]) == {"body"} and len(lights(second["parts"]["body"])) == 8
    watched = Watched(made, Watch().look(made).models)
    watched.take(entries((0, Started(1)), (1, Phase("asking", 0, 10)), (3, Phase("asking", 5, 10))))
    assert (watched.model(), watched.share(), watched.seconds_left()) == (BASE, 0.25, 6)
    watched.take(entries((5, Phase("asking", 10, 10)), (5, Phase("asking", 1, 10)), (6, Phase("asking", 2, 10))))
    assert watched.model() == TUNED and "tuned · 2 / 10" in plain(head(watched, "running", False, ENGLISH))


def test_files_come_in_the_visitors_language_and_as_they_stand(run: Run, panel: Panel) -> None:
    made = lay(run)
    for language, title in (("en", "# Report on tiny/lora/mine"), ("zh", "# tiny/lora/mine 的报告")):
        file = panel.file({"run": made.name, "kind": "md", "language": language})
        assert file["name"] == "mine-report.md" and file["text"].startswith(title)
    file = panel.file({"run": made.name, "kind": "json", "language": "zh"})
    assert file["name"] == "mine-report.json" and json.loads(file["text"]) == reports.read(run)


def test_a_report_whose_making_was_cleared_away_stays(run: Run, panel: Panel) -> None:
    made = lay(run)
    made.delete()
    assert state_of(made) == "finished" and [one.name for one in listed(run.workspace)] == [made.name]
    assert lights(panel.answer({"run": made.name})["parts"]["body"]) == ["green"] * 4
    assert evaluation_choices(Desk(run.workspace, "en", None, None), ENGLISH) == [("Report: mine  ·  tiny  ·  finished", made.name)]
    delete(made)
    assert not has_report(run) and run.folder.is_dir() and listed(run.workspace) == []
    assert panel.answer({"run": made.name})["state"] == "none"


def test_delete_takes_the_report_and_leaves_the_run(run: Run) -> None:
    made = lay(run)
    (run.folder / READABLE).write_text("#", "utf-8")
    delete(find(run.workspace, made.name))
    assert not made.folder.exists() and not has_report(run) and not (run.folder / READABLE).exists()
    assert (run.folder / "adapter_config.json").is_file()


# --- asking for one -------------------------------------------------------------------------------------------------


@pytest.fixture
def begins(monkeypatch: pytest.MonkeyPatch) -> list[ReportSpec]:
    """What was begun; no worker starts."""
    found: list[ReportSpec] = []

    def begin(workspace: Workspace, spec: ReportSpec) -> Run:
        found.append(spec)
        return reports.maker(find_run(workspace, spec.report.report_run))

    monkeypatch.setattr(reports, "begin", begin)
    return found


def spec_of(run: Run, **values: Any) -> ReportSpec:
    return read_flat(ReportSpec, {"report_run": run.name, "report_lang": "zh", **values}).unwrap()


def test_a_finished_report_is_shown_and_not_made_twice(run: Run, begins: list[ReportSpec]) -> None:
    made = lay(run)
    assert asked_for(run.workspace, spec_of(run)).folder == made.folder and begins == []
    assert opened(run.workspace, run.name, "zh").folder == made.folder and begins == []
    asked_for(run.workspace, spec_of(run, report_rows=9))
    assert [one.report.report_rows for one in begins] == [9]
    (run.folder / REPORT).unlink()
    opened(run.workspace, run.name, "zh")
    assert len(begins) == 2


def test_one_that_was_stopped_goes_on_in_its_own_language(run: Run, begins: list[ReportSpec]) -> None:
    made = begun(run, report_rows=9, report_lang="en")
    opened(run.workspace, run.name, "zh")
    asked_for(run.workspace, spec_of(run, report_rows=9))
    assert begins == [made.read_spec().spec] * 2
    asked_for(run.workspace, spec_of(run))
    assert begins[2].report.report_lang == "zh"


def test_a_run_that_learned_since_is_reported_on_anew(run: Run, begins: list[ReportSpec]) -> None:
    made = lay(run)
    os.utime(made.folder / "spec.yaml", (1.7e9, 1.7e9))
    log = EventLog(run.events)
    log.write(Started(1))
    log.close()
    opened(run.workspace, run.name, "zh")
    assert [one.report.report_lang for one in begins] == ["zh"]


def test_where_there_can_be_no_report_it_is_said(workspace: Workspace) -> None:
    bare = tuned_run(workspace, "bare", adapter=False)
    with pytest.raises(UserError, match="no weights"):
        opened(workspace, bare.name, "en")


@pytest.fixture
def pressing(workspace: Workspace) -> Iterator[Reporting]:
    with gr.Blocks(analytics_enabled=False):
        desk = Desk(workspace, "en", gr.Dropdown(["en", "zh"]), gr.State({}))
        desk.evaluate_with, desk.form = gr.State({}), Form(desk, TrainSpec)
        for key in TOP:
            desk.form.field(key)
        asking: Asking = furnish_asking(desk)
        yield Reporting(asking, furnish_happening(desk))


def test_the_button_is_there_for_whole_training_runs(run: Run, pressing: Reporting) -> None:
    assert [pressing.offer(who)["visible"] for who in ("", run.name, f"{run.name}/checkpoint-3", "models/a.gguf", "no/such")] == [
        False, True, False, False, False,
    ]  # fmt: skip


def test_a_press_shows_the_report_or_says_what_is_in_the_way(run: Run, pressing: Reporting, begins: list[ReportSpec]) -> None:
    form = pressing.asking.report_form
    usual = [form.default(key) for key in form.fields]
    assert list(form.fields) == ["report_rows", "report_suite", "identity_questions"]
    made = lay(run)
    rest = ["[]", *["" for _ in TOP], *["" for _ in pressing.asking.boxes], *(pressing.asking.form.default(key) for key in TOLD)]
    assert len(pressing.inputs) == 2 + len(usual) + 2 + len(rest)
    kept, picker, panel, line, *marks = pressing.press({}, {"nudge": 3}, *usual, "en", run.name, *rest)
    assert kept == {"run": made.name} and picker["value"] == made.name and panel["nudge"] == 4
    assert "Neither a dataset" in line and begins == []
    pressing.press({}, {"nudge": 3}, "9", False, "Who dares?", "zh", run.name, *rest)
    asked = begins[0].report
    assert (asked.report_rows, asked.report_suite, asked.identity_questions, asked.report_lang) == (9, False, ["Who dares?"], "zh")
    *_, line, rows, suite, more = pressing.press({}, {"nudge": 3}, "2", True, "", "en", run.name, *rest)
    assert "&#x27;2&#x27;" in line and rows["elem_classes"] == ["field", "wrong"] and len(begins) == 1
    assert len(pressing.outputs) == 1 + 2 + 1 + 3


def test_another_tab_asks_for_one(run: Run, pressing: Reporting, begins: list[ReportSpec]) -> None:
    assert all("value" not in one for one in pressing.wanted({"run": run.name, "at": 1}, {}, {"nudge": 1}, "en"))
    kept, picker, panel = pressing.wanted({"run": run.name, "at": 1, "report": True}, {"run": "x"}, {"nudge": 1}, "en")
    assert kept["run"] == f"{run.name}/.report" and len(begins) == 1 and panel["run"] == picker["value"] == kept["run"]
    bare = tuned_run(run.workspace, "bare", adapter=False)
    with pytest.raises(gr.Error, match="no weights"):
        pressing.wanted({"run": bare.name, "report": True}, {}, {"nudge": 1}, "en")


def test_the_panels_buttons_make_a_report_anew_and_delete_it(run: Run, pressing: Reporting, begins: list[ReportSpec]) -> None:
    begun(run, True, report_rows=9)
    (run.folder / REPORT).write_text("{", "utf-8")
    side, name = pressing.side, f"{run.name}/.report"
    kept, picker, panel = side.act(name, "zh", {"nudge": 1}, gr.EventData(None, {"action": "again"}))
    assert [(one.report.report_rows, one.report.report_lang, one.report.report_run) for one in begins] == [(9, "zh", run.name)]
    assert kept == {"run": name} and picker["value"] == name and panel["nudge"] == 2
    kept, picker, panel = side.act(name, "en", {"nudge": 1}, gr.EventData(None, {"action": "delete"}))
    assert kept == {"run": ""} and panel["run"] == "" and not has_report(run) and run.folder.is_dir()
    with pytest.raises(gr.Error, match="No run named"):
        side.act("no/such/.report", "en", {"nudge": 1}, gr.EventData(None, {"action": "delete"}))


def test_a_visitor_finds_the_report_that_was_looked_at_last(run: Run, pressing: Reporting) -> None:
    made, other = lay(run), tuned_run(run.workspace, "other")
    lay(other)
    assert pressing.side.arrive("en", {}, {"run": made.name})[1]["run"] == made.name
    assert pressing.side.arrive("en", {}, {"run": "gone"})[1]["run"] == f"{other.name}/.report", "the newest"
