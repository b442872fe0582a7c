"""What this machine can compute with, asked of torch in a process of its own, so that the asking one stays light.

``python -m workbench.machine`` prints it as one line of JSON. Knows no run and no page.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from workbench.models import choose_precision, cpu_computes_bf16, device
from workbench.problems import UserError
from workbench.text import Message, Text
from workbench.workspace import source_folder

PATIENCE_S = 120.0
PRECISIONS = ("fp32", "bf16", "fp16")


class Say:
    no_answer = Text("torch does not start: {reason} Accepted: the torch of requirements.txt. Run ./start.sh again.")
    too_slow = Text("it gave no answer in {seconds} s.")


@dataclass(frozen=True)
class Card:
    """One card that torch sees, and its memory in bytes."""

    name: str
    memory_bytes: int


@dataclass(frozen=True)
class Machine:
    """What torch says. ``cuda``: the CUDA that it was built for, empty when it was not."""

    torch: str
    device: str
    cuda: str
    cards: Sequence[Card]
    threads: int
    precisions: Sequence[str]
    auto: str
    why: Message
    fast_bf16: bool


def look() -> Machine:
    """Ask torch in another process; UserError with its last words when it does not start."""
    command = [sys.executable, "-P", "-m", "workbench.machine"]
    environment = {**os.environ, "PYTHONPATH": str(source_folder()), "PYTHONIOENCODING": "utf-8"}
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, encoding="utf-8", timeout=PATIENCE_S, env=environment
        )
    except subprocess.TimeoutExpired:
        raise UserError(Say.no_answer(reason=Say.too_slow(seconds=round(PATIENCE_S)))) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["?"])[-1]
        raise UserError(Say.no_answer(reason=f"{last}."))
    data = json.loads(done.stdout.splitlines()[-1])
    data["cards"] = [Card(**card) for card in data["cards"]]
    return Machine(**{**data, "why": Message.from_json(data["why"])})


def survey() -> Machine:
    """The same, asked in this process: imports torch."""
    import torch

    where = device()
    auto, why = choose_precision("auto", False, True)
    assert why is not None
    count = torch.cuda.device_count() if where == "cuda" else 0
    cards = [torch.cuda.get_device_properties(at) for at in range(count)]
    return Machine(
        torch=torch.__version__,
        device=where,
        cuda=torch.version.cuda or "",
        cards=[Card(card.name, card.total_memory) for card in cards],
        threads=torch.get_num_threads(),
        precisions=[name for name in PRECISIONS if _is_had(name)],
        auto=auto,
        why=why,
        fast_bf16=where != "cpu" or cpu_computes_bf16(),
    )


def _is_had(precision: str) -> bool:
    try:
        choose_precision(precision, False, True)
    except UserError:
        return False
    return True


if __name__ == "__main__":
    found = survey()
    print(json.dumps({**asdict(found), "why": found.why.to_json()}))
