"""Sets put into dataset_info.json, renamed, described anew and taken out; and that nothing else of the file moves."""

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from workbench.data import dataset_info
from workbench.data.dataset_info import LOCK
from workbench.data.datasets import HubSource, read_catalogue
from workbench.data.json_entries import Entries
from workbench.data.registry import edit, register, register_hub, remove, rename
from workbench.data.samples import read_set
from workbench.problems import UserError
from workbench.workspace import Workspace, source_folder

ROW = {"instruction": "Q", "input": "", "output": "A", "extra": 1}
INFO = """// the sets of this course
{
    "plain": {"file_name": "plain.json"}, // as it came
    /* from a friend: */
    "朋友": {
        "file_name": "friend.json",
        // he calls them so
        "columns": {"prompt": "问", "response": "答"}
    }  // the end
}
"""


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    """A workspace with a catalogue full of comments and the files of its two sets."""
    home = Workspace(tmp_path / "home")
    home.data.mkdir(parents=True)
    (home.data / "dataset_info.json").write_text(INFO, "utf-8")
    for name in ("plain", "friend"):
        (home.data / f"{name}.json").write_text(json.dumps([ROW]), "utf-8")
    return home


@pytest.fixture
def dropped(tmp_path: Path) -> Path:
    """A file that somebody brings, under a name that nobody should keep."""
    file = tmp_path / "我的 数据 (1).JSONL"
    file.write_text(json.dumps({"q": "2+2?", "input": "", "a": "4"}) + "\n", "utf-8")
    return file


COLUMNS = {"prompt": "q", "response": "a"}


def text(home: Workspace) -> str:
    return (home.data / "dataset_info.json").read_bytes().decode()


def raw(home: Workspace, name: str) -> dict[str, Any]:
    return Entries(text(home)).data[name]


def names(home: Workspace) -> list[str]:
    catalogue = read_catalogue(home)
    assert not catalogue.problems
    return list(catalogue.entries)


def parts(home: Workspace) -> list[str]:
    """Files on their way that were left behind."""
    return [path.name for path in home.data.iterdir() if path.name[0] == "." and path.name != LOCK]


def refused(*words: str) -> Any:
    return pytest.raises(UserError, match="(?s)" + ".*".join(words))


# Registering


def test_a_file_is_copied_and_listed(home: Workspace, dropped: Path) -> None:
    entry = register(home, dropped, "课程_1", "alpaca", COLUMNS, {})
    assert entry == read_catalogue(home).entries["课程_1"]
    assert entry.place == home.data / "课程_1.jsonl"
    assert entry.place.read_bytes() == dropped.read_bytes()
    assert raw(home, "课程_1") == {
        "file_name": "课程_1.jsonl",
        "formatting": "alpaca",
        "columns": {"prompt": "q", "query": "input", "response": "a"},
    }, "also the column of which nothing was said, since it is there; not those that aren't"
    head, tail = INFO.split("  // the end")
    assert text(home).startswith(f'{head},  // the end\n    "课程_1": {{\n        "file_name"')
    assert text(home).endswith("\n    }\n}\n") and tail == "\n}\n"
    assert names(home) == ["plain", "朋友", "课程_1"]
    assert parts(home) == []


def test_a_file_of_the_data_folder_stays_where_it_is(home: Workspace) -> None:
    (home.data / "deep").mkdir()
    file = home.data / "deep/rows.json"
    file.write_text(json.dumps([ROW]), "utf-8")
    entry = register(home, home.data / "deep/../deep/rows.json", "mine", "alpaca", {}, {})
    assert raw(home, "mine")["file_name"] == "deep/rows.json"
    assert entry.files() == [file]
    assert sorted(path.name for path in home.data.glob("*.json")) == ["dataset_info.json", "friend.json", "plain.json"]


