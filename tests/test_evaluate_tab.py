"""The Evaluate tab without a browser: what is drawn is escaped and true, sheets sort and filter, files are harmless."""

import csv
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from tests.test_chatting import tuned_run
from tests.test_data_tab import EVIL, NAKED
from workbench.checking import Checked, check_eval
from workbench.evaluating.records import BASE, RESULTS, SAMPLES, TUNED
from workbench.events import Entry, Event, EventLog, Failed, Finished, Note, Phase, Started, Stopped
from workbench.models import model_choices
from workbench.problems import Problem
from workbench.runs import Run, create
from workbench.specs import EvalSpec, TrainSpec, read_flat
from workbench.text import ENGLISH, verbatim
from workbench.ui.desk import Desk
from workbench.ui.evaluating.asking import plan_line
from workbench.ui.evaluating.downloads import csv_text, harmless, jsonl_text
from workbench.ui.evaluating.figures import figures
from workbench.ui.evaluating.panel import Panel
from workbench.ui.evaluating.progress import Watch, Watched, head
from workbench.ui.evaluating.samples import marked, samples_part
from workbench.ui.evaluating.sheet import Look, Sheet, read_sheet
from workbench.ui.evaluating.whom import brought, learned, spec_values, trained
from workbench.ui.form import Form
from workbench.ui.window import build
from workbench.workspace import Workspace

MORE_TAGS = re.compile(r"</?(?:section|select|option|ol|dl|dt|dd)\b[^>]*>|</?(?:b|i|small|tr|th|td)\b[^>]*>")
ECHO = {"infer_backend": "echo", "model_name_or_path": "models/tiny", "dataset": ["plain"]}


def plain(drawn: str) -> str:
    """The words without the tags; no tag but ours is among them."""
    rest = MORE_TAGS.sub(" ", drawn)
    assert not NAKED.search(rest), NAKED.search(rest)
    assert "onerror=alert(1)>" not in rest.replace("onerror=alert(1)&gt;", "")
    return html.unescape(re.sub(r"<[^>]*>", " ", rest))


def said(
    answer: str, finish: str = "stop", odd: Mapping[str, float | None] | None = None, **scores: float | None
) -> dict[str, Any]:
    """An answer with its scores; ``odd``: those whose names are no words."""
    return {"answer": answer, "finish": finish, "tokens": 3, "scores": {**scores, **(odd or {})}}


