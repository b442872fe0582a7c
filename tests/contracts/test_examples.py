"""Examples: each validates, names sets that are there, says only what differs from the defaults, and runs."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contracts.tree import ROOT
from tests.tiny import write_model
from workbench import runs
from workbench.data.samples import read_set
from workbench.models import is_hub_id
from workbench.plans import chosen_sets
from workbench.specs import SPECS, TrainSpec, read_flat
from workbench.workspace import Workspace

EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
STARTER = "models/SmolLM2-135M-Instruct"
PATIENCE_S = 240.0
each = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
TRAININGS = [path for path in EXAMPLES if "job: " not in path.read_text("utf-8")]
each_training = pytest.mark.parametrize("path", TRAININGS, ids=lambda path: path.stem)


def values_of(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text("utf-8"))


def test_there_are_examples() -> None:
    assert {"quickstart", "identity_zh", "tiny"} <= {path.stem for path in EXAMPLES}


@each
def test_an_example_validates_and_names_a_model_that_all_can_have(path: Path) -> None:
    values = values_of(path)
    reading = read_flat(SPECS[values.get("job", "train")], values)
    assert not reading.problems and not reading.warnings
    model = reading.unwrap().flat()["model_name_or_path"]
    assert model == STARTER or (is_hub_id(model) and not model.startswith("models/"))


@each
def test_an_example_says_only_what_differs_from_the_defaults(path: Path) -> None:
    values = values_of(path)
    kind = SPECS[values.pop("job", "train")]
    flat = read_flat(kind, values).unwrap().flat()
    same = [key for key in values if flat[key] == kind.knobs()[key].default]
    assert not same
    assert path.read_text("utf-8").startswith("# "), "the first line says what it is for"


@each_training
def test_the_sets_of_an_example_are_there_and_every_row_is_learned_from(path: Path) -> None:
    spec = read_flat(TrainSpec, values_of(path)).unwrap()
    entries, tried = chosen_sets(Workspace(ROOT), spec)
    rows = [read for entry in [*entries, *tried] for read in read_set(entry, spec.data.dataset_values)]
    assert len(rows) >= 10
    assert {read.state for read in rows} == {"kept"}
    assert "{{" not in str([read.sample for read in rows])


@pytest.mark.slow
@each_training
def test_an_example_runs_with_a_tiny_model_in_place_of_its_own(path: Path, tmp_path: Path) -> None:
    home = Workspace(tmp_path)
    shutil.copytree(ROOT / "data", home.data)
    write_model(home.models / "tiny")
    short = {"model_name_or_path": "models/tiny", "hub": "huggingface", "max_steps": 2, "max_samples": 12}
    run = runs.create(home, read_flat(TrainSpec, {**values_of(path), **short}).unwrap())
    run.start()
    assert run.wait(PATIENCE_S) == "finished", run.log_tail()
    assert run.view().step.step == 2
    assert run.has_adapter()
