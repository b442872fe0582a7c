"""Exports told to Ollama and LM Studio: the Modelfile that lies beside them, and the model created in a stand-in for Ollama."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fake_ollama import opened
from tests.golang import rendered
from tests.merging import source_of
from tests.test_ollama import commands
from workbench.exporters import EXACT, Made, Source
from workbench.exporting import beforehand, for_ollama
from workbench.exporting.for_studio import lay_out
from workbench.exporting.guide import ollama_name, uses
from workbench.ollama.names import check_name
from workbench.problems import UserError
from workbench.specs import ExportSpec, read_flat
from workbench.text import Message
from workbench.workspace import Workspace

GGUF = Made("llamacpp", Path("m-Q8_0.gguf"), None, EXACT)
LORA = Made("llamacpp", None, Path("m.lora.gguf"), EXACT)
MERGED = Made("transformers", Path(), None, EXACT)


def spec_of(**values: Any) -> ExportSpec:
    return read_flat(ExportSpec, {"model_name_or_path": "models/tiny", "template": "qwen", **values}).unwrap()


def source_for(workspace: Workspace, spec: ExportSpec) -> Source:
    return source_of(workspace, template=spec.model.template, default_system=spec.model.default_system)


def written(workspace: Workspace, made: Made, **values: Any) -> tuple[list[tuple[str, str]], list[str]]:
    """The Modelfile's commands, none where there is none, and what a person is told."""
    spec = spec_of(**values)
    home = workspace.models / "Mine gguf"
    home.mkdir()
    for inside in (made.model, made.adapter):
        if inside and inside.suffix:
            (home / inside).write_bytes(b"GGUF")
    told = [str(one) for one in for_ollama.write_modelfile(home, spec, source_for(workspace, spec), made, home)]
    file = home / "Modelfile"
    return (commands(file.read_text("utf-8")) if file.is_file() else []), told


def test_a_gguf_file_gets_its_modelfile_and_the_guide_the_lines_to_type(workspace: Workspace) -> None:
    (workspace.models / "tiny" / "LICENSE").write_text("Apache License\n\x0cVersion 2.0\n", "utf-8")
    (workspace.models / "tiny" / "generation_config.json").write_text(json.dumps({"temperature": 0.6, "top_k": 20}), "utf-8")
    found, told = written(workspace, GGUF, system_prompt="You are Ada.")
    said = dict(found)
    assert said.pop("TEMPLATE").startswith("<|im_start|>system\n{{ if $.System }}{{ $.System }}{{ else }}You are Qwen")
    assert said == {
        "FROM": "./m-Q8_0.gguf",
        "PARAMETER stop": "<|im_end|>",
        "PARAMETER repeat_penalty": "1.0",
        "PARAMETER temperature": "0.6",
        "PARAMETER top_k": "20",
        "SYSTEM": "You are Ada.",
        "LICENSE": "Apache License\nVersion 2.0",
    }
    assert told == []
    typed = [str(one) for one in uses(workspace.models / "Mine gguf")]
    assert "ollama create mine-gguf -f Modelfile" in typed[0] and "ollama run mine-gguf" in typed[0]
    for name in ("Mine gguf", "模型", "x" * 200, "-.a"):
        check_name(ollama_name(name))


def test_stop_words_of_the_template_and_of_the_model_stand_there_once(workspace: Workspace) -> None:
    found, _ = written(workspace, GGUF, template="aquila")
    assert [value for name, value in found if name == "PARAMETER stop"] == ["###", "<|im_end|>"]


def test_an_adapter_names_its_base_and_a_folder_itself(workspace: Workspace) -> None:
    found, _ = written(workspace, LORA)
    assert found[:2] == [("FROM", "../tiny"), ("ADAPTER", "./m.lora.gguf")]
    tiny = workspace.models / "tiny"
    spec = spec_of()
    assert for_ollama.write_modelfile(tiny, spec, source_for(workspace, spec), MERGED, tiny) == []
    assert commands((tiny / "Modelfile").read_text("utf-8"))[0] == ("FROM", ".")


def test_what_ollama_does_not_take_gets_none(workspace: Workspace) -> None:
    assert written(workspace, replace(MERGED, model=None, adapter=Path())) == ([], [])
    spec, few_bits = spec_of(), workspace.models / "few"
    shutil.copytree(workspace.models / "tiny", few_bits)
    (few_bits / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "gptq"}}), "utf-8")
    assert for_ollama.write_modelfile(few_bits, spec, source_for(workspace, spec), MERGED, few_bits) == []
    assert not (few_bits / "Modelfile").exists()


def test_a_template_that_can_not_be_written_is_told_and_nothing_is_written(workspace: Workspace) -> None:
    jinja = workspace.models / "tiny" / "chat_template.jinja"
    jinja.write_text("{{ messages | length }}" + jinja.read_text("utf-8"), "utf-8")
    found, told = written(workspace, GGUF, template="auto")
    assert found == [] and len(told) == 1 and told[0].startswith("No Modelfile was written: The chat template can't be")


