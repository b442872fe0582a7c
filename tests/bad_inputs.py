"""Values that a person may enter and that are not accepted: what is given, beside which field, and what is said of it.

One table for the form and for the terminal. Every case is laid over GOOD, which is accepted; ``lay`` prepares the
workspace of the fixture of that name first. ``key`` is the flat key of the field; ``words`` stand in the message.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.tiny import write_model
from workbench.workspace import Workspace

GOOD: Mapping[str, Any] = {"model_name_or_path": "models/tiny", "dataset": "plain"}


def nothing(workspace: Workspace) -> None:
    """The workspace is right as it is."""


@dataclass(frozen=True)
class Bad:
    """One case."""

    name: str
    flat: Mapping[str, Any]
    key: str
    words: tuple[str, ...]
    lay: Callable[[Workspace], None] = nothing


@dataclass(frozen=True)
class Model:
    """Lays a model's folder ``models/other`` without some of its files, or with others."""

    without: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, workspace: Workspace) -> None:
        folder = write_model(workspace.models / "other")
        for name in self.without:
            (folder / name).unlink()
        for name, text in self.files.items():
            (folder / name).write_text(text, "utf-8")


@dataclass(frozen=True)
class Data:
    """Writes a file of the data folder."""

    file: str
    content: str | bytes

    def __call__(self, workspace: Workspace) -> None:
        content = self.content if isinstance(self.content, bytes) else self.content.encode()
        (workspace.data / self.file).write_bytes(content)


def a_taken_run(workspace: Workspace) -> None:
    """A run's folder of the name ``taken``."""
    folder = workspace.saves / "tiny" / "lora" / "taken"
    folder.mkdir(parents=True)
    (folder / "spec.yaml").write_text("job: train\n", "utf-8")


def some_files(workspace: Workspace) -> None:
    """A folder in saves/ that is no run."""
    folder = workspace.saves / "tiny" / "lora" / "photos"
    folder.mkdir(parents=True)
    (folder / "cat.jpg").write_bytes(b"\xff\xd8")


def an_adapter(workspace: Workspace) -> None:
    """saves/mine holds an adapter of another base."""
    folder = workspace.saves / "mine"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "models/unlike"}), "utf-8")


ADAPTER = Model(files={"adapter_config.json": "{}"})
BROKEN_INFO = '{\n  "plain": {"file_name": "plain.json"}\n  "identity": {"file_name": "identity.json"}\n}\n'
MODEL, DATA = "model_name_or_path", "dataset"

