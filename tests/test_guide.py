"""What lies beside an export: the guide to its files, its model card, its start scripts."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Tell
from tests.test_chat_tools import program
from tests.test_proving import MERGED, Bench, lay, train_run
from tests.test_report_card import BAD
from workbench.cli.commands import export as command
from workbench.events import Finished
from workbench.exporters import EXACT, Made, Trained
from workbench.exporting.card import Facts, card, escaped
from workbench.exporting.companions import accompany, write_card
from workbench.exporting.folder import MADE
from workbench.exporting.guide import guide, said_of, uses
from workbench.exporting.launching import write_scripts
from workbench.exporting.origins import Base, base_of, front_matter, origins
from workbench.exporting.proof import PROOF, Compared, Proof, Said
from workbench.proving import settling
from workbench.reporting.card import card as report_card
from workbench.text import ENGLISH
from workbench.view import View

__all__ = ["lay", "program"]
EVIL = "a: [b] | `c`\n# <script>alert(1)</script> ![x](y) _z_"


def files(folder: Path, *names: str) -> Path:
    for at, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * (at + 1))
    return folder


def said(folder: Path) -> str:
    return "\n".join(ENGLISH(message) for message in uses(folder))


# --- the guide -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.safetensors", "The weights"), ("model-00002-of-00003.safetensors", "Part 2 of 3"), ("m-00001-of-00002.gguf", "Part 1 of 2"),
        ("model.safetensors.index.json", "which of the parts"), ("config.json", "The plan"), ("generation_config.json", "which tokens end"),
        ("vocab.json", "vocabulary"), ("merges.txt", "joined"), ("tokenizer.json", "whole tokenizer"), ("tokenizer.model", "SentencePiece"),
        ("tokenizer_config.json", "its class"), ("special_tokens_map.json", "special tokens"), ("chat_template.jinja", "chat template"),
        ("Modelfile", "Ollama"), ("README.md", "card"), ("LICENSE", "licence"), ("NOTICE", "authors"), ("m-Q8_0.gguf", "whole model"),
        ("m.lora.gguf", "adapter"), ("adapter_model.safetensors", "adapter's weights"), ("adapter_config.json", "its base"),
        ("export.json", "Which run"), ("proof.json", "The proof"), ("start_api.bat", "API"), ("start_chat.sh", "chat"),
        ("start.yaml", "start scripts open"), ("modeling_x.py", "Python code"), ("thing.bin", "kept as it was"),
    ],
)  # fmt: skip
def test_every_file_has_its_sentence(name: str, words: str) -> None:
    assert words in ENGLISH(said_of(name))


def test_the_guide_lists_every_file_the_largest_first_and_its_own_last(tmp_path: Path) -> None:
    files(tmp_path, "export.json", "config.json", "model.safetensors", ".hidden/x", "pub/name/m.gguf", "start_api.sh")
    listed = [(one.path, one.num_bytes) for one in guide(tmp_path)]
    assert listed == [("pub/name/m.gguf", 5), ("model.safetensors", 3), ("config.json", 2), ("start_api.sh", 6), ("export.json", 1)]


def test_what_to_copy_where_follows_from_the_files(tmp_path: Path) -> None:
    merged = said(files(tmp_path / "My model", "config.json", "model.safetensors", "Modelfile", "start_api.sh"))
    assert "ollama create my-model -f Modelfile" in merged and "vllm serve" in merged and "model" in merged
    assert "http://127.0.0.1:8000" in merged and "LM Studio" not in merged
    gguf = said(files(tmp_path / "g", "g-Q8_0.gguf"))
    assert "llama-server -m g-Q8_0.gguf" in gguf and "workbench/g/" in gguf and "vLLM" not in gguf and "Ollama" not in gguf
    assert "copy the folder pub" in said(files(tmp_path / "laid", "pub/laid/g.gguf"))
    assert "--lora a.lora.gguf" in said(files(tmp_path / "l", "a.lora.gguf"))
    adapter = said(files(tmp_path / "a", "adapter_config.json", "start_api.sh"))
    assert "--enable-lora --lora-modules a=a" in adapter and "PEFT" in adapter and "and a as the model" in adapter


# --- the card --------------------------------------------------------------------------------------------------------


@pytest.fixture
def bench(lay: Callable[..., Bench]) -> Bench:
    bench = lay(())
    tiny = bench.workspace.models / "tiny"
    (tiny / "LICENSE").write_text("                Apache License\n  Version 2.0", "utf-8")
    (tiny / "README.md").write_text("---\nbase_model: makers/tiny\nlanguage: [en, zh]\n---\n# tiny", "utf-8")
    return replace(bench, trained=[Trained(train_run(bench.workspace))])


def written(bench: Bench, proof: Proof | None = None) -> tuple[dict[str, Any], str]:
    """The card's YAML and its text."""
    folder = files(bench.workspace.models / "home", "config.json")
    write_card(folder, bench.spec, bench.source, proof)
    return dict(front_matter(folder / "README.md")), (folder / "README.md").read_text("utf-8")


