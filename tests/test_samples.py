"""Samples: rows of a set one by one, placeholders, what is put right, what is left out, and how many there are."""

import json
from dataclasses import replace
from typing import Any

import pytest

from workbench.data import samples
from workbench.data.datasets import Entry, read_catalogue
from workbench.data.samples import (
    FIRST_ROWS,
    SMALL_BYTES,
    asked_placeholders,
    count_set,
    fill,
    of_shape,
    placeholders,
    read_set,
    told,
    value_notes,
    value_problems,
)
from workbench.formats import Turn
from workbench.problems import UserError
from workbench.workspace import Workspace

ROW = {"instruction": "Q", "input": "", "output": "A"}


def entry_of(workspace: Workspace, rows: list[Any], name: str = "x.json", **more: Any) -> Entry:
    """A set of these rows."""
    lines = name.endswith("l")
    text = "".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows)
    (workspace.data / name).write_text(text, "utf-8")
    (workspace.data / "dataset_info.json").write_text(json.dumps({"x": {"file_name": name, **more}}), "utf-8")
    return read_catalogue(workspace).entries["x"]


def test_placeholders_are_found_wherever_they_stand(workspace: Workspace) -> None:
    rows = [
        {"instruction": "Who is {{name}}?", "output": "{{ author }} made {{name}}.", "history": [["{{deep}}", "x"]]},
        {"instruction": "{not} {{1bad}} {{}} {{ a b }}", "output": "{{name }}"},
    ]
    entry = entry_of(workspace, rows)
    assert placeholders(entry) == ["name", "author", "deep"]
    first, second = read_set(entry, {"name": "A{{author}}", "author": "B\\1", "deep": "d"})
    assert first.sample and second.sample
    assert [turn.content for turn in first.sample.turns] == ["d", "x", "Who is A{{author}}?", "B\\1 made A{{author}}."]
    assert second.sample.turns[-1].content == "A{{author}}"


def test_a_file_that_changed_is_read_again(workspace: Workspace) -> None:
    entry = entry_of(workspace, [{"instruction": "{{a}}", "output": "b"}])
    assert (placeholders(entry), count_set(entry, {}, None).kept) == (["a"], 1)
    entry = entry_of(workspace, [{"instruction": "{{bb}}", "output": "b"}, ROW])
    assert (placeholders(entry), count_set(entry, {}, None).kept) == (["bb"], 2)


def test_values_that_lack_or_are_not_wanted_are_told(workspace: Workspace) -> None:
    entries = read_catalogue(workspace).entries
    both = [entries["plain"], entries["identity"]]
    assert value_problems(both, {"name": "A", "author": "B"}) == []
    lacking, unused = (str(one.message) for one in value_problems(both, {"name": " ", "autor": "B"}))
    assert lacking == "Dataset 'identity' has placeholders without a value: name, author. Fill in each of them."
    assert "the placeholder autor" in unused
    assert "author, name" in unused
    assert value_problems(both[:1], {"name": "", "author": " "}) == [], "an empty box asks for nothing"
    (said,) = value_problems(both[:1], {"name": "A"})
    assert said.key == "dataset_values"


def test_braces_in_a_few_rows_are_what_is_taught(workspace: Workspace) -> None:
    vue = {"instruction": "Show x in Vue.", "output": "<p>{{ x }}</p>"}
    few = entry_of(workspace, [vue, vue, ROW])
    assert value_problems([few], {}) == [] and value_problems([few], {"x": "5"}) == []
    (said,) = map(str, value_notes([few], {}))
    assert said.startswith("Dataset 'x' has {{ }} without a value: x. These are learned as they stand.")
    assert value_notes([few], {"x": "5"}) == []
    many = entry_of(workspace, [vue, vue, vue])
    assert len(value_problems([many], {})) == 1 and value_notes([many], {}) == []
    named = entry_of(workspace, [{"instruction": "Who?", "output": "{{name}}"}])
    assert len(value_problems([named], {})) == 1 and value_notes([named], {}) == []


def test_a_person_is_asked_for_what_the_used_rows_teach(workspace: Workspace) -> None:
    rows: list[dict[str, Any]] = [{**ROW, "output": "{{name}} of {{firm}}", "note": "{{unread}}"}] * 3
    rows += [{**ROW, "output": "{{firm}}"}, {**ROW, "output": "", "input": "{{lost}}"}, {**ROW, "output": "{{late}}"}]
    entry = entry_of(workspace, [*rows, *[ROW] * 10])
    assert asked_placeholders(entry) == ["firm", "name", "late"], "those in most rows first"
    assert asked_placeholders(entry, 5) == ["firm", "name"]
    (said,) = value_problems([entry], {"late": "L"}, 5)
    assert "without a value: name, firm." in str(said.message), "a value that no used row takes is no mistake"
    (note,) = map(str, value_notes([entry], {"name": "N", "firm": "F"}))
    assert "without a value: late." in note
    assert value_notes([entry], {}, 5) == []


def test_a_name_in_few_of_many_rows_is_what_is_taught(workspace: Workspace) -> None:
    jinja = {**ROW, "output": "{{ name }} has {{ item }}"}
    entry = entry_of(workspace, [*[jinja] * 9, *[ROW] * 1_000])
    assert (asked_placeholders(entry), value_problems([entry], {})) == ([], [])
    assert "without a value: name, item." in str(*value_notes([entry], {}))
    assert asked_placeholders(entry_of(workspace, [*[jinja] * 9, *[ROW] * 800])) == ["name"]


