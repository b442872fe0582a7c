"""The Data tab without a browser: what is drawn is escaped and true, mends are chosen, edits are kept, files are guessed."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from workbench.data.datasets import Entry, HubSource, read_catalogue
from workbench.data.registry import edit
from workbench.data.reports import Found, Report
from workbench.data.samples import Count, Read
from workbench.data.statistics import Bin, Statistics
from workbench.formats import TAG_NAMES, Layout, Sample, ToolCall, Turn
from workbench.inspector import Inspector
from workbench.problems import UserError
from workbench.text import ENGLISH, verbatim
from workbench.ui.data.chart import histogram, ticks
from workbench.ui.data.checking import NONE, Checking, acted, mended
from workbench.ui.data.draft import fetch, free_name, read_draft, with_mapping
from workbench.ui.data.editing import save_version
from workbench.ui.data.figures import figures_page
from workbench.ui.data.mapping import SLOTS, MapForm, Mapped, columns_of, otherwise
from workbench.ui.data.report import ALL, Seen, changes, marked, report_page
from workbench.ui.data.room import Room, choice, filled, visible
from workbench.ui.data.rows import page_of, rows_page
from workbench.ui.data.shelf import Facts, Shelf, item
from workbench.ui.data.tokens import request, seen, token_html, tokens_page, whole
from workbench.ui.data.turns import read_html, sample_html
from workbench.ui.data.versions import Edits, back, cell, read_sheet, write_version
from workbench.ui.data.working import Doing, Done, bar, beside
from workbench.ui.desk import Desk
from workbench.ui.rows import set_rows
from workbench.ui.window import build
from workbench.workspace import Workspace

EVIL = "<img src=x onerror=alert(1)> \"' & </pre>"
NAKED = re.compile(r"<(?!/?(?:article|b|button|caption|del|details|div|h[1-4]|header|i|input|ins|label|li|line|mark|nav|p|pre|rect"
                   r"|small|span|summary|svg|table|tbody|td|text|th|thead|title|tr|ul)\b)")  # fmt: skip


def plain(drawn: str) -> str:
    """The words without the tags; no tag but ours is among them."""
    assert not NAKED.search(drawn), NAKED.search(drawn)
    assert "onerror=alert(1)>" not in drawn.replace("onerror=alert(1)&gt;", "")
    return re.sub(r"<[^>]*>", " ", drawn)


@pytest.fixture
def desk(workspace: Workspace) -> Desk:
    return Desk(workspace, "en", None, None)


# --- words and rows -----------------------------------------------------------------------------------------------


def test_control_characters_are_seen_and_a_long_text_is_cut() -> None:
    assert visible("a\x00b\x1bc\nd") == "a\u2400b\u241bc\nd"
    assert visible("\ud800") == "?"
    shown = visible("x" * 5000, 10, ENGLISH)
    assert shown.startswith("x" * 10 + "<span") and "5,000 characters" in shown


def test_a_sample_in_words_tells_roles_apart() -> None:
    turns = [
        Turn("system", "Be brief."),
        Turn("user", EVIL),
        Turn("assistant", "", "Let me see.", (ToolCall("look", {"at": "sky"}),)),
        Turn("tool", "blue"),
        Turn("assistant", "Blue.", weight=0),
    ]
    drawn = sample_html(ENGLISH, Sample(turns, tools=[{"type": "function", "function": {"name": "look"}}]))
    words = plain(drawn)
    for word in ("Tools", "System", "Question", "Thought", "Tool call", 'look({"at"', "Tool result", "not learned"):
        assert word in words.replace("&quot;", '"')
    assert re.findall(r'class="said (\w+)"', drawn) == [
        *("system", "system", "user", "thought", "call", "tool", "assistant")
    ]


@pytest.mark.parametrize(
    ("sample", "kinds", "word"),
    [
        (Sample(text="Once upon a time."), ["text"], "Text"),
        (
            Sample([Turn("user", "?")], chosen=[Turn("assistant", "a")], rejected=[Turn("assistant", "b")]),
            ["user", "chosen", "rejected"],
            "Worse answer",
        ),
        (Sample([Turn("user", "?"), Turn("assistant", "a")], label=False), ["user", "assistant"], "marked bad"),
    ],
)
def test_every_shape_has_its_words(sample: Sample, kinds: list[str], word: str) -> None:
    drawn = sample_html(ENGLISH, sample)
    assert re.findall(r'class="said (\w+)"', drawn) == kinds
    assert word in plain(drawn)


def test_a_row_that_is_left_out_stands_there_with_its_reason_and_what_is_proposed() -> None:
    read = Read(7, {"q": EVIL}, None, [verbatim(f"because {EVIL}")], {"q": "mended"})
    words = plain(read_html(ENGLISH, read))
    assert "left out" in words and "because" in words and "Proposed" in words and "mended" in words


def test_pages_of_rows_reach_to_the_last_and_no_further(workspace: Workspace) -> None:
    entry = read_catalogue(workspace).entries["plain"]
    assert [read.number for read in page_of(entry, {}, 15, 20)] == [16, 17, 18, 19, 20]
    assert "rows 1 to 20 of 20" in plain(rows_page(ENGLISH, entry, 99, {}))
    filled_in = rows_page(ENGLISH, read_catalogue(workspace).entries["identity"], 0, {"name": "Aurora"})
    assert "I am Aurora, made by {{author}}." in plain(filled_in)
    assert "The first 20 of 20 rows." in plain(set_rows(ENGLISH, entry))


def test_what_stands_for_placeholders_comes_from_the_boxes_of_train() -> None:
    assert filled([]) == {} and filled([None, "x"]) == {}
    assert filled([["name", "author"], "Aurora", "", "", ""]) == {"name": "Aurora"}


# --- the shelf ----------------------------------------------------------------------------------------------------


def test_the_shelf_lists_sets_and_broken_entries_with_their_reasons(desk: Desk) -> None:
    info = desk.workspace.data / "dataset_info.json"
    entries = json.loads(info.read_text("utf-8"))
    entries |= {"gone": {"file_name": "gone.json"}, EVIL: {"script_url": "x.py"}, "far": {"hf_hub_url": "a/b"}}
    info.write_text(json.dumps(entries), "utf-8")
    drawn = Shelf(Room(desk)).draw(choice("plain"), "en")
    words = plain(drawn)
    for told in ("questions with answers", "20 rows", "would run code", "is not fetched yet", "gone.json"):
        assert told in words
    assert drawn.count('aria-pressed="true"') == 1
    assert "data-pending" not in drawn


def test_a_large_set_is_listed_at_once_and_counted_later(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.ui.data.shelf.PATIENCE_S", -1.0)
    drawn = Shelf(Room(desk)).draw(choice("plain"), "en")
    assert drawn.count("data-pending") == 2 and "counting" in drawn


def test_what_is_known_of_a_set_is_forgotten_when_its_file_changes(desk: Desk) -> None:
    shelf = Shelf(Room(desk))
    assert "20 rows" in shelf.draw(choice(""), "en")
    (desk.workspace.data / "plain.json").write_text('[{"instruction": "a", "output": "b"}]', "utf-8")
    assert "1 rows" in shelf.draw(choice(""), "en")
    columns = {"prompt": "instruction", "response": "output"}
    edit(desk.workspace, "plain", "alpaca", columns, {}, num_samples=3)
    assert "3 rows" in shelf.draw(choice(""), "en"), "how many are drawn counts too"


# --- adding -------------------------------------------------------------------------------------------------------


def write_csv(file: Path, rows: Sequence[tuple[str, ...]], encoding: str) -> Path:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    file.write_bytes(text.getvalue().encode(encoding))
    return file


def test_a_chinese_csv_is_guessed_mapped_and_registered(workspace: Workspace, tmp_path: Path) -> None:
    rows = [
        ("编号", "提问", "回答"),
        *((str(number), f"第{number}个问题？", f"第{number}个回答。") for number in range(9)),
    ]
    draft = read_draft(write_csv(tmp_path / "问答.csv", rows, "gb18030"), "问答.csv")
    assert draft.guessed.columns == {"prompt": "提问", "response": "回答"}
    assert any("GB18030" in str(note) for note in draft.notes)
    assert [read.sample.turns[1].content for read in draft.reads(draft.guessed) if read.sample][:2] == [
        *("第0个回答。", "第1个回答。")
    ]
    name = free_name(draft.shown, read_catalogue(workspace).entries)
    entry = draft.register(workspace, name, draft.guessed)
    assert (entry.name, entry.place.parent) == ("问答", workspace.data)
    assert free_name(draft.shown, read_catalogue(workspace).entries) == "问答_2"


def test_a_column_that_a_person_takes_away_is_not_read(desk: Desk) -> None:
    rows = [{"instruction": "Q", "input": "I", "system": "S", "output": "A"}]
    (desk.workspace.data / "plain.json").write_text(json.dumps(rows), "utf-8")
    info = {"plain": {"file_name": "plain.json", "num_samples": 3}}
    (desk.workspace.data / "dataset_info.json").write_text(json.dumps(info), "utf-8")
    said = {"prompt": "instruction", "response": "output"}
    slots = [said.get(column.name, "") for column in columns_of("alpaca", False)]
    mapped = MapForm(desk, "x").read(["alpaca", False, *slots, *[None] * (SLOTS - len(slots)), *[None] * len(TAG_NAMES)])
    assert (mapped.columns["query"], mapped.columns["system"]) == ("", "")
    drafted = with_mapping(read_catalogue(desk.workspace).entries["plain"], mapped)
    edit(desk.workspace, "plain", mapped.format, mapped.columns, mapped.tags, mapped.ranking)
    entry = read_catalogue(desk.workspace).entries["plain"]
    version, _, _ = save_version(Room(desk), entry, Edits(), "other")
    assert json.loads((desk.workspace.data / "dataset_info.json").read_text("utf-8"))["plain"]["columns"]["query"] is None
    for one in (drafted, entry, version):
        read, *others = page_of(one, {}, 0)
        assert read.sample and [turn.content for turn in read.sample.turns] == ["Q", "A"]
        assert (one.num_samples, len(others)) == (3, 2)
    again = otherwise("alpaca", False, mapped, ["instruction", "input", "output"])
    assert again.columns["query"] == ""
    assert otherwise("prompt_completion", False, mapped, ["prompt", "completion"]).columns["completion"] == "completion"


def test_the_shelf_tells_what_is_odd_and_lists_the_set_once(desk: Desk) -> None:
    info = {"plain": {"file_name": "plain.json", "num_sample": 3}}
    (desk.workspace.data / "dataset_info.json").write_text(json.dumps(info), "utf-8")
    page = Shelf(Room(desk)).draw(choice("plain"), "en")
    assert "num_sample is not read" in page and page.count("aria-pressed") == 1


def test_a_file_without_rows_says_so_without_naming_a_set(tmp_path: Path) -> None:
    for name, content in (("empty.json", b""), ("picture.json", b"\x89PNG\r\n\x1a\n" + bytes(50)), ("x.exe", b"MZ")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError) as caught:
            read_draft(tmp_path / name, name)
        assert name in str(caught.value) and "dataset_info.json" not in str(caught.value)


def test_a_set_of_a_hub_is_fetched_looked_at_and_listed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    source, heard = HubSource("huggingface", "owner/pairs", split="train"), list[Doing]()

    def fetched(home: Workspace, wanted: HubSource, told: Any) -> Path:
        told(50, 200, "train.jsonl")
        place = home.data / wanted.place
        place.mkdir(parents=True)
        (place / "train.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n', "utf-8")
        return place

    monkeypatch.setattr("workbench.ui.data.draft.fetch_dataset", fetched)
    draft = fetch(workspace, source, heard.append)
    assert heard[0].part == 0.25 and "train.jsonl" in heard[0].told
    assert draft.guessed.format == "preference" and free_name(draft.shown, {}) == "pairs"
    entry = draft.register(workspace, "pairs", draft.guessed)
    assert entry.source == source and page_of(entry, {}, 0)[0].sample is not None


@pytest.mark.parametrize(
    ("shown", "name"),
    [("../../x.json", "x"), ("my set (1).csv", "my_set_1"), ("owner/the.set", "the.set"), ("___.txt", "data")],
)
def test_a_name_is_made_of_a_file_name(shown: str, name: str) -> None:
    assert free_name(shown, {}) == name


def test_columns_follow_the_format_and_the_answers_to_compare() -> None:
    assert {"chosen", "rejected"}.isdisjoint(column.name for column in columns_of("alpaca", ranking=False))
    assert {"chosen", "rejected"} <= {column.name for column in columns_of("alpaca", ranking=True)}
    assert [column.name for column in columns_of("preference", ranking=False)][:3] == ["prompt", "chosen", "rejected"]
    before = Mapped("alpaca", {"prompt": "q", "response": "a"}, {}, True)
    assert otherwise("kto", False, before, ["q", "completion", "label"]).columns == {
        "prompt": "q",
        "completion": "completion",
        "kto_tag": "label",
    }


# --- check --------------------------------------------------------------------------------------------------------


def report() -> Report:
    found = [
        Found("mojibake", 3, verbatim("damaged"), "warning", '{"q": "cafÃ©", "a": "1"}', '{"q": "café", "a": "1"}'),
        Found("duplicate", 5, verbatim(EVIL), "error", json.dumps({"q": EVIL}), remove=True),
        Found("personal", 8, verbatim("a number"), "hint", '{"q": "call"}', changes=EVIL),
        Found("mojibake", 9, verbatim("damaged"), "warning", '{"q": "Ã¼"}', '{"q": "ü"}'),
    ]
    counts = {"mojibake": 2, "duplicate": 1, "personal": 1}
    return Report("set", 2000, 1982, 14, 4, found, counts, {"mojibake": 2, "duplicate": 1})


def test_a_report_tells_counts_reasons_and_before_and_after() -> None:
    drawn = report_page(ENGLISH, report(), Seen(accepted={(3, "mojibake")}))
    words = plain(drawn)
    assert "1,982 kept, 14 mended, 4 excluded" in words
    assert "<del>Ã©</del>" in drawn and "<ins>é</ins>" in drawn
    grouped = re.findall(r'data-action="group" data-at="(\w*)"', drawn)
    assert grouped == ["", "duplicate", "mojibake", "personal"], "the gravest first"
    assert drawn.count(" checked>") == 1 and drawn.count('data-action="accept"') == 3
    only = report_page(ENGLISH, report(), Seen("personal"))
    assert only.count("<article") == 1 and 'data-action="accept"' not in only
    assert report_page(ENGLISH, report(), Seen(accepted=ALL)).count(" checked>") == 3


def test_mends_are_accepted_one_by_one_by_check_or_all() -> None:
    state: dict[str, Any] = {**NONE, "report": report().to_json()}
    state = acted(state, "accept", '[3, "mojibake"]', "true")
    assert state["accepted"] == [[3, "mojibake"]]
    assert acted(state, "accept", '[8, "personal"]', "true")["accepted"] == [[3, "mojibake"]], "nothing to mend there"
    state = acted(state, "accept-group", "mojibake", "")
    assert sorted(state["accepted"]) == [[3, "mojibake"], [9, "mojibake"]]
    state = acted({**state, "accepted": ALL}, "accept", '[9, "mojibake"]', "false")
    assert (state["accepted"], state["refused"]) == (ALL, [[9, "mojibake"]]), "what the report does not show stays accepted"
    assert acted(state, "accept", '[9, "mojibake"]', "true")["refused"] == []
    assert acted(state, "refuse", "", "")["accepted"] == []
    state = acted(state, "refuse", "duplicate", "")
    assert [0, "mojibake"] in state["accepted"] and [0, "duplicate"] not in state["accepted"]
    assert state["refused"] == [[9, "mojibake"]]
    state = acted(acted(state, "accept", '[5, "duplicate"]', "true"), "accept", '[3, "mojibake"]', "false")
    assert [5, "duplicate"] in state["accepted"] and sorted(state["refused"]) == [[3, "mojibake"], [9, "mojibake"]]
    seen = Seen(accepted={tuple(one) for one in state["accepted"]}, refused={tuple(one) for one in state["refused"]})
    assert [one.number for one in report().findings if seen.accepts(one)] == [5, 8]
    assert acted(state, "accept-group", "mojibake", "")["refused"] == []
    assert acted(state, "group", "nonsense", "")["group"] == ""
    assert acted(state, "page", "-4", "")["page"] == 0


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("abc", "abc", ("abc", "abc")),
        ("aXc", "ac", ("a<del>X</del>c", "ac")),
        ("", "new", ("", "<ins>new</ins>")),
        ("aa", "aaa", ("aa", "aa<ins>a</ins>")),
        ("<", ">", ("<del>&lt;</del>", "<ins>&gt;</ins>")),
        ("x" * 200 + "1", "x" * 200 + "2", (f"...{'x' * 60}<del>1</del>", f"...{'x' * 60}<ins>2</ins>")),
    ],
)
def test_a_change_is_marked_and_nothing_else(before: str, after: str, shown: tuple[str, str]) -> None:
    assert marked(before, after) == shown


def test_changes_go_by_column_and_a_shortened_row_stays_whole() -> None:
    assert changes('{"a": 1, "b": "x"}', '{"a": "1", "b": "x"}') == [("a", "1", "1")]
    assert changes('{"a": "lo...', '{"a": "x"}') == [("", '{"a": "lo...', '{"a": "x"}')]


# --- tokens and figures -------------------------------------------------------------------------------------------

RESULT: Mapping[str, Any] = {
    "blocks": [{"kept": 4, "title": None, "tokens": [
        [1, "<|im_start|>", False, True], [2, "user\n", False, False], [3, "<b>", False, False], [4, "ok", True, False],
        [5, "<|im_end|>", True, True], [6, "", True, False]]}],
    "row": 2, "rows": 1234, "warnings": [verbatim("no end is learned").to_json()], "template_used": "chatml",
}  # fmt: skip


def test_tokens_are_coloured_and_new_lines_seen() -> None:
    drawn = tokens_page(ENGLISH, RESULT)
    words = plain(drawn)
    assert (
        "6 tokens, 1 of them learned (17 %)" in words and "2 left out" in words and "template: chatml" in words
    )
    assert "no end is learned" in words and "row 2 of 1,234" in words
    assert drawn.count('class="cut"') == 1 and drawn.index('title="4"') < drawn.index('class="cut"') < drawn.index(
        'title="5"'
    )
    assert '<i class="line">↵</i>\n' in drawn
    assert (
        token_html(5, "<|im_end|>", True, True) == '<span class="tok learned special" title="5">&lt;|im_end|&gt;</span>'
    )
    assert "part" in token_html(6, "", True, False)


def test_each_text_of_a_row_is_a_block_with_its_own_end() -> None:
    (block,) = RESULT["blocks"]
    pair = [{**block, "title": verbatim("better").to_json()}, {**block, "kept": 6, "title": verbatim("worse").to_json()}]
    drawn = tokens_page(ENGLISH, {**RESULT, "blocks": pair})
    assert "12 tokens, 4 of them learned (33 %)" in plain(drawn) and "2 left out" in plain(drawn)
    assert drawn.count('class="tokens"') == 2 and drawn.count('class="cut"') == 1
    assert drawn.index("<h4>better</h4>") < drawn.index('class="cut"') < drawn.index("<h4>worse</h4>")
    assert drawn.count(" over") == 2


class Told(Inspector):
    """An inspector that answers at once, from memory."""

    def __init__(self, answer: Mapping[str, Any] | UserError) -> None:
        self.answer = answer
        self.asked: list[Mapping[str, Any]] = []

    def ask(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        self.asked.append(request)
        yield {"done": 0.5, "rows": 10}
        if isinstance(self.answer, UserError):
            raise self.answer
        yield {"result": self.answer}


def test_a_page_of_tokens_comes_after_its_bar_and_an_error_keeps_the_pager() -> None:
    asked = {"model_name_or_path": "models/tiny", "template": "auto", "cutoff_len": "64"}
    pages = list(seen(Told(RESULT), ENGLISH, {"name": "plain"}, 2, {}, asked))
    assert "10 rows" in pages[1] and 'class="tokens"' in pages[-1]
    wrong = list(seen(Told(UserError(verbatim("row 3 is left out"))), ENGLISH, {"name": "plain"}, 3, {}, asked))[-1]
    assert "row 3 is left out" in wrong and 'data-action="page" data-at="3"' in wrong
    assert "No model is chosen" in next(seen(Told(RESULT), ENGLISH, {"name": "plain"}, 1, {}, {}))
    sent = request({"name": "plain"}, 2, {"name": "A"}, asked)
    assert (sent["model"], sent["cutoff_len"], sent["dataset_dir"]) == ("models/tiny", 64, "data")
    assert whole("abc", 7) == 7 and whole(None, 7) == 7


def test_a_check_asks_for_the_validation_sets_and_its_mends_do_so_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(desk)
    monkeypatch.setattr(Room, "changed", lambda *given: {})
    monkeypatch.setattr("workbench.ui.data.checking.asked_of", lambda form, values: ({}, ()))
    view = Checking(room, state="state", check="check", stop="stop", status="status", report="report", bar="bar")
    view.name, view.validation = "name", "validation"
    cleared = view.clear("plain")["validation"]
    assert (cleared["choices"], cleared["value"]) == (["identity"], [])
    told = Told(report().to_json())
    desk.__dict__["inspector"] = told
    made = list(view.run({"name": "plain"}, "en", False, ["identity"]))
    assert told.asked[0]["validation"] == ["identity"]
    state = {**made[-1]["state"], "accepted": ALL}
    told.answer = {"name": "apart", "rows": 3, "changed": 0, "removed": 2, "left_out": 0, "unlearnable": 0}
    list(view.mend({"name": "plain"}, state, "apart", "en"))
    assert (told.asked[1]["validation"], told.asked[1]["accepted"]) == (["identity"], ALL)


def test_estimated_rows_are_told_as_such_and_there_may_be_a_next_one() -> None:
    drawn = tokens_page(ENGLISH, {**RESULT, "row": 7, "rows": 7, "exact": False})
    assert "row 7 of about 7" in drawn and 'data-at="7">Next' in drawn
    assert "row 7 of 7" in (told := tokens_page(ENGLISH, {**RESULT, "row": 7, "rows": 7})) and "disabled>Next" in told
    entry = Entry("big", Path("big.jsonl"), "alpaca", Layout())
    about, exact = (item(ENGLISH, entry, Facts(count=Count(6, 1, 2, None, flag)), False) for flag in (False, True))
    assert "about 9 rows" in about and "about 2 left out" in about
    assert "9 rows" in exact and "2 left out" in exact and "about" not in exact


def test_figures_tell_lengths_the_cutoff_and_padding() -> None:
    figures = Statistics(100, 5000, 1500, [Bin(0, 50, 60), Bin(50, 100, 40)], {50: 45, 100: 99}, {1: 90, 14: 10},
                         {"zh": 70, "other": 30}, 64, 12, 4, 0.31, 0.04)  # fmt: skip
    drawn = figures_page(ENGLISH, figures)
    words = plain(drawn)
    for told in (
        "100 rows, 5,000 tokens",
        "30 % of the tokens",
        "12 rows (12.0 %)",
        "cutoff 64",
        "31 %",
        "&gt; 12",
        "Chinese",
    ):
        assert told in words
    assert drawn.count("<rect") == 2
    assert "No row of this set" in plain(figures_page(ENGLISH, Statistics()))


def test_a_histogram_is_drawn_with_round_ticks_and_its_line() -> None:
    assert ticks(3) == [0, 1, 2, 3] and ticks(1000) == [0, 500, 1000] and ticks(0) == [0]
    drawn = histogram([0, 10, 20], [3, 1], "lengths", 15, "cutoff")
    assert drawn.count("<rect") == 2 and drawn.count("cutoff") == 3
    assert "cutoff" not in histogram([0, 10, 20], [3, 1], "lengths", 5000, "cutoff")


def test_a_mended_set_says_which_places_are_not_in_it() -> None:
    result = {"name": "mended", "rows": 3000, "changed": 1, "removed": 0, "left_out": 0, "unlearnable": 0}
    assert mended(ENGLISH, result).startswith("'mended' has 3,000 rows: 1 mended, 0 left out.")
    assert "can't be read" not in mended(ENGLISH, result)
    assert "2 places that can't be read" in mended(ENGLISH, {**result, "left_out": 2})
    assert "2 rows have no accepted mend" in mended(ENGLISH, {**result, "unlearnable": 2})


# --- edit ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["text", "", None, 3, True, [["a", "b"]], {"x": 1}])
def test_a_cell_that_is_not_touched_gives_its_value_back(value: Any) -> None:
    row = {"a": value}
    text = cell(row, "a")
    assert text == "" or back(text, value) == value


def test_edits_survive_other_pages_and_become_a_new_file(workspace: Workspace, tmp_path: Path) -> None:
    entry = read_catalogue(workspace).entries["plain"]
    first, second = read_sheet(entry, 0, 15), read_sheet(entry, 15, 15)
    table = first.cells(Edits())
    table[0][4], table[1][1] = "zero", False
    del table[2]
    edits, wrong = first.taken([*table, ["+", True, "new?", "", "new."]], Edits())
    assert not wrong and edits.out == {2, 3} and len(edits.new) == 1
    edits, wrong = second.taken(second.cells(edits), edits)
    assert not wrong and edits.rows[1]["output"] == "zero" and len(edits.new) == 1
    assert write_version(entry, edits, tmp_path / "v2.jsonl") == (19, 0)
    lines = [json.loads(line) for line in (tmp_path / "v2.jsonl").read_text("utf-8").splitlines()]
    assert lines[0]["output"] == "zero" and lines[-1] == {"instruction": "new?", "output": "new."}


def test_a_list_that_is_no_json_is_told_and_nothing_is_lost(workspace: Workspace) -> None:
    (workspace.data / "plain.json").write_text(
        '[{"instruction": "a", "output": "b", "history": [["c", "d"]]}]', "utf-8"
    )
    sheet = read_sheet(read_catalogue(workspace).entries["plain"], 0, 5)
    table = sheet.cells(Edits())
    table[0][4] = '[["c", "d"'
    edits, wrong = sheet.taken(table, Edits())
    assert not edits.rows and "'history'" in str(wrong[0]) and "Row 1" in str(wrong[0])


# --- what takes its time ------------------------------------------------------------------------------------------


def test_work_beside_the_page_tells_how_far_it_is_and_what_came_of_it() -> None:
    def work(told: Any) -> str:
        told(Doing(0.5, "half"))
        return "done"

    assert list(beside(work))[-1] == Done("done")

    def fail(told: Any) -> None:
        raise UserError(verbatim("no network"))

    with pytest.raises(UserError, match="no network"):
        list(beside(fail))
    assert "50%" in bar(Doing(0.5, EVIL)) and "<img" not in bar(Doing(0.5, EVIL)) and "unknown" in bar(Doing())


# --- the page -----------------------------------------------------------------------------------------------------


def test_of_the_listeners_to_one_change_only_one_is_deferred(workspace: Workspace) -> None:
    """Two would wake each other for ever: see SHARED."""
    page = build(workspace, "en")
    deferring: dict[tuple[int, str], list[str]] = {}
    for dependency in page.get_config_file()["dependencies"]:
        if dependency["trigger_mode"] == "always_last":
            for target, event in dependency["targets"]:
                deferring.setdefault((target, event), []).append(dependency["api_name"])
    assert len(deferring) >= 20
    assert {target: names for target, names in deferring.items() if len(names) > 1} == {}