def row(number: int, base: dict[str, Any] | None, tuned: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    held = {"set": "plain", "row": number, "prompt": [{"role": "user", "content": f"question {number}"}], "reference": "right"}
    return {**held, **({BASE: base} if base else {}), **({TUNED: tuned} if tuned else {}), **more}


def sheet(rows: Sequence[Mapping[str, Any]], measures: Sequence[str] = ("f1",)) -> Sheet:
    return Sheet(rows, [model for model in (BASE, TUNED) if any(model in one for one in rows)], measures)


@pytest.fixture
def four() -> Sheet:
    """Worse, better, alike, and one without a score."""
    return sheet(
        [
            row(1, said("a b", f1=0.9), said("a c", f1=0.2)),
            row(2, said("x", "length", f1=0.1), said("y", f1=0.8)),
            row(3, said("z", f1=0.5), said("z", "length", f1=0.5)),
            row(4, said("n", f1=None), said("m", f1=0.7)),
        ]
    )


def evaluation(workspace: Workspace, name: str = "one", events: Sequence[Event] = (), **values: Any) -> Run:
    """An evaluation that has said these things."""
    run = create(workspace, read_flat(EvalSpec, {**ECHO, "output_dir": name, **values}).unwrap())
    log = EventLog(run.events)
    for event in (Started(1), *events):
        log.write(event)
    log.close()
    return run


# --- the sheet ----------------------------------------------------------------------------------------------------


def numbers(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    return [int(one["row"]) for one in rows]


@pytest.mark.parametrize(
    ("look", "order"),
    [
        (Look("f1"), [1, 2, 3, 4]),
        (Look("f1", sort="row", down=True), [4, 3, 2, 1]),
        (Look("f1", sort="base"), [2, 3, 1, 4]),
        (Look("f1", sort="base", down=True), [1, 3, 2, 4]),
        (Look("f1", sort="tuned"), [1, 3, 4, 2]),
        (Look("f1", sort="change"), [1, 3, 2, 4]),
        (Look("f1", sort="change", down=True), [2, 3, 1, 4]),
        (Look("f1", only="worse"), [1]),
        (Look("f1", only="better"), [2]),
        (Look("f1", only="length"), [2, 3]),
    ],
)
def test_a_sheet_is_sorted_and_filtered_and_what_has_no_score_comes_last(four: Sheet, look: Look, order: list[int]) -> None:
    assert numbers(four.only(look)) == order


def test_what_a_browser_asks_for_is_taken_only_as_far_as_it_can_be_shown(four: Sheet) -> None:
    asked = {"measure": "f1", "only": "worse", "sort": "change", "down": True, "page": 2}
    assert four.look(asked) == Look("f1", "worse", "change", True, 2)
    wild = {"measure": "<b>", "only": "DROP", "sort": ["x"], "down": None, "page": -1}
    assert four.look(wild) == Look("f1")


def test_a_sheet_is_read_again_when_its_file_has_changed(tmp_path: Path, four: Sheet) -> None:
    assert read_sheet(tmp_path) is None
    (tmp_path / SAMPLES).write_text(jsonl_text(four), "utf-8")
    first = read_sheet(tmp_path)
    assert first is not None and first is read_sheet(tmp_path)
    assert (first.models, first.measures, len(first.rows)) == ([BASE, TUNED], ["f1"], 4)
    (tmp_path / SAMPLES).write_text(jsonl_text(sheet(four.rows[:1])), "utf-8")
    again = read_sheet(tmp_path)
    assert again is not None and len(again.rows) == 1


# --- the table of samples -----------------------------------------------------------------------------------------


def test_differences_are_marked_by_words_and_in_chinese_by_signs() -> None:
    assert marked("I am big here", "I am small here") == ("I am <del>big</del> here", "I am <ins>small</ins> here")
    assert marked("我是小明", "我是小红") == ("我是小<del>明</del>", "我是小<ins>红</ins>")
    assert marked("same", "same") == ("same", "same")
    assert marked("", "all new") == ("", "all new")


def test_everything_that_people_and_models_wrote_is_escaped() -> None:
    turns = [{"role": EVIL, "content": EVIL}, {"role": "user", "content": [EVIL]}]
    evil = row(1, said(EVIL, odd={EVIL: 0.1}), said(f"{EVIL} more", EVIL, {EVIL: 0.9}), prompt=turns, reference=EVIL, set=EVIL)
    other = row(2, said("a", odd={EVIL: None}), said("b", odd={EVIL: 0.0}))
    held = sheet([evil, other], [EVIL])
    words = plain(samples_part(ENGLISH, held, held.look({})))
    assert words.count("onerror") >= 6
    found = {"models": [BASE, TUNED], "samples": 2, "metrics": {EVIL: {BASE: {"mean": 0.5}, TUNED: {"mean": 0.5}}}}
    tasks = {EVIL: {BASE: {"score": 0.5, "categories": {EVIL: 0.5}}, TUNED: {"score": 0.5}}}
    assert plain(figures(ENGLISH, {**found, "tasks": tasks})).count("onerror") >= 4


def test_a_page_holds_twenty_and_tells_where_it_is() -> None:
    held = sheet([row(at, said("a", f1=at / 50), said("b", f1=0.5)) for at in range(1, 46)])
    drawn = samples_part(ENGLISH, held, Look("f1", page=2))
    assert re.findall(r'data-action="open"[^>]*>(\d+)<', drawn) == [str(at) for at in range(41, 46)]
    assert "41 to 45 of 45" in plain(drawn)
    assert "41 to 45 of 45" in plain(samples_part(ENGLISH, held, Look("f1", page=99)))
    assert "No sample is like that" in plain(samples_part(ENGLISH, held, Look("f1", only="length")))


def test_a_sample_shows_scores_change_and_what_was_cut(four: Sheet) -> None:
    words = plain(samples_part(ENGLISH, four, Look("f1")))
    for told in ("-70.0", "+70.0", "ended by length", "Worse  1", "Better  1", "Ended by length  2"):
        assert told in words, told
    assert 'class="number change worse"' in samples_part(ENGLISH, four, Look("f1", only="worse"))


def test_of_one_model_no_change_is_told() -> None:
    held = sheet([row(1, said("a", f1=0.5), None)])
    words = plain(samples_part(ENGLISH, held, held.look({})))
    assert "base" in words and "tuned" not in words and "Change" not in words and "Worse" not in words


def test_a_long_text_and_an_empty_one(four: Sheet) -> None:
    long = sheet([row(1, said("a " * 30_000, f1=0.1), said("", f1=0.2))])
    drawn = samples_part(ENGLISH, long, long.look({}))
    assert len(drawn) < 60_000 and "characters in all" in drawn and "nothing" in drawn
    both = sheet([row(1, said("a " * 30_000, f1=0.1), said("a b", f1=0.2))])
    drawn = samples_part(ENGLISH, both, both.look({}))
    assert len(drawn) < 60_000 and "characters in all" in drawn and "marked in the first 1,500 characters" in drawn


# --- the tables of figures ----------------------------------------------------------------------------------------


def measured(base: float, tuned: float, verdict: str, count: int = 50) -> dict[str, Any]:
    change = {"mean": tuned - base, "low": tuned - base - 0.1, "high": tuned - base + 0.1, "count": count, "p": 0.01}
    spread = [{"mean": one, "low": one - 0.1, "high": one + 0.1, "count": count} for one in (base, tuned)]
    return {BASE: spread[0], TUNED: spread[1], "change": {**change, "verdict": verdict}}


def test_figures_tell_means_intervals_and_verdicts_in_words() -> None:
    found = {
        "models": [BASE, TUNED],
        "samples": 50,
        "metrics": {"rouge-l": measured(0.2, 0.6, "better"), "contains x": measured(0.5, 0.5, "same")},
        "losses": {BASE: {"loss": 3.0, "perplexity": 20.1}, TUNED: {"loss": 1.5, "perplexity": 4.5}, "change": None},
        "tasks": {"everyday_en": {**measured(0.5, 0.4, "worse"), BASE: {"score": 0.5, "categories": {"reading": {"score": 0.4}}}}},
    }
    drawn = figures(ENGLISH, found)
    words = " ".join(plain(drawn).split())
    for told in ("ROUGE-L 20.0 10.0 – 30.0 60.0", "+40.0 +30.0 – +50.0 better", "no measurable difference", "3.0000", "20.10",
                 "everyday_en", "reading 40.0", "Of 3 measures: 1 better, 1 without a measurable difference, 1 worse"):  # fmt: skip
        assert told in words, told
    assert re.findall(r'class="verdict (\w+)"', drawn) == ["better", "same", "worse"]
    assert 'class="tally mixed"' in drawn


def test_few_answers_are_too_few_to_tell() -> None:
    found = {"models": [BASE, TUNED], "metrics": {"chrf": measured(0.1, 0.9, "same", 3)}}
    assert "3 answers are too few to tell" in plain(figures(ENGLISH, found))


def test_of_one_model_alone_a_way_to_more_is_told() -> None:
    found = {"models": [BASE], "samples": 3, "metrics": {"chrf": {BASE: {"mean": None, "low": None, "high": None}}}}
    words = plain(figures(ENGLISH, found))
    assert "measured alone" in words and "–" in words and "Verdict" not in words


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "＝1"])
def test_no_cell_is_a_formula(evil: str) -> None:
    assert harmless(evil) == f"'{evil}"
    held = sheet([row(1, said(evil, odd={evil: 0.25}), said("ok", odd={evil: 0.0}), reference=evil, set=evil)], [evil])
    rows = list(csv.reader(io.StringIO(csv_text(held).removeprefix("\ufeff"), newline="")))
    assert rows[1][0] == rows[1][3] == rows[1][4] == f"'{evil}"
    assert rows[0][-1] == f"'{evil} change" and rows[1][-3:] == ["0.25", "0", "-0.25"]


