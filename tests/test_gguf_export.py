"""Models as GGUF: what stands in the file is what was trained; what can't become one is refused before any work."""

import json
import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy
import pytest
from peft import LoraConfig, PeftModel, get_peft_model

from tests.test_engines import desk_for, write_adapter
from tests.tiny import SPECIAL, write_model
from workbench.exporters import Source, Trained
from workbench.exporters import gguf as exporter
from workbench.gguf.families import permute
from workbench.gguf.mixtures import FILE_TYPES
from workbench.models import load_model
from workbench.opening import prepare
from workbench.problems import UserError
from workbench.workspace import Workspace

Values = dict[str, Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    home = Workspace(tmp_path_factory.mktemp("gguf"))
    model = write_model(home.models / "tiny")
    for seed, name in enumerate(("first", "second")):
        write_adapter(model, home.saves / name, seed)
    return home


def source_of(home: Workspace, *trained: Trained, **values: Any) -> Source:
    spec, desk = desk_for(home, **values)
    return Source(prepare(spec.model, desk), trained, "mine-gguf")


def exported(home: Workspace, folder: Path, trained: Sequence[Trained] = (), **values: Any) -> tuple[Path, Values, Values]:
    """The one file, its metadata, and its tensors as float32."""
    source, spec = source_of(home, *trained), exporter.Spec(**values)
    needed = exporter.needs(spec, source)
    made = exporter.export(spec, source, folder)
    file = folder / (made.model or made.adapter or "")
    assert made.engine == "llamacpp" and file.is_file()
    reader = gguf.GGUFReader(file)
    tensors = {one.name: gguf.dequantize(one.data, one.tensor_type) for one in reader.tensors}
    assert file.stat().st_size - 60_000 < needed < 2 * file.stat().st_size
    return file, {name: field.contents() for name, field in reader.fields.items()}, tensors


def trained_weights(home: Workspace, *trained: Trained) -> Values:
    """What peft makes of the base and the adapters, by name in transformers."""
    model = load_model(home.models / "tiny", "fp32", False)
    for one in trained:
        tuned = PeftModel.from_pretrained(model, str(one.folder))
        for layer in tuned.modules():
            if isinstance(getattr(layer, "scaling", None), dict):
                layer.scaling["default"] *= one.weight
        model = tuned.merge_and_unload()
    return {name: weight.detach().numpy() for name, weight in model.named_parameters()}


def test_weighted_adapters_are_laid_in_as_the_file_is_written(home: Workspace, tmp_path: Path) -> None:
    trained = Trained(home.saves / "first"), Trained(home.saves / "second", 0.5)
    file, fields, tensors = exported(home, tmp_path, trained, gguf_kind="f32")
    wanted = trained_weights(home, *trained)
    assert os.listdir(tmp_path) == [file.name] == ["mine-F32.gguf"]
    for theirs, ours in (("mlp.down_proj", "ffn_down"), ("self_attn.v_proj", "attn_v")):
        own = wanted[f"model.layers.1.{theirs}.weight"]
        assert numpy.abs(tensors[f"blk.1.{ours}.weight"] - own).max() < 1e-5
        assert numpy.abs(own - trained_weights(home)[f"model.layers.1.{theirs}.weight"]).max() > 0.01
    own = permute(wanted["model.layers.0.self_attn.q_proj.weight"], 4)
    assert numpy.abs(tensors["blk.0.attn_q.weight"] - own).max() < 1e-5
    assert fields["general.name"] == "mine-gguf"


def test_a_whole_model_is_written_with_the_tokenizer_of_the_training(home: Workspace, tmp_path: Path) -> None:
    whole = write_model(home.saves / "whole", seed=9)
    _, fields, tensors = exported(home, tmp_path, [Trained(whole)], gguf_kind="f16")
    own = load_model(whole, "fp32", False).model.embed_tokens.weight.detach().numpy()
    assert numpy.abs(tensors["token_embd.weight"] - own).max() < 1e-3 and "output.weight" not in tensors
    told = {key: fields[f"tokenizer.ggml.{key}"] for key in ("model", "pre", "bos_token_id", "eos_token_id", "unknown_token_id")}
    bos, eos = SPECIAL.index("<|im_start|>"), SPECIAL.index("<|im_end|>")
    assert told == {"model": "gpt2", "pre": "gpt-2", "bos_token_id": bos, "eos_token_id": eos, "unknown_token_id": 0}
    assert "im_start" in fields["tokenizer.chat_template"]


def test_an_end_of_turn_that_is_not_the_end_of_text_is_told(home: Workspace, tmp_path: Path) -> None:
    source = source_of(home, template="llama2")
    assert source.opening.stop_ids(source.opening.tokenizer())
    marked = replace(source.opening, stop_ids=lambda tokenizer: [0])
    made = exporter.export(exporter.Spec(gguf_kind="f16"), replace(source, opening=marked), tmp_path)
    fields = gguf.GGUFReader(tmp_path / (made.model or "")).fields
    assert fields["tokenizer.ggml.eot_token_id"].contents() == 0
    template = fields["tokenizer.chat_template"].contents()
    assert "[INST]" in template and "generation %}" not in template and "include" not in template


def test_what_no_formula_is_known_for_is_merged_in_a_folder_between(home: Workspace, tmp_path: Path) -> None:
    from peft import VeraConfig

    base = load_model(home.models / "tiny", "fp32", False)
    config = VeraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"], init_weights=False)
    get_peft_model(base, config).save_pretrained(str(home.saves / "vera"))
    trained = Trained(home.saves / "vera")
    file, _, tensors = exported(home, tmp_path, [trained], gguf_kind="f32")
    own = permute(trained_weights(home, trained)["model.layers.0.self_attn.q_proj.weight"], 4)
    assert numpy.abs(tensors["blk.0.attn_q.weight"] - own).max() < 1e-5
    assert os.listdir(tmp_path) == [file.name]


def test_the_adapter_alone(home: Workspace, tmp_path: Path) -> None:
    trained = Trained(home.saves / "first", 0.25)
    file, fields, tensors = exported(home, tmp_path, [trained], gguf_adapter=True)
    assert file.name == "mine.lora.gguf" and fields["general.type"] == "adapter"
    rank, alpha = 4, fields["adapter.lora.alpha"]
    found = alpha / rank * tensors["blk.1.ffn_up.weight.lora_b"] @ tensors["blk.1.ffn_up.weight.lora_a"]
    name = "model.layers.1.mlp.up_proj.weight"
    assert numpy.abs(found - (trained_weights(home, trained)[name] - trained_weights(home)[name])).max() < 1e-5
    assert (tmp_path / "chat_template.jinja").is_file()


def test_the_adapter_alone_counts_as_its_patterns_say(home: Workspace, tmp_path: Path) -> None:
    """A pattern may name several modules, as PEFT reads it."""
    lora = home.saves / "patterned"
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False,
                        alpha_pattern={"q_proj|v_proj": 24})  # fmt: skip
    get_peft_model(load_model(home.models / "tiny", "fp32", False), config).save_pretrained(str(lora))
    _, fields, tensors = exported(home, tmp_path, [Trained(lora)], gguf_adapter=True)
    found = fields["adapter.lora.alpha"] / 4 * tensors["blk.1.attn_v.weight.lora_b"] @ tensors["blk.1.attn_v.weight.lora_a"]
    name = "model.layers.1.self_attn.v_proj.weight"
    assert numpy.abs(found - (trained_weights(home, Trained(lora))[name] - trained_weights(home)[name])).max() < 1e-5


