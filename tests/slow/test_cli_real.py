"""The terminal with a real worker and the tiny model: train, look, talk to base and adapter, delete; and doctor whole."""

import sys

import pytest

from tests.conftest import Tell
from workbench.machine import look
from workbench.workspace import Workspace

pytestmark = pytest.mark.slow


def test_train_show_chat_delete(tell: Tell, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["dataset=identity", "--dataset_values.name", "Aurora", "dataset_values.author=Ada", "--max_steps", "4"]
    code, out, err = tell("train", "model_name_or_path=models/tiny", *words, "output_dir=mine", "learning_rate=5e-2")
    assert code == 0, err
    assert err.startswith("warning: Only 4 steps")
    assert err.count("\n") == 1, "the worker's own warning of the same is not said again"
    assert "9 rows to learn from, 1 held out, 4 steps." in out
    assert "training 4 / 4, loss " in out
    assert "Talk to it: python app.py chat tiny/lora/mine" in out
    folder = workspace.saves / "tiny" / "lora" / "mine"
    assert (folder / "adapter_model.safetensors").is_file()

    code, _, err = tell("train", "model_name_or_path=models/tiny", *words, "output_dir=mine")
    assert code == 2
    assert err.startswith("output_dir: ")

    assert tell("runs", "show", "mine")[1].startswith("finished\n")
    lines = workspace.root / "lines"
    lines.write_text("Who are you?\n/base\nWho are you?\n", "utf-8")
    with lines.open(encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        code, out, err = tell("chat", "mine", "--temperature", "0", "max_new_tokens=12")
    assert (code, err) == (0, "")
    tuned, base = out.split("mine answers. ")[1].split("Now base answers.\n")
    answer = tuned.partition("\n")[2].strip()
    assert answer
    assert base.strip()
    assert answer != base.strip()
    assert list((workspace.saves / ".serve").iterdir()) == []

    assert tell("runs", "delete", "mine", "--yes")[0] == 0
    assert not folder.exists()


def test_doctor_looks_at_everything(tell: Tell) -> None:
    code, out, _ = tell("doctor")
    assert code == 0, out
    assert "torch 2." in out
    assert "Precision: fp32" in out
    found = look()
    assert found.threads >= 1
    assert found.auto in found.precisions
    assert str(found.why).startswith("Precision auto: ")
