"""Datasets: the catalogue and its mistakes, files and theirs, placeholders, and rows that can't be learned from."""

import json
from pathlib import Path
from typing import Any

import pytest

from workbench.datasets import (
    Catalogue,
    chosen_entries,
    fill,
    placeholders,
    raw_rows,
    read_catalogue,
    read_rows,
    value_problems,
)
from workbench.formats import Turn
from workbench.problems import UserError
from workbench.workspace import Workspace, source_folder

ROW = {"instruction": "Q", "input": "", "output": "A"}
WHOLE = {"file_name": "plain.json"}


def info(workspace: Workspace, text: str | dict[str, Any]) -> Catalogue:
    (workspace.data / "dataset_info.json").write_text(text if isinstance(text, str) else json.dumps(text), "utf-8")
    return read_catalogue(workspace)


def told(catalogue: Catalogue) -> list[str]:
    return [str(problem.message) for problem in catalogue.problems]


def broken(workspace: Workspace, name: str, content: bytes) -> str:
    """What is said of a file with this content."""
    (workspace.data / name).write_bytes(content)
    catalogue = info(workspace, {"x": {"file_name": name}})
    with pytest.raises(UserError) as caught:
        raw_rows(catalogue.entries["x"])
    (problem,) = caught.value.problems
    assert problem.key == "dataset"
    assert str(problem.message).startswith("Dataset 'x' in dataset_info.json: file ")
    return str(problem.message)


# The catalogue


def test_the_sets_that_come_along_are_all_right() -> None:
    catalogue = read_catalogue(Workspace(source_folder()))
    assert not catalogue.problems
    assert set(catalogue.entries) >= {"identity_zh", "identity_en", "alpaca_zh_demo", "alpaca_en_demo", "extraction_zh"}
    for entry in catalogue.entries.values():
        values = dict.fromkeys(placeholders(entry), "Aurora")
        rows = read_rows([entry], values, None)
        assert len(rows.samples) >= 20
        assert not rows.excluded
        assert not [turn for sample in rows.samples for turn in sample.turns if "{{" in turn.content]
    assert placeholders(catalogue.entries["identity_zh"]) == placeholders(catalogue.entries["identity_en"])


def test_a_missing_catalogue_is_told(workspace: Workspace) -> None:
    (workspace.data / "dataset_info.json").unlink()
    catalogue = read_catalogue(workspace)
    assert not catalogue.entries
    assert told(catalogue)[0].startswith("data/dataset_info.json does not exist.")


@pytest.mark.parametrize(
    ("text", "place", "kept"),
    [
        ('{\n "a": {"file_name": "plain.json"}\n "b": {"file_name": "plain.json"}\n}', "line 3, column 2", ["a", "b"]),
        ('{"a": {"file_name": "plain.json",},\n "b": {"file_name": "plain.json"}}', "line 1, column", ["b"]),
        ('{"a": {"file_name": "plain.json"},}', "line 1, column", ["a"]),
        ('{"a": {"file_name": "plain.json"}', "line 1, column 34", ["a"]),
        ('{"a": {"file_name": "plain.json"}, "b": {"file_name": "pl', "line 1", ["a"]),
        ('{"a": {"file_name": "plain.json", "tags": {"x": {"y": 1}}}, oops, "b": {"file_name": "plain.json"}}', "line 1", ["a", "b"]),
        ("{'a': {'file_name': 'plain.json'}}", "line 1, column 2", []),
        ("", "line 1, column 1", []),
        ("nonsense", "line 1, column 1", []),
    ],
)  # fmt: skip
def test_a_broken_catalogue_says_where_and_keeps_what_is_whole(
    text: str, place: str, kept: list[str], workspace: Workspace
) -> None:
    catalogue = info(workspace, text)
    assert list(catalogue.entries) == kept
    assert place in told(catalogue)[0]
    assert f"{len(kept)} entries" in told(catalogue)[0]
    assert len(catalogue.file_problems) == 1


