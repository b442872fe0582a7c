"""Every tuning method learns: only the promised weights move, and what was saved answers alike in a fresh model.

The same over bases of 8 and 4 bits, and behind the engine that chats.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from workbench import engines, runs, tuning
from workbench.desk import Desk
from workbench.engines import BASE, Chat, Engine, Sampling
from workbench.events import EventLog
from workbench.models import load_model, load_tokenizer
from workbench.opening import prepare
from workbench.problems import UserError
from workbench.quantising import Quantisation, is_quantised
from workbench.sockets import plugins
from workbench.specs import ServeSpec, read_flat
from workbench.workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning"),  # peft of learned prompts
    pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning"),  # peft of norms
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]
METHODS = plugins(tuning)
LEARNED = 24
WAYS: list[tuple[str, dict[str, Any]]] = [
    ("full", {}),
    ("freeze", {"freeze_trainable_layers": 1}),
    ("lora", {}),
    ("lora", {"use_dora": True}),
    ("lora", {"use_rslora": True}),
    ("lora", {"pissa_init": True}),
    ("lora", {"pissa_init": True, "use_rslora": True, "lora_rank": 24}),
    ("lora", {"init_lora_weights": "olora"}),
    ("lora", {"init_lora_weights": "gaussian"}),
    ("lora", {"init_lora_weights": "orthogonal"}),
    ("lora", {"additional_target": ["embed_tokens"]}),
    ("lora", {"additional_target": ["norm"], "pissa_init": True}),
    ("lora", {"lora_target": ["q_proj", "embed_tokens"]}),
    ("oft", {}),
    ("oft", {"additional_target": ["norm"]}),
    ("oft", {"oft_rank": 2, "oft_block_size": 0}),
    ("ia3", {}),
    ("ia3", {"ia3_target": ["all"]}),
    ("vera", {}),
    ("loha", {}),
    ("lokr", {}),
    ("ln_tuning", {}),
    ("prefix", {}),
    ("prefix", {"prefix_projection": True}),
    ("ptuning", {}),
    ("ptuning", {"ptuning_kind": "LSTM"}),
    ("prompt", {}),
    ("prompt", {"prompt_init_text": "Answer the"}),
]
PARTS = {
    "full": "", "freeze": "layers.1.", "lora": "lora_", "oft": "oft_", "ia3": "ia3_", "vera": "vera_lambda",
    "loha": "hada_", "lokr": "lokr_", "ln_tuning": "ln_tuning_layers", "prefix": "prompt_encoder",
    "ptuning": "prompt_encoder", "prompt": "prompt_encoder",
}  # fmt: skip
"""What the names of the weights that may move have in common."""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model as wide as a block of 4-bit weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny, "HIDDEN", 64)
        patch.setattr(tiny, "INNER", 128)
        return tiny.write_model(tmp_path_factory.mktemp("wide") / "tiny")


def rows() -> Any:
    """Two rows of tokens, (2, 24)."""
    import torch

    return torch.randint(3, 200, (2, LEARNED), generator=torch.Generator().manual_seed(1))


def logits(model: Any) -> Any:
    """What comes after each token of the rows, without the places of a learned prompt."""
    import torch

    model.eval()
    with torch.no_grad():
        return model(input_ids=rows()).logits[:, -LEARNED:].float()


def learn(model: Any, steps: int = 3) -> tuple[set[str], list[float]]:
    """Learn the rows by heart: the names of the weights that moved, and the losses."""
    import torch

    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
    losses = []
    model.train()
    for _ in range(steps):
        loss = model(input_ids=rows(), labels=rows()).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}, losses


@dataclass
class Learned:
    """A model that has learned, and the folder in which it was saved."""

    model: Any
    folder: Path
    moved: set[str]
    losses: list[float]


def ready(
    model: Path, name: str, values: dict[str, Any], adapters: list[Path], bits: Quantisation | None = None
) -> Any:
    """The model of the folder, made ready by the method, with the same dice every time."""
    from transformers import set_seed

    set_seed(0)
    made = METHODS[name].Spec(**values)
    found = tuning.tuned(METHODS[name], load_model(model, "fp32", False, bits), made, adapters, model)
    tuning.hold_trained(found, False)
    return found


def learned(model: Path, folder: Path, name: str, values: dict[str, Any], bits: Quantisation | None = None) -> Learned:
    made = ready(model, name, values, [], bits)
    moved, losses = learn(made)
    made.save_pretrained(str(folder))
    return Learned(made, folder, moved, losses)


def promised(model: Any, name: str, values: dict[str, Any]) -> set[str]:
    whole = [f"{one}.modules_to_save" for one in values.get("additional_target", [])]
    return {key for key, _ in model.named_parameters() if any(part in key for part in (PARTS[name], *whole))}


def fresh(model: Path, done: Learned, bits: Quantisation | None = None) -> Any:
    """What was saved, in a model that never learned."""
    from peft import PeftModel

    if (done.folder / "adapter_config.json").is_file():
        return PeftModel.from_pretrained(load_model(model, "fp32", False, bits), str(done.folder))
    return load_model(done.folder, "fp32", False)


@pytest.mark.parametrize(("name", "values"), WAYS, ids=str)
def test_a_method_learns_saves_and_answers_alike(
    tiny_model: Path, tmp_path: Path, name: str, values: dict[str, Any]
) -> None:
    import torch

    done = learned(tiny_model, tmp_path / "run", name, values)
    assert done.moved == promised(done.model, name, values) and done.moved
    assert done.losses[2] < done.losses[1] < done.losses[0]
    wanted = logits(done.model)
    doubled = values.get("pissa_init") or values.get("init_lora_weights") == "olora"
    near = {"atol": 1e-4, "rtol": 1e-4} if doubled or "LSTM" in values.values() else {"atol": 0, "rtol": 0}
    again = fresh(tiny_model, done)
    torch.testing.assert_close(logits(again), wanted, **near)
    written = again.generate(input_ids=rows()[:1], attention_mask=torch.ones(1, LEARNED), max_new_tokens=3)
    assert written.shape[1] > LEARNED
    if METHODS[name].Spec.ADAPTER:
        resumed = ready(tiny_model, name, values, [])
        resumed.load_adapter(str(done.folder), "default", is_trainable=True)  # as a Trainer does
        assert torch.equal(logits(resumed), wanted), "resumed"
        assert learn(resumed, 1)[0] == done.moved
        went_on = ready(tiny_model, name, values, [done.folder])
        torch.testing.assert_close(logits(went_on), wanted, **near)
        assert learn(went_on, 1)[0] == done.moved


def test_all_methods_are_tried() -> None:
    assert {name for name, _ in WAYS} == set(METHODS) == set(PARTS)


@pytest.mark.parametrize(
    "name", [name for name, module in METHODS.items() if module.Spec.MERGES and module.Spec.ADAPTER]
)
def test_adapters_merge_before_a_new_one_and_before_all_is_trained(tiny_model: Path, tmp_path: Path, name: str) -> None:
    import torch

    first = learned(tiny_model, tmp_path / "first", name, {})
    for values in ({"create_new_adapter": True}, {"create_new_adapter": True, "pissa_init": True}):
        torch.testing.assert_close(
            logits(ready(tiny_model, "lora", values, [first.folder])), logits(first.model), atol=1e-4, rtol=1e-4
        )
    whole = ready(tiny_model, "full", {}, [first.folder])
    torch.testing.assert_close(logits(whole), logits(first.model), atol=1e-4, rtol=1e-4)


def test_of_several_adapters_all_but_the_last_are_merged(tiny_model: Path, tmp_path: Path) -> None:
    import torch

    first = learned(tiny_model, tmp_path / "first", "lora", {})
    second = ready(tiny_model, "lora", {"create_new_adapter": True}, [first.folder])
    learn(second)
    second.save_pretrained(str(tmp_path / "second"))
    both = ready(tiny_model, "lora", {}, [first.folder, tmp_path / "second"])
    torch.testing.assert_close(logits(both), logits(second), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "values"), [*((name, {}) for name in METHODS), ("prefix", {"prefix_projection": True})]
)
def test_a_score_learns_with_every_method(tiny_model: Path, tmp_path: Path, name: str, values: dict[str, Any]) -> None:
    import torch

    def made() -> Any:
        torch.manual_seed(0)
        base = load_model(tiny_model, "fp32", False, head="score")
        return tuning.tuned(METHODS[name], base, METHODS[name].Spec(**values), [], tiny_model)

    model = made()
    head = next(weight for key, weight in model.named_parameters() if "score" in key and weight.requires_grad)
    before = head.detach().clone()
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
    model.train()
    for _ in range(2):
        (model(input_ids=rows()).logits ** 2).sum().backward()
        optimizer.step()
    model.eval()
    model.save_pretrained(str(tmp_path / "run"))
    assert not torch.equal(head, before)
    if METHODS[name].Spec.ADAPTER:
        again = made()
        again.load_adapter(str(tmp_path / "run"), "default", is_trainable=True)
    else:
        again = load_model(tmp_path / "run", "fp32", False, head="score")
    assert torch.equal(again.eval()(input_ids=rows()).logits, model(input_ids=rows()).logits)


BITS = [Quantisation(8), Quantisation(4), Quantisation(4, "fp4", double=False)]


@pytest.mark.parametrize("bits", BITS, ids=lambda bits: bits.name)
@pytest.mark.parametrize("name", [name for name, module in METHODS.items() if module.Spec.QUANTISED])
def test_a_method_learns_over_few_bits(wide: Path, tmp_path: Path, name: str, bits: Quantisation) -> None:
    import torch

    done = learned(wide, tmp_path / "run", name, {}, bits)
    assert is_quantised(done.model)
    assert done.moved == promised(done.model, name, {}) and done.moved
    assert done.losses[2] < done.losses[0]
    base = done.model.get_base_model()
    assert base.model.norm.weight.dtype == base.lm_head.weight.dtype == torch.float32
    torch.testing.assert_close(logits(fresh(wide, done, bits)), logits(done.model), atol=1e-5, rtol=1e-5)


def test_a_model_of_4_bits_still_learns_after_it_was_asked(wide: Path) -> None:
    asked, not_asked = (ready(wide, "lora", {}, [], Quantisation(4)) for _ in range(2))
    logits(asked)
    assert learn(asked) == learn(not_asked)


def test_a_model_that_comes_in_4_bits_is_learned_over(wide: Path, tmp_path: Path) -> None:
    few = load_model(wide, "fp32", False, Quantisation(4))
    few.save_pretrained(str(tmp_path / "few"))
    assert json.loads((tmp_path / "few" / "config.json").read_text("utf-8"))["quantization_config"]
    model = ready(tmp_path / "few", "lora", {}, [])
    moved, losses = learn(model)
    assert is_quantised(model) and moved == promised(model, "lora", {})
    assert losses[2] < losses[0]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with runs of all kinds, as training leaves them."""
    home = Workspace(tmp_path_factory.mktemp("voices"))
    model = tiny.write_model(home.models / "tiny")
    for name in ("full", "lora", "prefix", "ptuning", "prompt"):
        folder = home.saves / "tiny" / name / f"a-{name}"
        learned(model, folder, name, {})
        (folder / "spec.yaml").write_text(f"job: train\nfinetuning_type: {name}\n", "utf-8")
        if name != "full":
            config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
            (folder / "adapter_config.json").write_text(
                json.dumps({**config, "base_model_name_or_path": "models/tiny"})
            )
    return home


