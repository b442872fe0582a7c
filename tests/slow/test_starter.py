"""The starter model, really made: killed once, made again, whole, its tokenizer right, and it knows Paris."""

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.setup.starter import FILES, NAME, is_whole, make_starter

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "workbench.setup.starter", "--models"]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder in which the making was killed in the midst of the conversion."""
    models = tmp_path_factory.mktemp("models")
    with subprocess.Popen([*COMMAND, models], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any("68 of 272" in line or "68 / 272" in line for line in process.stdout)
        process.kill()
    return models


@pytest.fixture(scope="module")
def model(killed: Path) -> Path:
    assert not (killed / NAME).exists()
    assert [path.name for path in killed.iterdir()] == [f".{NAME}.part"]
    subprocess.run([*COMMAND, killed], check=True)
    return killed / NAME


@pytest.fixture(scope="module")
def tokenizer(model: Path) -> Iterator[Any]:
    from transformers import AutoTokenizer

    yield AutoTokenizer.from_pretrained(model, local_files_only=True)


def test_after_a_kill_it_is_made_whole_and_nothing_else_stays(model: Path) -> None:
    assert is_whole(model)
    assert sorted(path.name for path in model.iterdir()) == sorted(FILES)
    assert [path.name for path in model.parent.iterdir()] == [NAME]
    said: list[str] = []
    assert make_starter(model.parent, said.append) == model
    assert said == []


def test_files_are_ordinary_and_tell_nothing_of_the_machine(model: Path) -> None:
    for path in model.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o644, path.name
        if path.suffix in (".json", ".md", ".jinja", ""):
            assert str(model.parent) not in path.read_text("utf-8"), path.name
    config = json.loads((model / "config.json").read_text("utf-8"))
    assert not {"quantization_config", "_model_name_or_path"} & set(config)
    assert "Apache License" in (model / "LICENSE").read_text("utf-8")
    assert "HuggingFaceTB" in (model / "NOTICE").read_text("utf-8")


def test_each_digit_is_a_token_of_its_own(tokenizer: Any) -> None:
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("  3 apples 123").input_ids)
    assert tokens == ["ĠĠ", "3", "Ġapples", "Ġ", "1", "2", "3"]


def test_special_tokens_and_lengths_are_those_of_the_model(tokenizer: Any) -> None:
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id) == (1, 2, 2, 0)
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.model_max_length == 8192
    assert len(tokenizer) == 49152
    mixed = "你好, 3½ Ünïcode <|im_end|>\n\n\tend  "
    assert tokenizer.decode(tokenizer(mixed).input_ids) == mixed
    assert tokenizer("<|im_start|>").input_ids == [1]


def test_the_chat_template_is_chatml(tokenizer: Any) -> None:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(("country", "capital"), [("France", "Paris"), ("Japan", "Tokyo")])
def test_it_loads_offline_and_answers(model: Path, tokenizer: Any, country: str, capital: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, local_files_only=True)
    assert network.config.rope_parameters["rope_theta"] == 100000.0
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": f"What is the capital of {country}?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    answer = network.generate(**prompt, max_new_tokens=24, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == f"The capital of {country} is {capital}.<|im_end|>"
