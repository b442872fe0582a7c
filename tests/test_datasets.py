"""Datasets: what dataset_info.json may say, its mistakes, and the files that its entries name."""

import json
from typing import Any

import pytest

from workbench.data.datasets import Catalogue, HubSource, chosen_entries, read_catalogue
from workbench.data.samples import placeholders, read_set
from workbench.problems import UserError
from workbench.workspace import Workspace, source_folder

ROW = {"instruction": "Q", "input": "", "output": "A"}
WHOLE = {"file_name": "plain.json"}


def info(workspace: Workspace, text: str | dict[str, Any]) -> Catalogue:
    (workspace.data / "dataset_info.json").write_text(text if isinstance(text, str) else json.dumps(text), "utf-8")
    return read_catalogue(workspace)


def told(catalogue: Catalogue) -> list[str]:
    return [str(problem.message) for problem in catalogue.problems]


# The catalogue


def test_the_sets_that_come_along_are_all_right() -> None:
    catalogue = read_catalogue(Workspace(source_folder()))
    assert not catalogue.problems
    assert set(catalogue.entries) >= {"identity_zh", "identity_en", "alpaca_zh_demo", "alpaca_en_demo", "extraction_zh"}
    for entry in catalogue.entries.values():
        values = dict.fromkeys(placeholders(entry), "Aurora")
        rows = list(read_set(entry, values))
        assert len(rows) >= 20
        assert {row.state for row in rows} == {"kept"}
        assert not [turn for row in rows if row.sample for turn in row.sample.turns if "{{" in turn.content]
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
        ('{"a": {"file_name": "plain.json", "tags": {"user_tag": "human"}}, oops, "b": {"file_name": "plain.json"}}', "line 1", ["a", "b"]),
        ("{'a': {'file_name': 'plain.json'}}", "line 1, column 2", []),
        ('{"a": {"columns": {"prompt": "q"}, oops, "b": {"file_name": "plain.json"}}', "line 1", []),
        ('{"a": {"tags": {"x": {}} "file_name": 5}, "b": {"file_name": "plain.json"}}', "line 1", ["b"]),
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
        ({"hf_hub_url": "a/b/c"}, "hf_hub_url is a/b/c. Accepted: owner/name"),
        ({"ms_hub_url": 5}, "ms_hub_url is 5"),
        ({"hf_hub_url": "../x"}, "hf_hub_url is ../x"),
        ({"hf_hub_url": "a/b", "split": 5}, "split is 5"),
        ({"hf_hub_url": "a/b", "subset": ".."}, "subset is '..'. Accepted: the name"),
        ({"hf_hub_url": "a/b", "split": "x/../../../../.."}, "split is 'x/../../../../..'."),
        ({"hf_hub_url": "a/b", "folder": "x\\..\\.."}, "folder is"),
        ({"hf_hub_url": "a/b", "folder": "/etc"}, "folder is '/etc'"),
        ({"hf_hub_url": "a/b", "subset": "a/b/."}, "subset is"),
        ({"om_hub_url": "a/b"}, "om_hub_url names a place that is not read"),
        ({"cloud_file_name": "s3://a"}, "cloud_file_name names a place"),
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
        ({"file_name": "plain.json", "columns": {"promt": "q"}}, "columns hold 'promt'. Known: prompt"),
        ({"file_name": "plain.json", "tags": {"user": "human"}}, "tags hold 'user'"),
        ({"file_name": "plain.json", "tags": "human"}, "tags are human"),
        ({"file_name": "plain.json", "ranking": "yes"}, "ranking is yes. Accepted: true, false"),
        ({"file_name": "plain.json", "num_samples": 0}, "num_samples is 0"),
        ({"file_name": "plain.json", "num_samples": True}, "num_samples is true"),
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


# Entries


@pytest.mark.parametrize("none", [None, ""])
def test_naming_one_column_resets_no_other_and_none_is_none(none: str | None, workspace: Workspace) -> None:
    entry = info(workspace, {"x": {**WHOLE, "columns": {"prompt": "q", "query": none}}}).entries["x"]
    assert entry.layout.columns["prompt"] == "q"
    assert entry.layout.columns["response"] == "output"
    assert entry.layout.columns["query"] == ""
    assert entry.named == {"prompt", "query"}


def test_a_column_set_to_none_is_not_read(workspace: Workspace) -> None:
    row = {"instruction": "Q", "input": "I", "system": "S", "history": [["a", "b"]], "output": "A"}
    (workspace.data / "plain.json").write_text(json.dumps([row]), "utf-8")
    columns = {"query": "", "system": None, "history": ""}
    (read,) = read_set(info(workspace, {"x": {**WHOLE, "columns": columns}}).entries["x"])
    assert read.sample and [turn.content for turn in read.sample.turns] == ["Q", "A"]


@pytest.mark.parametrize("said", [{}, {"formatting": "alpaca"}])
def test_one_text_column_makes_a_set_for_pretraining(said: dict[str, str], workspace: Workspace) -> None:
    (workspace.data / "plain.json").write_text(json.dumps([{"content": "Once."}]), "utf-8")
    entry = info(workspace, {"x": {**WHOLE, **said, "columns": {"prompt": "content"}}}).entries["x"]
    assert (entry.format, entry.layout.columns["text"]) == ("text", "content")
    (read,) = read_set(entry)
    assert (read.state, read.sample and read.sample.text) == ("kept", "Once.")