def opened(home: Workspace, names: list[str]) -> Engine:
    spec = read_flat(ServeSpec, {"model_name_or_path": "models/tiny", "adapter_name_or_path": names}).unwrap()
    run = runs.create(home, spec)
    desk = Desk(run, EventLog(run.events), False)
    engine: Engine = plugins(engines)["transformers"].open(spec.engine, prepare(spec.model, desk))
    return engine


@pytest.fixture(scope="module")
def engine(home: Workspace) -> Iterator[Engine]:
    names = ["full", "lora", "prefix", "ptuning", "prompt"]
    yield opened(home, [f"saves/tiny/{name}/a-{name}" for name in names])


@pytest.mark.parametrize("name", [BASE, "a-full", "a-lora", "a-prefix", "a-ptuning", "a-prompt"])
def test_each_answers_in_chat_as_it_does_alone(home: Workspace, engine: Engine, name: str) -> None:
    import torch

    tokenizer = load_tokenizer(home.models / "tiny", False)
    chat = Chat([{"role": "user", "content": "Who are you?"}])
    ids = torch.tensor([tokenizer.apply_chat_template(chat.messages, add_generation_prompt=True, return_dict=False)])
    folder = home.saves / "tiny" / name.removeprefix("a-") / name
    alone = (
        load_model(home.models / "tiny", "fp32", False)
        if name == BASE
        else fresh(home.models / "tiny", Learned(None, folder, set(), []))
    ).eval()
    written = alone.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
    wanted = tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
    for _ in range(2):
        pieces = list(engine.stream(name, chat, Sampling(max_tokens=12, temperature=0), lambda: False))
        assert "".join(piece.text for piece in pieces).rstrip("\ufffd") == wanted.rstrip("\ufffd")


def test_an_adapter_of_few_bits_brings_its_base_in_few_bits(wide: Path, tmp_path: Path) -> None:
    home = Workspace(tmp_path)
    (home.models).mkdir()
    (home.models / "tiny").symlink_to(wide)
    folder = home.saves / "tiny" / "lora" / "few"
    learned(wide, folder, "lora", {}, Quantisation(4))
    (folder / "spec.yaml").write_text("job: train\nquantization_bit: '4'\n", "utf-8")
    engine: Any = opened(home, ["saves/tiny/lora/few"])
    assert is_quantised(engine._voices.model)


def test_a_module_of_few_bits_is_not_trained_whole(wide: Path) -> None:
    with pytest.raises(UserError, match="mlp.down_proj' holds weights of 4 or 8 bits") as caught:
        ready(wide, "lora", {"additional_target": ["down_proj"]}, [], Quantisation(4))
    assert caught.value.problems[0].key == "additional_target"
    assert ready(wide, "lora", {"additional_target": ["norm"]}, [], Quantisation(4))