def test_fill_leaves_the_rest_as_it_is() -> None:
    value = {"a": ["{{x}}", 5, None, {"b": "{{y}} {{x}}"}], "c": "{x}"}
    assert fill(value, {"x": "1"}) == {"a": ["1", 5, None, {"b": "{{y}} 1"}], "c": "{x}"}


def test_rows_are_kept_put_right_or_left_out_each_with_its_reason(workspace: Workspace) -> None:
    rows: list[Any] = [
        ROW,
        {"instruction": "", "input": " ", "output": "A"},
        {"instruction": "Q", "output": ""},
        {"instruction": "Q", "output": 7},
        {**ROW, "history": "x"},
        {**ROW, "history": [["a", "b"]], "system": "S", "input": "I"},
        "no object",
    ]
    read = list(read_set(entry_of(workspace, rows)))
    assert [one.number for one in read] == list(range(1, 8))
    assert [one.state for one in read] == ["kept", "excluded", "excluded", "mended", "excluded", "kept", "excluded"]
    assert all(bool(one.reasons) == (one.state != "kept") for one in read)
    assert str(told("x", read[1])).startswith("Dataset 'x', row 2 is left out: ")
    assert str(told("x", read[3])).startswith("Dataset 'x', row 4 was put right: ")
    assert read[3].sample and read[3].sample.turns[-1] == Turn("assistant", "7")
    assert read[3].row["output"] == 7, "the row as it stands"
    assert read[5].sample and [turn.role for turn in read[5].sample.turns] == ["system", "user", "assistant", "user", "assistant"]


def test_a_set_without_rows_says_so(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="has no rows") as caught:
        list(read_set(entry_of(workspace, [])))
    assert caught.value.problems[0].key == "dataset"


def test_the_first_rows_are_taken(workspace: Workspace) -> None:
    entry = entry_of(workspace, [{**ROW, "instruction": str(number)} for number in range(9)])
    assert [read.row["instruction"] for read in read_set(entry, {}, 3)] == ["0", "1", "2"]


@pytest.mark.parametrize(("wanted", "each"), [(4, {0, 1}), (9, {1}), (22, {2, 3})])
def test_num_samples_draws_each_row_as_often_as_the_others(wanted: int, each: set[int], workspace: Workspace) -> None:
    entry = entry_of(workspace, [{**ROW, "instruction": str(number)} for number in range(9)], num_samples=wanted)
    drawn = [read.row["instruction"] for read in read_set(entry)]
    assert len(drawn) == wanted
    assert {drawn.count(str(number)) for number in range(9)} == each
    assert drawn == [read.row["instruction"] for read in read_set(entry)], "the same each time"


def test_samples_of_another_shape_are_left_out_in_words(workspace: Workspace) -> None:
    entry = entry_of(workspace, [{"prompt": "Q", "completion": "A", "label": True}], formatting="kto")
    (read,) = of_shape(read_set(entry), ("dialogue",))
    assert read.sample is None
    assert str(read.reasons[0]) == "it holds answers marked good or bad, and this stage learns from questions with answers."
    assert count_set(entry, {}, None).excluded == 1
    assert count_set(entry, {}, None, ("label",)).kept == 1


def test_a_large_set_is_judged_by_its_first_rows(workspace: Workspace) -> None:
    row = {**ROW, "output": "A" * 1000}
    rows = [row if number % 4 else {**row, "output": ""} for number in range(SMALL_BYTES // 600)]
    count = count_set(entry_of(workspace, rows, "x.jsonl"), {}, None)
    assert not count.exact
    assert abs(count.samples - len(rows) * 3 / 4) < len(rows) / 20
    assert abs(count.excluded - len(rows) / 4) < len(rows) / 20
    few = count_set(entry_of(workspace, rows, "x.jsonl"), {}, 100)
    assert (few.exact, few.kept + few.excluded) == (True, 100)
    assert len(rows) > FIRST_ROWS


def large_rows(count: int) -> list[dict[str, str]]:
    """Rows of which the files are too large to be counted by reading them."""
    return [{**ROW, "output": f"{number} " + "x" * (SMALL_BYTES // count)} for number in range(count)]


def test_a_large_set_of_few_rows_is_counted_exactly(workspace: Workspace) -> None:
    entry = entry_of(workspace, large_rows(50), "x.jsonl")
    assert (count_set(entry, {}, None).samples, count_set(entry, {}, None).exact) == (50, True)
    assert (count_set(entry, {}, 7).samples, count_set(entry, {}, 7).exact) == (7, True)


def test_a_large_set_of_which_some_are_drawn_is_not_read_to_be_counted(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entry_of(workspace, large_rows(4_000), "x.jsonl", num_samples=100)
    seen = 0
    kept = samples.raw_records

    def counted(one: Entry) -> Any:
        nonlocal seen
        for record in kept(one):
            seen += 1
            yield record

    monkeypatch.setattr(samples, "raw_records", counted)
    assert count_set(entry, {}, None).samples == 100
    assert count_set(entry, {}, 30).samples == 30
    assert seen <= 2 * (FIRST_ROWS + 1)


def test_rows_of_a_packed_file_are_as_many_as_it_says(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    rows = [{**ROW, "output": f"{number} " + "x" * 500} for number in range(9_000)]
    entry = entry_of(workspace, [], "x.parquet")
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), entry.place, compression="zstd")
    monkeypatch.setattr(samples, "SMALL_BYTES", 1_000)
    assert entry.place.stat().st_size * 10 < 9_000 * 500
    assert (count_set(entry, {}, None).samples, count_set(entry, {}, 8_000).samples) == (9_000, 8_000)
    drawn = replace(entry, num_samples=3)
    assert (count_set(drawn, {}, None).samples, len(list(read_set(drawn)))) == (3, 3)
