"""Checking a set and writing it mended: what the report says, that it travels, and that no mend is lost or left."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.bad_data import entry_of
from workbench.checks import Context
from workbench.data.checkup import Written, check_set, write_mended
from workbench.data.datasets import Entry
from workbench.data.json_rows import json_line
from workbench.data.reports import KEPT_OF_ONE_CHECK, READING, Report, titles
from workbench.data.samples import read_set
from workbench.problems import UserError

GOOD = [{"instruction": f"What is {n} times {n}?", "output": f"It is {n * n}, as one can count."} for n in range(1, 7)]
ZERO = {"instruction": "Say \u200bsomething\x00 nice", "output": "You are\ufeff kind."}
EMPTY = {"instruction": "And then?", "output": "  "}
NULL = {"instruction": "What is missing here?", "output": "null"}
NUMBER = {"instruction": "How much is 6 times 7?", "output": 42}
BROKEN = '{"instruction": "Broken", "output": "here"'
Rows = Sequence[Mapping[str, Any] | str]
Lay = Callable[..., Entry]


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    """Write rows, or lines as they are, as a JSONL file; the set of it."""

    def write(rows: Rows, format: str = "alpaca", name: str = "set", **layout: Any) -> Entry:
        file = tmp_path / f"{name}.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        file.write_text("\n".join(lines) + "\n", "utf-8")
        return entry_of(file, format, **layout)

    return write


def check(entry: Entry, **more: Any) -> Report:
    return check_set(entry, Context(), **more)


def rows_in(file: Path) -> list[Any]:
    text = file.read_text("utf-8")
    return json.loads(text) if file.suffix == ".json" else [json.loads(line) for line in text.splitlines()]


def where(report: Report, name: str) -> list[int]:
    return [one.number for one in report.findings if one.check == name]


def test_a_good_set_has_a_report_without_findings(lay: Lay) -> None:
    report = check(lay(GOOD))
    assert (report.rows, report.kept, report.mended, report.excluded) == (6, 6, 0, 0)
    assert not report.findings and not report.counts
    assert report.shapes == {"dialogue": 6} and not report.label_shares


def test_the_headline_counts_what_reading_did(lay: Lay) -> None:
    report = check(lay([*GOOD * 200, NUMBER, {"instruction": "x"}, BROKEN]))
    assert str(report.headline) == "1,200 kept, 1 mended, 2 excluded"
    assert report.kept + report.mended + report.excluded == report.rows == 1_203


def test_rows_that_reading_changed_are_findings_with_their_mend(lay: Lay) -> None:
    report = check(lay([*GOOD, NUMBER, {"instruction": "x"}, BROKEN]))
    number, missing, broken = (one for one in report.findings if one.check == READING)
    assert (number.number, number.weight) == (7, "hint")
    assert json.loads(number.mend or "")["output"] == "42"
    assert (missing.number, missing.weight, missing.can_mend) == (8, "error", False)
    assert (broken.number, broken.weight, broken.row) == (9, "error", BROKEN)
    assert report.mends[READING] == 2, "a number is its digits, and the brace that is missing is clear"
    assert json.loads(broken.mend or "") == {"instruction": "Broken", "output": "here"}


def test_findings_name_check_row_and_proposal(lay: Lay) -> None:
    report = check(lay([*GOOD, ZERO, NULL, GOOD[2]]))
    assert where(report, "control_characters") == [7]
    assert where(report, "empty_answer") == [8]
    assert where(report, "duplicate") == [9]
    (junk,) = (one for one in report.findings if one.check == "control_characters")
    assert json.loads(junk.mend or "") == {"instruction": "Say something nice", "output": "You are kind."}
    assert set(report.counts) <= set(titles())
    assert report.weights == {"warning": 3}


def test_a_report_crosses_processes(lay: Lay) -> None:
    half = {"instruction": "half of \ud83d it, and more", "output": "yes, it is so"}
    report = check(lay([*GOOD, NUMBER, ZERO, half, BROKEN]))
    wire = json.dumps(report.to_json(), ensure_ascii=False).encode()
    assert Report.from_json(json.loads(wire)) == report


def test_of_a_check_that_fires_everywhere_only_the_first_findings_are_kept(lay: Lay) -> None:
    same = [*GOOD[:1] * (KEPT_OF_ONE_CHECK + 50), NULL]
    report = check(lay(same))
    assert report.counts["duplicate"] == report.mends["duplicate"] == KEPT_OF_ONE_CHECK + 49
    assert len(where(report, "duplicate")) == KEPT_OF_ONE_CHECK
    assert where(report, "empty_answer") == [KEPT_OF_ONE_CHECK + 51], "others are not hidden by it"


def test_long_rows_are_shortened_in_the_report(lay: Lay) -> None:
    report = check(lay([{"instruction": "Long \x00", "output": "word " * 40_000}]))
    (found,) = report.findings
    assert len(found.row) == 2_000 and len(found.mend or "") == 2_000


def test_validation_rows_are_compared_and_not_counted(lay: Lay) -> None:
    held = lay([GOOD[1], {"instruction": "x", "output": "null"}], name="held")
    report = check(lay(GOOD), validation=read_set(held))
    assert report.rows == 6 and report.counts == {"split_leak": 1}
    assert where(report, "split_leak") == [2]


def test_marks_are_counted_as_shares(lay: Lay) -> None:
    rows = [{"prompt": f"Question {n}?", "completion": f"Answer {n}.", "label": n % 4 == 0} for n in range(16)]
    report = check(lay(rows, "kto"))
    assert report.label_shares == {"good": 0.25, "bad": 0.75} and report.shapes == {"label": 16}


def test_of_a_set_that_draws_rows_each_is_checked_once(lay: Lay) -> None:
    drawing = lay(GOOD, num_samples=30)
    assert check(drawing).rows == 6


def test_the_first_rows_alone(lay: Lay) -> None:
    assert check(lay([*GOOD, NULL]), max_samples=4).rows == 4


def test_progress_is_told_and_never_above_one(lay: Lay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.data.checkup.TELL_EVERY_S", 0.0)
    told: list[tuple[int, float]] = []
    check(lay(GOOD * 20), told=lambda rows, share: told.append((rows, share)))
    assert told[-1] == (120, 1.0) and len(told) == 121
    shares = [share for _, share in told]
    assert shares == sorted(shares) and 0 < shares[0] < 0.1 and 0.4 < shares[60] < 0.7


def test_every_mend_at_once(lay: Lay, tmp_path: Path) -> None:
    entry, out = lay([*GOOD, NUMBER, ZERO, NULL, GOOD[2], BROKEN, {"instruction": "x"}]), tmp_path / "out.jsonl"
    before = entry.place.read_bytes()
    assert write_mended(entry, out, "all") == Written(rows=10, changed=3, removed=2, unlearnable=1)
    assert entry.place.read_bytes() == before
    assert rows_in(out) == [
        *GOOD,
        {"instruction": "How much is 6 times 7?", "output": "42"},
        {"instruction": "Say something nice", "output": "You are kind."},
        {"instruction": "Broken", "output": "here"},
        {"instruction": "x"},
    ], "a row that only a person can mend stays as it is"


def test_only_what_was_accepted(lay: Lay, tmp_path: Path) -> None:
    entry, out = lay([*GOOD, NUMBER, ZERO, NULL, GOOD[2], BROKEN]), tmp_path / "out.jsonl"
    written = write_mended(entry, out, {(8, "control_characters"), (10, "duplicate"), (9, "mojibake")})
    assert written == Written(rows=9, changed=1, removed=1, left_out=1)
    assert rows_in(out) == [*GOOD, NUMBER, {"instruction": "Say something nice", "output": "You are kind."}, NULL]


def test_all_but_some(lay: Lay, tmp_path: Path) -> None:
    entry, out = lay([*GOOD, NUMBER, ZERO, NULL, GOOD[2]]), tmp_path / "out.jsonl"
    assert write_mended(entry, out, "all", refused={(8, "control_characters"), (10, "duplicate")}) == Written(9, 1, 1)
    assert rows_in(out)[-2:] == [ZERO, GOOD[2]]
    some = {(0, "duplicate"), (0, "control_characters")}
    assert write_mended(entry, out, some, overwrite=True, refused={(8, "control_characters")}) == Written(9, 0, 1)
    assert rows_in(out)[-2:] == [ZERO, NULL]


def test_several_mends_of_a_row_are_all_kept(lay: Lay, tmp_path: Path) -> None:
    question = "What is the word for coffee?"
    row = {"instruction": question, "output": f"{question}\ncafÃ©\x00", "input": None, "history": []}
    entry, out = lay([row]), tmp_path / "out.jsonl"
    assert len(check(entry).counts) == 3
    write_mended(entry, out, "all")
    assert rows_in(out) == [{**row, "output": "café"}]
    some = {(1, "mojibake"), (1, "control_characters")}
    write_mended(entry, out, some, overwrite=True)
    assert rows_in(out)[0]["output"] == f"{question}\ncafé"


def test_a_row_that_a_mend_makes_a_duplicate_goes_too(lay: Lay, tmp_path: Path) -> None:
    entry, out = lay([GOOD[0], {**GOOD[0], "output": GOOD[0]["output"] + "\u200b"}]), tmp_path / "out.jsonl"
    assert write_mended(entry, out, "all") == Written(rows=1, changed=0, removed=1)


def test_placeholders_stay_unless_they_are_given_values(lay: Lay, tmp_path: Path) -> None:
    row = {"instruction": "Who are you, please?", "output": "I am {{name}}.\x00"}
    entry, out = lay([row]), tmp_path / "out.json"
    write_mended(entry, out, "all")
    assert rows_in(out)[0]["output"] == "I am {{name}}."
    write_mended(entry, out, "all", {"name": "Ada"}, overwrite=True)
    assert rows_in(out)[0]["output"] == "I am Ada."


@pytest.mark.parametrize(
    ("name", "key"),
    [("set.jsonl", "original"), ("there.jsonl", "exists"), ("out.csv", "ending"), ("no/out.json", "no_folder")],
)
def test_a_new_file_must_be_new(lay: Lay, tmp_path: Path, name: str, key: str) -> None:
    entry = lay(GOOD)
    (tmp_path / "there.jsonl").write_text("mine", "utf-8")
    with pytest.raises(UserError) as caught:
        write_mended(entry, tmp_path / name, "all")
    assert caught.value.problems[0].message.key == f"data.checkup.{key}"
    assert (tmp_path / "there.jsonl").read_text("utf-8") == "mine"
    with pytest.raises(UserError):
        write_mended(entry, tmp_path / "set.jsonl", "all", overwrite=True)


def test_a_folder_of_rows_gets_no_file_more(lay: Lay, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    lay(GOOD).place.rename(folder / "part.jsonl")
    entry = entry_of(folder)
    with pytest.raises(UserError) as caught:
        write_mended(entry, folder / "mended.jsonl", "all")
    assert caught.value.problems[0].message.key == "data.checkup.original"
    assert write_mended(entry, tmp_path / "mended.jsonl", "all").rows == 6


def test_rows_are_json_whatever_they_hold() -> None:
    row = {"a": float("nan"), "b": ["half \ud83d", 1.5], "c": date(2026, 1, 2), "d": "é"}
    assert json.loads(json_line(row)) == {"a": None, "b": ["half \ud83d", 1.5], "c": "2026-01-02", "d": "é"}
    assert json_line({"d": "é"}) == '{"d": "é"}'.encode()


def test_nothing_is_left_when_writing_fails(lay: Lay, tmp_path: Path) -> None:
    entry = lay(["no", "rows"])
    entry.place.write_text("", "utf-8")
    with pytest.raises(UserError):
        write_mended(entry, tmp_path / "out.jsonl", "all")
    assert [path.name for path in tmp_path.iterdir()] == ["set.jsonl"]


def test_a_list_is_a_list_also_without_rows(lay: Lay, tmp_path: Path) -> None:
    written = write_mended(lay([NULL]), tmp_path / "out.json", "all")
    assert written == Written(rows=0, changed=0, removed=1) and rows_in(tmp_path / "out.json") == []


DIRT: Sequence[Callable[[str], Any]] = (
    lambda text: text + "\x00",
    lambda text: "\ufeff" + text,
    lambda text: text.replace("e", "Ã©", 1),
    lambda text: "null",
    lambda text: " ",
    lambda text: text.upper(),
    lambda text: text + " {{name}}",
    lambda text: text[:4] + "\ud83d\u200b" + text[4:],
    lambda text: 17,
    lambda text: f"{text}\n{text}",
    lambda text: None,
    lambda text: text,
    lambda text: "<|im_start|>" + text,
)
WORDS = ("Where is the red house", "How do I cook rice at home", "Name the seven seas", "Who wrote this letter")


def dirty(lot: random.Random) -> Any:
    text: Any = lot.choice(WORDS) + lot.choice(("?", ", please?", "?"))
    for _ in range(lot.choice((0, 0, 1, 2))):
        if isinstance(text, str):
            text = lot.choice(DIRT)(text)
    return text


def alpaca(lot: random.Random) -> Any:
    question = dirty(lot)
    answer = f"{question}\n{dirty(lot)}" if lot.random() < 0.2 else dirty(lot)
    return {"instruction": question, "input": lot.choice(("", None)), "output": answer}


def sharegpt(lot: random.Random) -> Any:
    roles = lot.choice(
        (["human", "gpt"], ["human", "gpt"], ["user", "gpt", "human", "assistant"], ["gpt", "human", "gpt"])
    )
    return {"conversations": [{"from": role, "value": dirty(lot)} for role in roles]}


def preference(lot: random.Random) -> Any:
    chosen = dirty(lot)
    return {"prompt": dirty(lot), "chosen": chosen, "rejected": chosen if lot.random() < 0.3 else dirty(lot)}


def kto(lot: random.Random) -> Any:
    return {"prompt": dirty(lot), "completion": dirty(lot), "label": lot.choice((True, False, 1, "no", "?"))}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [alpaca, sharegpt, preference, kto])
def test_after_all_mends_nothing_is_left_to_mend(
    lay: Lay, tmp_path: Path, make: Callable[[random.Random], Any], seed: int
) -> None:
    lot = random.Random(seed)
    rows = [json.dumps(make(lot)) for _ in range(60)]
    entry, out = lay([*rows, rows[3][:-2], rows[5]], make.__name__), tmp_path / "out.jsonl"
    first = check(entry)
    assert sum(first.mends.values()) > 10
    written = write_mended(entry, out, "all")
    assert written.rows + written.removed + written.left_out == first.rows == 62
    again = check(entry_of(out, make.__name__))
    assert (again.rows, again.excluded) == (written.rows, written.unlearnable)
    assert not [(one.number, one.check, str(one.reason), one.row) for one in again.findings if one.can_mend]
    assert written.changed > 0