BAD_INPUTS: tuple[Bad, ...] = (
    # The model
    Bad("no model", {MODEL: ""}, MODEL, ("No model is chosen", "tiny")),
    Bad("model folder missing", {MODEL: "models/nowhere"}, MODEL, ("no model at 'models/nowhere'", "tiny")),
    Bad("model path missing", {MODEL: "/no/such/folder"}, MODEL, ("no model at '/no/such/folder'",)),
    Bad("a folder that is no model", {MODEL: "data"}, MODEL, ("is no model", "config.json")),
    Bad(
        "a model with .bin weights only",
        {MODEL: "models/other"},
        MODEL,
        ("no safetensors",),
        Model(("model.safetensors",), {"pytorch_model.bin": "x"}),
    ),
    Bad(
        "a model without a tokenizer",
        {MODEL: "models/other"},
        MODEL,
        ("has no tokenizer",),
        Model(("tokenizer.json",)),
    ),
    Bad("an adapter for a model", {MODEL: "models/other"}, MODEL, ("is an adapter", "base model"), ADAPTER),
    Bad(
        "a model with a broken config",
        {MODEL: "models/other"},
        MODEL,
        ("config.json", "JSON"),
        Model(files={"config.json": '{"model_type": "llama",'}),
    ),
    Bad(
        "a model with code of its own",
        {MODEL: "models/other"},
        MODEL,
        ("Python code", "Run code from the model"),
        Model(files={"config.json": '{"model_type": "x", "auto_map": {"AutoModel": "x.X"}}'}),
    ),
    Bad("a name too long for a path", {MODEL: "x" * 400}, MODEL, ("no model at 'xxx",)),
    Bad("adapter missing", {"adapter_name_or_path": "saves/none"}, "adapter_name_or_path", ("is no adapter",)),
    Bad(
        "adapter of another base",
        {"adapter_name_or_path": "saves/mine"},
        "adapter_name_or_path",
        ("was trained on 'models/unlike'", "models/tiny"),
        an_adapter,
    ),
    Bad("unknown template", {"template": "qwne"}, "template", ("No chat template named 'qwne'", "qwen")),
    Bad("unknown hub", {"hub": "github"}, "hub", ("Hub is 'github'", "huggingface, modelscope")),
    # The data
    Bad("no dataset", {DATA: ""}, DATA, ("No dataset is chosen", "plain, identity")),
    Bad("dataset missing, near name", {DATA: "plian"}, DATA, ("No dataset named 'plian'", "Nearest: plain")),
    Bad("dataset missing", {DATA: "zzz"}, DATA, ("No dataset named 'zzz'", "plain, identity")),
    Bad(
        "dataset_info.json with a missing comma",
        {DATA: "gone"},
        DATA,
        ("dataset_info.json", "line 3, column 3", "delimiter"),
        Data("dataset_info.json", BROKEN_INFO),
    ),
    Bad(
        "data file of broken rows",
        {},
        DATA,
        ("No row of the chosen sets", "row 1 is left out: line 1"),
        Data("plain.json", '[{"instruction": ]]]'),
    ),
    Bad("data file is no list", {}, DATA, ("'plain', row 1", "'instruction' is empty"), Data("plain.json", '{"a": 1}')),
    Bad("data file is empty", {}, DATA, ("plain.json", "no rows"), Data("plain.json", "[]")),
    Bad("data file is not UTF-8", {}, DATA, ("'plain', row 1", "byte 0xFF", "UTF-8"), Data("plain.json", b'[{"\xff')),
    Bad("a row is no object", {}, DATA, ("row 1", "not a JSON object"), Data("plain.json", '["a"]')),
    Bad(
        "no row can be learned from",
        {},
        DATA,
        ("No row", "'output' is empty"),
        Data("plain.json", '[{"instruction": "a", "output": ""}]'),
    ),
    Bad(
        "data file missing",
        {},
        DATA,
        ("'none.json' does not exist",),
        Data("dataset_info.json", '{"plain": {"file_name": "none.json"}}'),
    ),
    Bad(
        "data file outside",
        {},
        DATA,
        ("outside", "'../x.json'"),
        Data("dataset_info.json", '{"plain": {"file_name": "../x.json"}}'),
    ),
    Bad(
        "unknown format",
        {},
        DATA,
        ("formatting is 'parquet'", "alpaca"),
        Data("dataset_info.json", '{"plain": {"file_name": "plain.json", "formatting": "parquet"}}'),
    ),
    Bad("data folder outside", {"dataset_dir": "../other"}, "dataset_dir", ("outside", "'../other'")),
    Bad(
        "placeholders not filled in",
        {DATA: "identity"},
        "dataset_values",
        ("'identity'", "without a value", "name, author"),
    ),
    Bad(
        "one placeholder not filled in",
        {DATA: "identity", "dataset_values": {"name": "Aurora", "author": " "}},
        "dataset_values",
        ("without a value: author",),
    ),
    Bad("cutoff 3", {"cutoff_len": "3"}, "cutoff_len", ("'3'", "of at least 16")),
    Bad("max samples 0", {"max_samples": "0"}, "max_samples", ("'0'", "of at least 1", "or nothing")),
    Bad("validation share 1000", {"val_size": "1000"}, "val_size", ("1000", "20 rows")),
    Bad("validation share -0.1", {"val_size": "-0.1"}, "val_size", ("'-0.1'", "of at least 0")),
    # Optimisation
    Bad("learning rate abc", {"learning_rate": "abc"}, "learning_rate", ("'abc'", "above 0 and below 1", "3e-4")),
    Bad("learning rate 0", {"learning_rate": "0"}, "learning_rate", ("'0'", "above 0")),
    Bad("learning rate -1", {"learning_rate": "-1"}, "learning_rate", ("'-1'", "above 0")),
    Bad("learning rate 1e9", {"learning_rate": "1e9"}, "learning_rate", ("'1e9'", "below 1")),
    Bad("learning rate nan", {"learning_rate": "nan"}, "learning_rate", ("'nan'", "a number")),
    Bad("learning rate inf", {"learning_rate": "inf"}, "learning_rate", ("'inf'", "below 1")),
    Bad("learning rate empty", {"learning_rate": ""}, "learning_rate", ("'nothing'", "a number")),
    Bad("learning rate with a comma", {"learning_rate": "0,0002"}, "learning_rate", ("'0,0002'",)),
    Bad("batch size 0", {"per_device_train_batch_size": "0"}, "per_device_train_batch_size", ("'0'", "of at least 1")),
    Bad(
        "batch size 1.5",
        {"per_device_train_batch_size": "1.5"},
        "per_device_train_batch_size",
        ("'1.5'", "a whole number"),
    ),
    Bad("epochs -1", {"num_train_epochs": "-1"}, "num_train_epochs", ("'-1'", "above 0")),
    Bad("accumulation 0", {"gradient_accumulation_steps": "0"}, "gradient_accumulation_steps", ("of at least 1",)),
    Bad("max steps a word", {"max_steps": "many"}, "max_steps", ("'many'", "or nothing")),
    Bad("unknown scheduler", {"lr_scheduler_type": "cosin"}, "lr_scheduler_type", ("'cosin'", "cosine, linear")),
    Bad("unknown optimiser", {"optim": "adam"}, "optim", ("'adam'", "adamw_torch")),
    Bad("warm-up share 1", {"warmup_ratio": "1"}, "warmup_ratio", ("'1'", "below 1")),
    Bad("seed -1", {"seed": "-1"}, "seed", ("'-1'", "of at least 0")),
    Bad("rank 0", {"lora_rank": "0"}, "lora_rank", ("'0'", "of at least 1")),
    Bad("dropout 1", {"lora_dropout": "1"}, "lora_dropout", ("'1'", "below 1")),
    Bad("no LoRA modules", {"lora_target": ""}, "lora_target", ("LoRA modules",)),
    Bad("unknown method", {"finetuning_type": "lorra"}, "finetuning_type", ("'lorra'", "lora")),
    Bad("unknown precision", {"precision": "bf-16"}, "precision", ("'bf-16'", "auto, fp32, bf16, fp16")),
    # Watching and saving
    Bad("four questions", {"watch_prompts": "a\nb\nc\nd"}, "watch_prompts", ("Watch it learn",)),
    Bad("save every 0", {"save_steps": "0"}, "save_steps", ("'0'", "of at least 1")),
    Bad("run name with ../", {"output_dir": "../mine"}, "output_dir", ("'../mine'",)),
    Bad("run name with inner ../", {"output_dir": "a/../../b"}, "output_dir", ("'a/../../b'",)),
    Bad("absolute run name outside", {"output_dir": "/tmp/mine"}, "output_dir", ("'/tmp/mine'",)),
    Bad("run name with a colon", {"output_dir": "a:b"}, "output_dir", ("'a:b'",)),
    Bad("run that exists", {"output_dir": "taken"}, "output_dir", ("'tiny/lora/taken' exists",), a_taken_run),
    Bad(
        "a folder that is no run",
        {"output_dir": "photos", "overwrite_output_dir": "true"},
        "output_dir",
        ("other files",),
        some_files,
    ),
)