def test_tags_are_written_in_full_and_text_as_others_write_it(home: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    file.write_text(json.dumps([{"conversations": [{"from": "human", "value": "Hi"}]}]), "utf-8")
    register(home, file, "chat", "sharegpt", {}, {"user_tag": "asker"})
    assert raw(home, "chat")["columns"]["messages"] == "conversations"
    assert raw(home, "chat")["tags"] | {"user_tag": "asker"} == raw(home, "chat")["tags"]
    assert {"role_tag", "content_tag", "assistant_tag"} <= raw(home, "chat")["tags"].keys()
    file.write_text(json.dumps([{"body": "Once upon a time"}]), "utf-8")
    assert register(home, file, "tales", "text", {"text": "body"}, {}).layout.columns["text"] == "body"
    assert raw(home, "tales") == {"file_name": "tales.json", "columns": {"prompt": "body"}}


def test_a_column_that_is_not_to_be_read_is_written_as_null(home: Workspace, dropped: Path, tmp_path: Path) -> None:
    columns = {**COLUMNS, "query": "", "system": "", "history": ""}
    entry = register(home, dropped, "mine", "alpaca", columns, {})
    assert raw(home, "mine")["columns"] == {"prompt": "q", "query": None, "response": "a"}, "system is not there at all"
    assert entry.layout.columns["query"] == ""
    edit(home, "mine", "alpaca", {**COLUMNS, "query": "input"}, {})
    assert raw(home, "mine")["columns"]["query"] == "input"
    edit(home, "mine", "alpaca", columns, {})
    assert raw(home, "mine")["columns"]["query"] is None


def test_running_text_beside_answers_stays_running_text(home: Workspace) -> None:
    register(home, home.data / "plain.json", "tales", "text", {"text": "instruction"}, {})
    assert raw(home, "tales") == {"file_name": "plain.json", "columns": {"prompt": "instruction", "response": None}}
    (read,) = read_set(read_catalogue(home).entries["tales"])
    assert (read.state, read.sample and read.sample.text) == ("kept", "Q")


def test_how_many_rows_are_drawn_can_be_said(home: Workspace, dropped: Path) -> None:
    assert register(home, dropped, "mine", "alpaca", COLUMNS, {}, num_samples=3).num_samples == 3


def test_ranking_is_kept(home: Workspace, dropped: Path) -> None:
    entry = register(home, dropped, "pairs", "alpaca", COLUMNS, {}, ranking=True)
    assert entry.layout.ranking and raw(home, "pairs")["ranking"] is True


def test_a_name_that_windows_keeps(home: Workspace, dropped: Path) -> None:
    with refused("Windows keeps it for a device", "'my-CON'"):
        register(home, dropped, "CON", "alpaca", {}, {})


@pytest.mark.parametrize(
    "name", ["", ".x", "x.", "a b", "a/b", "../x", "a\\b", "x" * 81, "a\nb", "a\x00", "𠀀" * 60, "<b>"]
)
def test_impossible_names(name: str, home: Workspace, dropped: Path) -> None:
    for attempt in (
        lambda: register(home, dropped, name, "alpaca", {}, {}),
        lambda: register_hub(home, HubSource("huggingface", "a/b"), name, "alpaca", {}, {}),
        lambda: rename(home, "plain", name),
    ):
        with refused("can't be the name of a dataset", "Accepted: at most 80") as caught:
            attempt()
        assert caught.value.problems[0].key == "name"
    assert text(home) == INFO
    assert len(list(home.data.iterdir())) == 3


def test_a_taken_name_is_told_with_a_free_one(home: Workspace, dropped: Path) -> None:
    register(home, dropped, "plain_2", "alpaca", COLUMNS, {})
    before = text(home)
    with refused("'plain' exists already", "plain_3"):
        register(home, dropped, "plain", "alpaca", COLUMNS, {})
    with refused("'朋友' exists already"):
        rename(home, "plain", "朋友")
    assert text(home) == before and parts(home) == []


def test_overwriting_replaces_what_was_the_sets_alone(home: Workspace, dropped: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("[]", "utf-8")
    assert register(home, other, "plain", "alpaca", {}, {}, overwrite=True).place.name == "plain.json"
    assert (home.data / "plain.json").read_text("utf-8") == "[]"
    register(home, home.data / "plain.json", "twin", "alpaca", {}, {})
    register(home, dropped, "plain", "alpaca", COLUMNS, {}, overwrite=True)
    assert raw(home, "plain")["file_name"] == "plain.jsonl"
    other.write_text("[1]", "utf-8")
    with pytest.raises(UserError):
        register(home, other, "../plain", "alpaca", {}, {}, overwrite=True)
    assert register(home, other, "plain", "alpaca", {}, {}, overwrite=True).place.name == "plain-2.json"
    assert (home.data / "plain.json").read_text("utf-8") == "[]", "another set reads it"


@pytest.mark.parametrize(
    ("name", "words"),
    [("gone.json", "does not exist"), ("dataset_info.json", "lists the datasets"), ("x.exe", "x.exe")],
)
def test_what_is_no_file_of_rows(name: str, words: str, home: Workspace, tmp_path: Path) -> None:
    (tmp_path / "x.exe").write_bytes(b"MZ")
    with refused(words) as caught:
        register(home, (home.data if "info" in name else tmp_path) / name, "mine", "alpaca", {}, {})
    assert caught.value.problems[0].key == "dataset"
    assert text(home) == INFO and parts(home) == []


def test_wrong_descriptions(home: Workspace, dropped: Path) -> None:
    with refused("'ultra' is no format", "alpaca"):
        register(home, dropped, "mine", "ultra", {}, {})
    with refused("'answer'", "Known"):
        register(home, dropped, "mine", "alpaca", {"answer": "a"}, {})
    assert text(home) == INFO and parts(home) == []
    assert not (home.data / "mine.jsonl").exists()


def test_a_first_set_makes_the_catalogue(tmp_path: Path, dropped: Path) -> None:
    home = Workspace(tmp_path / "new")
    register(home, dropped, "mine", "alpaca", COLUMNS, {})
    assert names(home) == ["mine"]
    with refused("lies outside"):
        register(home, dropped, "mine", "alpaca", {}, {}, dataset_dir="../elsewhere")


def test_a_set_of_a_hub(home: Workspace) -> None:
    source = HubSource("modelscope", "a/b", "zh", "test", "deep")
    entry = register_hub(home, source, "far", "alpaca", COLUMNS, {})
    assert entry == read_catalogue(home).entries["far"] and entry.source == source
    assert raw(home, "far") == {
        "ms_hub_url": "a/b", "subset": "zh", "split": "test", "folder": "deep", "formatting": "alpaca", "columns": COLUMNS
    }  # fmt: skip
    with refused("owner/name"):
        register_hub(home, HubSource("huggingface", "b/c/d"), "bad", "alpaca", {}, {})
    rows = register_hub(home, HubSource("huggingface", "c/d"), "near", "alpaca", {}, {}).place
    rows.mkdir(parents=True)
    (rows / "train.json").write_text(json.dumps([ROW]), "utf-8")
    edit(home, "near", "alpaca", {}, {}, num_samples=5)
    assert raw(home, "near")["columns"] == {"prompt": "instruction", "query": "input", "response": "output"}
    assert "near" in str(remove(home, "near", delete_file=True))
    assert not rows.exists()


# Changing


def test_an_edit_touches_one_entry_and_keeps_its_comments(home: Workspace) -> None:
    edit(home, "朋友", "alpaca", {"prompt": "extra"}, {}, num_samples=7)
    head = INFO[: INFO.index('"朋友": {') + len('"朋友": {')]
    assert text(home).startswith(head) and text(home).endswith("  // the end\n}\n")
    assert "\n        // he calls them so\n" in text(home)
    assert raw(home, "朋友") == {
        "file_name": "friend.json",
        "formatting": "alpaca",
        "columns": {"prompt": "extra", "query": "input", "response": "output"},
        "num_samples": 7,
    }
    assert read_catalogue(home).entries["朋友"].num_samples == 7
    edit(home, "朋友", "alpaca", {}, {})
    assert raw(home, "朋友")["num_samples"] == 7, "of which nothing is said stays"
    edit(home, "朋友", "alpaca", {}, {}, num_samples=None)
    assert "num_samples" not in raw(home, "朋友")
    with refused("num_samples", "1, 2, 3"):
        edit(home, "朋友", "alpaca", {}, {}, num_samples=0)
    with refused("No dataset named 'x'", "朋友"):
        edit(home, "x", "alpaca", {}, {})


def test_a_new_name_stands_in_the_old_place(home: Workspace) -> None:
    assert rename(home, "plain", "好").place.name == "plain.json"
    assert text(home) == INFO.replace('"plain"', '"好"')
    rename(home, "好", "好")
    assert names(home) == ["好", "朋友"]
    with refused("No dataset named 'plain'"):
        rename(home, "plain", "x")


def test_removing_keeps_the_comments_of_others(home: Workspace) -> None:
    assert "stay in plain.json" in str(remove(home, "plain", delete_file=False))
    assert text(home) == INFO.replace('"plain": {"file_name": "plain.json"}, // as it came', "// as it came")
    assert (home.data / "plain.json").is_file()
    assert "friend.json is deleted" in str(remove(home, "朋友", delete_file=True))
    assert not (home.data / "friend.json").exists()
    assert names(home) == []
    with refused("No dataset named 'plain'"):
        remove(home, "plain", delete_file=True)


@pytest.mark.parametrize(
    ("entries", "words", "left"),
    [
        ({"b": {"file_name": "plain.json"}}, "'b' reads it too", True),
        ({"b": {"file_name": "plain.json", "formatting": "odd"}}, "'b' reads it too", True),
        ({"b": {"file_name": "."}}, "'b' reads it too", True),
        ({"b": {"file_name": "./x/../plain.json"}}, "'b' reads it too", True),
        ({"b": {"file_name": "friend.json"}, "c": 7, "d": {"hf_hub_url": "a/b"}}, "is deleted", False),
    ],
)
def test_rows_that_another_set_reads_stay(entries: Mapping[str, Any], words: str, left: bool, home: Workspace) -> None:
    (home.data / "dataset_info.json").write_text(
        json.dumps({"a": {"file_name": "plain.json"}} | dict(entries)), "utf-8"
    )
    assert words in str(remove(home, "a", delete_file=True))
    assert (home.data / "plain.json").exists() is left
    assert "a" not in Entries(text(home)).data


@pytest.mark.parametrize("file_name", ["../kept.json", "/etc/hostname", ".", "dataset_info.json", "", 7])
def test_nothing_else_is_ever_deleted(file_name: Any, home: Workspace) -> None:
    kept = home.root / "kept.json"
    kept.write_text("[]", "utf-8")
    (home.data / "dataset_info.json").write_text(json.dumps({"a": {"file_name": file_name}}), "utf-8")
    remove(home, "a", delete_file=True)
    assert kept.exists() and (home.data / "plain.json").exists()
    assert text(home) == "{}"


@pytest.mark.parametrize("part", ["subset", "split", "folder"])
def test_rows_of_a_hub_can_not_be_deleted_elsewhere(part: str, home: Workspace) -> None:
    victim = home.data / "precious"
    victim.mkdir()
    (victim / "rows.json").write_text("[]", "utf-8")
    for up in ("..", "../../../../../precious", "x/../../../../../../precious", "../../../../../../precious"):
        where = {"hf_hub_url": "a/b", "subset": "c", "split": "d", part: up}
        (home.data / "dataset_info.json").write_text(json.dumps({"a": where}), "utf-8")
        (home.data / "hub/huggingface/a/b/c/d").mkdir(parents=True, exist_ok=True)
        assert "no rows of its own" in str(remove(home, "a", delete_file=True))
        assert (victim / "rows.json").exists() and (home.data / "hub/huggingface/a/b/c/d").exists()


# The file


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": {"file_name": "x"},}', "line 1, column"),
        (b'{"a": {"file_name": "x"}', "line 1, column 25"),
        (b"nonsense", "line 1, column 1"),
        (b"[]", "Accepted: one JSON object"),
        ('{"名": {}}'.encode("gb18030"), "not UTF-8"),
        (b'{"a": {"file_name": "x"}, "a": {"file_name": "y"}}', "holds 'a' twice"),
    ],
)
def test_a_broken_catalogue_is_never_rewritten(content: bytes, words: str, home: Workspace, dropped: Path) -> None:
    file = home.data / "dataset_info.json"
    file.write_bytes(content)
    for attempt in (
        lambda: register(home, dropped, "mine", "alpaca", COLUMNS, {}),
        lambda: register_hub(home, HubSource("huggingface", "a/b"), "far", "alpaca", {}, {}),
        lambda: edit(home, "a", "alpaca", {}, {}),
        lambda: rename(home, "a", "b"),
        lambda: remove(home, "a", delete_file=True),
    ):
        with refused(words):
            attempt()
    assert file.read_bytes() == content
    assert not (home.data / "mine.jsonl").exists() and parts(home) == []


