"""The two sides of a proof as an engine opens them: what training left, and the export as a stranger finds it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench import engines
from workbench.chats import ChatOptions, stop_tokens, use_template
from workbench.engines import BASE, Engine, Opening, Precision, Prompt
from workbench.exporters import Made, Source, Trained
from workbench.merging.in_memory import merged
from workbench.models import load_tokenizer
from workbench.opening import prompt_of
from workbench.sockets import plugins

CONFIG = "adapter_config.json"
TRAINED = "trained"
"""The name of an adapter that answers over its base."""
NUMBERS: Mapping[Precision, str] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class Side:
    """One side, ready to be opened."""

    engine: str
    opening: Opening
    name: str
    """Of the model that is asked."""
    precision: Precision
    bare: str = ""
    """Of the model without what was trained, where the same engine has it."""
    brings_template: bool = False
    """Whether what is opened has a chat template of its own inside."""

    def open(self) -> Engine:
        """The engine that answers one at a time, so that no sum is rounded otherwise for what is asked beside it."""
        kind = plugins(engines)[self.engine]
        settings: Mapping[str, Mapping[str, Any]] = {
            "transformers": {"infer_dtype": NUMBERS[self.precision], "max_num_seqs": 1},
            "llamacpp": {"llamacpp_parallel": 1},
        }
        return kind.open(kind.Spec(**settings.get(self.engine, {})), self.opening)


def training_side(source: Source, original: bool, precision: Precision) -> Side:
    """What is taken home, as it answers before that. ``original``: over the base's own weights, not over the few bits
    that adapters learned over."""
    opening = replace(source.opening, adapters={}, lead="")
    adapters = [one for one in source.trained if _is_adapter(one)]
    wholes = [one for one in source.trained if not _is_adapter(one)]
    if original or wholes:
        base = wholes[0].folder if wholes else source.opening.folder()
        opening = replace(opening, model=lambda precision: source.opening.whole(base, precision))
    if len(adapters) == 1 and adapters[0].weight == 1:
        return Side("transformers", replace(opening, adapters={TRAINED: adapters[0].folder}), TRAINED, precision, BASE)
    if adapters:
        bare = opening.model
        opening = replace(opening, model=lambda precision: laid_in(bare(precision), adapters))
    return Side("transformers", opening, BASE, precision)


def bare_side(source: Source, original: bool, precision: Precision) -> Side | None:
    """What was there before the training; None where nothing was trained."""
    if not source.trained:
        return None
    opening = replace(source.opening, adapters={}, lead="")
    if original:
        opening = replace(opening, model=lambda precision: source.opening.whole(source.opening.folder(), precision))
    return Side("transformers", opening, BASE, precision, BASE)


def exported_side(source: Source, made: Made, folder: Path, precision: Precision) -> Side:
    """The export, opened with nothing but what lies in its folder: its own tokenizer, chat template and ends of turn, and
    nothing said beside the template. Of an adapter alone the base is the one of the training."""
    opening = source.opening
    adapters = {} if made.adapter is None else {TRAINED: folder / made.adapter}
    name = TRAINED if made.adapter is not None else BASE
    place = folder if made.model is None else folder / made.model

    if made.model is None and not (folder / "tokenizer_config.json").is_file():
        # A file for use over another file, which brings tokenizer and template.
        return Side(made.engine, replace(opening, adapters=adapters, template="auto", lead=""), name, precision)

    def tokenizer() -> Any:
        found = load_tokenizer(place, opening.trust_remote_code)
        use_template(found, "auto")
        return found

    fresh = replace(opening, adapters=adapters, template="auto", lead="", tokenizer=tokenizer, prompt=_bare_prompt)
    if made.model is None:
        return Side(made.engine, replace(fresh, stop_ids=lambda told: stop_tokens(told, "auto")), name, precision)
    fresh = replace(
        fresh,
        folder=lambda: place,
        model=lambda precision: opening.whole(place, precision),
        stop_ids=lambda told: [],  # those of its generation_config, or of the file, must do
    )
    return Side(made.engine, fresh, name, precision, brings_template=True)


def _bare_prompt(tokenizer: Any, prompt: Prompt) -> Sequence[int]:
    return prompt_of(tokenizer, prompt, ChatOptions())


def laid_in(base: Any, adapters: Sequence[Trained]) -> Any:
    """The base with all adapters inside it, each at its weight: plain LoRA all at once as it stood in training, other kinds
    merged by PEFT one after another, each so much of the way."""
    from peft import PeftModel

    model = base
    if not all(_adds(one) for one in adapters):
        for one in adapters:
            model = merged(model, one.folder.name, one.folder, one.weight)
        return model
    names = [f"adapter{at}" for at in range(len(adapters))]
    for at, (name, one) in enumerate(zip(names, adapters, strict=True)):
        if at:
            model.load_adapter(str(one.folder), adapter_name=name)
        else:
            model = PeftModel.from_pretrained(model, str(one.folder), adapter_name=name)
        _weigh(model, name, one.weight)
    model.base_model.set_adapter(names, inference_mode=True)
    return model.get_base_model()


def _weigh(model: Any, name: str, weight: float) -> None:
    from peft.tuners.lora import LoraLayer

    for layer in model.modules():
        if isinstance(layer, LoraLayer) and name in layer.scaling:
            layer.scaling[name] *= weight


def _adds(one: Trained) -> bool:
    """Whether it only adds to matrices, so that the order of several plays no part."""
    config = json.loads((one.folder / CONFIG).read_text("utf-8"))
    more = ("use_dora", "modules_to_save", "trainable_token_indices", "lora_bias")
    return config.get("peft_type", "LORA") == "LORA" and not any(config.get(key) for key in more)


def _is_adapter(one: Trained) -> bool:
    return (one.folder / CONFIG).is_file()