def test_a_csv_holds_everything_and_opens_in_excel(four: Sheet) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": 'two\nlines, "quoted"'}]
    text = csv_text(sheet([*four.rows, row(5, said("a", f1=1), said("b", f1=0), prompt=turns)]))
    assert text.startswith("\ufeff") and "\r\n" in text
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert [one["row"] for one in rows] == ["1", "2", "3", "4", "5"]
    assert rows[4]["prompt"] == 'system: Be brief.\nuser: two\nlines, "quoted"'
    assert (rows[1]["base"], rows[1]["base finish"], rows[3]["f1 base"], rows[0]["f1 change"]) == ("x", "length", "", "-0.7")


# --- progress and the panel ---------------------------------------------------------------------------------------


def entries(*told: tuple[float, Event]) -> list[Entry]:
    return [Entry(at, time, event) for at, (time, event) in enumerate(told)]


def test_progress_counts_both_models_and_says_what_is_left(workspace: Workspace) -> None:
    watched = Watched(evaluation(workspace), [BASE, TUNED])
    watched.take(entries((0, Started(1)), (1, Phase("asking", 0, 100)), (11, Phase("asking", 50, 100))))
    assert (watched.model(), watched.share(), watched.seconds_left()) == (BASE, 0.25, 30)
    watched.take(entries((21, Phase("asking", 100, 100)), (21, Phase("asking", 20, 100)), (31, Phase("asking", 60, 100))))
    assert (watched.model(), watched.share(), watched.seconds_left()) == (TUNED, 0.8, 10)
    assert "tuned · 60 / 100" in plain(head(watched, "running", False, ENGLISH))
    watched.take(entries((40, Phase("losses", 0, 0)), (41, Phase("scoring"))))
    assert (watched.model(), watched.share(), watched.seconds_left()) == ("", None, None)
    watched.take(entries((50, Started(2)), (51, Phase("asking", 100, 100)), (51, Phase("asking", 60, 100))))
    assert (watched.model(), watched.seconds_left()) == (TUNED, None)


