"""Base and adapters become one model: numbers as PEFT computes them, files as everybody reads them, and refusals by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.merging import CAUSAL, Notes, beside, by_peft, load, logits_of, make_adapter, source_of, untied
from tests.tiny import write_model
from workbench.exporters import merged
from workbench.exporters.merged import Spec
from workbench.merging import plan
from workbench.problems import UserError
from workbench.workspace import Workspace

USUAL = Spec()
Make = Callable[..., Path]


def lora(**more: Any) -> Any:
    from peft import LoraConfig

    return LoraConfig(**{"task_type": CAUSAL, "r": 4, "target_modules": ["q_proj", "v_proj", "down_proj"], **more})


def ia3(**more: Any) -> Any:
    from peft import IA3Config

    return IA3Config(task_type=CAUSAL, target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], **more)


def oft(**more: Any) -> Any:
    from peft import OFTConfig

    return OFTConfig(**{"task_type": CAUSAL, "target_modules": ["q_proj", "down_proj"], "oft_block_size": 8, **more})


def norms() -> Any:
    from peft import LNTuningConfig

    return LNTuningConfig(task_type=CAUSAL, target_modules=["norm", "input_layernorm"])


def tokens() -> Any:
    from peft import TrainableTokensConfig

    return TrainableTokensConfig(task_type=CAUSAL, token_indices=[5, 9])


def loha() -> Any:
    from peft import LoHaConfig

    return LoHaConfig(task_type=CAUSAL, r=4, target_modules=["q_proj"], init_weights=False)


KINDS: dict[str, Callable[[], Any]] = {
    "lora": lora,
    "rslora": lambda: lora(use_rslora=True),
    "patterns": lambda: lora(rank_pattern={"v_proj": 2}, alpha_pattern={"layers.1.self_attn.q_proj": 3}),
    "dora": lambda: lora(use_dora=True),
    "whole modules": lambda: lora(modules_to_save=["norm"]),
    "tied embeddings": lambda: lora(target_modules=["q_proj", "embed_tokens"], ensure_weight_tying=True),
    "embeddings whole": lambda: lora(modules_to_save=["embed_tokens"], ensure_weight_tying=True),
    "tokens beside": lambda: lora(trainable_token_indices=[5, 9]),
    "orthogonal": lambda: lora(init_lora_weights="orthogonal"),
    "ia3": ia3,
    "oft": oft,
    "oft exact": lambda: oft(use_cayley_neumann=False),
    "oft shared": lambda: oft(block_share=True),
    "norms": norms,
    "tokens": tokens,
    "loha": loha,
}  # fmt: skip


@pytest.fixture
def make(workspace: Workspace) -> Make:
    """Write an adapter of models/tiny into a run of its own."""
    names = iter(f"run{at}" for at in range(9))

    def make(config: Any, base: Path = workspace.models / "tiny", seed: int = 1) -> Path:
        return make_adapter(base, workspace.saves / "tiny" / "lora" / next(names), config, seed)

    return make


def exported(workspace: Workspace, folders: list[Path], weights: list[float] | None = None, desk: Notes | None = None,
             spec: Spec = USUAL, **more: Any) -> Path:  # fmt: skip
    """The folder of the export."""
    folder = workspace.models / "merged"
    folder.mkdir()
    source = source_of(workspace, folders, weights or [], desk, **more)
    needed = merged.needs(spec, source)
    merged.export(spec, source, folder)
    written = sum(file.stat().st_size for file in folder.iterdir())
    assert written <= needed + 50_000
    return folder


def weights_of(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {name: one for file in sorted(folder.glob("*.safetensors")) for name, one in load_file(file).items()}


def assert_same(folder: Path, wanted: Any) -> None:
    import torch

    found = load(folder).state_dict()
    assert set(found) == set(wanted)
    for name, weight in wanted.items():
        torch.testing.assert_close(found[name], weight, atol=1e-6, rtol=1e-6, msg=name)


def assert_answers_as(base: Path, adapter: Path, folder: Path) -> None:
    """Logits of the merged model are those of the base with the adapter beside it."""
    import torch

    torch.testing.assert_close(logits_of(load(folder)), logits_of(beside(base, adapter)), atol=5e-5, rtol=1e-4)


def moved(folder: Path, base: Path) -> bool:
    before = weights_of(base)
    return any((one != before[name]).any() for name, one in weights_of(folder).items() if name in before)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_those_that_peft_merges(kind: str, workspace: Workspace, make: Make) -> None:
    adapter, base, desk = make(KINDS[kind]()), workspace.models / "tiny", Notes(workspace)
    folder = exported(workspace, [adapter], desk=desk)
    if kind != "tied embeddings":  # what PEFT adds to the one tensor twice, for the embeddings and for the last layer
        assert_same(folder, by_peft(base, [adapter]))
    assert_answers_as(base, adapter, folder)
    assert moved(folder, base)
    assert any("in memory" in one for one in desk.noted) == (kind == "loha")
    assert "lm_head.weight" not in weights_of(folder), "embeddings and last layer are still one"


@pytest.mark.parametrize("config", [lora, lambda: lora(use_dora=True)], ids=["lora", "dora"])
def test_several_adapters_come_one_after_the_other(config: Callable[[], Any], workspace: Workspace, make: Make) -> None:
    folders = [make(config()), make(ia3()), make(config(), seed=2)]
    assert_same(exported(workspace, folders), by_peft(workspace.models / "tiny", folders))


def test_a_weight_goes_part_of_the_way(workspace: Workspace, make: Make) -> None:
    import torch

    kinds = [make(lora()), make(loha())]
    for adapter in kinds:
        whole = by_peft(workspace.models / "tiny", [adapter])
        half = load(exported(workspace, [adapter], [0.5])).state_dict()
        for name, before in load(workspace.models / "tiny").state_dict().items():
            torch.testing.assert_close(half[name], (before + whole[name]) / 2, atol=1e-6, rtol=1e-6)
        shutil.rmtree(workspace.models / "merged")


@pytest.mark.parametrize(
    "config",
    [lambda: lora(target_modules=["embed_tokens"]), lambda: lora(target_modules=["lm_head"]),
     lambda: lora(target_modules=["embed_tokens"], ensure_weight_tying=True, use_dora=True)],
    ids=["embeddings", "head", "dora"],
)  # fmt: skip
def test_what_training_has_parted_is_written_as_two(config: Callable[[], Any], workspace: Workspace, make: Make) -> None:
    adapter, desk = make(config()), Notes(workspace)
    folder = exported(workspace, [adapter], desk=desk)
    assert json.loads((folder / "config.json").read_text("utf-8"))["tie_word_embeddings"] is False
    assert {"lm_head.weight", "model.embed_tokens.weight"} <= set(weights_of(folder))
    assert any("both are written" in one for one in desk.noted)
    assert_answers_as(workspace.models / "tiny", adapter, folder)


def told_twice(folder: Path, change: Callable[[dict[str, Any]], None] = lambda weights: None) -> Path:
    """A tiny model whose config ties embeddings and last layer, and whose files hold both; the folder again."""
    from safetensors.torch import load_file, save_file

    write_model(folder)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def is_tied(folder: Path) -> bool:
    """By config.json, which older programs believe whatever the files hold."""
    return bool(json.loads((folder / "config.json").read_text("utf-8"))["tie_word_embeddings"])


@pytest.mark.parametrize(
    ("config", "tied"),
    [(lambda: lora(), True), (lambda: lora(target_modules=["lm_head"]), False), (lambda: lora(target_modules=["embed_tokens"]), False),
     (lambda: lora(modules_to_save=["embed_tokens", "lm_head"]), False), (lambda: lora(trainable_token_indices=[5, 9]), True)],
    ids=["neither", "head", "embeddings", "whole", "tokens"],
)  # fmt: skip
def test_files_that_hold_what_is_one_twice(config: Callable[[], Any], tied: bool, workspace: Workspace, make: Make) -> None:
    base = told_twice(workspace.models / "two")
    adapter = make(config(), base)
    folder = exported(workspace, [adapter], model_name_or_path="models/two")
    assert is_tied(folder) == tied == ("lm_head.weight" not in weights_of(folder))
    assert_answers_as(base, adapter, folder)


def test_a_base_whose_config_ties_what_its_files_do_not(workspace: Workspace, make: Make) -> None:
    base = told_twice(workspace.models / "two", lambda weights: weights["lm_head.weight"].mul_(1.5))
    adapter = make(lora(), base)
    folder = exported(workspace, [adapter], model_name_or_path="models/two")
    assert not is_tied(folder) and "lm_head.weight" in weights_of(folder)
    assert_answers_as(base, adapter, folder)


def test_what_was_parted_is_written_as_two_by_peft_as_well(workspace: Workspace, make: Make) -> None:
    def whole(**more: Any) -> Any:
        made = loha()
        made.modules_to_save = ["lm_head"]
        return made

    adapter, desk = make(whole()), Notes(workspace)
    folder = exported(workspace, [adapter], desk=desk)
    assert any("in memory" in one for one in desk.noted) and any("both are written" in one for one in desk.noted)
    assert not is_tied(folder) and "lm_head.weight" in weights_of(folder)
    assert_answers_as(workspace.models / "tiny", adapter, folder)


@pytest.mark.parametrize("config", [loha, lambda: lora(target_modules=["lm_head"]), lora], ids=["in memory", "head", "lora"])
def test_what_is_rounded_to_bf16_is_not_called_exact(config: Callable[[], Any], workspace: Workspace, make: Make) -> None:
    base = workspace.models / "two"
    shutil.copytree(workspace.models / "tiny", base)
    load(base).bfloat16().save_pretrained(base)
    sources = [source_of(workspace, some, model_name_or_path="models/two") for some in ([make(config(), base)], [])]
    assert [[plan(one, dtype).exact for dtype in ("auto", "fp16")] for one in sources] == [[False, True], [True, True]]


def test_a_last_layer_of_its_own(workspace: Workspace, make: Make) -> None:
    base = untied(workspace.models / "two")
    adapter = make(lora(target_modules=["lm_head", "embed_tokens", "q_proj"], lora_bias=False), base)
    folder = exported(workspace, [adapter], model_name_or_path="models/two")
    assert_same(folder, by_peft(base, [adapter]))


@pytest.mark.parametrize("config", [lora, ia3, lambda **more: lora(use_dora=True, **more)], ids=["lora", "ia3", "dora"])
def test_weights_that_lie_the_other_way_round(config: Callable[..., Any], workspace: Workspace, make: Make) -> None:
    """GPT-2: its layers hold their weights transposed, have biases, and its files leave out the name of the whole."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import GPT2Config, GPT2LMHeadModel

    base = workspace.models / "two"
    shutil.copytree(workspace.models / "tiny", base)
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=306, n_positions=64, n_embd=32, n_layer=1, n_head=2)).save_pretrained(base)
    short = {name.removeprefix("transformer."): weight for name, weight in load_file(base / "model.safetensors").items()}
    save_file(short, base / "model.safetensors", metadata={"format": "pt"})
    made = config(fan_in_fan_out=True)
    made.target_modules, made.feedforward_modules = ["c_attn", "mlp.c_proj"], ["mlp.c_proj"]
    adapter = make(made, base)
    folder = exported(workspace, [adapter], model_name_or_path="models/two")
    assert set(weights_of(folder)) == set(short)
    assert_same(folder, by_peft(base, [adapter]))


