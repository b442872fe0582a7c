"""The process beside the window: what it answers, that it stays for the next request, and that it goes with its window."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from workbench.data.checkup import Report
from workbench.data.statistics import Statistics
from workbench.inspector import Inspector
from workbench.problems import UserError
from workbench.workspace import Workspace

pytestmark = pytest.mark.slow

ROWS: list[dict[str, Any]] = [
    {"instruction": "Who are you?", "output": "I am <|im_end|> Aurora."},
    {"instruction": "Same", "output": "same"},
    {"instruction": "Same", "output": "same"},
    {"instruction": "Empty", "output": ""},
    {"instruction": "Number", "output": 7},
    {"instruction": "Long", "output": "word " * 300},
]


@pytest.fixture
def inspector(workspace: Workspace) -> Iterator[Inspector]:
    (workspace.data / "odd.json").write_text(json.dumps(ROWS), "utf-8")
    entries = {"odd": {"file_name": "odd.json"}, "gone": {"file_name": "gone.json"}}
    (workspace.data / "dataset_info.json").write_text(json.dumps(entries), "utf-8")
    found = Inspector(workspace)
    yield found
    found.close()


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "workbench.inspecting" in one.cmdline()]


def test_everything_that_a_page_asks(inspector: Inspector, workspace: Workspace) -> None:
    asked = {"dataset": "odd", "model": "models/tiny", "template": "chatml", "cutoff_len": 128}
    report = Report.from_json(inspector.result({"do": "check", **asked}))
    assert (report.rows, report.kept, report.mended, report.excluded) == (6, 4, 1, 1)
    assert {"duplicate", "special_words", "too_long", "reading"} <= set(report.counts)
    (process,) = children()

    seen = inspector.result({"do": "tokens", **asked, "row": 1})
    (block,) = seen["blocks"]
    assert "".join(text for _, text, _, _ in block["tokens"]).startswith("<|im_start|>user\nWho are you?<|im_end|>")
    special = [text for _, text, _, is_special in block["tokens"] if is_special]
    assert special == ["<|im_start|>", "<|im_end|>", "<|im_start|>", "<|im_end|>"], "what a person wrote is no token of the model"
    assert "".join(text for _, text, trained, _ in block["tokens"] if trained) == "I am <|im_end|> Aurora.<|im_end|>"
    assert (block["kept"], seen["warnings"]) == (len(block["tokens"]), [])

    cut = inspector.result({"do": "tokens", **asked, "row": 6})
    assert cut["blocks"][0]["kept"] == 128
    assert [warning["key"] for warning in cut["warnings"]] == ["inspecting.cut", "inspecting.no_end"]

    figures = Statistics.from_json(inspector.result({"do": "statistics", **asked, "batch_size": 2}))
    assert (figures.rows, figures.over) == (5, 1)
    assert 0 < figures.trained_share < 1

    written = inspector.result({"do": "mend", **asked, "accepted": "all", "name": "odd_mended"})
    assert written["name"] == "odd_mended"
    again = Report.from_json(inspector.result({"do": "check", **asked, "dataset": "odd_mended"}))
    assert again.excluded == 1, "an empty answer has no mend"
    assert "duplicate" not in again.counts
    assert json.loads((workspace.data / "odd.json").read_text()) == ROWS, "the original stays"
    assert children() == [process], "one process answered it all"


def test_what_goes_wrong_is_said_in_words(inspector: Inspector) -> None:
    for request, words in (
        ({"do": "check", "dataset": "gone"}, "'gone.json' does not exist"),
        ({"do": "check", "dataset": "none"}, "No dataset named 'none'"),
        ({"do": "tokens", "dataset": "odd", "model": "models/none", "row": 1}, "is not on this machine"),
        ({"do": "tokens", "dataset": "odd", "model": "models/tiny", "template": "chatml", "row": 99}, "Row 99 does not exist"),
        ({"do": "tokens", "dataset": "odd", "model": "models/tiny", "template": "chatml", "row": 4}, "Row 4 is left out"),
    ):
        with pytest.raises(UserError, match=words):
            inspector.result(request)
    assert len(children()) == 1
    os.kill(children()[0].pid, signal.SIGKILL)
    assert inspector.result({"do": "check", "dataset": "odd"})["rows"] == 6, "another one took its place"


def test_who_stops_listening_ends_the_process(inspector: Inspector) -> None:
    news = inspector.ask({"do": "statistics", "dataset": "odd", "model": "models/tiny", "template": "chatml"})
    next(news)
    news.close()
    inspector.close()
    assert children() == []
