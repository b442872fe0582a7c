"""What the hot paths cost, counted and not timed: a change that makes one of them a tenth dearer has to say so in budgets.yaml.

Operations are torch's, bytes those that they make, calls those of Python functions. All are the same on every machine with the
same packages. ``python -m tests.test_budgets`` writes the counts of today.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.tiny import write_model, write_tokenizer
from workbench import stages
from workbench.chats import ChatOptions, use_template
from workbench.chats.encoding import Encoder
from workbench.events import Entry, Step
from workbench.formats import Sample, Turn
from workbench.models import load_model, load_tokenizer
from workbench.sockets import plugins
from workbench.view import View

BUDGETS = Path(__file__).with_name("budgets.yaml")
DEARER, CHEAPER = 1.10, 0.75
Counts = Mapping[str, int]


class Operations(TorchDispatchMode):
    """Counts what is computed inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.count += 1
        self.bytes += sum(one.nbytes for one in tree_leaves(made) if isinstance(one, torch.Tensor))
        return made


def calls(action: Callable[[], object]) -> int:
    """How many Python functions are called; the second time, when nothing is imported or found out any more."""
    action()
    count = 0

    def seen(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


def training_step(folder: Path) -> Counts:
    """Forward and back over four rows of unlike length with LoRA on the tiny model."""
    from peft import LoraConfig, get_peft_model
    from trl.trainer.utils import add_fused_lm_head

    from workbench.kernels import hasten

    write_model(folder / "model")
    base = load_model(folder / "model", "fp32", False).cpu()
    add_fused_lm_head(base, outputs=("log_probs", "is_top1"))
    model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert hasten(model, likelihoods=True)
    ids = torch.arange(80).reshape(4, 20) % 60 + 4
    mask = torch.ones_like(ids)
    mask[1, 5:] = mask[2, 12:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    given = {"input_ids": ids, "attention_mask": mask, "labels": labels, "use_cache": False, "fused_lm_head": True}
    (-model(**given).log_probs.sum()).backward()
    with Operations() as seen:
        (-model(**given).log_probs.sum()).backward()
    return {"operations": seen.count, "bytes": seen.bytes}


def answering_step(folder: Path) -> Counts:
    """Three answers grow by a token."""
    from workbench.engines.transformers.computing import Together

    write_model(folder / "model")
    model = load_model(folder / "model", "fp32", False).cpu()
    together = Together(lambda: model, 4)
    places = [together.begin("base", range(4, 12 + at)) for at in range(3)]
    assert all(places)
    for at, place in enumerate(places):
        together.read(place, list(range(4, 12 + at)))
    together.grow(places, [5, 6, 7])
    with Operations() as seen:
        together.grow(places, [5, 6, 7])
    return {"operations": seen.count, "bytes": seen.bytes}


def folding(folder: Path) -> Counts:
    """A thousand steps of a run become what is shown."""
    entries = [Entry(at, float(at), Step(at, 1000, at / 100, 2.0 - at / 1000, 1e-4, 1.0, 900, 100, 0.5, 1 << 30)) for at in range(1000)]
    return {"calls": calls(lambda: View().fold(entries))}


def encoding(folder: Path) -> Counts:
    """Fifty conversations become tokens and labels."""
    folder.mkdir(exist_ok=True)
    write_tokenizer(folder)
    tokenizer = load_tokenizer(folder, False)
    use_template(tokenizer, "chatml")
    stage = plugins(stages)["sft"]
    samples = [
        Sample([Turn("user", f"How much is {at} and one?"), Turn("assistant", f"It is {at + 1}.")]) for at in range(50)
    ]
    encode = lambda: list(Encoder(tokenizer, ChatOptions(), stage, stage.Spec(), 128).rows(samples))  # noqa: E731
    return {"calls": calls(encode)}


PATHS: Mapping[str, Callable[[Path], Counts]] = {
    "training step": training_step, "answering step": answering_step, "folding": folding, "encoding": encoding,
}  # fmt: skip


@pytest.mark.parametrize("name", PATHS)
def test_a_hot_path_stays_as_cheap_as_it_was(name: str, tmp_path: Path) -> None:
    budget = yaml.safe_load(BUDGETS.read_text("utf-8"))[name]
    found = PATHS[name](tmp_path / "place")
    assert found.keys() == budget.keys()
    for kind, count in found.items():
        assert count <= DEARER * budget[kind], f"{name}: {count} {kind} where {budget[kind]} were enough"
        assert count >= CHEAPER * budget[kind], f"{name}: only {count} {kind}, write that down in {BUDGETS.name}"


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        counted = {name: dict(count(Path(place) / name.replace(" ", "-"))) for name, count in PATHS.items()}
    BUDGETS.write_text(yaml.safe_dump(counted, sort_keys=False), "utf-8")
