"""Every file of the table of bad data, through the check that a person runs: nothing is lost, nothing runs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bad_data import BAD_DATA, BAD_ENTRIES, GOOD, Bad, entry_of
from workbench.checks import Context
from workbench.data.checkup import check_set, write_mended
from workbench.data.datasets import read_catalogue
from workbench.problems import UserError
from workbench.text import Message
from workbench.workspace import Workspace

FINE = [bad for bad in BAD_DATA if not bad.refused]
REFUSED = [bad for bad in BAD_DATA if bad.refused]


def keys(message: Message) -> Iterator[str]:
    """The keys of a message and of those inside it."""
    yield message.key
    for value in message.args.values():
        if isinstance(value, Message):
            yield from keys(value)


@pytest.mark.parametrize("bad", FINE, ids=lambda bad: bad.name)
def test_a_bad_file_says_what_is_wrong_and_loses_nothing(
    bad: Bad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = bad.lay(tmp_path)
    before, there = file.read_bytes(), set(tmp_path.iterdir())
    report = check_set(entry_of(file, bad.format), Context())
    assert (report.kept, report.mended, report.excluded) == bad.states
    assert report.kept + report.mended + report.excluded == report.rows
    said = {key for found in report.findings for key in keys(found.reason)}
    assert all(any(key.startswith(part) for key in said) for part in bad.said), said
    assert bool(bad.said) == bool(report.findings), said
    assert sum(report.mends.values()) == bad.proposals
    assert len(report.findings) == sum(report.counts.values())
    out = tmp_path / "mended.jsonl"
    written = write_mended(entry_of(file, bad.format), out, "all")
    assert written.rows + written.removed + written.left_out == report.rows
    assert len(out.read_text("utf-8").splitlines()) == written.rows
    assert file.read_bytes() == before
    assert set(tmp_path.iterdir()) == {*there, out}, "nothing ran"


@pytest.mark.parametrize("bad", FINE, ids=lambda bad: bad.name)
def test_all_proposals_of_a_bad_file_leave_none(bad: Bad, tmp_path: Path) -> None:
    entry, out = entry_of(bad.lay(tmp_path), bad.format), tmp_path / "mended.jsonl"
    if not write_mended(entry, out, "all").rows:
        return
    again = check_set(entry_of(out, bad.format), Context())
    assert not again.mends, [str(found.reason) for found in again.findings if found.can_mend]


@pytest.mark.parametrize("bad", REFUSED, ids=lambda bad: bad.name)
def test_a_file_that_is_no_set_is_refused_in_words(bad: Bad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = bad.lay(tmp_path)
    with pytest.raises(UserError) as caught:
        check_set(entry_of(file), Context())
    (problem,) = caught.value.problems
    assert bad.refused in set(keys(problem.message)), list(keys(problem.message))
    assert problem.key == "dataset" and file.stem in str(problem)
    assert list(tmp_path.iterdir()) == [file], "nothing ran"


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_an_entry_that_is_not_safe_or_right_is_refused_and_the_others_stay(name: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "inner" / "home")
    workspace.data.mkdir(parents=True)
    (tmp_path / "x.json").write_text(json.dumps(list(GOOD)), "utf-8")
    (workspace.data / "loader.py").write_text("open('ran', 'w')", "utf-8")
    (workspace.data / "good.jsonl").write_text("\n".join(map(json.dumps, GOOD)), "utf-8")
    value, key = BAD_ENTRIES[name]
    info = {"bad": value, "good": {"file_name": "good.jsonl"}}
    (workspace.data / "dataset_info.json").write_text(json.dumps(info), "utf-8")
    catalogue = read_catalogue(workspace)
    assert list(catalogue.entries) == ["good"]
    (problem,) = catalogue.problems
    assert key in set(keys(problem.message)), list(keys(problem.message))
    assert check_set(catalogue.entries["good"], Context()).kept == len(GOOD)
    assert not (workspace.data / "ran").exists()


def test_the_table_is_long_and_every_file_has_a_name_of_its_own() -> None:
    assert len({bad.name for bad in BAD_DATA}) == len(BAD_DATA) >= 80
    assert sum(bool(bad.said) for bad in FINE) >= 55
