"""Where a model lies, whether it is one, and how it is loaded. Knows no page and no dataset; torch only inside functions."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from workbench import quantising
from workbench.fields import plain
from workbench.gguf.reading import is_gguf, tokenizer_of_file
from workbench.problems import Problem, UserError
from workbench.quantising import Quantisation
from workbench.sections import ModelSection
from workbench.text import Message, Text
from workbench.workspace import Workspace

Precision = Literal["fp32", "bf16", "fp16"]
Device = Literal["cpu", "cuda", "mps"]
NAME_CHARACTERS = 100
LONGEST_PATH = 4096


class Say:
    none = Text(
        "No model is chosen. Accepted: a folder with a model, or an id of a hub. Choose one, such as {example}."
    )
    no_folder = Text(
        "There is no model at '{given}'. Accepted: a folder, or an id such as owner/name. Known here: {known}."
    )
    only_llamacpp = Text("'{given}' is a GGUF file. Accepted: the engine llamacpp, or auto. Choose one of these.")
    no_config = Text("'{given}' is no model: it has no config.json. Choose the folder that holds config.json.")
    bad_config = Text(
        "'{given}' is damaged: its {file} is no JSON object. Get that file anew, or choose another folder."
    )
    no_weights = Text(
        "'{given}' has no safetensors weights. Other formats can run code and are not read. Get that version."
    )
    no_tokenizer = Text("'{given}' has no tokenizer. Put tokenizer.json beside config.json.")
    needs_code = Text(
        "'{given}' brings its own Python code. It is only run when 'Run code from the model' is ticked. Tick it if you trust it."
    )
    is_adapter = Text("'{given}' is an adapter, not a model. Choose its base model, and the adapter under Adapter.")
    no_adapter = Text(
        "'{given}' is no adapter: there is no adapter_config.json. Choose a run or one of its checkpoints."
    )
    near_adapter = Text(
        "'{given}' is no adapter: there is no adapter_config.json. Accepted: the folder of a run, or of one of its checkpoints. "
        "Did you mean '{nearest}'?"
    )
    other_base = Text("Adapter '{given}' was trained on '{base}', and the model is '{model}'. Choose that model.")
    auto_cuda_bf16 = Text("Precision auto: bf16, since this card computes it.")
    auto_cuda_fp16 = Text("Precision auto: fp16, since this card has no bf16.")
    auto_cpu_bf16 = Text(
        "Precision auto: frozen weights in bf16 and the adapter in fp32, since this processor computes bf16."
    )
    auto_cpu_half = Text("Precision auto: products in bf16 and weights in fp32, since this processor computes bf16.")
    auto_fp32 = Text("Precision auto: fp32, since nothing faster is computed well here.")
    no_fp16 = Text("Precision is 'fp16', which this machine can't train in. Accepted here: {known}. Choose auto.")
    no_bf16 = Text("Precision is '{given}', which this card does not have. Accepted here: {known}. Choose auto.")


@dataclass(frozen=True)
class CatalogueModel:
    """A model that the workbench knows by name: its ids on the hubs and the template of its family."""

    name: str
    hf: str
    ms: str
    template: str
    base: bool = False
    gated: bool = False
    remote_code: bool = False


@cache
def catalogue() -> Mapping[str, CatalogueModel]:
    """The families of catalogue.yaml, flat, by name."""
    families = yaml.safe_load((Path(__file__).parent / "catalogue.yaml").read_text("utf-8"))
    models = [CatalogueModel(**model) for family in families for model in family["models"]]
    return {model.name: model for model in models}


def local_models(workspace: Workspace) -> list[str]:
    """Names of the folders under models/ that hold a model."""
    if not workspace.models.is_dir():
        return []
    return sorted(p.name for p in workspace.models.iterdir() if (p / "config.json").is_file() and p.name[0] != ".")


def local_folder(workspace: Workspace, given: str) -> Path | None:
    """The folder that ``given`` means: a path, a name under models/, or an id that was fetched before."""
    fetched = workspace.models / given.replace("/", "--")
    return _named_folder(workspace, given) or (
        fetched if given and _is_folder(fetched) and (fetched / "config.json").is_file() else None
    )


def _named_folder(workspace: Workspace, given: str) -> Path | None:
    named = [workspace.models / given] if "/" not in given and ".." not in given else []
    for path in (Path(given), workspace.root / given, *named):
        if given and _is_folder(path):
            return path.resolve()
    return None


def trained_folder(workspace: Workspace, given: str) -> Path | None:
    """A run's adapter or whole model, or any model's folder, by the name that a person gave it."""
    return (
        adapter_folder(workspace, given)
        or _named_folder(workspace, given)
        or _named_folder(workspace, f"saves/{given}")
    )


def _is_folder(path: Path) -> bool:
    """Whether it is a folder; words that can't be a path, such as very long ones, are none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_hub_id(given: str) -> bool:
    """Whether it reads like ``owner/name``."""
    parts = given.split("/")
    return len(parts) == 2 and all(part and part.replace("-", "").replace("_", "").replace(".", "").isalnum()
                                   and not part.startswith(".") for part in parts)  # fmt: skip


