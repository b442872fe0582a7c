"""What runs on this machine stand on: device, memory, cores, fast numbers. Kept in a file, so that the window need not ask torch.

``cache/machine.json`` is written by whoever has asked torch; until then a guess from the system stands in its place.
"""

import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from workbench.estimates.needs import Ground
from workbench.machine import Machine, look
from workbench.workspace import Workspace

FILE = "machine.json"
VERSION = 3
"""Of what is written down: raise it when more is asked."""
FAST_FLAGS = ("avx512_bf16", "amx_tile")
CPU_INFO = Path("/proc/cpuinfo")


def ground(workspace: Workspace) -> Ground:
    """What was learned of this machine, else a guess."""
    return known(workspace) or guess()


def known(workspace: Workspace) -> Ground | None:
    """What was learned with this torch on this machine; None when nothing was."""
    try:
        data = json.loads((workspace.cache / FILE).read_text("utf-8"))
        if data.pop("of") != _of():
            return None
        return Ground(**data)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def learn(workspace: Workspace) -> Ground:
    """Ask torch in a process of its own, which takes seconds, and keep the answer; UserError when torch does not start."""
    return keep(workspace, look())


def keep(workspace: Workspace, machine: Machine) -> Ground:
    """Write down what torch has said."""
    card = machine.cards[0] if machine.cards else None
    learned = Ground(
        device="cuda" if machine.device == "cuda" else "mps" if machine.device == "mps" else "cpu",
        card=card.name if card else "",
        room_bytes=card.memory_bytes if card else psutil.virtual_memory().total,
        cores=machine.threads,
        auto=machine.auto,
        fast_bf16=machine.fast_bf16,
        cards=[card.name for card in machine.cards],
    )
    workspace.cache.mkdir(parents=True, exist_ok=True)
    beside = workspace.cache / f"{FILE}.{os.getpid()}"
    beside.write_text(json.dumps({"of": _of(), **asdict(learned)}, indent=1), "utf-8")
    beside.replace(workspace.cache / FILE)
    return learned


def guess() -> Ground:
    """What can be seen without torch. An NVIDIA card is taken to be used; its memory is known only to torch."""
    cores, memory = psutil.cpu_count(logical=False) or os.cpu_count() or 1, psutil.virtual_memory().total
    if shutil.which("nvidia-smi"):
        return Ground("cuda", "", 0, cores, "bf16", True)
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return Ground("mps", "", memory, cores, "fp32", True)
    flags = ""
    with suppress(OSError):
        flags = next((line for line in CPU_INFO.read_text().splitlines() if line.startswith("flags")), "")
    fast = any(flag in flags.split() for flag in FAST_FLAGS)
    return Ground("cpu", "", memory, cores, "bf16" if fast else "fp32", fast)


def _of() -> Mapping[str, str | int]:
    """What makes an answer of torch an old one."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = ""
    return {"version": VERSION, "machine": platform.node(), "torch": torch, "cores": os.cpu_count() or 1}
