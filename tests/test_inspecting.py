"""What the process beside the page answers, asked in this process: the stage's fields, blocks, checks and mends."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from workbench.data.datasets import read_catalogue
from workbench.data.reports import Report
from workbench.inspecting import Looks
from workbench.problems import UserError
from workbench.workspace import Workspace

TALK = [{"role": role, "content": f"{'words ' * 6}{place}"} for place in range(3) for role in ("user", "assistant")]
SETS: Mapping[str, tuple[list[Any], dict[str, Any]]] = {
    "talks": ([{"messages": TALK}], {"formatting": "openai"}),
    "pairs": ([{"instruction": "Q", "chosen": "a", "rejected": "b " * 60}], {"ranking": True}),
    "texts": ([{"text": "word " * 300}], {"formatting": "text", "columns": {"prompt": "text"}}),
}


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    entries = {}
    for name, (rows, entry) in SETS.items():
        (workspace.data / f"{name}.json").write_text(json.dumps(rows), "utf-8")
        entries[name] = {"file_name": f"{name}.json", **entry}
    (workspace.data / "broken.jsonl").write_text('{"instruction": "Who?", "output": 7}\n?\n', "utf-8")
    entries["broken"] = {"file_name": "broken.jsonl"}
    (workspace.data / "dataset_info.json").write_text(json.dumps(entries), "utf-8")
    return workspace


def ask(workspace: Workspace, do: str, dataset: str, **more: Any) -> Any:
    asked = {"do": do, "dataset": dataset, "model": "models/tiny", "template": "chatml", **more}
    return Looks(workspace).answer(asked, lambda share, rows: None)


def learned(block: Mapping[str, Any]) -> str:
    return "".join(text for _, text, trained, _ in block["tokens"][: block["kept"]] if trained)


def keys(result: Mapping[str, Any]) -> list[str]:
    return [warning["key"] for warning in result["warnings"]]


def test_the_fields_of_the_stage_decide_what_is_learned(workspace: Workspace) -> None:
    shares = []
    for fields in ({}, {"mask_history": True}, {"train_on_prompt": True}, {"mask_history": "false", "stage": "sft"}):
        (block,) = ask(workspace, "tokens", "talks", row=1, **fields)["blocks"]
        shares.append(learned(block))
        figures = ask(workspace, "statistics", "talks", **fields)
        assert figures["trained"] == sum(trained for _, _, trained, _ in block["tokens"])
    assert shares[1].count("words 2") == 1 and "words 1" not in shares[1]
    assert shares[2].startswith("<|im_start|>user") and shares[0] == shares[3] != shares[1]
    for wrong in ({"mask_history": "perhaps"}, {"mask_history": True, "train_on_prompt": True}, {"stage": "sfd"}):
        with pytest.raises(UserError) as caught:
            ask(workspace, "tokens", "talks", **wrong)
        assert caught.value.problems[0].key in ("mask_history", "stage")


def test_behind_what_training_keeps_tokens_are_cut(workspace: Workspace) -> None:
    (whole,) = ask(workspace, "tokens", "talks")["blocks"]
    cutoff = len(whole["tokens"]) - 10
    told = ask(workspace, "tokens", "talks", cutoff_len=cutoff)
    (block,) = told["blocks"]
    assert keys(told) == ["inspecting.shortened"]
    assert block["kept"] < cutoff and block["tokens"] == whole["tokens"]
    assert learned(block).endswith("1<|im_end|>"), "the last answer goes as a whole"
    told = ask(workspace, "tokens", "talks", cutoff_len=cutoff, mask_history=True)
    assert keys(told) == ["inspecting.forgot"] and learned(told["blocks"][0]).endswith("2<|im_end|>")
    assert len(told["blocks"][0]["tokens"]) == told["blocks"][0]["kept"] < cutoff


def test_a_row_that_is_not_there_is_told_with_how_many_there_are(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.data.samples.SMALL_BYTES", 1)
    monkeypatch.setattr("workbench.data.samples.FIRST_ROWS", 1)
    rows = [{"instruction": "Q" * (1 + 50 * number), "output": "A"} for number in range(9)]
    (workspace.data / "broken.jsonl").write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    told = ask(workspace, "tokens", "broken", row=9)
    assert (told["row"], told["exact"]) == (9, False)
    with pytest.raises(UserError, match="Row 10 does not exist: the set has 9 rows"):
        ask(workspace, "tokens", "broken", row=10)


def test_a_pair_is_two_texts_each_with_its_own_cutoff(workspace: Workspace) -> None:
    told = ask(workspace, "tokens", "pairs", stage="dpo", cutoff_len=64)
    better, worse = told["blocks"]
    assert [block["title"]["key"] for block in (better, worse)] == ["inspecting.better", "inspecting.worse"]
    assert better["kept"] == len(better["tokens"]) and worse["kept"] == 64 < len(worse["tokens"])
    assert keys(told) == ["inspecting.cut", "inspecting.no_end"]
    assert "inspecting.nothing_left" in keys(ask(workspace, "tokens", "pairs", stage="dpo", cutoff_len=4))


@pytest.mark.parametrize("name", ["pairs", "texts"])
def test_a_check_counts_every_shape_whatever_the_stage(name: str, workspace: Workspace) -> None:
    report = Report.from_json(ask(workspace, "check", name, cutoff_len=64))
    assert report.counts.get("too_long") == 1


def test_a_check_tells_what_the_template_refuses(workspace: Workspace) -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": "{}"}}
    odd = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "", "tool_calls": [call, call]}]
    odd += [
        {"role": "tool", "content": "seen"},
        {"role": "tool", "content": "seen"},
        {"role": "assistant", "content": "A"},
    ]
    (workspace.data / "talks.json").write_text(json.dumps([{"messages": TALK}, {"messages": odd}]), "utf-8")
    report = Report.from_json(ask(workspace, "check", "talks", cutoff_len=999, template="llama3.1"))
    (found,) = (one for one in report.findings if one.check == "refused")
    assert found.number == 2 and "A turn has several tool calls" in str(found.reason)


def files(workspace: Workspace) -> set[str]:
    return {path.name for path in workspace.data.rglob("*")}


def test_mending_tells_what_is_not_in_the_new_set(workspace: Workspace) -> None:
    made = ask(workspace, "mend", "broken", accepted="all", name="mended")
    assert made == {"name": "mended", "rows": 1, "changed": 1, "removed": 0, "left_out": 1, "unlearnable": 0}
    assert read_catalogue(workspace).entries["mended"].place == workspace.data / "mended.jsonl"
    again = ask(workspace, "mend", "broken", accepted="all", refused=[[1, "reading"]], name="again")
    assert again["changed"] == 0


def test_a_check_compares_with_validation_sets_and_a_mend_does_so_too(workspace: Workspace) -> None:
    info = workspace.data / "dataset_info.json"
    rows = [{"instruction": f"{{{{name}}}}, what is {number}?", "output": "A number."} for number in range(4)]
    for name, some in (("learned", rows[:3]), ("held", rows[1:])):
        (workspace.data / f"{name}.json").write_text(json.dumps(some), "utf-8")
    entries = {name: {"file_name": f"{name}.json"} for name in ("learned", "held")}
    info.write_text(json.dumps({**json.loads(info.read_text()), **entries}), "utf-8")
    both = {"validation": ["held"], "model": ""}
    report = Report.from_json(ask(workspace, "check", "learned", values={"name": "Ann"}, **both))
    assert [one.number for one in report.findings if one.check == "split_leak"] == [2, 3]
    assert "split_leak" not in ask(workspace, "check", "learned", model="")["counts"]
    accepted = [[0, "split_leak"]]
    made = ask(workspace, "mend", "learned", accepted=accepted, name="apart", values={}, **both)
    assert (made["rows"], made["removed"]) == (1, 2)


@pytest.mark.parametrize("name", ["talks", "a/b", "", "..", "dataset_info.json/x"])
def test_a_name_that_cannot_be_leaves_nothing_behind(
    name: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(workspace)
    monkeypatch.setattr("workbench.inspecting.write_mended", lambda *all, **named: pytest.fail("before the long pass"))
    with pytest.raises(UserError):
        ask(workspace, "mend", "broken", accepted="all", name=name)
    assert files(workspace) == before


def test_when_registering_fails_nothing_is_left(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*all: Any, **named: Any) -> Path:
        raise OSError("no room")

    before = files(workspace)
    monkeypatch.setattr("workbench.inspecting.register", fail)
    with pytest.raises(OSError, match="no room"):
        ask(workspace, "mend", "broken", accepted="all", name="mended")
    assert files(workspace) == before