def model_name(given: str) -> str:
    """The name under which runs of this model are kept: the last part of a path or an id."""
    return given.rstrip("/\\").replace("\\", "/").split("/")[-1].replace(" ", "_")[:NAME_CHARACTERS] or "model"


def known_template(given: str) -> str:
    """The template of the model's family when the catalogue knows it by name or id, else auto."""
    for model in catalogue().values():
        if given and (given in (model.hf, model.ms, model.name) or model_name(given) == model_name(model.hf)):
            return model.template
    return "auto"


def gguf_file(workspace: Workspace, given: str) -> Path | None:
    """The GGUF file that ``given`` means: a path, or a name under models/."""
    files = [path for path in (Path(given), workspace.root / given, workspace.models / given) if path.suffix == ".gguf"]
    return next((path.resolve() for path in files if len(given) < LONGEST_PATH and is_gguf(path)), None)


def check_model(workspace: Workspace, section: ModelSection, gguf: bool = False) -> list[Problem]:
    """What is wrong with the model or its adapters, found without loading anything. A hub id is not asked for here.

    With ``gguf`` the model may also be such a file.
    """
    given = section.model_name_or_path
    if gguf and gguf_file(workspace, given):
        return [_no_adapter(workspace, one, given) for one in section.adapter_name_or_path if adapter_folder(workspace, one) is None]
    known = local_models(workspace)
    if not given:
        return [Problem(Say.none(example=known[0] if known else "Qwen/Qwen2.5-0.5B-Instruct"), "model_name_or_path")]
    folder = local_folder(workspace, given)
    if folder is None:
        if is_hub_id(given) and not given.startswith(("models/", "saves/", "data/")):
            return []
        return [Problem(Say.no_folder(given=plain(given), known=", ".join(known) or "-"), "model_name_or_path")]
    problem = _folder_problem(folder, given, section.trust_remote_code)
    found = [Problem(problem, "model_name_or_path")] if problem else []
    return found + [p for one in section.adapter_name_or_path if (p := _adapter_problem(workspace, one, given))]


def _folder_problem(folder: Path, given: str, trusted: bool) -> Message | None:
    if is_adapter(folder):
        return Say.is_adapter(given=given)
    if not (folder / "config.json").is_file():
        return Say.no_config(given=given)
    if not any(folder.glob("*.safetensors")):
        return Say.no_weights(given=given)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        return Say.no_tokenizer(given=given)
    config = _json_object(folder / "config.json")
    if config is None:
        return Say.bad_config(given=given, file="config.json")
    if "auto_map" in config and not trusted:
        return Say.needs_code(given=given)
    way = quantising.way_of(config)
    return quantising.unreadable(way) if way else None


def _json_object(path: Path) -> Mapping[str, Any] | None:
    """What a model's JSON file holds; None when it is cut short or something else."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def adapter_folder(workspace: Workspace, given: str) -> Path | None:
    """The folder with what a run has trained, an adapter or a whole model: the given one, or its newest checkpoint."""
    for folder in (Path(given), workspace.root / given, workspace.saves / given):
        if not _is_folder(folder):
            continue
        if is_adapter(folder) or is_whole_run(folder):
            return folder.resolve()
        if newest := newest_checkpoint(folder):
            return newest.resolve()
    return None


def is_adapter(folder: Path) -> bool:
    """Whether an adapter's final weights lie there: its config is written last."""
    return (folder / "adapter_config.json").is_file()


