"""Adapters as PEFT makes them: begun, gone on from, merged, and the modules they may lie on. Knows no tuning method."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workbench.problems import UserError
from workbench.text import Text

SHOWN = 12
OUTPUT = ("lm_head", "embed_out", "score")
"""The last layer, under the names of the usual families: 'all' leaves it out."""


class Say:
    no_module = Text("No module of the model is named '{given}'. Accepted: {names}. Write one of these names.")
    other_kind = Text(
        "Adapter '{name}' is of the kind '{found}', and the method makes '{wanted}'. Accepted: an adapter of that kind. "
        "Choose the method that made it, or take it out."
    )
    not_merged = Text(
        "Adapter '{name}' is of the kind '{found}', which can't be merged. Accepted: {wanted}. Take that adapter out."
    )
    tied = Text(
        "The embeddings of this model, in '{given}', are its last layer too, and only LoRA keeps both one. Accepted: other "
        "modules, or method lora. Take them out, or choose lora."
    )
    tied_apart = Text(
        "Adapter '{name}' lies on embeddings that are the last layer too, which can't be merged here. Accepted: other adapters. "
        "Export it merged, and go on from that model."
    )
    few_bits = Text(
        "'{given}' holds weights of 4 or 8 bits, which can't be trained. Accepted: modules that stay in 16 or 32 bits, such "
        "as embed_tokens, norm or lm_head. Take it out."
    )


UNMERGEABLE = ("PREFIX_TUNING", "P_TUNING", "PROMPT_TUNING", "ADAPTION_PROMPT", "MULTITASK_PROMPT_TUNING", "CPT")


def task_of(model: Any) -> str:
    """PEFT's name of what the model is for."""
    return "SEQ_CLS" if type(model).__name__.endswith("ForSequenceClassification") else "CAUSAL_LM"


def adapted(model: Any, config: Any, adapters: Sequence[Path], create_new: bool = False) -> Any:
    """A PeftModel whose one adapter is trainable, its weights in fp32.

    Without adapters it is a new one; else the last of them, and those before it are merged into the base, or all of
    them and a new one with ``create_new``.
    """
    from peft import PeftModel, get_peft_model

    last = None if create_new or not adapters else adapters[-1]
    if last:
        check_kind(last, config.peft_type.value)
    model = merge(model, adapters if create_new else adapters[:-1])
    if last and config.is_prompt_learning:
        return _go_on_prompting(model, last)
    if last:
        return PeftModel.from_pretrained(model, str(last), is_trainable=True)
    return get_peft_model(model, config)


def _go_on_prompting(model: Any, folder: Path) -> Any:
    """PEFT trains no loaded prompt, but it lets one be laid over a new one of the same shape."""
    from peft import PeftConfig, get_peft_model

    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = False
    model = keep_encoder(get_peft_model(model, config))
    model.load_adapter(str(folder), "default", is_trainable=True)
    return model


def kind_of(folder: Path) -> str:
    """PEFT's name of the adapter's kind, such as LORA."""
    return str(json.loads((folder / "adapter_config.json").read_text("utf-8")).get("peft_type", ""))


def check_kind(folder: Path, wanted: str) -> None:
    """UserError when the adapter is of another kind."""
    if (found := kind_of(folder)) != wanted:
        raise UserError(Say.other_kind(name=folder.name, found=found, wanted=wanted), key="adapter_name_or_path")


def merge(model: Any, adapters: Sequence[Path]) -> Any:
    """The model with the adapters made part of its own weights, one after the other."""
    from peft import PeftModel

    for folder in adapters:
        if (found := kind_of(folder)) in UNMERGEABLE:
            said = Say.not_merged(name=folder.name, found=found, wanted="LORA, OFT, IA3, VERA, LOHA, LOKR")
            raise UserError(said, key="adapter_name_or_path")
        if ties(model, _targeted(folder)):  # PEFT adds what was learned twice, once for each of the two
            raise UserError(Say.tied_apart(name=folder.name), key="adapter_name_or_path")
        model = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    return model


def _targeted(folder: Path) -> list[str]:
    """The modules that the adapter lies on, where they are told by name."""
    found = json.loads((folder / "adapter_config.json").read_text("utf-8")).get("target_modules")
    return list(found) if isinstance(found, list) else []


