"""Merging large checkpoints: how much memory it takes, and that nothing half-written is left whatever befalls the worker.

Their numbers are noughts in files with holes, so that they take next to no disk; what is merged into them is not.
"""

import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import lay_workspace
from tests.slow.test_faults import PATIENCE_S, small_disk
from tests.tiny import write_model
from workbench.events import Failed
from workbench.runs import Run, create
from workbench.specs import ExportSpec, read_flat
from workbench.workspace import Workspace, source_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, kills with -9 and mounts small disks"),
]
GB = 1_000_000_000
SHARD_GB = 0.5
RANK = 16
INSIDE = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
          "mlp.down_proj")  # fmt: skip


def write_hollow(folder: Path, layers: int, hidden: int, inner: int, files: int = 4) -> int:
    """A Llama in bf16 whose numbers are all nought; how many it has."""
    write_model(folder)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text("utf-8"))
    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": 16}
    config |= {**sizes, "num_key_value_heads": 16, "torch_dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for at in range(layers):
        shapes |= {f"model.layers.{at}.{name}.weight": shape_of(name, hidden, inner) for name in INSIDE}
        shapes |= {f"model.layers.{at}.{name}.weight": (hidden,) for name in ("input_layernorm", "post_attention_layernorm")}
    names = list(shapes)
    parts = [names[at::files] for at in range(files)]
    places = dict[str, str]()
    for at, part in enumerate(parts, 1):
        file = folder / f"model-{at:05}-of-{files:05}.safetensors"
        places |= dict.fromkeys(part, file.name)
        write_noughts(file, {name: shapes[name] for name in part})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}), "utf-8")
    return sum(math.prod(shape) for shape in shapes.values())


def shape_of(name: str, hidden: int, inner: int) -> tuple[int, int]:
    if name == "mlp.down_proj":
        return hidden, inner
    return (inner, hidden) if name.startswith("mlp.") else (hidden, hidden)


def write_noughts(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    head, at = dict[str, Any](), 0
    for name, shape in shapes.items():
        end = at + 2 * math.prod(shape)
        head[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
        at = end
    written = json.dumps(head).encode()
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(written)) + written)
        opened.truncate(8 + len(written) + at)


def write_adapter(folder: Path, base: str, layers: int, hidden: int, inner: int) -> int:
    """LoRA on every linear layer; its bytes."""
    import numpy as np
    from safetensors.numpy import save_file

    draw, weights = np.random.default_rng(0), dict[str, Any]()
    for at in range(layers):
        for name in INSIDE:
            out, into = shape_of(name, hidden, inner)
            key = f"base_model.model.model.layers.{at}.{name}"
            weights[f"{key}.lora_A.weight"] = draw.normal(0, 0.02, (RANK, into)).astype(np.float32)
            weights[f"{key}.lora_B.weight"] = draw.normal(0, 0.02, (out, RANK)).astype(np.float32)
    folder.mkdir(parents=True)
    save_file(weights, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": ["q_proj"],
              "base_model_name_or_path": base}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    return (folder / "adapter_model.safetensors").stat().st_size


MERGE = """
import re, sys
from pathlib import Path
from tests.merging import source_of
from workbench.exporters import merged
from workbench.workspace import Workspace

def memory(which):
    return int(re.search(which + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

workspace, adapter, folder = Workspace(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
spec = merged.Spec(export_size=float(sys.argv[4]))
source = source_of(workspace, [adapter], model_name_or_path="models/large")
source.opening.tokenizer()
import torch
before = memory("VmRSS")
needed = merged.needs(spec, source)
merged.export(spec, source, folder)
print(before, memory("VmHWM"), needed)
"""


