"""Adapters of the tiny model for tests of exports, made by PEFT without training, and what an exporter is given."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.tiny import write_model
from workbench.desk import Desk
from workbench.exporters import Source, Trained
from workbench.opening import prepare
from workbench.runs import Run
from workbench.sections import ModelSection
from workbench.text import Message
from workbench.workspace import Workspace

CAUSAL = "CAUSAL_LM"


class Notes(Desk):
    """A desk that keeps what it is told."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(Run(workspace, workspace.saves / "tiny" / "export" / "one"), None, False)
        self.noted: list[str] = []

    def note(self, message: Message, level: str = "info") -> None:
        self.noted.append(str(message))


def source_of(
    workspace: Workspace, folders: Sequence[Path] = (), weights: Sequence[float] = (), desk: Desk | None = None, **more: Any
) -> Source:
    """What the exporter is given for a model, models/tiny if none is said, and these adapters."""
    given = [str(folder) for folder in folders]
    section = ModelSection(**{"model_name_or_path": "models/tiny", "adapter_name_or_path": given, **more})
    opening = prepare(section, desk or Notes(workspace))
    shares = weights or [1.0] * len(folders)
    return Source(opening, [Trained(folder, share) for folder, share in zip(folders, shares, strict=True)], "merged")


def load(folder: Path) -> Any:
    """The model in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def make_adapter(base: Path, folder: Path, config: Any, seed: int = 1) -> Path:
    """Write an adapter of the base whose trained weights are random; the folder again."""
    import torch
    from peft import get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(load(base), config)
        torch.manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    weight += 0.1 * torch.randn_like(weight)
        model.save_pretrained(folder)
    return folder


def by_peft(base: Path, folders: Sequence[Path]) -> Mapping[str, Any]:
    """The weights as PEFT merges them, adapter by adapter."""
    from peft import PeftModel

    model = load(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for folder in folders:
            model = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    weights: Mapping[str, Any] = model.state_dict()
    return weights


def logits_of(model: Any) -> Any:
    """What it thinks of forty tokens."""
    import torch

    with torch.inference_mode():
        return model.eval()(torch.arange(20, 60)[None]).logits


def beside(base: Path, adapter: Path) -> Any:
    """The base with the adapter beside its weights, as it answers after training."""
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PeftModel.from_pretrained(load(base), str(adapter))


def untied(folder: Path, change: Callable[[dict[str, Any]], None] = lambda weights: None) -> Path:
    """A tiny model whose last layer is its own; the folder again."""
    import json

    import torch
    from safetensors.torch import load_file, save_file

    write_model(folder)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"] + 0.1 * torch.ones_like(weights["model.embed_tokens.weight"])
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}), "utf-8")
    return folder