def is_whole_run(folder: Path) -> bool:
    """Whether a run or a checkpoint of one holds a whole model, as those that move the model's own weights do."""
    trained = (folder / "spec.yaml").is_file() or (folder.parent / "spec.yaml").is_file()
    return trained and (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a run, the newest last; half-written ones have other names."""
    found = [p for p in folder.glob("checkpoint-*") if p.is_dir() and p.name.removeprefix("checkpoint-").isdecimal()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def newest_checkpoint(folder: Path) -> Path | None:
    """The whole checkpoint with the highest step."""
    return next(iter(checkpoints(folder)[::-1]), None)


def _no_adapter(workspace: Workspace, given: str, model: str) -> Problem:
    """That it is none; with the run of that name, of this model rather than of another, where there is one."""
    named = [run for run in workspace.saves.glob("*/*/*") if run.name == given and (is_adapter(run) or newest_checkpoint(run))]
    if not named:
        return Problem(Say.no_adapter(given=plain(given)), "adapter_name_or_path")
    nearest = min(named, key=lambda run: (run.parts[-3] != model_name(model), run)).relative_to(workspace.root).as_posix()
    return Problem(Say.near_adapter(given=plain(given), nearest=nearest), "adapter_name_or_path")


def _adapter_problem(workspace: Workspace, given: str, model: str) -> Problem | None:
    folder = adapter_folder(workspace, given)
    if folder is not None and is_whole_run(folder) and not is_adapter(folder):
        return None
    if folder is None or not is_adapter(folder):
        return _no_adapter(workspace, given, model)
    config = _json_object(folder / "adapter_config.json")
    if config is None:
        return Problem(Say.bad_config(given=given, file="adapter_config.json"), "adapter_name_or_path")
    base = str(config.get("base_model_name_or_path") or "")
    if base and model_name(base) != model_name(model) and model_name(base) != model.replace("/", "--"):
        return Problem(Say.other_base(given=given, base=base, model=model), "adapter_name_or_path")
    return None


def fetched_folder(
    workspace: Workspace, section: ModelSection, progress: Callable[[int, int, str], None], gguf: bool = False
) -> Path:
    """The model's folder, fetched from the hub first when it is not here. ``progress`` hears bytes done, of, file.

    With ``gguf`` it may also be such a file.
    """
    problems = check_model(workspace, section, gguf)
    if problems:
        raise UserError(*problems)
    if gguf and (file := gguf_file(workspace, section.model_name_or_path)):
        return file
    folder = _named_folder(workspace, section.model_name_or_path)
    if folder is not None:
        return folder
    from workbench.hubs import fetch

    folder = fetch(
        section.hub,
        section.model_name_or_path,
        section.model_revision,
        workspace.models,
        progress,
        trust_remote_code=section.trust_remote_code,
    )
    if problem := _folder_problem(folder, section.model_name_or_path, section.trust_remote_code):
        raise UserError(problem, key="model_name_or_path")
    return folder


def device() -> Device:
    """Where models are computed on this machine."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_precision(asked: str, mixed: bool, quickened: bool) -> tuple[Precision, Message | None]:
    """The precision to train in and, for auto, a sentence that says why; UserError for one that can't be had here.

    ``mixed``: the trained weights are the model's own, held in fp32; ``quickened``: workbench/kernels compute. Without these a
    processor gains nothing from bf16 then, since every weight is cast at every step.
    """
    import torch

    where = device()
    if where == "cuda":
        brain = torch.cuda.is_bf16_supported(including_emulation=False)
        if asked == "auto":
            return ("bf16", Say.auto_cuda_bf16()) if brain else ("fp16", Say.auto_cuda_fp16())
        if asked in ("bf16", "pure_bf16") and not brain:
            raise UserError(Say.no_bf16(given=asked, known="fp32, fp16"), key="precision")
    elif asked == "fp16":
        raise UserError(Say.no_fp16(known="fp32, bf16"), key="precision")
    elif asked == "auto":
        if where == "cpu" and cpu_computes_bf16() and (quickened or not mixed):
            return "bf16", Say.auto_cpu_half() if mixed else Say.auto_cpu_bf16()
        return "fp32", Say.auto_fp32()
    match asked:
        case "bf16" | "fp16":
            return asked, None
        case "pure_bf16":
            return "bf16", None
    return "fp32", None


def cpu_computes_bf16() -> bool:
    """Whether the processor multiplies bf16 by itself; others emulate it slowly."""
    import torch

    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def load_tokenizer(folder: Path, trust_remote_code: bool) -> Any:
    """The tokenizer of a model's folder, with a padding token that is not trained."""
    from transformers import AutoTokenizer

    if is_gguf(folder):
        tokenizer = tokenizer_of_file(folder)
    else:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(
    folder: Path,
    precision: Precision,
    trust_remote_code: bool,
    quantisation: Quantisation | None = None,
    head: Literal["words", "score"] = "words",
    attention: str | None = None,
    waiting: bool = False,
) -> Any:
    """The model on this machine's device, its weights held in ``precision`` or in fewer bits.

    Its head says which word comes next, or one number for the whole text. ``attention`` names transformers' way to
    compute attention; None leaves the choice to it. ``waiting``: it stays in the machine's memory, and is divided among cards later.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    if is_gguf(folder):
        raise UserError(Say.only_llamacpp(given=folder.name), key="infer_backend")
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    few = quantisation is not None or bool(quantised_by(folder))
    bits = quantising.loading(quantisation, kinds[precision]) if quantisation else {}
    kind = AutoModelForCausalLM if head == "words" else AutoModelForSequenceClassification
    model = kind.from_pretrained(
        folder,
        dtype=kinds[precision],
        trust_remote_code=trust_remote_code,
        use_safetensors=True,
        device_map={"": device()} if few else None,
        **bits,
        **({"attn_implementation": attention} if attention else {}),
        **({"num_labels": 1} if head == "score" else {}),
    )
    if not few:
        return model if waiting else model.to(device())
    quantising.keep_layout(model, training=False)
    return model


def quantised_by(folder: Path) -> str:
    """How the weights of the model in this folder come quantised; empty: they don't."""
    return quantising.way_of(_json_object(folder / "config.json") or {})


def weights_bytes(folder: Path) -> int:
    """Size of the weights on disk, bytes."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def model_choices(workspace: Workspace, hub: str) -> Sequence[tuple[str, str]]:
    """What a form offers: (shown name, value); local models first, then the catalogue's ids of the hub."""
    local = [(name, f"models/{name}") for name in local_models(workspace)]
    known = [(model.name, model.ms if hub == "modelscope" else model.hf) for model in catalogue().values()]
    return [*local, *((name, value) for name, value in known if value and name not in dict(local))]