def test_the_card_carries_base_licence_data_settings_and_scores_on(bench: Bench) -> None:
    home = bench.trained[0].folder
    note = {"key": "jobs.train.rows.rows", "english": "", "args": {"train": "1,216", "held": "4"}}
    line = {"seq": 0, "time": 1.0, "kind": "note", "message": note, "level": "info"}
    (home / "events.jsonl").write_text(json.dumps(line) + "\n", "utf-8")
    (home / "report.json").write_text(json.dumps({**report_card(BAD), "run": "x", "made": 1.0}), "utf-8")
    front, text = written(bench)
    assert front == {
        "base_model": "makers/tiny", "license": "apache-2.0", "language": ["en", "zh"], "library_name": "peft",
        "pipeline_tag": "text-generation", "tags": ["lora", "sft"],
    }  # fmt: skip
    assert "Trained on plain: 1216 rows." in text and "| learning\\_rate | " in text and "| template | auto |" in text
    assert "**Learned**: " in text and "not been tried yet" in text and "apache-2.0" in text


def test_the_card_says_what_the_proof_found(bench: Bench) -> None:
    one = Compared("given", "?", Said("a", "stop"), Said("a", "stop"), True, 2, 2, 0, 0.0, "same")
    proof = Proof("transformers", EXACT, 8, [one])
    assert "Proved: taken-home" in written(bench, proof)[1]
    assert "NOT proved" in written(bench, replace(proof, compared=[replace(one, same_prompt=False)]))[1]


def test_a_base_without_card_or_licence_is_said_so(bench: Bench) -> None:
    for name in ("LICENSE", "README.md"):
        (bench.workspace.models / "tiny" / name).unlink()
    front, text = written(replace(bench, trained=[]))
    assert "license" not in front and "base_model" not in front and "names none" in text and text.count("##") == 3
    (bench.workspace.models / "tiny/README.md").write_text("---\n: [\n---\n", "utf-8")
    assert front_matter(bench.workspace.models / "tiny/README.md") == {}


@pytest.mark.parametrize(
    ("given", "id"), [("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"), ("models/tiny", "makers/tiny"), ("/else/where", "makers/tiny")]
)
def test_the_base_is_named_as_hubs_know_it(bench: Bench, given: str, id: str) -> None:
    assert base_of(bench.workspace.models / "tiny", given).id == id
    fetched = bench.workspace.models / "own--name"
    fetched.mkdir()
    assert base_of(fetched, "models/own--name").id == "own/name"


def test_what_people_wrote_is_escaped_in_a_card(bench: Bench) -> None:
    origin = origins(bench.trained)[0]
    spec = origin.spec.model_copy(update={"data": origin.spec.data.model_copy(update={"dataset": [EVIL]})})
    facts = Facts(EVIL, "gguf", Base(EVIL, "", {"license": "other", "license_name": EVIL}, [EVIL]), [replace(origin, spec=spec)],
                  files=[f"{EVIL}.gguf"])  # fmt: skip
    text = card(facts, Proof("x", EXACT, 1, trouble=settling.Say.stays(file=EVIL)), ENGLISH)
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license_name"] == EVIL and front["language"] == [EVIL]
    body = "".join(part for at, part in enumerate(text.partition("\n---\n")[2].split("```")) if at % 2 == 0)
    assert "<script>" not in body and "![x]" not in body and "\n# <" not in body and body.count(escaped(EVIL)) >= 3


