"""What a run needs against what was foretold: memory by formula, then memory and time after "Measure here"; a table of both."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import lay_workspace
from workbench import tuning
from workbench.checking import check_train
from workbench.estimates import Estimate, estimate
from workbench.estimates.adapter_sizes import num_trained
from workbench.estimates.grounds import learn
from workbench.estimates.measuring import begin
from workbench.estimates.model_facts import read_facts
from workbench.events import Finished, Step, tail
from workbench.models import load_model
from workbench.runs import Run, create
from workbench.setup.starter import NAME, make_starter
from workbench.sockets import plugins
from workbench.workspace import Workspace, source_folder

pytestmark = [pytest.mark.slow, pytest.mark.proof]

PATIENCE_S = 180
ROWS = [{"instruction": f"Write about {at} things.", "output": "things and more " * (4 + at * 5 % 30)} for at in range(24)]
SHORT: Mapping[str, Any] = {
    "dataset": "rows", "val_size": 0, "cutoff_len": 128, "per_device_train_batch_size": 4, "precision": "fp32",
    "gradient_accumulation_steps": 1, "num_train_epochs": 1, "watch_prompts": [], "plot_loss": False, "save_strategy": "no",
}  # fmt: skip
STARTER, TINY = f"models/{NAME}", "models/tiny"
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "starter, lora, fp32": {"model_name_or_path": STARTER},
    "starter, lora, bf16": {"model_name_or_path": STARTER, "precision": "bf16"},
    "starter, checkpointing": {"model_name_or_path": STARTER, "gradient_checkpointing": True},
    "starter, full": {"model_name_or_path": STARTER, "finetuning_type": "full"},
    "starter, full, bf16": {"model_name_or_path": STARTER, "finetuning_type": "full", "precision": "bf16"},
    "tiny, lora": {"model_name_or_path": TINY},
    "tiny, full": {"model_name_or_path": TINY, "finetuning_type": "full"},
}
RUN_AFTER = ("starter, lora, fp32", "tiny, lora")
"""The settings that are also run as they are, after they were measured."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    starter = make_starter(source_folder() / "models", lambda *words: None)
    workspace = lay_workspace(tmp_path_factory.mktemp("needs") / "workspace")
    (workspace.models / NAME).symlink_to(starter)
    (workspace.data / "rows.json").write_text(json.dumps(ROWS), "utf-8")
    (workspace.data / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}), "utf-8")
    learn(workspace)
    return workspace


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    lines: list[str] = []
    yield lines
    print("\n" + "\n".join(lines))


def told(home: Workspace, setting: str) -> tuple[Any, Estimate]:
    checked = check_train(home, {**SHORT, **SETTINGS[setting]})
    found = estimate(home, checked.unwrap(), checked.plan)
    assert found is not None
    return checked.unwrap(), found


def finished(run: Run) -> Run:
    assert run.wait(PATIENCE_S) == "finished", run.log_tail(3000)
    return run


class Peak(threading.Thread):
    """The most memory that a run's worker holds while it learns."""

    def __init__(self, run: Run) -> None:
        super().__init__(daemon=True)
        self.run_watched, self.peak_bytes = run, 0

    def run(self) -> None:
        process = psutil.Process(self.run_watched.view().started.pid)  # type: ignore[union-attr]
        try:
            while True:
                self.peak_bytes = max(self.peak_bytes, process.memory_info().rss)
                time.sleep(0.01)
        except psutil.Error:
            return


@pytest.mark.parametrize("setting", SETTINGS)
def test_needs_are_foretold(setting: str, home: Workspace, table: list[str]) -> None:
    spec, before = told(home, setting)
    ended = finished(begin(home, spec)).view().ended
    assert isinstance(ended, Finished)
    peak = ended.numbers["memory_bytes"]
    table.append(f"{setting:<24} memory by formula {before.total_bytes / peak:6.2f} of {peak / 1e6:6.0f} MB")
    assert before.total_bytes == pytest.approx(peak, rel=0.15)
    spec, after = told(home, setting)
    assert after.source == "measured" and after.total_bytes == peak
    if setting not in RUN_AFTER:
        return
    run = create(home, spec)
    run.start()
    watched = Peak(run)
    watched.start()
    finished(run)
    seconds = sum(one.event.seconds for one in tail(run.events, 0)[0] if isinstance(one.event, Step))
    table.append(
        f"{setting:<24} after measuring   {after.total_bytes / watched.peak_bytes:6.2f} of {watched.peak_bytes / 1e6:6.0f} MB, "
        f"{after.seconds['learning'] / seconds:6.2f} of {seconds:5.1f} s"
    )
    assert after.total_bytes == pytest.approx(watched.peak_bytes, rel=0.15)
    assert after.seconds["learning"] == pytest.approx(seconds, rel=0.30)


@pytest.mark.parametrize("method", plugins(tuning))
def test_the_trained_numbers_are_counted_without_the_model(method: str, tiny_model: Path) -> None:
    module, facts = plugins(tuning)[method], read_facts(tiny_model)
    assert facts is not None
    spec = module.Spec()
    model = tuning.tuned(module, load_model(tiny_model, "fp32", False), spec, [], tiny_model)
    assert num_trained(spec, facts) == sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def test_the_workers_left_nothing(home: Workspace) -> None:
    left = [path for path in (home.saves / ".measure").rglob("*.safetensors") if isinstance(path, Path)]
    assert not left
