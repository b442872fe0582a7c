"""``data`` in a terminal: the list, the rows, the report, the mended file, and what is said of wrong input."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PLAIN, Tell
from workbench.data.datasets import read_catalogue
from workbench.workspace import Workspace

DIRTY: Sequence[Mapping[str, Any]] = [
    *PLAIN,
    {"instruction": "Say\u200b something nice", "output": "You are kind.\x00"},
    {"instruction": "What is missing here?", "output": "null"},
    PLAIN[0],
    {"instruction": "How much is 6 times 7?", "output": 42},
]


@pytest.fixture
def dirty(workspace: Workspace) -> Path:
    """A file beside the data folder, which no list names."""
    file = workspace.root / "dirty.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in DIRTY), "utf-8")
    return file


def test_list_shows_every_set_and_what_is_wrong_with_others(tell: Tell, workspace: Workspace) -> None:
    info = workspace.data / "dataset_info.json"
    gone = {"file_name": "gone.json"}
    code = {"script_url": "x"}
    info.write_text(json.dumps({**json.loads(info.read_text("utf-8")), "gone": gone, "code": code}), "utf-8")
    result, out, err = tell("data", "list")
    assert result == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[1][:4] == ["plain", "alpaca", "20", "0"] and lines[1][-1] == "plain.json"
    assert lines[2][:3] == ["identity", "alpaca", "10"]
    assert "'gone'" in err and "gone.json" in err and "script_url" in err


def test_list_of_an_empty_folder_says_how_to_begin(tell: Tell, workspace: Workspace) -> None:
    (workspace.data / "dataset_info.json").write_text("{}", "utf-8")
    assert "data register" in tell("data", "list")[1]


def test_show_says_the_first_rows_as_they_are_learned(tell: Tell, dirty: Path) -> None:
    code, out, _ = tell("data", "show", "plain", "--rows", "2")
    assert (code, out.count("row ")) == (0, 2)
    assert "  user: How much is 0 and 0?" in out and "  assistant: It is 0." in out
    _, out, err = tell("data", "show", "dirty.jsonl", "--rows=40")
    assert "Say\\u200b something nice" in out and "kind.\\u0000" in out and "\x00" not in out
    assert "row 24" in err and "42" in err, "what reading put right is said"


def test_show_knows_tools_pairs_marks_and_text(tell: Tell, workspace: Workspace) -> None:
    files = {
        "pairs": {"prompt": "Which one?", "chosen": "This one.", "rejected": "That one."},
        "marks": {"prompt": "Which one?", "completion": "This one.", "label": False},
        "texts": {"text": "Only words.\nIn lines."},
    }
    for name, row in files.items():
        Path(f"{name}.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    assert "  chosen: This one.\n  rejected: That one." in tell("data", "show", "pairs.jsonl")[1]
    assert "  label: false" in tell("data", "show", "marks.jsonl")[1]
    assert "  Only words.\n  In lines." in tell("data", "show", "texts.jsonl")[1]


def test_check_of_a_good_set(tell: Tell) -> None:
    code, out, err = tell("data", "check", "plain")
    assert (code, err) == (0, "")
    assert out == "20 kept, 0 mended, 0 excluded\nNothing else was found.\n"


def test_check_says_what_is_wrong_row_by_row(tell: Tell, dirty: Path) -> None:
    code, out, err = tell("data", "check", str(dirty))
    assert (code, err) == (0, "")
    assert "dirty.jsonl is read as alpaca: prompt = instruction" in out
    assert "23 kept, 1 mended, 0 excluded" in out
    assert "  row 21: 2 characters can't be seen (U+200B, U+0000)" in out
    assert "  row 22: The answer is 'null'" in out and "proposal: leave it out" in out
    assert "  row 23: It is the same as row 1" in out
    assert "4 of these come with a proposal. --fix OUT.jsonl" in out
    assert "\x00" not in out and "\u200b" not in out


def test_check_of_rows_that_are_left_out_fails(tell: Tell, workspace: Workspace) -> None:
    Path("bad.jsonl").write_text('{"instruction": "a", "output": "b"}\n{"instruction": "c", "output"\n', "utf-8")
    code, out, _ = tell("data", "check", "bad.jsonl")
    assert code == 1 and "1 kept, 0 mended, 1 excluded" in out and "row 2" in out


def test_check_writes_a_mended_file_and_leaves_the_set(tell: Tell, dirty: Path) -> None:
    before = dirty.read_bytes()
    code, out, _ = tell("data", "check", str(dirty), "--fix", "mended.jsonl")
    assert code == 0
    assert "Written: mended.jsonl with 22 rows, 2 changed, 2 left out." in out
    assert dirty.read_bytes() == before
    code, out, _ = tell("data", "check", "mended.jsonl")
    assert (code, "22 kept, 0 mended, 0 excluded" in out, "proposal" in out) == (0, True, False)
    code, _, err = tell("data", "check", str(dirty), "--fix", "mended.jsonl")
    assert code == 2 and "'mended.jsonl' exists" in err
    assert tell("data", "check", str(dirty), "--fix", "mended.jsonl", "--overwrite")[0] == 0


def test_check_fills_placeholders(tell: Tell) -> None:
    assert "Nothing fills name, author" in tell("data", "check", "identity")[1]
    _, out, _ = tell("data", "check", "identity", "name=Ada", "author=Bob")
    assert "Nothing fills" not in out
    code, _, err = tell("data", "check", "identity", "nam=Ada")
    assert code == 2 and "placeholder nam" in err


def test_check_counts_tokens_of_a_model(tell: Tell) -> None:
    model = ("--model_name_or_path", "models/tiny", "--template", "chatml")
    _, out, _ = tell("data", "check", "plain", *model, "--cutoff_len", "16", "--findings", "1")
    assert "tokens are more than 16" in out and "... and 19 more" in out
    assert "Nothing else was found." in tell("data", "check", "plain", *model)[1]


def test_check_compares_with_a_validation_set(tell: Tell, workspace: Workspace) -> None:
    Path("held.json").write_text(json.dumps(PLAIN[4:6]), "utf-8")
    _, out, _ = tell("data", "check", "plain", "--eval_dataset", "held.json")
    assert "Row 1 of the validation data asks the same" in out and "row 5:" in out


def test_columns_are_corrected_with_flags(tell: Tell, workspace: Workspace) -> None:
    rows = [{"frage": f"Wie viel ist {n}?", "antwort": f"Es ist {n}."} for n in range(12)]
    Path("german.json").write_text(json.dumps(rows), "utf-8")
    flags = ("--formatting", "alpaca", "--column", "prompt=frage", "--column", "response=antwort")
    _, out, _ = tell("data", "check", "german.json", *flags)
    assert "prompt = frage, response = antwort" in out and "12 kept" in out
    code, out, _ = tell("data", "register", "german.json", "--name", "deutsch", *flags)
    assert code == 0 and "dataset=deutsch" in out
    entry = read_catalogue(workspace).entries["deutsch"]
    assert (entry.layout.columns["prompt"], entry.layout.columns["response"]) == ("frage", "antwort")
    assert "12 kept" in tell("data", "check", "deutsch")[1]


def test_a_file_gives_its_set_a_name_that_can_be(tell: Tell, workspace: Workspace, dirty: Path) -> None:
    file = dirty.rename(dirty.with_name("中文 问 答 (1).jsonl"))
    code, out, _ = tell("data", "register", str(file))
    assert code == 0 and "dataset=中文_问_答_1" in out and "中文_问_答_1" in read_catalogue(workspace).entries


def test_what_was_set_can_be_changed_and_taken_back(tell: Tell, workspace: Workspace, dirty: Path) -> None:
    assert tell("data", "register", str(dirty), "--num_samples", "3")[0] == 0
    code, out, _ = tell("data", "edit", "dirty", "--column", "query=output", "--column", "response=", "--ranking")
    assert (code, "query = output" in out, "3 of its rows" in out) == (0, True, True)
    entry = read_catalogue(workspace).entries["dirty"]
    assert (entry.num_samples, entry.layout.ranking, entry.layout.columns["response"]) == (3, True, "")
    code, out, _ = tell("data", "edit", "dirty", "--num_samples", "all", "--no_ranking", "--column", "response=output")
    assert code == 0 and "All of its rows" in out
    entry = read_catalogue(workspace).entries["dirty"]
    assert (entry.num_samples, entry.layout.ranking, entry.layout.columns["response"]) == (None, False, "output")
    assert entry.layout.columns["query"] == "output", "of which nothing is said stays"
    assert "num_samples" not in (workspace.data / "dataset_info.json").read_text("utf-8")


def test_a_set_is_registered_renamed_and_removed(tell: Tell, workspace: Workspace, dirty: Path) -> None:
    assert tell("data", "register", str(dirty))[0] == 0
    assert (workspace.data / "dirty.jsonl").read_bytes() == dirty.read_bytes()
    assert tell("data", "rename", "dirty", "clean")[0] == 0
    assert "clean" in tell("data", "list")[1]
    assert tell("data", "remove", "clean", "--delete_file")[0] == 0
    assert "clean" not in read_catalogue(workspace).entries
    assert not (workspace.data / "dirty.jsonl").exists() and dirty.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], ("Nothing was asked for", "list, show")),
        (["lst"], ("'lst'", "Did you mean list?")),
        (["dance"], ("'dance' can't be done",)),
        (["check"], ("0 names", "data check")),
        (["check", "plian"], ("No dataset named 'plian'", "Nearest: plain")),
        (["check", "no/such.json"], ("neither a set nor a file", "plain, identity")),
        (["check", "plain", "--fxi", "a.jsonl"], ("'--fxi' is no flag of data check", "--fix")),
        (["check", "plain", "--fix"], ("'--fix' has no value",)),
        (["check", "plain", "--fix", "a.xlsx"], ("a.xlsx", ".jsonl")),
        (["check", "plain", "--cutoff_len", "many", "--model_name_or_path", "models/tiny"], ("'many'",)),
        (["check", "plain", "--cutoff_len", "64"], ("--cutoff_len needs a model",)),
        (["check", "plain", "--model_name_or_path", "models/none"], ("'models/none' is not on this machine",)),
        (["check", "plain", "--model_name_or_path", "models/tiny", "--template", "qwne"], ("'qwne'",)),
        (["check", "plain", "--formatting", "parquet"], ("'parquet'", "alpaca")),
        (["check", "plain", "--column", "answer"], ("'answer'", "OURS=THEIRS")),
        (["check", "plain", "--column", "answer=output"], ("'answer'", "response")),
        (["show", "plain", "--rows", "0"], ("--rows is '0'", "at least 1")),
        (["show", "plain", "a=b"], ("'a=b'",)),
        (["register", "none.json"], ("no file 'none.json'",)),
        (["register", "models"], ("no file 'models'",)),
        (["register", "data/plain.json", "--num_samples", "all"], ("--num_samples is 'all'", "at least 1")),
        (["edit", "plian"], ("No dataset named 'plian'", "Nearest: plain")),
        (["edit", "plain", "--num_samples", "0"], ("--num_samples is '0'", "at least 1")),
        (["edit", "plain", "--ranking", "--no_ranking"], ("--ranking and --no_ranking",)),
        (["edit", "plain", "--column", "=x"], ("'=x'", "OURS=THEIRS")),
        (["rename", "plain"], ("1 names", "2")),
        (["remove", "zzz"], ("'zzz'",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_is_not_accepted_is_said_in_one_line_each(tell: Tell, words: list[str], said: tuple[str, ...]) -> None:
    code, out, err = tell("data", *words)
    assert (code, out) == (2, "")
    assert all(part in err for part in said), err
    assert "Traceback" not in err


def test_help_names_every_action_and_flag(tell: Tell) -> None:
    from workbench.cli.commands.data import ACTIONS, FLAGS

    code, out, _ = tell("data", "--help")
    assert code == 0
    assert all(f"{action}" in out for action in ACTIONS)
    missing = {flag for flags in FLAGS.values() for flag in flags if f"--{flag}" not in out} - {"overwrite"}
    assert not missing
