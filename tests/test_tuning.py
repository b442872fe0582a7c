"""Tuning methods before they learn: what is refused with words, what is trainable, and how a base of few bits is asked for.

That they learn, save and load is in slow/test_tuning.py.
"""

import json
from collections.abc import Callable, Mapping
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from workbench import fitting, quantising, tuning
from workbench.fitting import fit_problems
from workbench.models import adapter_folder, check_model, is_adapter, is_whole_run, load_model
from workbench.problems import UserError
from workbench.quantising import Quantisation
from workbench.sockets import plugins
from workbench.specs import Reading, TrainSpec, read_flat
from workbench.workspace import Workspace

METHODS = plugins(tuning)
WHOLE = {"full", "freeze"}


def reading(**values: Any) -> Reading[TrainSpec]:
    return read_flat(TrainSpec, {"model_name_or_path": "models/tiny", **values})


def problems(workspace: Workspace, **values: Any) -> dict[str | None, str]:
    """What does not fit, by key."""
    spec = reading(**values).unwrap()
    found = fit_problems(workspace, spec.model, spec.tuning, spec.memory)
    return {problem.key: str(problem.message) for problem in found}


def loaded(model: Path) -> Any:
    return load_model(model, "fp32", False)


def prepared(model: Path, name: str, **values: Any) -> Any:
    """The tiny model made ready by the method."""
    return tuning.tuned(METHODS[name], loaded(model), METHODS[name].Spec(**values), [], model)


def trained(model: Any) -> set[str]:
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_all_methods_are_there_and_fit_as_they_come(workspace: Workspace) -> None:
    assert set(METHODS) == WHOLE | {
        "lora", "oft", "ia3", "vera", "loha", "lokr", "ln_tuning", "prefix", "ptuning", "prompt"
    }  # fmt: skip
    for name, module in METHODS.items():
        assert problems(workspace, finetuning_type=name) == {}
        assert module.Spec.ADAPTER is (name not in WHOLE)
        assert module.Spec().needs_autocast is (name in {*WHOLE, "ln_tuning"})
    assert {name for name, module in METHODS.items() if not module.Spec.MERGES} == {"prefix", "ptuning", "prompt"}


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"finetuning_type": "freeze", "freeze_trainable_layers": 0}, "freeze_trainable_layers", "nothing would move"),
    ({"pissa_init": True, "init_lora_weights": "olora"}, "init_lora_weights", "'LoRA start' is 'olora'"),
    ({"pissa_init": True, "pissa_iter": 0}, "pissa_iter", "-1 for the exact way"),
    ({"pissa_init": True, "use_dora": True}, "use_dora", "does not begin at pissa"),
    ({"pissa_init": True, "quantization_bit": 4}, "pissa_init", "16 or 32 bits"),
    ({"init_lora_weights": "olora", "lora_target": "embed_tokens"}, "lora_target", "'embed_tokens' is an embedding"),
    ({"init_lora_weights": "orthogonal", "lora_rank": 5}, "lora_rank", "for example, 6"),
    ({"create_new_adapter": True}, "create_new_adapter", "no adapter is given"),
    (
        {"finetuning_type": "oft", "create_new_adapter": True, "quantization_bit": 4, "adapter_name_or_path": "a"},
        "create_new_adapter",
        "can't take in 1 adapters",
    ),
    ({"finetuning_type": "prompt", "adapter_name_or_path": "a,b"}, "adapter_name_or_path", "one to go on from"),
    ({"quantization_bit": 4, "adapter_name_or_path": "a,b"}, "adapter_name_or_path", "can't take in 2 adapters"),
    ({"finetuning_type": "oft", "oft_rank": 4}, "oft_block_size", "rank is 4 and OFT block size is 32"),
    ({"finetuning_type": "oft", "oft_block_size": 0}, "oft_block_size", "rank is 0"),
    (
        {"finetuning_type": "full", "quantization_bit": 8},
        "quantization_bit",
        "'full' can't learn over weights of 8 bits",
    ),
    (
        {"finetuning_type": "freeze", "quantization_bit": 4},
        "quantization_bit",
        "Accepted with them: ia3, ln_tuning, lora",
    ),
    ({"finetuning_type": "loha", "quantization_bit": 4}, "quantization_bit", "of 4 bits"),
    ({"finetuning_type": "prefix", "gradient_checkpointing": True}, "gradient_checkpointing", "Turn it off"),
]