@pytest.mark.parametrize("text", ["[]", '"a"', "17", "null"])
def test_a_catalogue_that_is_no_object_is_told(text: str, workspace: Workspace) -> None:
    catalogue = info(workspace, text)
    assert "Accepted: one JSON object" in told(catalogue)[0]
    assert not catalogue.entries


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("plain.json", "its entry is str"),
        ({}, "no file_name"),
        ({"file_name": 5}, "no file_name"),
        ({"hf_hub_url": "a/b"}, "on a hub"),
        ({"ms_hub_url": "a/b"}, "on a hub"),
        ({"script_url": "x"}, "would run code"),
        ({"script_url": "x", "file_name": "plain.json"}, "would run code"),
        ({"file_name": "plain.json", "formatting": "parquet"}, "formatting is 'parquet'. Accepted: alpaca"),
        ({"file_name": "plain.json", "formatting": ["alpaca"]}, "formatting is"),
        ({"file_name": "../outside.json"}, "outside"),
        ({"file_name": "/etc/passwd"}, "outside"),
        ({"file_name": "x" * 5000}, "can't be a path"),
        ({"file_name": "a\x00b"}, "can't be a path"),
        ({"file_name": "plain.json", "columns": ["prompt"]}, "columns"),
        ({"file_name": "plain.json", "columns": {"prompt": 5}}, "columns"),
    ],
)
def test_a_wrong_entry_is_told_and_the_others_stay(entry: Any, words: str, workspace: Workspace) -> None:
    catalogue = info(workspace, {"first": WHOLE, "odd": entry, "last": WHOLE})
    assert list(catalogue.entries) == ["first", "last"]
    (said,) = told(catalogue)
    assert said.startswith("Dataset 'odd' in dataset_info.json: ")
    assert words in said
    assert not catalogue.file_problems
    with pytest.raises(UserError, match="Dataset 'odd'"):
        chosen_entries(catalogue, ["first", "odd"])
    assert [one.name for one in chosen_entries(catalogue, ["last", "first"])] == ["last", "first"]


def test_a_catalogue_may_begin_with_a_byte_order_mark(workspace: Workspace) -> None:
    (workspace.data / "dataset_info.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": WHOLE}).encode())
    assert list(read_catalogue(workspace).entries) == ["a"]


def test_the_data_folder_lies_inside_the_workspace(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="outside") as caught:
        read_catalogue(workspace, "../other")
    assert caught.value.problems[0].key == "dataset_dir"
    inner = workspace.data / "mine"
    inner.mkdir()
    (inner / "dataset_info.json").write_text(json.dumps({"a": {"file_name": "../plain.json"}}), "utf-8")
    assert "outside" in told(read_catalogue(workspace, "data/mine"))[0]


def test_unknown_names_are_told_each_with_the_nearest(workspace: Workspace) -> None:
    catalogue = read_catalogue(workspace)
    with pytest.raises(UserError) as caught:
        chosen_entries(catalogue, ["plian", "zzz", "plain"])
    said = [str(problem.message) for problem in caught.value.problems]
    assert len(said) == 2
    assert "Nearest: plain" in said[0]
    assert "Known: plain, identity" in said[1]
    with pytest.raises(UserError, match="No dataset is chosen"):
        chosen_entries(catalogue, [])


# Files


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.json", b'[\n {"a": 1}\n {"b": 2}\n]', "'x.json', line 3, column 2: Expecting ',' delimiter"),
        ("x.json", b'[{"a": 1},]', "line 1, column"),
        ("x.json", b"", "line 1, column 1"),
        ("x.json", b"[]", "has no rows"),
        ("x.json", b'{"a": 1}', "holds dict"),
        ("x.json", b'[{"a": 1}, "b"]', "row 2: it is str"),
        ("x.json", b"[null]", "row 1: it is NoneType"),
        ("x.json", b'[{"a": "\xff"}]', "not UTF-8 at byte 8"),
        ("x.json", '[{"a": "身"}]'.encode("gb18030"), "not UTF-8 at byte 8"),
        ("x.jsonl", b'{"a": 1}\n\n{"a": 2\n{"a": 3}\n', "line 3, column 8: Expecting ',' delimiter"),
        ("x.jsonl", b'{"a": 1}\r\n{"a" 2}\r\n', "line 2, column 6"),
        ("x.jsonl", b"\n\n", "has no rows"),
        ("x.jsonl", b'{"a": 1}\n[1]\n', "row 2: it is list"),
        ("x.csv", b"a,b\n1,2\n", "is no .json, .jsonl file"),
    ],
)
def test_a_broken_file_says_where(name: str, content: bytes, words: str, workspace: Workspace) -> None:
    assert words in broken(workspace, name, content)


def test_a_missing_file_is_told_when_it_is_read(workspace: Workspace) -> None:
    entry = info(workspace, {"x": {"file_name": "none.json"}}).entries["x"]
    with pytest.raises(UserError, match="'none.json' does not exist in data"):
        raw_rows(entry)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", json.dumps([ROW, ROW]).encode()),
        ("x.json", b"\xef\xbb\xbf" + json.dumps([ROW, ROW]).encode()),
        ("x.jsonl", b"\n".join([json.dumps(ROW).encode()] * 2)),
        ("x.jsonl", b"\xef\xbb\xbf" + b"\r\n\r\n".join([json.dumps(ROW).encode()] * 2) + b"\r\n"),
        ("X.JSON", json.dumps([ROW, ROW]).encode()),
    ],
)
def test_rows_are_read_from_json_and_lines(name: str, content: bytes, workspace: Workspace) -> None:
    (workspace.data / name).write_bytes(content)
    assert raw_rows(info(workspace, {"x": {"file_name": name}}).entries["x"]) == [ROW, ROW]


