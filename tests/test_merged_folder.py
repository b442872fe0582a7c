"""The merged folder before everybody else's programs, and what can't be merged, refused by name before any work."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.merging import CAUSAL, Notes, load, make_adapter, source_of
from workbench.chats import ChatOptions, render, template_facts, template_names, use_template
from workbench.engines import Chat, Sampling
from workbench.engines import transformers as engine
from workbench.exporters import EXACT, Trained, merged
from workbench.exporters.merged import ROUNDED, Spec
from workbench.merging import lacking
from workbench.merging.configs import generation_config
from workbench.merging.templates import plain_template
from workbench.models import load_tokenizer
from workbench.problems import UserError
from workbench.workspace import Workspace

pytestmark = pytest.mark.slow

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How much is 2 and 3?"},
    {"role": "assistant", "content": "It is 5.", "reasoning_content": "Two and three."},
    {"role": "user", "content": "And 4 more?"},
]
USUAL = Spec()
LEADS = ("chatglm3", "llama2_zh", "yi", "qwen3", "mistral")


def lora(**more: Any) -> Any:
    from peft import LoraConfig

    return LoraConfig(**{"task_type": CAUSAL, "r": 4, "target_modules": ["q_proj", "v_proj"], **more})


@pytest.fixture
def adapter(workspace: Workspace) -> Path:
    return make_adapter(workspace.models / "tiny", workspace.saves / "tiny" / "lora" / "one", lora())


def exported(workspace: Workspace, folders: list[Path], spec: Spec = USUAL, **more: Any) -> Path:
    folder = workspace.models / "merged"
    folder.mkdir()
    made = merged.export(spec, source_of(workspace, folders, **more), folder)
    assert made.bounds == (ROUNDED if spec.export_dtype == "bf16" else EXACT)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# What others read


def test_answers_are_the_same_text(workspace: Workspace, adapter: Path) -> None:
    before = {folder: contents(folder) for folder in (workspace.models / "tiny", adapter)}
    folder = exported(workspace, [adapter])
    said = [answers(source_of(workspace, [adapter]).opening, "one"),
            answers(source_of(workspace, model_name_or_path=str(folder)).opening, "base"),
            answers(source_of(workspace).opening, "base")]  # fmt: skip
    assert said[0] == said[1] != said[2]
    assert {one: contents(one) for one in before} == before, "what was merged is as it was"


def answers(opening: Any, name: str) -> list[str]:
    speaking = engine.open(engine.Spec(), opening)
    chats = [Chat([{"role": "user", "content": asked}]) for asked in ("Who are you?", "How much is 2 and 3?")]
    try:
        return ["".join(piece.text for piece in speaking.stream(name, one, Sampling(24, 0), lambda: False)) for one in chats]
    finally:
        speaking.close()


@pytest.mark.parametrize("template", ["auto", *LEADS])
@pytest.mark.parametrize(
    "more", [{}, {"default_system": 'Say "no" in\nfull.', "enable_thinking": False}], ids=["as it is", "with choices"]
)
def test_plain_transformers_renders_as_we_do(template: str, more: dict[str, Any], workspace: Workspace) -> None:
    from transformers import AutoTokenizer

    folder = exported(workspace, [], template=template, **more)
    opening = source_of(workspace, template=template, **more).opening
    plain = AutoTokenizer.from_pretrained(folder)
    assert "generation %}" not in plain.chat_template
    assert "include" not in plain.chat_template
    for turns in (CHAT, CHAT[1:], CHAT[1:2]):
        wanted = list(opening.prompt(opening.tokenizer(), Chat(turns)))
        given = plain.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
        assert given == wanted


def test_older_programs_read_the_tokenizer(workspace: Workspace) -> None:
    """transformers 4 knows neither the class that 5 names nor a list of further special tokens under their new name."""
    from transformers import AutoTokenizer

    file = workspace.models / "tiny" / "tokenizer_config.json"
    given = json.loads(file.read_text("utf-8")) | {"tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["Ġthe"]}
    file.write_text(json.dumps(given), "utf-8")
    folder = exported(workspace, [])
    found = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    assert found["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert found["additional_special_tokens"] == ["Ġthe"]
    assert found["model_input_names"] == ["input_ids", "attention_mask"]
    assert not {"extra_special_tokens", "is_local", "local_files_only", "backend"} & set(found)
    tokenizer, own = AutoTokenizer.from_pretrained(folder), load_tokenizer(workspace.models / "tiny", False)
    assert tokenizer.all_special_tokens == own.all_special_tokens
    assert tokenizer("<|im_start|>It is the 5.")["input_ids"] == own("<|im_start|>It is the 5.")["input_ids"]


@pytest.fixture(scope="module")
def two_tokenizers(tiny_model: Path) -> tuple[Any, Any]:
    return load_tokenizer(tiny_model, False), load_tokenizer(tiny_model, False)


@pytest.mark.parametrize("name", template_names())
def test_a_template_without_marks_writes_the_same(name: str, two_tokenizers: tuple[Any, Any]) -> None:
    tokenizer, plain = two_tokenizers
    use_template(tokenizer, name)
    for system, thinking in (("", None), ("Be kind.", False), ("", True)):
        plain.chat_template = plain_template(tokenizer.chat_template, system, thinking)
        assert "generation %}" not in plain.chat_template
        for turns, ask in ((CHAT, True), (CHAT[1:3], False), (CHAT[1:2], True)):
            wanted = render(tokenizer, turns, ask, (), ChatOptions(thinking, system)).text
            assert plain.apply_chat_template(turns, add_generation_prompt=ask, tokenize=False) == wanted


def test_marks_in_the_middle_of_a_line_go_too() -> None:
    template = "a {% generation %} b {%- endgeneration -%} c"
    assert plain_template(template) == "a {% if true %} b {%- endif -%} c"


def test_generation_stops_by_itself(workspace: Workspace) -> None:
    """The tokenizer's eos is not the template's end of turn: both end an answer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    for name, said in (("tokenizer_config", {"eos_token": "<|im_start|>"}), ("config", {"eos_token_id": 1})):
        file = workspace.models / "tiny" / f"{name}.json"
        file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | said), "utf-8")
    (workspace.models / "tiny" / "generation_config.json").write_text('{"eos_token_id": 1, "top_p": 0.9}', "utf-8")
    folder = exported(workspace, [], template="chatml")
    assert template_facts()["chatml"]["end_of_turn"] == "<|im_end|>"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    ends = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert set(ends) <= set(model.generation_config.eos_token_id)
    assert set(json.loads((folder / "config.json").read_text("utf-8"))["eos_token_id"]) >= set(ends)
    GenerationConfig.from_pretrained(folder).save_pretrained(workspace.cache, "whole.json")

    def end_at_once(layer: Any, given: Any, logits: Any) -> Any:
        logits[..., ends[1]] = 1e9
        return logits

    model.lm_head.register_forward_hook(end_at_once)
    asked = tokenizer.apply_chat_template(CHAT[1:2], add_generation_prompt=True, return_tensors="pt")
    found = model.generate(**asked, max_new_tokens=20, do_sample=False)
    assert found[0, asked["input_ids"].shape[1] :].tolist() == [ends[1]]


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        ({"temperature": 0.6, "top_p": 0.9}, {"temperature": 0.6, "top_p": 0.9, "do_sample": True}),
        ({"do_sample": False, "top_k": 20}, {"do_sample": True, "top_k": 20}),
        ({"do_sample": True, "temperature": 0.0, "top_p": 0.8}, {"do_sample": False}),
        ({"do_sample": False, "temperature": 1.0, "top_k": 50}, {"do_sample": False, "temperature": 1.0, "top_k": 50}),
        ({"repetition_penalty": 1.1}, {"repetition_penalty": 1.1}),
    ],
)
def test_settings_that_do_not_hold_together_are_mended(own: dict[str, Any], wanted: dict[str, Any], tiny_model: Path) -> None:
    from transformers import GenerationConfig

    tokenizer = load_tokenizer(tiny_model, False)
    found = generation_config(own, [2], tokenizer)
    assert found == {**wanted, "eos_token_id": 2, "pad_token_id": 2, "bos_token_id": 1}
    GenerationConfig(**found).validate(strict=True)


