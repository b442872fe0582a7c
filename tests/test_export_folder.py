"""Where an export lies: what is never overwritten, what comes back after a mishap, and one at a time for a name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.exporting.folder import MADE, beside, check_folder, export_folder, made_as, mark_of
from workbench.exporting.section import ExportSection
from workbench.problems import UserError
from workbench.workspace import Workspace, source_folder


def section(name: str = "", overwrite: bool = False) -> ExportSection:
    return ExportSection(export_dir=name, overwrite_export_dir=overwrite)


def laid(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize("given", [
    ".", "models", "./workbench", "workbench/ui", "data/mine", ".git/refs", "models/.hidden", "../out", "/etc/out", "cache/x", "saves"
])  # fmt: skip
def test_a_place_that_is_none_is_refused(workspace: Workspace, given: str) -> None:
    with pytest.raises(UserError) as caught:
        folder = export_folder(workspace, section(given if "/" in given else f"./{given}"), "usual")
        raise AssertionError(folder)
    assert caught.value.problems[0].key == "export_dir"


def test_a_name_lies_in_models_and_a_path_in_the_workspace(workspace: Workspace) -> None:
    assert export_folder(workspace, section(), "usual") == workspace.models / "usual"
    assert export_folder(workspace, section("mine"), "usual") == workspace.models / "mine"
    assert export_folder(workspace, section("saves/out/mine"), "usual") == workspace.saves / "out/mine"


def test_what_is_no_export_is_never_overwritten(workspace: Workspace) -> None:
    folder = laid(workspace.models / "mine", **{"config.json": "{}"})
    for overwrite, words in ((False, "not empty"), (True, "no export of the workbench")):
        with pytest.raises(UserError, match=words):
            check_folder(folder, section("mine", overwrite), [])
    (folder / MADE).write_text("{}", "utf-8")
    check_folder(folder, section("mine", True), [])


def test_what_is_read_is_never_overwritten_whatever_link_leads_to_it(tmp_path: Path) -> None:
    disk, home = laid(tmp_path / "disk"), Workspace(laid(tmp_path / "home"))
    home.models.symlink_to(disk)
    base = laid(disk / "base", **{MADE: "{}"})
    with pytest.raises(UserError, match="holds what is exported"):
        check_folder(home.models / "base", section("base", True), [base])


def test_the_new_one_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    folder = laid(tmp_path / "mine", old="old")
    with beside(folder, tmp_path / "locks") as part:
        assert (folder / "old").is_file()
        (part / "new").write_text("new", "utf-8")
    assert [one.name for one in folder.iterdir()] == ["new"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["locks", "mine"]


@pytest.mark.parametrize("midway", [True, False], ids=["it breaks off", "the last move fails"])
def test_after_a_mishap_the_old_one_is_there(tmp_path: Path, midway: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, moves = laid(tmp_path / "mine", old="old"), Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise PermissionError("open elsewhere")
        return moves(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises((RuntimeError, PermissionError)), beside(folder, tmp_path / "locks") as part:
        (part / "new").write_text("new", "utf-8")
        if midway:
            raise RuntimeError("disk full")
    assert [one.name for one in folder.iterdir()] == ["old"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["locks", "mine"]


def test_after_a_kill_between_the_moves_the_old_one_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    laid(tmp_path / ".mine.old", old="old")
    with pytest.raises(RuntimeError), beside(folder, tmp_path / "locks"):
        assert (folder / "old").is_file()
        raise RuntimeError("again")
    assert (folder / "old").is_file() and not (tmp_path / ".mine.old").exists()


OTHER = """
import sys
from pathlib import Path
from workbench.exporting.folder import beside
from workbench.problems import UserError
try:
    with beside(Path(sys.argv[1]), Path(sys.argv[2])):
        print("begun")
except UserError as error:
    print(error)
"""


def test_one_at_a_time_for_a_name(tmp_path: Path) -> None:
    def other(name: str) -> str:
        command = [sys.executable, "-c", OTHER, str(tmp_path / name), str(tmp_path / "locks")]
        return subprocess.run(command, cwd=source_folder(), capture_output=True, text=True, check=True).stdout

    with beside(tmp_path / "mine", tmp_path / "locks") as part:
        (part / "a").write_text("a", "utf-8")
        assert "one at a time" in other("mine") and other("other") == "begun\n"
    assert (tmp_path / "mine" / "a").is_file() and other("mine") == "begun\n"


def test_another_making_of_the_same_name_is_told_apart(tmp_path: Path) -> None:
    run = laid(tmp_path / "run", **{"spec.yaml": "a: 1\n"})
    first = mark_of(run)
    folder = laid(tmp_path / "out", **{MADE: json.dumps({"run": "run", "mark": first})})
    assert made_as(folder) == first == mark_of(run)
    (run / "spec.yaml").write_text("a: 2\n", "utf-8")
    assert made_as(folder) != mark_of(run)