def test_a_file_that_begins_anew_is_read_anew(workspace: Workspace) -> None:
    watch, run = Watch(), evaluation(workspace, events=[Phase("asking", 3, 4)])
    assert watch.look(run).view.phase.done == 3
    run.events.unlink()
    log = EventLog(run.events)
    log.write(Started(1))
    log.close()
    assert watch.look(run).view.phases == []


def test_how_an_evaluation_ended_is_told_with_what_can_be_done(workspace: Workspace) -> None:
    wrong = Failed([Problem(verbatim(EVIL))], EVIL)
    for events, state, told, acts in (
        ([Stopped(0)], "stopped", "no question is asked twice", ["resume", "delete"]),
        ([wrong], "failed", "onerror", ["resume", "delete"]),
        ([], "lost", "ended without a word", ["resume", "delete"]),
        ([Finished({})], "finished", "took", ["delete"]),
    ):
        run = evaluation(workspace, state, events)
        drawn = head(Watch().look(run), run.state(), False, ENGLISH)
        assert run.state() == state and told in plain(drawn)
        assert re.findall(r'data-action="(\w+)"', drawn) == acts


@pytest.fixture
def panel(workspace: Workspace) -> Panel:
    return Panel(Desk(workspace, "en", None, None))


def test_a_browser_gets_only_what_it_has_not_seen(workspace: Workspace, panel: Panel, four: Sheet) -> None:
    run = evaluation(workspace, events=[Note(verbatim(EVIL), "warning"), Finished({})])
    found = {"models": [BASE, TUNED], "samples": 4, "metrics": {"f1": measured(0.2, 0.6, "better")}, "losses": {}, "tasks": {}}
    (run.folder / RESULTS).write_text(json.dumps(found), "utf-8")
    (run.folder / SAMPLES).write_text(jsonl_text(four), "utf-8")
    question = {"run": run.name, "language": "en"}
    first = panel.answer(question)
    assert first["state"] == "finished" and set(first["parts"]) == {"head", "body", "foot"}
    assert "better" in plain(first["parts"]["body"]) and "question 1" in first["parts"]["body"]
    assert "onerror" in plain(first["parts"]["foot"])
    assert panel.answer({**question, "seen": first["seen"]})["parts"] == {}
    looked = panel.answer({**question, "seen": first["seen"], "look": {"only": "worse"}})
    assert set(looked["parts"]) == {"body"} and "question 2" not in looked["parts"]["body"]
    assert set(panel.answer({**question, "seen": first["seen"], "language": "zh"})["parts"]) == {"head", "body", "foot"}
    file = panel.file({"run": run.name, "kind": "csv"})
    assert file["name"] == "one.csv" and file["text"] == csv_text(four)
    assert panel.file({"run": run.name, "kind": "jsonl"})["text"] == jsonl_text(four)