def test_code_and_licence_of_the_base_are_carried_on(workspace: Workspace) -> None:
    for name in ("LICENSE", "modeling_own.py", "pytorch_model.bin"):
        (workspace.models / "tiny" / name).write_text(name, "utf-8")
    found = contents(exported(workspace, []))
    assert {"LICENSE", "modeling_own.py"} <= set(found)
    assert "pytorch_model.bin" not in found


def test_a_whole_run_is_itself_the_source(workspace: Workspace) -> None:
    run = workspace.saves / "tiny" / "full" / "one"
    shutil.copytree(workspace.models / "tiny", run)
    from safetensors.torch import load_file, save_file

    weights = load_file(run / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, run / "model.safetensors", metadata={"format": "pt"})
    (run / "spec.yaml").write_text("template: auto\n", "utf-8")
    folder = exported(workspace, [run], Spec(export_dtype="fp32"))
    assert (load(folder).state_dict()["model.norm.weight"] == 2).all()
    with pytest.raises(UserError, match="'one' is a whole model, and 2 are chosen"):
        merged.needs(Spec(), source_of(workspace, [run, run]))


# Few bits


@pytest.mark.parametrize(("bits", "kind"), [("4", "nf4"), ("8", "nf4")])
def test_weights_as_they_were_learned_over(bits: str, kind: str, workspace: Workspace, adapter: Path) -> None:
    import torch
    from bitsandbytes import functional

    told = f"template: auto\nquantization_bit: '{bits}'\nquantization_type: {kind}\nprecision: bf16\n"
    (adapter / "spec.yaml").write_text(told, "utf-8")
    desk = Notes(workspace)
    source = source_of(workspace, [adapter], desk=desk)
    folder = workspace.models / "merged"
    folder.mkdir()
    merged.export(Spec(export_onto="dequantised"), source, folder)
    assert any("held in" in one and "brought back" in one for one in desk.noted)
    held, found = source.opening.model("bf16"), load(folder).state_dict()
    for name, part in held.named_modules():
        if type(part).__name__ == "Linear4bit" and "down_proj" in name:
            wanted = functional.dequantize_4bit(part.weight.data, part.weight.quant_state).float()
        elif type(part).__name__ == "Linear8bitLt" and "down_proj" in name:
            wanted = functional.int8_vectorwise_dequant(part.weight.data, part.weight.SCB).float()
        else:
            continue
        torch.testing.assert_close(found[f"{name}.weight"], wanted, atol=1e-6, rtol=1e-6)
    before = load(workspace.models / "tiny").state_dict()
    assert (before["model.layers.0.mlp.down_proj.weight"] != found["model.layers.0.mlp.down_proj.weight"]).any()
    assert torch.equal(before["model.embed_tokens.weight"], found["model.embed_tokens.weight"])

    shutil.rmtree(folder)
    folder.mkdir()
    merged.export(Spec(), source, folder)
    assert any("laid into its original weights" in one for one in desk.noted)
    found = load(folder).state_dict()
    assert torch.equal(before["model.layers.0.mlp.down_proj.weight"], found["model.layers.0.mlp.down_proj.weight"])