@pytest.mark.parametrize(("values", "key", "words"), BAD, ids=lambda part: part if isinstance(part, str) else "")
def test_what_does_not_fit_is_told_beside_its_field(
    workspace: Workspace, values: dict[str, Any], key: str, words: str
) -> None:
    found = problems(workspace, **values)
    assert list(found) == [key]
    assert words in found[key]


@pytest.mark.parametrize(
    ("given", "held"),
    [(4, "4"), ("8", "8"), (None, "none"), ("", "none"), ("none", "none"), (0, "none")],
    ids=str,
)
def test_bits_are_read_as_files_write_them(given: Any, held: str) -> None:
    spec = reading(quantization_bit=given, quantization_method="bitsandbytes").unwrap()
    assert (spec.memory.quantization_bit, spec.memory.quantization_method) == (held, "bnb")
    wanted = None if held == "none" else Quantisation(int(held))
    assert quantising.asked(spec.flat()) == wanted == quantising.asked(spec.memory.model_dump())


@pytest.mark.parametrize(
    ("key", "given"), [("quantization_bit", 3), ("quantization_method", "hqq"), ("quantization_type", "int4")]
)
def test_other_bits_and_ways_are_refused_with_what_is_accepted(key: str, given: Any) -> None:
    (problem,) = reading(**{key: given}).problems
    accepted = {"quantization_bit": "none, 4, 8", "quantization_method": "bnb", "quantization_type": "nf4, fp4"}[key]
    assert problem.key == key
    assert str(given) in str(problem.message) and accepted in str(problem.message)


def without(names: set[str]) -> Callable[[str], object]:
    """A look for libraries that finds all but these."""
    return lambda name: None if name in names else object()