@pytest.mark.proof
def test_merging_two_thousand_million_numbers_takes_little_memory(tmp_path: Path) -> None:
    """Measured: all that the process ever held at once (VmHWM), Python, torch and transformers included."""
    home = lay_workspace(tmp_path / "workspace")
    sizes = {"layers": 30, "hidden": 2048, "inner": 8192}
    count = write_hollow(home.models / "large", **sizes)
    adapter_bytes = write_adapter(home.saves / "large" / "lora" / "one", "large", **sizes)
    folder = home.models / "merged"
    folder.mkdir()
    assert count > 2_000_000_000
    began = time.monotonic()
    words = [str(home.root), str(home.saves / "large" / "lora" / "one"), str(folder), str(SHARD_GB)]
    done = subprocess.run([sys.executable, "-c", MERGE, *words], cwd=source_folder(), capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    took = time.monotonic() - began
    try:
        assert done.returncode == 0, done.stderr
        before, most, needed = (int(word) for word in done.stdout.split())
        files = sorted(folder.glob("*.safetensors"))
        print(f"\n{count / 1e9:.2f}e9 numbers, adapter {adapter_bytes / 1e6:.0f} MB, {len(files)} files of {SHARD_GB} GB: "
              f"{before / 1e9:.2f} GB before, at most {most / 1e9:.2f} GB, {took:.0f} s")  # fmt: skip
        assert most <= SHARD_GB * GB + 1 * GB + adapter_bytes
        assert max(file.stat().st_size for file in files) <= SHARD_GB * GB + 100_000
        assert abs(sum(file.stat().st_size for file in files) - needed) < 5_000_000
        assert_merged(folder, home.saves / "large" / "lora" / "one", files[1])
    finally:
        shutil.rmtree(folder)


def assert_merged(folder: Path, adapter: Path, file: Path) -> None:
    """A matrix of the file is what the adapter adds to noughts."""
    import torch
    from safetensors import safe_open

    with safe_open(file, "pt") as weights, safe_open(adapter / "adapter_model.safetensors", "pt") as halves:
        name = next(one for one in weights.keys() if "up_proj" in one)  # noqa: SIM118 - it is no mapping
        key = f"base_model.model.{name.removesuffix('.weight')}"
        wanted = 2.0 * halves.get_tensor(f"{key}.lora_B.weight") @ halves.get_tensor(f"{key}.lora_A.weight")
        assert torch.equal(weights.get_tensor(name), wanted.to(torch.bfloat16))
    with safe_open(folder / "model-00001-of-00009.safetensors", "pt") as weights:
        assert weights.metadata() == {"format": "pt"}


# Whatever befalls the worker


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    """A workspace with a model of 100 million numbers and its adapter."""
    home = lay_workspace(tmp_path / "workspace")
    sizes = {"layers": 8, "hidden": 512, "inner": 8192}
    write_hollow(home.models / "large", **sizes)
    write_adapter(home.saves / "large" / "lora" / "one", "large", **sizes)
    return home


def export_run(home: Workspace, **more: Any) -> Run:
    given = {
        "model_name_or_path": "models/large", "adapter_name_or_path": "large/lora/one", "export_format": "merged",
        "export_dtype": "fp32", "export_size": 0.05, "export_dir": "out", "proof_prompts": ["Hi"], "proof_tokens": 4,
    }  # fmt: skip
    return create(home, read_flat(ExportSpec, {**given, **more}).unwrap())


def state_of_sources(home: Workspace) -> dict[str, tuple[int, int]]:
    """Size and time of every file that is read."""
    files = [*(home.models / "large").rglob("*"), *(home.saves / "large" / "lora").rglob("*")]
    return {str(file): (file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()}


def begun(home: Workspace) -> bool:
    return (home.models / ".out.part" / "model-00002-of-00009.safetensors").exists() or any(
        file.stat().st_size > 10_000_000 for file in (home.models / ".out.part").glob("*.safetensors")
    )


def wait_until_begun(run: Run, home: Workspace) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not begun(home):
        assert time.monotonic() < deadline, run.log_tail()
        assert run.state() in ("waiting", "running"), run.log_tail()
        time.sleep(0.001)


def left_over(home: Workspace) -> list[str]:
    return sorted(one.name for one in home.models.iterdir() if one.name not in ("tiny", "large"))


def why_it_failed(run: Run) -> str:
    ended = run.view().ended
    assert isinstance(ended, Failed), run.log_tail()
    return str(ended.problems[0].message)


def test_killed_while_it_writes(home: Workspace) -> None:
    before, run = state_of_sources(home), export_run(home)
    run.start()
    wait_until_begun(run, home)
    started = run.view().started
    assert started is not None
    os.kill(started.pid, signal.SIGKILL)
    assert run.wait(10) == "lost"
    assert left_over(home) == [".out.part"], "nothing under the final name"
    run.resume()
    assert run.wait(PATIENCE_S) == "finished", run.log_tail()
    assert left_over(home) == ["out"]
    index = json.loads((home.models / "out" / "model.safetensors.index.json").read_text("utf-8"))
    assert {file.name for file in (home.models / "out").glob("*.safetensors")} == set(index["weight_map"].values())
    assert state_of_sources(home) == before


def test_stopped_while_it_writes(home: Workspace) -> None:
    before, run = state_of_sources(home), export_run(home)
    run.start()
    wait_until_begun(run, home)
    run.stop()
    assert run.wait(PATIENCE_S) == "stopped", run.log_tail()
    assert left_over(home) == []
    assert state_of_sources(home) == before


def test_the_disk_is_too_small(home: Workspace) -> None:
    """Four megabytes: said before any work."""
    before = state_of_sources(home)
    (home.root / "small").mkdir()
    with small_disk(home.root / "small"):
        run = export_run(home, export_dir="small/out")
        run.start()
        assert run.wait(PATIENCE_S) == "failed", run.log_tail()
        assert why_it_failed(run).startswith("The export takes 0.4")
        assert list((home.root / "small").iterdir()) == []
    assert state_of_sources(home) == before


def take(file: Path, num_bytes: int) -> None:
    """Let a file hold so much of the disk, or all that is left."""
    with file.open("ab") as opened, suppress(OSError):
        os.posix_fallocate(opened.fileno(), 0, num_bytes)
    with file.open("ab", buffering=0) as opened, suppress(OSError):
        while file.stat().st_size < num_bytes:
            opened.write(bytes(1 << 16))


def test_the_disk_fills_up_while_it_writes(home: Workspace) -> None:
    """Room enough at first, and then somebody else takes it."""
    before = state_of_sources(home)
    (home.root / "small").mkdir()
    with disk(home.root / "small", "size=700m"):
        run = export_run(home, export_dir="small/out")
        take(home.root / "small" / "other", 100_000_000)
        run.start()
        deadline = time.monotonic() + PATIENCE_S
        while not any((home.root / "small" / ".out.part").glob("*.safetensors")):
            assert time.monotonic() < deadline and run.state() in ("waiting", "running"), run.log_tail()
            time.sleep(0.001)
        take(home.root / "small" / "other", 500_000_000)
        assert run.wait(PATIENCE_S) == "failed", run.log_tail()
        assert why_it_failed(run).startswith("No space is left on the disk")
        assert [one.name for one in (home.root / "small").iterdir()] == ["other"]
        (home.root / "small" / "other").unlink()
        run.resume()
        assert run.wait(PATIENCE_S) == "finished", run.log_tail()
        assert (home.root / "small" / "out" / "config.json").is_file()
    assert state_of_sources(home) == before


def test_a_folder_that_can_not_be_written(home: Workspace) -> None:
    before = state_of_sources(home)
    (home.root / "small").mkdir()
    with disk(home.root / "small", "size=900m"):
        subprocess.run(["mount", "-o", "remount,ro", str(home.root / "small")], check=True)
        run = export_run(home, export_dir="small/out")
        run.start()
        assert run.wait(PATIENCE_S) == "failed", run.log_tail()
        assert "'out' can't be written: Read-only file system" in why_it_failed(run)
        assert list((home.root / "small").iterdir()) == []
    assert state_of_sources(home) == before


@contextmanager
def disk(folder: Path, options: str) -> Iterator[None]:
    """The folder on a disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("a disk can only be mounted by root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