@pytest.mark.parametrize("name", ["", "no/such", "../../etc", "tiny/eval"])
def test_what_is_not_there_is_told_and_gives_no_file(panel: Panel, name: str) -> None:
    answer = panel.answer({"run": name, "language": "en", "seen": None, "look": "x"})
    assert answer["state"] == "none"
    assert ("No evaluation yet" if not name else "not there any more") in plain(answer["parts"]["head"])
    assert panel.file({"run": name, "kind": "csv"}) == {"name": "", "text": ""}


def test_broken_files_are_told(workspace: Workspace, panel: Panel) -> None:
    run = evaluation(workspace, events=[Finished({})])
    assert "Nothing was scored" in panel.answer({"run": run.name})["parts"]["body"]
    (run.folder / SAMPLES).write_text("{broken", "utf-8")
    (run.folder / RESULTS).write_text("[1", "utf-8")
    body = plain(panel.answer({"run": run.name})["parts"]["body"])
    assert "Nothing was scored" in body and "samples.jsonl can't be read" in body


# --- who is measured, and the line above Start -----------------------------------------------------------------------


def test_a_run_brings_its_model_template_and_sets(workspace: Workspace) -> None:
    values = {"name": "Aurora", "author": "Me"}
    run = tuned_run(workspace, "mine", dataset=["identity"], dataset_values=values, template="chatml", default_system="Hi.")
    spec = trained(workspace, run.name)
    assert isinstance(spec, TrainSpec)
    assert brought(spec) == {
        "dataset": ["identity"], "dataset_values": values, "enable_thinking": True, "default_system": "Hi.",
    }  # fmt: skip
    assert learned(spec, ["plain", "identity"]) == ["identity"] and trained(workspace, "") is None
    flat = spec_values(workspace, run.name, {"dataset": ["plain"], **ECHO}, {"template": "llama3"})
    assert flat["adapter_name_or_path"] == [f"saves/{run.name}"] and flat["template"] == "llama3"
    assert check_eval(workspace, flat).spec is not None


def test_a_gguf_file_is_asked_through_an_engine_that_can(workspace: Workspace) -> None:
    flat = spec_values(workspace, "models/a.gguf", {"infer_backend": "transformers"}, {"model_name_or_path": "models/tiny"})
    assert (flat["model_name_or_path"], flat["infer_backend"]) == ("models/a.gguf", "auto")


def test_the_line_above_start_tells_the_truth(workspace: Workspace) -> None:
    desk = Desk(workspace, "en", None, None)
    run = tuned_run(workspace, "mine", dataset=["plain"])

    def line(who: str, **given: Any) -> str:
        return plain(plan_line(desk, ENGLISH, who, check_eval(workspace, spec_values(workspace, who, {**ECHO, **given}, {}))))

    assert "20 rows are asked of the base model." in line("") and "measured alone" in line("")
    assert "7 rows are asked" in line("", max_samples=7)
    told = line(run.name, task=["everyday_en"])
    assert "20 rows are asked of the base model and the tuned one." in told and "Benchmarks: everyday_en" in told
    assert "learned from plain" in told and "learned from" not in line("")
    assert "of the tuned one." in line(run.name, compare_base=False)
    assert "Neither a dataset nor a benchmark" in line("", dataset=[])
    assert "onerror" in plain(plan_line(desk, ENGLISH, "", Checked(None, [Problem(verbatim(EVIL))])))


def test_the_form_holds_every_field_of_an_evaluation_and_no_name_twice(workspace: Workspace) -> None:
    page = build(workspace, "en")
    names = [block.elem_id for block in page.blocks.values() if block.elem_id]
    assert len(names) == len(set(names))
    (models,) = (block for block in page.blocks.values() if block.elem_id == "field-model_name_or_path")
    offered = model_choices(workspace, "huggingface")
    assert models.choices == offered and len(offered) > 1, "its list opens before the server has told a visitor anything"
    above = {"model_name_or_path", "hub", "template", "adapter_name_or_path"}
    missing = [key for key, knob in EvalSpec.knobs().items() if f"eval-{key}" not in names and knob.ui.widget != "values"]
    assert set(missing) == above
    with gr.Blocks(analytics_enabled=False):
        form = Form(Desk(workspace, "en", None, None), EvalSpec, prefix="eval")
        many = [form.field(key) for key in ("metrics", "task")]
    assert all(isinstance(one, gr.Dropdown) and one.multiselect and one.allow_custom_value for one in many)