@pytest.mark.parametrize(
    ("said", "row", "shape"),
    [
        ({"formatting": "preference"}, {"chosen": "7", "rejected": "9"}, "preference"),
        ({"formatting": "kto"}, {"completion": "7", "label": True}, "label"),
        ({"formatting": "alpaca"}, {"output": "7"}, "dialogue"),
        ({}, {"output": "7"}, "dialogue"),
        ({"columns": {"prompt": "question", "response": None}}, {"output": "7"}, "text"),
        ({"formatting": "text"}, {"output": "7"}, "text"),
    ],
)
def test_a_set_that_names_its_question_alone_is_read_as_what_it_is(
    said: dict[str, Any], row: dict[str, Any], shape: str, workspace: Workspace
) -> None:
    (workspace.data / "plain.json").write_text(json.dumps([{"question": "Name a prime.", **row}] * 2), "utf-8")
    entry = info(workspace, {"x": {**WHOLE, "columns": {"prompt": "question"}, **said}}).entries["x"]
    first, second = read_set(entry)
    assert first.sample and second.sample and first.sample.shape == second.sample.shape == shape
    told = "They are read as questions with answers" in " ".join(map(str, first.reasons))
    assert (told, second.reasons) == (shape == "dialogue", [])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"num_sample": 5}, "its num_sample is not read. Nearest: num_samples."),
        ({"Split": "test"}, "its Split is not read. Nearest: split."),
        ({"split": "test"}, "its split is not read, because file_name names the rows"),
        ({"colour": "red"}, "its colour is not read. Known: file_name"),
    ],
)
def test_what_is_not_read_of_an_entry_is_told(more: dict[str, Any], words: str, workspace: Workspace) -> None:
    catalogue = info(workspace, {"x": {**WHOLE, **more, "file_sha1": "0", "_note": ""}})
    assert list(catalogue.entries) == ["x"] and catalogue.notes == catalogue.problems and not catalogue.file_problems
    (said,) = told(catalogue)
    assert said.startswith("Dataset 'x' in dataset_info.json: ") and words in said
    assert chosen_entries(catalogue, ["x"])


def test_a_name_that_stands_twice_is_told(workspace: Workspace) -> None:
    text = '{"a": {"file_name": "x.json"}, "a": {"file_name": "y.json", "columns": {"prompt": "q", "prompt": "r"}}}'
    catalogue = info(workspace, text)
    assert catalogue.entries["a"].place.name == "y.json"
    twice, inner = told(catalogue)
    assert "'a'" in twice and "stands in the file twice" in twice
    assert "holds 'prompt' twice" in inner


def test_a_catalogue_of_another_encoding_is_not_guessed_at(workspace: Workspace) -> None:
    (workspace.data / "dataset_info.json").write_bytes('{"中文集": {"file_name": "x.json"}}'.encode("gb18030"))
    catalogue = read_catalogue(workspace)
    assert not catalogue.entries and len(catalogue.file_problems) == 1
    assert "is not UTF-8. Accepted: UTF-8" in told(catalogue)[0]


def test_comments_may_stand_in_the_catalogue(workspace: Workspace) -> None:
    text = '{\n // mine\n "a": {"file_name": "plain.json"}, /* two\n lines */\n "b//c": {"file_name": "x//y.json"}}'
    catalogue = info(workspace, text)
    assert list(catalogue.entries) == ["a", "b//c"]
    assert catalogue.entries["b//c"].place == workspace.data / "x/y.json"
    assert "line 5, column" in told(info(workspace, text[:-1] + ",}"))[0], "comments move no line"


def test_a_set_of_a_hub_has_a_place_of_its_own_for_each_part(workspace: Workspace) -> None:
    hub = {"hf_hub_url": "owner/set", "ms_hub_url": "other/set", "subset": "zh", "split": "test", "folder": "data"}
    entry = info(workspace, {"x": hub}).entries["x"]
    assert entry.source == HubSource("huggingface", "owner/set", "zh", "test", "data")
    assert entry.place == workspace.data / "hub/huggingface/owner/set/zh/test/data"
    with pytest.raises(UserError, match="'owner/set' and is not fetched yet"):
        entry.files()


# Files


@pytest.mark.parametrize(
    ("names", "given", "said"),
    [
        (["x.json"], "x.json", ["x.json"]),
        (["f/b.jsonl", "f/a.jsonl", "f/sub/c.jsonl", "f/.hidden.jsonl", "f/README"], "f", ["a.jsonl", "b.jsonl", "c.jsonl"]),
        (["f/a.jsonl", "f/.ipynb_checkpoints/a.jsonl", "f/_old/b.jsonl", "f/x.jsonl/c.jsonl"], "f", ["a.jsonl", "c.jsonl"]),
        (["f/b.jsonl", "f/a.csv"], "f", "files of several kinds: .csv, .jsonl"),
        (["f/a.exe"], "f", "folder 'f' holds no file of these kinds: "),
        (["x.exe"], "x.exe", "file 'x.exe' is no "),
        ([], "none.json", "file 'none.json' does not exist in data"),
    ],
)
def test_an_entry_names_a_file_or_a_folder(
    names: list[str], given: str, said: list[str] | str, workspace: Workspace
) -> None:
    for name in names:
        (workspace.data / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace.data / name).write_text("[]")
    entry = info(workspace, {"x": {"file_name": given}}).entries["x"]
    if isinstance(said, list):
        assert [file.name for file in entry.files()] == said
        return
    with pytest.raises(UserError) as caught:
        entry.files()
    assert caught.value.problems[0].key == "dataset"
    assert said in str(caught.value)