def test_many_writers_lose_nothing(home: Workspace) -> None:
    def write(number: int) -> None:
        register_hub(home, HubSource("huggingface", f"a/b{number}"), f"set{number}", "alpaca", {}, {})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(names(home)) == {"plain", "朋友"} | {f"set{number}" for number in range(8)}


def test_another_process_is_waited_for(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = (
        "import sys; from pathlib import Path; from workbench.locks import hold; "
        "lock = hold(Path(sys.argv[1])); print(flush=True); input()"
    )
    command = [sys.executable, "-c", holder, str(home.data / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=source_folder()) as other:
        assert other.stdout and other.stdin
        other.stdout.readline()
        monkeypatch.setattr(dataset_info, "PATIENCE_S", 0.05)
        with refused("Another program is changing"):
            rename(home, "plain", "x")
        other.stdin.write(b"\n")
    rename(home, "plain", "x")
    assert names(home) == ["x", "朋友"]


def test_an_editor_that_saves_meanwhile_loses_nothing(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    edited = INFO.replace("// as it came", "// as it came, and good")
    settle = dataset_info.settle

    def save_meanwhile(part: Path) -> None:
        settle(part)
        (home.data / "dataset_info.json").write_text(edited, "utf-8")

    monkeypatch.setattr(dataset_info, "settle", save_meanwhile)
    register_hub(home, HubSource("huggingface", "a/b"), "far", "alpaca", {}, {})
    assert "and good" in text(home) and names(home)[-1] == "far"


def test_a_catalogue_that_never_rests_is_told(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    file, counted = home.data / "dataset_info.json", iter(range(1000))
    monkeypatch.setattr(dataset_info, "settle", lambda part: file.write_text(f"{{}} // {next(counted)}", "utf-8"))
    with refused("Another program is changing"):
        register_hub(home, HubSource("huggingface", "a/b"), "far", "alpaca", {}, {})
    assert parts(home) == []


def test_a_write_that_fails_leaves_the_old_catalogue(
    home: Workspace, dropped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(part: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset_info, "settle", full)
    with pytest.raises(OSError):
        register(home, dropped, "mine", "alpaca", COLUMNS, {})
    assert text(home) == INFO and parts(home) == []
    assert not (home.data / "mine.jsonl").exists()