def linear_names(model: Any) -> list[str]:
    """The names of the linear layers, each once, quantised ones too."""
    kinds = {
        name.rpartition(".")[2]
        for name, part in model.named_modules()
        if "Linear" in type(part).__name__ or type(part).__name__ == "Conv1D"
    }
    return sorted(kinds)


def targets(model: Any, asked: Sequence[str], key: str, also: Sequence[str] = ()) -> list[str]:
    """The modules that get an adapter: for 'all' every linear layer but the last; UserError for names that are none."""
    linear = linear_names(model)
    if "all" in asked:
        return [name for name in linear if name not in OUTPUT]
    check_names(asked, {*linear, *also, *(name for name, _ in model.named_modules() if name)}, key, ["all", *linear])
    return list(asked)


def check_names(asked: Sequence[str], known: set[str], key: str, shown: Sequence[str]) -> None:
    """UserError when a name is neither known nor the end of a known one, such as self_attn.q_proj."""
    missing = [name for name in asked if name not in known and not any(one.endswith(f".{name}") for one in known)]
    if missing:
        raise UserError(Say.no_module(given=", ".join(missing), names=", ".join(shown[:SHOWN])), key=key)


def whole_modules(model: Any, names: Sequence[str], keeps_ties: bool = False) -> list[str] | None:
    """The modules that are trained whole beside an adapter, None for none; UserError for those that can't be.

    ``keeps_ties``: the kind of adapter can train embeddings that are also the last layer, so that both stay one.
    """
    key = "additional_target"
    parts = {name: part for name, part in model.named_modules() if name}
    shown = sorted({name.rpartition(".")[2] for name in parts if not name.rpartition(".")[2].isdecimal()})
    check_names(names, set(parts), key, shown)
    for name, part in parts.items():
        wanted = any(name == one or name.endswith(f".{one}") for one in names)
        if wanted and any(not weight.is_floating_point() for weight in part.parameters()):
            raise UserError(Say.few_bits(given=name), key=key)
    if ties(model, names) and not keeps_ties:
        raise UserError(Say.tied(given=", ".join(names)), key=key)
    return list(names) or None


def transposed(model: Any) -> bool:
    """Whether linear layers hold their weights the other way round, as those of GPT-2 do."""
    return any(type(part).__name__ == "Conv1D" for part in model.modules())


def ties(model: Any, names: Sequence[str]) -> bool:
    """Whether one of the names is that of an embedding which is also the last layer, so that both must stay one."""
    if not model.config.get_text_config().tie_word_embeddings:
        return False
    tied = [part for part in (model.get_input_embeddings(), model.get_output_embeddings()) if part is not None]
    own = [name.rpartition(".")[2] for name, part in model.named_modules() if any(part is one for one in tied)]
    return any(name.rpartition(".")[2] in own for name in names)


ENCODER = "prompt_encoder.safetensors"


def keep_encoder(model: Any) -> Any:
    """The model, which from now on also saves and loads the network that makes its prompts.

    PEFT keeps only the prompts that come out of it, from which training can't go on.
    """
    from peft import PeftModel, set_peft_model_state_dict
    from safetensors.torch import load_file, save_file

    class KeepsEncoder(PeftModel):
        def save_pretrained(self, save_directory: str, **named: Any) -> None:
            super().save_pretrained(save_directory, **named)
            weights = {
                name: tensor.contiguous() for name, tensor in self.prompt_encoder["default"].state_dict().items()
            }
            save_file(weights, Path(save_directory) / ENCODER, metadata={"format": "pt"})

        def load_adapter(self, model_id: Any, adapter_name: str, **named: Any) -> Any:
            whole = Path(model_id) / ENCODER
            if adapter_name != "default" or not whole.is_file():
                return super().load_adapter(model_id, adapter_name, **named)
            encoder = self.prompt_encoder["default"]
            encoder.load_state_dict(load_file(whole))
            # Modules trained whole, such as a score head, lie with the prompts; these are of no use here.
            rest = load_file(Path(model_id) / "adapter_model.safetensors")
            weights = {**rest, "prompt_embeddings": encoder.embedding.weight.detach()}
            return set_peft_model_state_dict(self, weights, adapter_name="default")

    model.__class__ = type(type(model).__name__, (KeepsEncoder, type(model)), {})
    return model
