"""Every stage with every tuning method: three steps of the real job, only the promised weights move, and what was saved
answers, or scores, when it is loaded again."""

import math
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import lay_workspace
from tests.slow.test_stages import DATASETS, SHORT, lay_sets
from tests.slow.test_tuning import PARTS, opened
from tests.training import Done, trained
from workbench import stages, tuning
from workbench.engines import Chat, Sampling
from workbench.events import Step
from workbench.models import load_model
from workbench.sockets import plugins
from workbench.workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning"),  # peft of learned prompts
    pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning"),  # peft of norms
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]
MORE: dict[str, dict[str, Any]] = {
    "grpo": {
        "num_generations": 2,
        "max_completion_length": 4,
        "beta": 0.1,
        "reward_score": 1.0,
        "reward_model": "saves/tiny/lora/judge",
    },
    "ppo": {"max_completion_length": 4, "reward_model": "saves/tiny/lora/judge"},
    "lora": {"lora_rank": 2},
    "freeze": {"freeze_trainable_layers": 1},
}
PAIRS = [(stage, method) for stage in plugins(stages) for method in plugins(tuning)]
CHAT = Chat([{"role": "user", "content": "Say red."}])


def test_at_least_45_combinations_are_tried() -> None:
    assert len(PAIRS) >= 45


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a set of each shape and a reward model."""
    home = lay_sets(lay_workspace(tmp_path_factory.mktemp("combinations") / "workspace"))
    trained(home, "judge", **{**SHORT, "stage": "rm", "dataset": "pairs", "max_steps": 2})
    return home


@pytest.mark.parametrize(("stage", "method"), PAIRS)
def test_it_learns_saves_and_speaks_again(home: Workspace, stage: str, method: str) -> None:
    values = {key: value for key, value in SHORT.items() if key != "lora_rank"}
    values |= {"val_size": 0, "save_steps": 3, "stage": stage, "finetuning_type": method}
    dataset = DATASETS[plugins(stages)[stage].SHAPES[0]]
    done = trained(home, f"{stage}-{method}", dataset=dataset, **values, **MORE.get(stage, {}), **MORE.get(method, {}))
    steps = [event for event in done.events if isinstance(event, Step)]
    assert [step.step for step in steps] == [1, 2, 3]
    assert all(step.loss is not None and math.isfinite(step.loss) for step in steps)
    only_the_promised_have_moved(home, done, method)
    if stage == "rm":
        assert math.isfinite(score(home, done.run.folder, method))
        return
    engine = opened(home, [f"saves/{done.run.name}"])
    pieces = list(engine.stream(done.run.short_name, CHAT, Sampling(max_tokens=3, temperature=0), lambda: False))
    assert pieces[-1].finish and pieces[-1].answer_tokens <= 3


def only_the_promised_have_moved(home: Workspace, done: Done, method: str) -> None:
    """An adapter's file holds its own weights alone; of a whole model the others are those of the base, bit by bit."""
    from safetensors.torch import load_file

    base = load_file(home.models / "tiny" / "model.safetensors")
    if plugins(tuning)[method].Spec.ADAPTER:
        names = load_file(done.run.folder / "adapter_model.safetensors")
        part = PARTS[method].removesuffix("lambda")  # the frozen halves of VeRA are saved beside what moves
        assert names and all(part in name or "score" in name or method in PROMPTS for name in names)
        return
    now = load_file(done.run.folder / "model.safetensors")
    moved = {name for name, weight in now.items() if name in base and not base[name].equal(weight)}
    assert moved and all(PARTS[method] in name for name in moved)


PROMPTS = {"prefix", "ptuning", "prompt"}


def score(home: Workspace, folder: Path, method: str) -> float:
    """What the reward model gives to some text, once it is loaded anew."""
    import torch
    from peft import PeftModel

    adapter = plugins(tuning)[method].Spec.ADAPTER
    model = load_model(home.models / "tiny" if adapter else folder, "fp32", False, head="score")
    if adapter:
        model = PeftModel.from_pretrained(model, str(folder))
    model.eval()
    model.config.pad_token_id = 0
    with torch.no_grad():
        return float(model(input_ids=torch.tensor([[5, 6, 7]])).logits[0, 0])