def test_a_model_that_comes_quantised_asks_for_its_library(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = workspace.models / "tiny" / "config.json"
    config = json.loads(file.read_text("utf-8"))
    section = reading().unwrap().model

    def come(method: str) -> None:
        file.write_text(json.dumps({**config, "quantization_config": {"quant_method": method}}), "utf-8")

    monkeypatch.setattr(quantising, "find_spec", without({"gptqmodel", "optimum"}))
    come("gptq")
    (problem,) = check_model(workspace, section)
    assert problem.key == "model_name_or_path"
    assert "quantised by gptq" in str(problem.message) and "pip install optimum gptqmodel" in str(problem.message)
    come("crystal")
    (problem,) = check_model(workspace, section)
    assert "'crystal', which is not read here" in str(problem.message)
    monkeypatch.setattr(quantising, "find_spec", without(set()))
    come("gptq")
    assert check_model(workspace, section) == []
    assert problems(workspace) == {}
    assert "come quantised, as this model's by gptq" in problems(workspace, finetuning_type="full")["finetuning_type"]
    assert "by gptq already" in problems(workspace, quantization_bit=4)["quantization_bit"]
    come("mxfp4")
    assert "nothing can be trained over them" in problems(workspace)["model_name_or_path"]


def test_quantising_asks_for_its_library(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantising, "find_spec", without({"bitsandbytes"}))
    assert "pip install bitsandbytes" in problems(workspace, quantization_bit=4)["quantization_bit"]


def test_the_library_that_is_named_is_the_one_that_is_looked_for() -> None:
    assert util.find_spec("bitsandbytes"), "a requirement"
    assert quantising.no_quantiser() is None and quantising.unreadable("bitsandbytes") is None
    assert set(quantising.TRAINED_OVER) <= set(quantising.LIBRARIES)
    assert fitting.Say.only_read.key == "fitting.only_read"


def test_a_run_given_by_its_name_alone_is_looked_for(workspace: Workspace) -> None:
    folder = workspace.saves / "tiny" / "lora" / "nova"
    folder.mkdir(parents=True)
    section = reading(adapter_name_or_path="nova").unwrap().model
    assert "Choose a run" in str(check_model(workspace, section)[0].message), "nothing is trained there yet"
    (folder / "adapter_config.json").write_text("{}", "utf-8")
    assert "Did you mean 'saves/tiny/lora/nova'?" in str(check_model(workspace, section)[0].message)


def test_a_run_that_left_a_whole_model_is_found_and_is_no_adapter(workspace: Workspace) -> None:
    run = workspace.saves / "tiny" / "full" / "a"
    (run / "checkpoint-3").mkdir(parents=True)
    (run / "spec.yaml").write_text("job: train\n", "utf-8")
    for name in ("config.json", "model.safetensors"):
        (run / "checkpoint-3" / name).write_bytes((workspace.models / "tiny" / name).read_bytes())
    found = adapter_folder(workspace, "saves/tiny/full/a")
    assert found == (run / "checkpoint-3").resolve() and is_whole_run(found) and not is_adapter(found)
    section = reading(adapter_name_or_path="saves/tiny/full/a").unwrap().model
    assert check_model(workspace, section) == [], "it can be chatted with"
    assert (
        "choose it as the model"
        in problems(workspace, adapter_name_or_path="saves/tiny/full/a")["adapter_name_or_path"]
    )
    (run / "config.json").write_bytes((workspace.models / "tiny" / "config.json").read_bytes())
    assert adapter_folder(workspace, "saves/tiny/full/a") == (run / "checkpoint-3").resolve(), "no weights yet"
    (run / "model.safetensors").write_bytes((workspace.models / "tiny" / "model.safetensors").read_bytes())
    assert adapter_folder(workspace, "saves/tiny/full/a") == run.resolve()


@pytest.mark.parametrize(
    ("name", "values", "key"),
    [
        ("lora", {"lora_target": ["q_prj"]}, "lora_target"),
        ("lora", {"additional_target": ["embeddings"]}, "additional_target"),
        ("vera", {"additional_target": ["norms"]}, "additional_target"),
        ("oft", {"oft_target": ["norm_"]}, "oft_target"),
        ("freeze", {"freeze_trainable_modules": ["attention"]}, "freeze_trainable_modules"),
        ("freeze", {"freeze_extra_modules": ["q_proj"]}, "freeze_extra_modules"),
    ],
)
def test_an_unknown_module_is_told_with_those_that_exist(
    tiny_model: Path, name: str, values: Mapping[str, list[str]], key: str
) -> None:
    with pytest.raises(UserError) as caught:
        prepared(tiny_model, name, **values)
    (problem,) = caught.value.problems
    assert problem.key == key
    (given,) = values[key]
    known = {"freeze_extra_modules": "embed_tokens", "freeze_trainable_modules": "self_attn"}.get(key, "down_proj")
    assert f"'{given}'" in str(problem.message) and known in str(problem.message)


def test_more_layers_than_there_are_is_told(tiny_model: Path) -> None:
    with pytest.raises(UserError, match="the model has 2 layers. Accepted: -2 to 2"):
        prepared(tiny_model, "freeze", freeze_trainable_layers=3)


@pytest.mark.parametrize(
    ("values", "moved"),
    [
        ({"freeze_trainable_layers": 1}, {"layers.1."}),
        ({"freeze_trainable_layers": -1}, {"layers.0."}),
        ({"freeze_trainable_layers": 2, "freeze_trainable_modules": ["mlp"]}, {".mlp."}),
        ({"freeze_trainable_layers": 1, "freeze_trainable_modules": ["q_proj", "mlp.up_proj"]},
         {"layers.1.self_attn.q_proj.", "layers.1.mlp.up_proj."}),
        ({"freeze_trainable_layers": 0, "freeze_extra_modules": ["norm"]}, {"model.norm."}),
        ({"freeze_trainable_layers": 1, "freeze_extra_modules": ["embed_tokens"]}, {"layers.1.", "embed_tokens"}),
        ({"freeze_trainable_layers": 0, "freeze_extra_modules": ["all"]}, {"model.norm.", "embed_tokens"}),
    ],
)  # fmt: skip
def test_freeze_moves_what_it_names(tiny_model: Path, values: dict[str, Any], moved: set[str]) -> None:
    model = prepared(tiny_model, "freeze", **values)
    wanted = {name for name, _ in model.named_parameters() if any(part in name for part in moved)}
    assert trained(model) == wanted and wanted


@pytest.mark.parametrize("start", ["pissa", "exact pissa", "olora"])
def test_a_start_at_the_weights_changes_no_answer_at_first_nor_the_base(tiny_model: Path, start: str) -> None:
    import torch

    values = {"init_lora_weights": "olora"} if start == "olora" else {"pissa_init": True}
    model = prepared(tiny_model, "lora", **values, pissa_iter=-1 if start == "exact pissa" else 8)
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        base = loaded(tiny_model)(input_ids=ids).logits
        assert torch.equal(model(input_ids=ids).logits, base)
        with model.disable_adapter():
            assert torch.equal(model(input_ids=ids).logits, base)
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    added = layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    left, values_, right = torch.linalg.svd(layer.weight)
    if start != "olora":
        best = left[:, :8] * values_[:8] @ right[:8]
        missed = (layer.weight - added).norm() / (layer.weight - best).norm()
        assert missed.item() == pytest.approx(1, abs=1e-5 if start == "exact pissa" else 0.01), "the best one of rank 8"
    else:
        assert torch.linalg.matrix_rank(added) == 8


def test_lora_plus_gives_the_second_matrix_a_rate_of_its_own(tiny_model: Path) -> None:
    import torch

    model = prepared(tiny_model, "lora", loraplus_lr_ratio=4)
    spec = METHODS["lora"].Spec(loraplus_lr_ratio=4, loraplus_lr_embedding=1e-6)
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=0.01)
    rates = spec.rates(model, 0.01)
    assert set(rates) == {name for name in trained(model) if "lora_B" in name} and set(rates.values()) == {0.04}
    tuning.apply_rates(optimizer, model, rates)
    names = {id(weight): name for name, weight in model.named_parameters()}
    found = {names[id(w)]: group["lr"] for group in optimizer.param_groups for w in group["params"]}
    assert set(found) == trained(model)
    assert all(rate == (0.04 if "lora_B" in name else 0.01) for name, rate in found.items())
    assert METHODS["lora"].Spec().rates(model, 0.01) == {}


