"""What lies beside the weights: config.json, generation_config.json, the tokenizer, code and licence of the base. Knows no weights."""

import copy
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.exporters import Source
from workbench.merging.templates import make_plain
from workbench.neighbours.ends import end_ids
from workbench.problems import UserError
from workbench.text import Text

NUMBERS = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}
"""Number types as config.json names them."""
CARRIED = ("*.py", "LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*", "preprocessor_config.json", "processor_config.json",
           "video_preprocessor_config.json")  # fmt: skip
"""Files of the base that belong to every copy of it."""
DRAWN: Mapping[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 50, "min_p": None, "typical_p": 1.0, "epsilon_cutoff": 0.0,
                            "eta_cutoff": 0.0}  # fmt: skip
"""How an answer is drawn by lot, and the values that say nothing."""


class Say:
    bad_file = Text("'{file}' in '{folder}' is damaged: it is no JSON object. Get that file anew.")


def write_beside(source: Source, model: Path, folder: Path, kind: str, parted: bool) -> None:
    """Write all that belongs to the weights of the model in ``model``, held mostly in ``kind``.

    ``parted``: its embeddings and its last layer are one no longer.
    """
    opening = source.opening
    tokenizer = copy.copy(opening.tokenizer())
    ends = end_ids(opening, tokenizer)
    config = model_config(_json(model / "config.json"), kind, ends, tokenizer, parted)
    _write(folder / "config.json", config)
    own = _json(model / "generation_config.json") if (model / "generation_config.json").is_file() else {}
    _write(folder / "generation_config.json", generation_config(own, ends, tokenizer))
    write_tokenizer(source, folder)
    for file in _carried(opening.folder(), model):
        shutil.copyfile(file, folder / file.name)


def write_tokenizer(source: Source, folder: Path) -> None:
    """The tokenizer's files with the chat template of the training as everybody reads it; transformers 4 reads them too, which
    vLLM and others are built on."""
    tokenizer = copy.copy(source.opening.tokenizer())
    make_plain(tokenizer, source.opening.default_system, source.opening.enable_thinking)
    tokenizer.save_pretrained(str(folder))
    file = folder / "tokenizer_config.json"
    config = _json(file)
    for ours in ("is_local", "local_files_only", "backend"):
        config.pop(ours, None)
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        # That class hands out token types in transformers 4, which such models don't take.
        config.setdefault("model_input_names", list(tokenizer.model_input_names))
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    _write(file, config)


def beside_bytes(source: Source) -> int:
    """About what these files will take: as much as the base's own do."""
    small = (file for file in source.opening.folder().iterdir() if file.is_file() and file.suffix != ".safetensors")
    return sum(file.stat().st_size for file in small if file.suffix in (".json", ".jinja", ".model", ".txt", ".py"))


def model_config(own: Mapping[str, Any], kind: str, ends: list[int], tokenizer: Any, parted: bool) -> dict[str, Any]:
    """The base's config, said anew where it would be wrong: number type, ends of turn, padding, embeddings."""
    config = dict(own)
    for unwanted in ("quantization_config", "_name_or_path"):
        config.pop(unwanted, None)
    number = NUMBERS.get(kind, "float32")
    config |= {"dtype": number, "torch_dtype": number, "eos_token_id": ends if len(ends) > 1 else ends[0]}
    for key, token in (("pad_token_id", tokenizer.pad_token_id), ("bos_token_id", tokenizer.bos_token_id)):
        if config.get(key) is None and token is not None:
            config[key] = token
    for name in ("text_config", "llm_config"):
        if isinstance(inner := config.get(name), dict):
            config[name] = inner | {key: config[key] for key in ("dtype", "torch_dtype", "eos_token_id") if key in inner}
            if parted:
                config[name]["tie_word_embeddings"] = False
    if parted:
        config["tie_word_embeddings"] = False
    return config


def generation_config(own: Mapping[str, Any], ends: list[int], tokenizer: Any) -> dict[str, Any]:
    """How answers are drawn: the base's own way where it holds together, with every end of turn.

    transformers refuses to save settings of a draw beside ``do_sample: false``: they mean a draw.
    """
    config = dict(own)
    config.pop("_from_model_config", None)
    config["eos_token_id"] = ends if len(ends) > 1 else ends[0]
    for key, token in (("pad_token_id", tokenizer.pad_token_id), ("bos_token_id", tokenizer.bos_token_id)):
        if config.get(key) is None and token is not None:
            config[key] = token
    if config.get("temperature") is not None and config["temperature"] <= 0:
        config = {key: value for key, value in config.items() if key not in DRAWN} | {"do_sample": False}
    if any(config.get(key) not in (None, usual) for key, usual in DRAWN.items()):
        config["do_sample"] = True
    return config


def _carried(base: Path, model: Path) -> Iterator[Path]:
    found = {file.name: file for folder in (base, model) for one in CARRIED for file in sorted(folder.glob(one))}
    yield from found.values()


def _json(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text("utf-8"))
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise UserError(Say.bad_file(file=file.name, folder=file.parent.name), key="model_name_or_path")
    return read


def _write(file: Path, values: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")