# --- what opens it ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="runs sh")
def test_a_double_click_opens_what_lies_there_even_when_renamed(bench: Bench, program: Path) -> None:
    folder = bench.merged()
    assert not accompany(folder, bench.spec, bench.source, MERGED, Path("models/taken-home"))
    assert (folder / "LICENSE").is_file()
    renamed = folder.rename(folder.with_name("it's $(x) & new"))
    for name, word in (("start_api", "api"), ("start_chat", "chat")):
        assert os.access(renamed / f"{name}.sh", os.X_OK)
        done = subprocess.run(["sh", str(renamed / f"{name}.sh")], cwd="/", capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.stdout.split("|")[:4] == [word, str(renamed / "start.yaml"), "--model_name_or_path", str(renamed)]
        batch = (renamed / f"{name}.bat").read_bytes().decode()
        assert f'call start.bat {word} "%~dp0start.yaml" --model_name_or_path "%~dp0."\r\n' in batch
    told = yaml.safe_load((renamed / "start.yaml").read_text("utf-8"))
    assert told == {"model_name_or_path": "models/taken-home", "template": "auto"}


@pytest.mark.parametrize(
    ("made", "told", "scripted"),
    [
        (Made("llamacpp", Path("m-Q8_0.gguf"), None, EXACT), "models/home/m-Q8_0.gguf", '"%~dp0m-Q8_0.gguf"'),
        (Made("llamacpp", Path("我 的.gguf"), None, EXACT), "models/home/我 的.gguf", ""),
        (Made("transformers", None, Path(), EXACT), "models/tiny", ""),
    ],
)
def test_what_is_opened_follows_from_what_was_made(bench: Bench, program: Path, made: Made, told: str, scripted: str) -> None:
    folder = files(bench.workspace.models / "home", "x")
    spec = bench.spec.model_copy(update={"exporting": bench.spec.exporting.model_copy(update={"system_prompt": "Be kind."})})
    accompany(folder, spec, bench.source, made, Path("models/home"))
    found = yaml.safe_load((folder / "start.yaml").read_text("utf-8"))
    assert found["model_name_or_path"] == told and found["default_system"] == "Be kind."
    assert found.get("adapter_name_or_path") == (["models/home"] if made.model is None else None)
    assert (f"--model_name_or_path {scripted}" in (folder / "start_api.bat").read_text("utf-8")) == bool(scripted)


def test_where_no_script_can_be_written_it_is_said_and_the_rest_is_there(bench: Bench, program: Path, monkeypatch: Any) -> None:
    from workbench.exporting import launching

    monkeypatch.setattr(launching, "source_folder", lambda: program / "a$(b)")
    folder = files(bench.workspace.models / "home", "x")
    (note,) = accompany(folder, bench.spec, bench.source, MERGED, Path("models/home"))
    assert "No start scripts" in str(note) and (folder / "README.md").is_file() and not list(folder.glob("start_*"))


def test_a_script_holds_no_word_of_a_person(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        write_scripts(tmp_path, "start", "About.", ["api", "$(touch hit)"])


# --- the terminal ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("proved", "code"), [(1.0, 0), (0.0, 1)])
def test_the_command_tells_the_files_and_fails_where_nothing_is_proved(
    bench: Bench, tell: Tell, monkeypatch: pytest.MonkeyPatch, proved: float, code: int
) -> None:
    folder = files(bench.workspace.models / "home", "config.json", "model.safetensors", MADE)
    one = Compared("given", "?", Said("a", "stop"), Said("a", "stop"), bool(proved), 2, 2, 0, 0.0, "same")
    (folder / PROOF).write_text(json.dumps(Proof("transformers", EXACT, 8, [one]).to_json()), "utf-8")

    def ended(run: Any, screen: Any, pressed: Any, seen: View, offset: int, said: Any) -> str:
        seen.ended = Finished({"proved": proved})
        shutil.rmtree(run.folder)
        return "finished"

    monkeypatch.setattr(command, "follow", ended)
    monkeypatch.setattr(command.runs.Run, "start", lambda self: None)
    given = ("model_name_or_path=models/tiny", "export_format=merged", "export_dir=home", "overwrite_export_dir=true")
    answer, out, errors = tell("export", *given)
    assert answer == code
    assert "\n  model.safetensors  2 B    The weights: all" in out
    assert "vllm serve home" in out and ("Proved: home" in out) == bool(proved) and ("NOT proved: home" in errors) == (not proved)