@pytest.mark.parametrize(
    ("names", "values", "key", "said"),
    [
        (["first", "second"], {"gguf_adapter": True}, "adapter_name_or_path", "2 adapters are chosen. Accepted: one"),
        (["whole2"], {"gguf_adapter": True}, "gguf_adapter", "'whole2' can't become a GGUF adapter"),
        (["other"], {}, "adapter_name_or_path", "Adapter 'other' does not fit the model"),
        (["opt"], {}, "model_name_or_path", "Models of the kind 'opt' can't become GGUF here. Accepted: gemma"),
        ([], {"llama_cpp_dir": "nowhere"}, "llama_cpp_dir", "'nowhere' is no folder. Accepted: a checkout of llama.cpp"),
        ([], {"llama_cpp_dir": "models"}, "llama_cpp_dir", "holds no convert_hf_to_gguf.py"),
    ],
)
def test_what_can_not_be_exported_so_is_refused_before_any_work(
    names: Sequence[str], values: Values, key: str, said: str, home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.root)
    whole = write_model(home.saves / "whole2")
    opt = write_model(home.saves / "opt") / "config.json"
    opt.write_text(json.dumps({**json.loads(opt.read_text()), "model_type": "opt", "architectures": ["OPTForCausalLM"]}))
    other = home.saves / "other"
    if not other.exists():
        shrunk = load_model(whole, "fp32", False)
        get_peft_model(shrunk, LoraConfig(r=2, target_modules=["up_proj"], task_type="CAUSAL_LM")).save_pretrained(str(other))
        from safetensors.numpy import load_file, save_file

        held = load_file(other / "adapter_model.safetensors")
        save_file({name: numpy.repeat(one, 2, axis=1) for name, one in held.items()}, other / "adapter_model.safetensors")
    trained = [Trained(home.saves / name) for name in names]
    with pytest.raises(UserError, match=said.replace("(", r"\(")) as caught:
        exporter.needs(exporter.Spec(**values), source_of(home, *trained))
    assert caught.value.problems[0].key == key