# Refusals


def change_adapter(adapter: Path, change: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(adapter / "adapter_model.safetensors")
    change(weights)
    save_file(weights, adapter / "adapter_model.safetensors")


def set_config(adapter: Path, **more: Any) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | more), "utf-8")


LAYER = "base_model.model.model.layers.{at}.self_attn.q_proj.lora_{half}.weight"


def deeper(adapter: Path) -> None:
    def change(weights: dict[str, Any]) -> None:
        for half in "AB":
            weights[LAYER.format(at=7, half=half)] = weights[LAYER.format(at=0, half=half)].clone()

    change_adapter(adapter, change)


def wider(adapter: Path) -> None:
    import torch

    change_adapter(adapter, lambda weights: weights.update({LAYER.format(at=0, half="A"): torch.zeros(4, 48)}))


def halved(adapter: Path) -> None:
    change_adapter(adapter, lambda weights: weights.__delitem__(LAYER.format(at=1, half="B")))


def cut(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def no_numbers(adapter: Path) -> None:
    change_adapter(adapter, lambda weights: weights[LAYER.format(at=0, half="A")].fill_(float("nan")))


REFUSED: list[tuple[str, Callable[[Path], object], str]] = [
    ("other module", deeper, r"'one' does not fit the model: it lies on model\.layers\.7\.self_attn\.q_proj, which the model lacks"),
    ("other shape", wider, r"'one' does not fit .* model\.layers\.0\.self_attn\.q_proj it is made for 32x48, and the model has 32x32"),
    ("half", halved, r"'one' is damaged: of model\.layers\.1\.self_attn\.q_proj it holds lora_A\.weight alone"),
    ("cut short", cut, r"'adapter_model\.safetensors' in 'one' is damaged: it has .* bytes"),
    ("no head", lambda one: (one / "adapter_model.safetensors").write_bytes(b"{}"), r"is damaged: its head can't be read"),
    ("config", lambda one: (one / "adapter_config.json").write_text("[", "utf-8"), r"adapter_config\.json is no JSON object"),
    ("pickled", lambda one: (one / "adapter_model.safetensors").rename(one / "adapter_model.bin"), r"has no adapter_model\.safetensors"),
    ("prompt", lambda one: set_config(one, peft_type="PREFIX_TUNING"), r"of the kind 'PREFIX_TUNING'.* can't be laid into weights"),
    ("reward", lambda one: set_config(one, task_type="SEQ_CLS"), r"'one' is a reward model"),
    ("start", lambda one: set_config(one, init_lora_weights="pissa_niter_4"), r"began at 'pissa_niter_4', which changed its base"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spoil", "said"), REFUSED, ids=[name for name, _, _ in REFUSED])
def test_an_adapter_that_does_not_fit(name: str, spoil: Callable[[Path], object], said: str, workspace: Workspace, adapter: Path) -> None:
    source = source_of(workspace, [adapter])
    spoil(adapter)
    with pytest.raises(UserError, match=said) as caught:
        merged.needs(Spec(), source)
    assert caught.value.problems[0].key == "adapter_name_or_path"


def test_an_adapter_without_numbers(workspace: Workspace, adapter: Path) -> None:
    no_numbers(adapter)
    with pytest.raises(UserError, match=r"model\.layers\.0\.self_attn\.q_proj\.weight has numbers"):
        exported(workspace, [adapter])


@pytest.mark.parametrize("kind", ["shard", "index", "lacking", "torn", "quantised"])
def test_a_base_that_is_not_whole(kind: str, workspace: Workspace, adapter: Path) -> None:
    base = workspace.models / "tiny"
    load(base).save_pretrained(workspace.models / "cut", max_shard_size=60_000)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(base / file, workspace.models / "cut" / file)
    base = workspace.models / "cut"
    shard, index = sorted(base.glob("model-*"))[1], base / "model.safetensors.index.json"
    said = {"shard": f"{shard.name} is missing", "index": "it names no files", "lacking": "lacks 'more'", "torn": "is damaged",
            "quantised": "quantised by gptq"}  # fmt: skip
    match kind:
        case "shard":
            shard.unlink()
        case "index":
            index.write_text("{}", "utf-8")
        case "lacking":
            places = json.loads(index.read_text("utf-8"))
            places["weight_map"]["more"] = shard.name
            index.write_text(json.dumps(places), "utf-8")
        case "torn":
            shard.write_bytes(shard.read_bytes() + b"0")
    set_config(adapter, base_model_name_or_path="cut")
    source = source_of(workspace, [adapter], model_name_or_path="models/cut")
    if kind == "quantised":
        source.opening.folder()
        config = base / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text("utf-8")) | {"quantization_config": {"quant_method": "gptq"}}), "utf-8")
    with pytest.raises(UserError, match=said[kind]) as caught:
        merged.needs(Spec(), source)
    assert caught.value.problems[0].key == "model_name_or_path"


def test_an_adapter_that_learned_over_another_is_said(workspace: Workspace, adapter: Path) -> None:
    told = "template: auto\nadapter_name_or_path: [saves/tiny/lora/first]\ncreate_new_adapter: true\n"
    (adapter / "spec.yaml").write_text(told, "utf-8")
    (alone,) = lacking([Trained(adapter)])
    assert "into which 'first' had been merged" in str(alone) and "Choose both, 'first' first" in str(alone)
    first = adapter.parent / "first"
    assert not list(lacking([Trained(first), Trained(adapter)])) and len(list(lacking([Trained(adapter), Trained(first)]))) == 1


def test_a_stop_ends_it(workspace: Workspace, adapter: Path) -> None:
    from workbench.desk import StopAsked

    desk = Notes(workspace)
    source = source_of(workspace, [adapter], desk=desk)
    folder = workspace.models / "merged"
    folder.mkdir()
    source.opening.folder()
    source.opening.tokenizer()
    desk.run.folder.mkdir(parents=True)
    desk.run.stop_file.touch()
    with pytest.raises(StopAsked):
        merged.export(Spec(), source, folder)
    assert not (folder / "config.json").exists()
