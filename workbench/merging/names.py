"""How the modules of a model and the tensors of its files are called. Knows no adapter and no numbers."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

EMBEDDINGS = ("embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings", "word_embedding")
HEADS = ("lm_head", "embed_out", "output_layer")


@dataclass(frozen=True)
class Names:
    """The tensors of a base's files, and how to find a module's among them."""

    tensors: Collection[str]
    tied: bool
    """Its embeddings are its last layer too, which has no tensor of its own or one that is not read."""

    def weight_of(self, module: str, part: str = "weight") -> str | None:
        """The name of a module's tensor, None where the files have none: files may leave out the name of the whole, or add it."""
        wanted = f"{module}.{part}"
        if wanted in self.tensors:
            return wanted
        shorter = wanted.partition(".")[2]
        if shorter in self.tensors:
            return shorter
        return next((name for name in self._longer.get(wanted, ())), None)

    @cached_property
    def _longer(self) -> Mapping[str, tuple[str]]:
        return {name.partition(".")[2]: (name,) for name in self.tensors}

    @cached_property
    def embedding(self) -> str | None:
        """The tensor with a row for each token."""
        endings = tuple(f"{name}.weight" for name in EMBEDDINGS)
        return next((name for name in self.tensors if name.endswith(endings)), None)

    @cached_property
    def head(self) -> str:
        """The last layer's tensor; what it would be called where it is not there."""
        return next((name for name in self.tensors if is_head(name.removesuffix(".weight"))), "lm_head.weight")


def is_head(module: str) -> bool:
    """Whether a module is the last layer."""
    return module.rpartition(".")[2] in HEADS


class Outline:
    """The model without numbers, built from its config when it is first asked for."""

    def __init__(self, folder: Path, trusted: bool) -> None:
        self._folder, self._trusted = folder, trusted

    @cached_property
    def model(self) -> Any:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.from_pretrained(self._folder, trust_remote_code=self._trusted)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=self._trusted)

    @cached_property
    def modules(self) -> frozenset[str]:
        """The names of its modules."""
        return frozenset(name for name, _ in self.model.named_modules())

    def quantised(self) -> dict[str, bool]:
        """The modules that bitsandbytes holds in few bits when the model is loaded so, and whether each holds its weights
        the other way round."""
        from transformers.pytorch_utils import Conv1D
        from transformers.quantizers.base import get_keys_to_not_convert
        from transformers.quantizers.quantizers_utils import should_convert_module

        kept = get_keys_to_not_convert(self.model)
        return {
            name: isinstance(part, Conv1D)
            for name, part in self.model.named_modules()
            if (type(part).__name__ == "Linear" or isinstance(part, Conv1D)) and should_convert_module(name, kept)
        }


Outlined = Callable[[], Outline]