SCRIPT = """
import json, os, sys
from pathlib import Path
given = dict(zip(sys.argv[2::2], sys.argv[3::2]))
model = Path(sys.argv[1])
told = {"given": given, "files": sorted(os.listdir(model)), "secret": os.environ.get("HF_TOKEN"),
        "template": (model / "chat_template.jinja").read_text()}
Path(given["--outfile"]).write_text(json.dumps(told))
if "slow" in given["--model-name"]:
    import time
    time.sleep(60)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a checkout of llama.cpp looks like from outside."""
    folder = tmp_path / "llama.cpp"
    (folder / "build" / "bin").mkdir(parents=True)
    (folder / "convert_hf_to_gguf.py").write_text(SCRIPT)
    program = folder / "build" / "bin" / "llama-quantize"
    program.write_text(f"#!{sys.executable}\nimport sys\nopen(sys.argv[2], 'w').write(open(sys.argv[1]).read() + sys.argv[3])\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="a program of the test is a script")
def test_the_script_of_a_checkout_is_run_apart(
    home: Workspace, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    folder = tmp_path / "out"
    folder.mkdir()
    source = source_of(home, Trained(home.saves / "first"), template="llama2")
    spec = exporter.Spec(gguf_kind="q4_k_m", llama_cpp_dir=str(checkout))
    assert exporter.needs(spec, source) > 0
    made = exporter.export(spec, source, folder)
    assert os.listdir(folder) == [str(made.model)] == ["mine-Q4_K_M.gguf"]
    text = (folder / "mine-Q4_K_M.gguf").read_text()
    assert text.endswith("}Q4_K_M")
    told = json.loads(text.removesuffix("Q4_K_M"))
    assert told["given"]["--outtype"] == "f16" and told["given"]["--model-name"] == "mine-gguf" and told["secret"] is None
    assert {"config.json", "model.safetensors", "tokenizer.json", "generation_config.json"} <= set(told["files"])
    assert "[INST]" in told["template"] and "generation %}" not in told["template"]


def test_a_script_that_fails_is_told_in_its_own_words(home: Workspace, checkout: Path, tmp_path: Path) -> None:
    (checkout / "convert_hf_to_gguf.py").write_text("import sys\nsys.exit('Model OddForCausalLM is not supported')\n")
    spec = exporter.Spec(llama_cpp_dir=str(checkout))
    with pytest.raises(UserError, match="exit code 1. Its last words: Model OddForCausalLM is not supported"):
        exporter.export(spec, source_of(home), tmp_path)
    assert os.listdir(tmp_path) == ["llama.cpp"]


def test_a_stop_ends_the_script(home: Workspace, checkout: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if (tmp_path / "slow-Q8_0.gguf").exists():
            raise Stopped

    source = source_of(home)
    source = replace(source, name="slow", opening=replace(source.opening, progress=stop))
    with pytest.raises(Stopped):
        exporter.export(exporter.Spec(llama_cpp_dir=str(checkout)), source, tmp_path)


def test_every_kind_has_bounds_and_fewer_bits_never_stricter_ones() -> None:
    assert list(exporter.BOUNDS) == list(FILE_TYPES)
    bounds = [exporter.BOUNDS[kind] for kind in ("f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m", "q2_k")]
    assert [one.most_divergence for one in bounds] == sorted(one.most_divergence for one in bounds)
    assert [one.least_same for one in bounds] == sorted((one.least_same for one in bounds), reverse=True)
