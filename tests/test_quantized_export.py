"""Weights of few bits: what is refused before any work, which texts calibrate, and what a library is given."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.test_engines import desk_for, write_adapter
from workbench.exporters import Source, Trained
from workbench.exporters import quantized as exporter
from workbench.exporting.calibration import calibration_texts
from workbench.opening import prepare
from workbench.problems import UserError
from workbench.workspace import Workspace

LIBRARY = """
import json, shutil
from pathlib import Path

class QuantizeConfig:
    def __init__(self, **given):
        self.given = given

class GPTQModel:
    @staticmethod
    def load(folder, config, trust_remote_code):
        model = GPTQModel()
        model.folder, model.config = Path(folder), config
        return model

    def quantize(self, rows, batch_size):
        if len(rows[0]["input_ids"]) == 17:
            raise RuntimeError("rows of 17 are odd")
        self.rows = rows

    def save(self, folder, max_shard_size):
        folder = Path(folder)
        aside = Path(self.config.given["offload_to_disk_path"])
        aside.mkdir()
        config = json.loads((self.folder / "config.json").read_text())
        held = {"bits": self.config.given["bits"], "meta": {"offload_to_disk_path": str(aside)}}
        (folder / "config.json").write_text(json.dumps({**config, "quantization_config": held}))
        shutil.copyfile(self.folder / "model.safetensors", folder / "model.safetensors")
        (folder / "quant_log.csv").write_text("layer,loss")
        told = {**self.config.given, "rows": self.rows, "max": max_shard_size}
        (folder.parent / "told.json").write_text(json.dumps(told))
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the package gptqmodel, and for optimum; what it was given lies in told.json."""
    home = tmp_path / "site"
    ways = "class METHOD:\n    GPTQ, AWQ = 'gptq', 'awq'\n"
    for name, text in (("gptqmodel", LIBRARY), ("gptqmodel/quantization", ways), ("optimum", "")):
        (home / name).mkdir(parents=True)
        (home / name / "__init__.py").write_text(text)
    monkeypatch.syspath_prepend(str(home))
    import sys

    for name in ("gptqmodel", "gptqmodel.quantization"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return home


@pytest.fixture
def source(workspace: Workspace) -> Source:
    adapter = write_adapter(workspace.models / "tiny", workspace.saves / "a", 1)
    spec, desk = desk_for(workspace)
    opening = prepare(spec.model, desk)
    return Source(opening, [Trained(adapter)], "few", lambda given: calibration_texts(workspace, opening, given))


def refused(source: Source, **values: Any) -> tuple[str, str | None]:
    with pytest.raises(UserError) as caught:
        exporter.needs(exporter.Spec(**values), source)
    (problem,) = caught.value.problems
    return str(problem.message), problem.key


def test_what_can_not_be_made_is_refused_before_any_work(source: Source, workspace: Workspace, library: Path) -> None:
    assert refused(source, export_quantization_bit="3") == (
        "bitsandbytes with 3 bits is not made. Accepted: 4, 8. Choose one of these.",
        "export_quantization_bit",
    )
    assert refused(source, quantization_way="awq", export_quantization_bit="8")[0].startswith("awq with 8 bits")
    key = "export_quantization_dataset"
    assert refused(source, quantization_way="gptq")[1] == key
    words, beside = refused(source, quantization_way="gptq", export_quantization_dataset="plian")
    assert "Nearest: plain" in words and beside == key
    (workspace.root / "rows.jsonl").write_text('{"words": "no text"}\n')
    words, beside = refused(source, quantization_way="gptq", export_quantization_dataset="rows.jsonl")
    assert "no texts in a column 'text'" in words and beside == key


def test_a_library_that_is_missing_is_named(source: Source) -> None:
    words, key = refused(source, quantization_way="gptq", export_quantization_dataset="plain")
    assert words.startswith("The package gptqmodel is needed to quantise by GPTQ or AWQ") and key == "quantization_way"
    assert "pip install gptqmodel" in words


@pytest.mark.parametrize(("way", "bits"), [("gptq", "3"), ("awq", "4")])
def test_a_library_is_given_windows_of_the_texts_and_a_whole_model(
    way: str, bits: str, source: Source, library: Path, workspace: Workspace, tmp_path: Path
) -> None:
    lines = [json.dumps({"text": f"Row {at} of a text that calibrates."}) for at in range(12)]
    (workspace.root / "data" / "c4_demo.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    folder = tmp_path / "few"
    folder.mkdir()
    spec = exporter.Spec(
        quantization_way=way,
        export_quantization_bit=bits,
        export_quantization_dataset="data/c4_demo.jsonl",
        export_quantization_nsamples=3,
        export_quantization_maxlen=32,
        export_size=0.5,
    )
    assert exporter.needs(spec, source) > 0
    made = exporter.export(spec, source, folder)
    assert (made.engine, made.model, made.original) == ("transformers", Path(), True)
    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["bits"], told["quant_method"], told["group_size"]) == (int(bits), way, 32)
    assert told["max"] == 500_000_000 and [len(row["input_ids"]) for row in told["rows"]] == [32] * 3
    text = source.opening.tokenizer().decode(told["rows"][0]["input_ids"])
    assert text.startswith("Row 0 of a text that calibrates.<|im_end|>Row 1 of")
    files = {file.name for file in folder.iterdir()}
    assert files == {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                     "chat_template.jinja"}  # fmt: skip
    assert "offload" not in (folder / "config.json").read_text()


@pytest.mark.parametrize("with_adapter", [True, False])
def test_only_what_belongs_to_the_model_is_taken_along(
    with_adapter: bool, source: Source, library: Path, workspace: Workspace, tmp_path: Path
) -> None:
    base = workspace.models / "tiny"
    run = base if with_adapter else workspace.saves / "whole"
    if not with_adapter:
        shutil.copytree(base, run)
    for name in ("worker.log", "events.jsonl", "spec.yaml", "lock", "optimizer.pt", "training_args.bin", "report.json"):
        (run / name).write_text("told to nobody", "utf-8")
    for name in ("LICENSE", "merges.txt"):
        (run / name).write_text(name, "utf-8")
    source = source if with_adapter else replace(source, trained=[Trained(run)])
    (tmp_path / "few").mkdir()
    exporter.export(exporter.Spec(quantization_way="gptq", export_quantization_dataset="plain"), source, tmp_path / "few")
    assert {file.name for file in (tmp_path / "few").iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja", "LICENSE", "merges.txt",
    }  # fmt: skip


def test_few_texts_are_told_and_none_are_refused(
    source: Source, library: Path, workspace: Workspace, tmp_path: Path
) -> None:
    notes: list[str] = []
    source.opening.__dict__["note"] = lambda message: notes.append(str(message))
    file = workspace.root / "short.jsonl"
    spec = exporter.Spec(quantization_way="gptq", export_quantization_dataset="short.jsonl", export_quantization_maxlen=64)
    file.write_text('{"text": "A text that is long enough to calibrate a little."}\n')
    (tmp_path / "few").mkdir()
    exporter.export(spec, source, tmp_path / "few")
    assert any(note.startswith("Windows of up to 64 tokens that the texts give: 1. Asked for: 128.") for note in notes)
    file.write_text('{"text": "Hm."}\n')
    with pytest.raises(UserError, match="give fewer than 16 tokens"):
        exporter.export(spec, source, tmp_path / "few")
    assert not (tmp_path / "few" / exporter.BETWEEN).exists()


def test_what_the_library_says_no_to_is_told_in_its_words(
    source: Source, library: Path, workspace: Workspace, tmp_path: Path
) -> None:
    spec = exporter.Spec(quantization_way="gptq", export_quantization_dataset="plain", export_quantization_maxlen=17)
    (tmp_path / "few").mkdir()
    with pytest.raises(UserError, match="gptq can't quantise this model: rows of 17 are odd"):
        exporter.export(spec, source, tmp_path / "few")
    assert not (tmp_path / "few" / exporter.BETWEEN).exists()


def test_rows_of_a_set_are_written_as_chats(source: Source, workspace: Workspace) -> None:
    texts = list(source.texts("plain"))
    assert len(texts) == 20
    assert texts[0] == "<|im_start|>user\nHow much is 0 and 0?<|im_end|>\n<|im_start|>assistant\nIt is 0.<|im_end|>\n"


def test_every_way_has_bounds_for_each_of_its_bits() -> None:
    assert set(exporter.BOUNDS) == {(way, bits) for way, choices in exporter.BITS.items() for bits in choices}
    for way in exporter.BITS:
        ordered = sorted((int(bits), bounds) for (one, bits), bounds in exporter.BOUNDS.items() if one == way)
        divergences = [bounds.most_divergence for _, bounds in ordered]
        assert divergences == sorted(divergences, reverse=True)