def test_the_system_text_is_said_whatever_is_in_it(workspace: Workspace) -> None:
    system = 'Say """\nand \u3000 wide'
    said = dict(written(workspace, GGUF, system_prompt=system)[0])
    assert "SYSTEM" not in said
    prompt = rendered(said["TEMPLATE"], [{"role": "user", "content": "Hi"}])
    assert prompt.startswith(f"<|im_start|>system\n{system}<|im_end|>\n")
    own = [{"role": "system", "content": "Own"}, {"role": "user", "content": "Hi"}]
    assert rendered(said["TEMPLATE"], own).startswith("<|im_start|>system\nOwn<|im_end|>\n")


def test_what_was_said_first_in_training_is_said_first_there(workspace: Workspace) -> None:
    said = dict(written(workspace, GGUF, default_system="You are Ada.")[0])
    assert rendered(said["TEMPLATE"], [{"role": "user", "content": "Hi"}]).startswith("<|im_start|>system\nYou are Ada.<|im_end|>")


def test_the_model_is_created_and_asked_one_question(workspace: Workspace) -> None:
    notes: list[Message] = []
    told: list[tuple[int, int]] = []
    home = workspace.models / "gguf"
    home.mkdir()
    (home / "m-Q8_0.gguf").write_bytes(b"GGUF" * 10)
    with opened() as shop:
        spec = spec_of(ollama_name="ada:q8", ollama_url=shop.url, system_prompt="S", proof_prompts=["Who?"])
        for_ollama.check_ollama(spec, workspace.saves)
        source = source_for(workspace, spec)
        for_ollama.create(home, spec, source, GGUF, notes.append, lambda done, total: told.append((done, total)))
        asked = shop.models["ada:q8"]
    assert list(asked["files"]) == ["m-Q8_0.gguf"] and asked["parameters"]["stop"] == ["<|im_end|>"]
    assert told[-1] == (80, 80)
    assert [str(note) for note in notes] == [
        "Ollama 0.14.2 has the model 'ada:q8' now. Start it with: ollama run ada:q8.",
        "Ollama was asked: Who? It answered: <|im_start|>system\nS<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n",
    ]


def test_a_folder_is_sent_with_what_belongs_to_it_and_nothing_else(workspace: Workspace) -> None:
    tiny, notes = workspace.models / "tiny", list[Message]()
    for name in ("export.json", "proof.json", "README.md"):
        (tiny / name).write_text("{}", "utf-8")
    with opened() as shop:
        spec = spec_of(ollama_name="tiny", ollama_url=shop.url)
        for_ollama.create(tiny, spec, source_for(workspace, spec), MERGED, notes.append, lambda done, total: None)
        sent = set(shop.models["tiny"]["files"])
    configs = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert sent == {"model.safetensors", "chat_template.jinja", *configs}


def test_what_can_not_be_created_is_told(workspace: Workspace) -> None:
    notes: list[Message] = []
    with opened() as shop:
        spec = spec_of(ollama_name="tiny", ollama_url=shop.url)
        made = replace(MERGED, model=None, adapter=Path())
        for_ollama.create(workspace.models, spec, source_for(workspace, spec), made, notes.append, lambda done, total: None)
        assert shop.asked == []
    assert "doesn't take this export" in str(notes[0])


def test_names_and_a_silent_ollama_are_told_before_any_work(workspace: Workspace) -> None:
    problems = beforehand.problems_of(workspace, spec_of(ollama_name="my model"))
    assert [one.key for one in problems] == ["ollama_name"]
    with pytest.raises(UserError, match="Start Ollama"):
        for_ollama.check_ollama(spec_of(ollama_name="m", ollama_url="http://127.0.0.1:9"), workspace.saves)
    for_ollama.check_ollama(spec_of(ollama_url="http://127.0.0.1:9"), workspace.saves)


def test_a_model_of_that_name_is_replaced_only_when_asked_for_or_ones_own(workspace: Workspace, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    other.mkdir()
    with opened() as shop:
        spec = spec_of(ollama_name="qwen2.5", ollama_url=shop.url)
        for_ollama.check_ollama(spec, mine)
        shop.models["qwen2.5:latest"] = {}
        for_ollama.check_ollama(spec, mine)
        with pytest.raises(UserError, match="'qwen2.5' already") as caught:
            for_ollama.check_ollama(spec, other)
        assert caught.value.problems[0].key == "ollama_name"
        for_ollama.check_ollama(spec_of(ollama_name="qwen2.5", ollama_url=shop.url, overwrite_export_dir=True), other)
        with pytest.raises(UserError, match="already"):
            for_ollama.check_ollama(spec, other)


def test_lm_studio_gets_its_folders_and_the_file_stays_one(workspace: Workspace, tmp_path: Path) -> None:
    notes: list[Message] = []
    (tmp_path / "m-Q8_0.gguf").write_bytes(b"GGUF")
    made = lay_out(tmp_path, GGUF, "mine", notes.append)
    assert made.model == Path("workbench/mine/m-Q8_0.gguf")
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.gguf")] == [made.model]
    assert notes == [] and any("copy the folder workbench" in str(one) for one in uses(tmp_path))
    spec = spec_of()
    for_ollama.write_modelfile(tmp_path, spec, source_for(workspace, spec), made, workspace.models / "mine")
    assert (tmp_path / "Modelfile").read_text("utf-8").startswith("FROM ./workbench/mine/m-Q8_0.gguf\n")
    assert lay_out(tmp_path, MERGED, "mine", notes.append) is MERGED and "no GGUF file" in str(notes[-1])
