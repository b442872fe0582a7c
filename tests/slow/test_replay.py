"""A bundled run of the tiny model trains again to the same losses, in another workspace, from its own rows."""

import json
from pathlib import Path

import pytest

from tests.conftest import lay_workspace
from tests.training import SMALL, lay_rows
from workbench.cli import main
from workbench.exporting.unbundle import losses
from workbench.runs import create, list_runs
from workbench.specs import TrainSpec, read_flat

pytestmark = pytest.mark.slow


def test_a_bundle_replays_to_the_same_losses(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    first = lay_rows(lay_workspace(tmp_path / "first"))
    run = create(first, read_flat(TrainSpec, {**SMALL, "output_dir": "mine"}).unwrap())
    run.start()
    assert run.wait(120) == "finished", run.log_tail()
    bundle = tmp_path / "mine.zip"
    assert main(["runs", "bundle", "mine", "--data", "--out", str(bundle)], first) == 0
    second = lay_workspace(tmp_path / "second")
    code = main(["replay", str(bundle)], second)
    out, err = capsys.readouterr()
    assert code == 0, out + err
    assert "to the last bit" in out
    (again,) = list_runs(second)
    assert losses(again.events) == losses(run.events) and len(losses(run.events)) == SMALL["max_steps"]
    changed = lay_workspace(tmp_path / "third")
    config = changed.models / "tiny" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text("utf-8")), "rms_norm_eps": 0.5}), "utf-8")
    assert main(["replay", str(bundle)], changed) == 1
    out, err = capsys.readouterr()
    assert "NOT the same" in out and "config.json" in out + err
