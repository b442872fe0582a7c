"""Adapters of any kind, merged by PEFT with the whole model in memory. Knows no formula."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.exporters import Source
from workbench.merging.adapters import KEY
from workbench.merging.stored import number_types
from workbench.problems import UserError, first_line
from workbench.text import Text

if TYPE_CHECKING:
    from workbench.merging import Plan


class Say:
    misfit = Text("Adapter '{name}' does not fit the model: {reason}. Choose the model that it was trained on.")


def write_in_memory(plan: "Plan", folder: Path, most_bytes: int, source: Source) -> bool:
    """Load the base in float32, let PEFT merge one adapter after the other, and write the weights; whether embeddings and last
    layer, one by config.json, are two now."""
    from transformers import GenerationConfig

    steps = len(plan.adapters) + 2
    model = source.opening.whole(plan.folder, "fp32")
    called_one = bool(model.config.get_text_config().tie_word_embeddings)
    source.opening.progress(plan.num_bytes // steps, plan.num_bytes)
    for at, (adapter, trained) in enumerate(plan.adapters, 2):
        model = merged(model, adapter.name, trained.folder, trained.weight)
        source.opening.progress(at * plan.num_bytes // steps, plan.num_bytes)
    model.to(number_types()[plan.kind])
    model.generation_config = GenerationConfig()  # one that does not hold together would not be saved; it comes later
    model.save_pretrained(str(folder), max_shard_size=most_bytes)
    source.opening.progress(plan.num_bytes, plan.num_bytes)
    return called_one and _differ(model)


def _differ(model: Any) -> bool:
    """Whether the last layer is another than the embeddings."""
    import torch

    head = model.get_output_embeddings()
    return head is not None and not torch.equal(head.weight, model.get_input_embeddings().weight)


def merged(model: Any, name: str, folder: Path, weight: float) -> Any:
    """The model with the adapter inside; with a weight, so much of the way there."""
    import torch
    from peft import PeftModel
    from safetensors import SafetensorError

    before = {} if weight == 1 else {key: value.detach().clone() for key, value in model.state_dict().items()}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            warnings.filterwarnings("ignore", message="Unsupported layer type")
            for parted in ("Model has `tie_word_embeddings=True`", "Input and output embeddings are no longer tied"):
                warnings.filterwarnings("ignore", message=parted)  # both are written then
            whole = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except (RuntimeError, ValueError, OSError, SafetensorError, UserWarning) as error:
        raise UserError(Say.misfit(name=name, reason=first_line(error)), key=KEY) from error
    with torch.no_grad():
        for key, value in whole.named_parameters():  # each once, also where two modules share it
            if key in before and value.is_floating_point():
                value.copy_(torch.lerp(before[key], value, weight))
    return whole