@pytest.mark.parametrize(("asked", "kind"), [("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16"), ("auto", "float32")])
def test_numbers_are_held_as_asked(asked: Any, kind: str, workspace: Workspace, make: Make) -> None:
    import torch

    adapter = make(lora())
    folder = exported(workspace, [adapter], spec=Spec(export_dtype=asked))
    wanted = by_peft(workspace.models / "tiny", [adapter])
    found = weights_of(folder)
    assert {str(one.dtype) for one in found.values()} == {f"torch.{kind}"}
    for name, weight in found.items():
        torch.testing.assert_close(weight.float(), wanted[name].to(weight.dtype).float(), atol=1e-6, rtol=2 ** -8 if "b" in asked else 1e-3)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["torch_dtype"] == config["dtype"] == kind


def test_numbers_too_large_for_fp16_are_said(workspace: Workspace) -> None:
    untied(workspace.models / "two", lambda weights: weights["model.norm.weight"].fill_(1e6))
    with pytest.raises(UserError, match=r"model.norm.weight has numbers that f16 can't hold"):
        exported(workspace, [], spec=Spec(export_dtype="fp16"), model_name_or_path="models/two")


def test_files_are_no_larger_than_asked_for(workspace: Workspace, make: Make) -> None:
    adapter = make(lora())
    folder = exported(workspace, [adapter], spec=Spec(export_size=5e-5))
    files = sorted(folder.glob("*.safetensors"))
    assert [file.name for file in files] == [f"model-{at:05}-of-{len(files):05}.safetensors" for at in range(1, len(files) + 1)]
    assert len(files) >= 2
    assert max(file.stat().st_size for file in files) < 50_000 + 3_000
    index = json.loads((folder / "model.safetensors.index.json").read_text("utf-8"))
    assert set(index["weight_map"].values()) == {file.name for file in files}
    assert index["metadata"]["total_size"] == sum(one.nbytes for one in weights_of(folder).values())
    assert_same(folder, by_peft(workspace.models / "tiny", [adapter]))
    again = workspace.models / "again"
    again.mkdir()
    source = source_of(workspace, [], model_name_or_path="models/merged")
    merged.export(Spec(), source, again)
    assert (again / "model.safetensors").is_file(), "a base of several files becomes one"
    assert_same(again, by_peft(workspace.models / "tiny", [adapter]))