def test_trained_weights_are_held_in_fp32_or_as_asked(tiny_model: Path) -> None:
    import torch

    base = load_model(tiny_model, "bf16", False)
    model = tuning.tuned(METHODS["freeze"], base, METHODS["freeze"].Spec(freeze_trainable_layers=1), [], tiny_model)
    for pure, kind in ((False, torch.float32), (True, torch.bfloat16)):
        tuning.hold_trained(model, pure)
        assert {weight.dtype for weight in model.parameters() if weight.requires_grad} == {kind}
        assert {weight.dtype for weight in model.parameters() if not weight.requires_grad} == {torch.bfloat16}


@pytest.mark.parametrize(("name", "values"), [("ln_tuning", {}), ("lora", {"additional_target": ["norm"]})])
def test_numbers_of_two_kinds_meet_under_autocast(tiny_model: Path, name: str, values: dict[str, Any]) -> None:
    import torch

    spec = METHODS[name].Spec(**values)
    model = tuning.tuned(METHODS[name], load_model(tiny_model, "bf16", False), spec, [], tiny_model)
    tuning.hold_trained(model, False)
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        with pytest.raises(RuntimeError, match="same dtype"):
            model(input_ids=ids)
        with tuning.autocast_for(spec, model):
            assert model(input_ids=ids).logits.isfinite().all()


def test_an_adapter_of_another_kind_is_told(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "PREFIX_TUNING"}', "utf-8")
    lora = METHODS["lora"]
    with pytest.raises(UserError, match="is of the kind 'PREFIX_TUNING', and the method makes 'LORA'"):
        lora.apply(loaded(tiny_model), lora.Spec(), [tmp_path])
    with pytest.raises(UserError, match="'PREFIX_TUNING', which can't be merged"):
        lora.apply(loaded(tiny_model), lora.Spec(create_new_adapter=True), [tmp_path])


def test_embeddings_that_are_the_last_layer_too_are_trained_by_lora_alone(tiny_model: Path) -> None:
    with pytest.raises(UserError, match="are its last layer too, and only LoRA keeps both one"):
        prepared(tiny_model, "oft", additional_target=["embed_tokens"])
    model = prepared(tiny_model, "lora", additional_target=["embed_tokens"]).get_base_model()
    assert model.lm_head.modules_to_save.default.weight is model.model.embed_tokens.modules_to_save.default.weight
