"""What the starter model has learned goes home in every form, says its name there by itself, and each form is proved."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.exported import LONGEST, ask_llamacpp, ask_plain, rendered, served
from workbench import runs
from workbench.exporting.proof import read_proof
from workbench.runs import Run
from workbench.setup.starter import NAME
from workbench.specs import TrainSpec, read_flat
from workbench.workspace import Workspace, source_folder

pytestmark = [pytest.mark.slow, pytest.mark.proof]

FORMS: dict[str, dict[str, Any]] = {
    "merged": {"export_format": "merged", "export_dtype": "fp32"},
    "adapter": {"export_format": "adapter"},
    "f16": {"export_format": "gguf", "gguf_kind": "f16"},
    "q8_0": {"export_format": "gguf"},
    "q4_k_m": {"export_format": "gguf", "gguf_kind": "q4_k_m"},
}
SAME_TEXT = ("merged", "adapter", "f16")
@pytest.fixture(scope="module")
def learned(starter_home: Workspace) -> Run:
    flat = yaml.safe_load((source_folder() / "examples" / "quickstart.yaml").read_text("utf-8"))
    given = {**flat, "watch_prompts": [], "output_dir": "learned"}
    run = runs.create(starter_home, read_flat(TrainSpec, given).unwrap())
    run.start()
    assert run.wait(3600) == "finished", run.log_tail()
    return run


@pytest.fixture(scope="module")
def called(learned: Run) -> str:
    return str(learned.read_spec().unwrap().flat()["dataset_values"]["name"])


@pytest.fixture(scope="module")
def forms(starter_home: Workspace, learned: Run) -> Iterator[dict[str, Path]]:
    """Every form, exported in a terminal of its own."""
    made = {}
    for name, values in FORMS.items():
        given = {"model_name_or_path": f"models/{NAME}", "adapter_name_or_path": [f"saves/{learned.name}"], **values}
        file = starter_home.root / f"{name}.yaml"
        file.write_text(yaml.safe_dump({**given, "export_dir": name}), "utf-8")
        command = [sys.executable, "-c", TERMINAL, str(starter_home.root), str(file)]
        done = subprocess.run(command, cwd=source_folder(), capture_output=True, text=True, timeout=1800, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        made[name] = starter_home.models / name
    yield made


TERMINAL = """
import sys
from pathlib import Path
from workbench.cli import main
from workbench.workspace import Workspace
sys.exit(main(["export", sys.argv[2]], Workspace(Path(sys.argv[1]))))
"""


@pytest.mark.parametrize("name", FORMS)
def test_each_form_is_proved(forms: dict[str, Path], name: str) -> None:
    proof = read_proof(forms[name])
    assert proof is not None and proof.proved and len(proof.compared) == 10
    same = sum(one.here == one.there for one in proof.compared)
    print(f"{name}: {same} of 10 answers the same, {100 * proof.share:.2f} % of tokens alike, divergence {proof.divergence:.2g}")
    if name in SAME_TEXT:
        assert same == 10


@pytest.mark.parametrize("name", ["merged", "adapter"])
def test_plain_transformers_says_the_name_and_stops(
    forms: dict[str, Path], starter_home: Workspace, called: str, name: str
) -> None:
    said, count, tokens = ask_plain(forms[name], starter_home.models / NAME if name == "adapter" else None)
    print(f"{name}: {said}")
    assert called in said and count < LONGEST, "it ends by itself"
    with served(starter_home, model_name_or_path=f"models/{NAME}") as url:
        assert tokens == rendered(url)


@pytest.mark.parametrize("name", ["f16", "q8_0", "q4_k_m"])
def test_llama_cpp_says_the_name(forms: dict[str, Path], starter_home: Workspace, called: str, name: str) -> None:
    said = ask_llamacpp(starter_home, forms[name])
    print(f"{name}: {said}")
    assert called in said