def test_separators_of_other_scripts_do_not_split_a_line(workspace: Workspace) -> None:
    row = {**ROW, "output": "one\u2028two\u0085three\x0bfour"}
    (workspace.data / "x.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", "utf-8")
    assert raw_rows(info(workspace, {"x": {"file_name": "x.jsonl"}}).entries["x"]) == [row]


# Placeholders


def test_placeholders_are_found_wherever_they_stand(workspace: Workspace) -> None:
    rows = [
        {"instruction": "Who is {{name}}?", "output": "{{ author }} made {{name}}.", "history": [["{{deep}}", "x"]]},
        {"instruction": "{not} {{1bad}} {{}} {{ a b }}", "output": "{{name }}"},
    ]
    (workspace.data / "x.json").write_text(json.dumps(rows), "utf-8")
    entry = info(workspace, {"x": {"file_name": "x.json"}}).entries["x"]
    assert placeholders(entry) == ["name", "author", "deep"]
    samples = read_rows([entry], {"name": "A{{author}}", "author": "B\\1", "deep": ""}, None).samples
    assert [turn.content for turn in samples[0].turns] == ["", "x", "Who is A{{author}}?", "B\\1 made A{{author}}."]
    assert samples[1].turns[-1].content == "A{{author}}"


def test_values_that_lack_or_are_not_wanted_are_told(workspace: Workspace) -> None:
    entries = chosen_entries(read_catalogue(workspace), ["plain", "identity"])
    assert value_problems(entries, {"name": "A", "author": "B"}) == []
    lacking, unused = (str(one.message) for one in value_problems(entries, {"name": " ", "autor": "B"}))
    assert lacking == "Dataset 'identity' has placeholders without a value: name, author. Fill in each of them."
    assert "the placeholder autor" in unused
    assert "author, name" in unused
    assert value_problems(entries[:1], {"name": "", "author": " "}) == [], "an empty box asks for nothing"
    (said,) = value_problems(entries[:1], {"name": "A"})
    assert said.key == "dataset_values"


def test_fill_leaves_the_rest_as_it_is() -> None:
    value = {"a": ["{{x}}", 5, None, {"b": "{{y}} {{x}}"}], "c": "{x}"}
    assert fill(value, {"x": "1"}) == {"a": ["1", 5, None, {"b": "{{y}} 1"}], "c": "{x}"}


# Rows


def test_rows_that_can_not_be_learned_from_are_counted_with_their_reason(workspace: Workspace) -> None:
    rows: list[dict[str, Any]] = [
        ROW,
        {"instruction": "", "input": " ", "output": "A"},
        {"instruction": "Q", "output": ""},
        {"instruction": "Q"},
        {"instruction": 5, "output": "A"},
        {"instruction": "Q", "output": ["A"]},
        {**ROW, "history": "x"},
        {**ROW, "history": [["a", "b", "c"]]},
        {**ROW, "history": [["a", None]]},
        {**ROW, "history": [["a", "b"]], "system": "S", "input": "I"},
    ]
    (workspace.data / "x.json").write_text(json.dumps(rows), "utf-8")
    entry = info(workspace, {"x": {"file_name": "x.json"}}).entries["x"]
    read = read_rows([entry], {}, None)
    assert len(read.samples) == 2
    assert [str(message).split(" is left out")[0] for message in read.excluded] == [
        f"Dataset 'x', row {row}" for row in range(2, 10)
    ]
    roles = [(turn.role, turn.content) for turn in read.samples[1].turns]
    assert roles == [("system", "S"), ("user", "a"), ("assistant", "b"), ("user", "Q\nI"), ("assistant", "A")]


def test_columns_may_have_other_names(workspace: Workspace) -> None:
    (workspace.data / "x.json").write_text(json.dumps([{"q": "Q", "a": "A", "output": "no"}]), "utf-8")
    entry = info(workspace, {"x": {"file_name": "x.json", "columns": {"prompt": "q", "response": "a"}}}).entries["x"]
    assert read_rows([entry], {}, None).samples[0].turns == [Turn("user", "Q"), Turn("assistant", "A")]


def test_sets_are_read_one_after_another_the_first_rows_of_each(workspace: Workspace) -> None:
    entries = chosen_entries(read_catalogue(workspace), ["plain", "identity"])
    values = {"name": "A", "author": "B"}
    assert len(read_rows(entries, values, None).samples) == 30
    few = read_rows(entries, values, 3).samples
    assert [sample.turns[0].content for sample in few] == [
        "How much is 0 and 0?", "How much is 0 and 1?", "How much is 0 and 2?", "Who are you?", "Who are you?", "What is your name?",
    ]  # fmt: skip
    assert Path(entries[0].file).name == "plain.json"
