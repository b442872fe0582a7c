"""The two sides of a proof as an engine opens them: what training left, and the export as a stranger finds it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench import engines
from workbench.chats import stop_tokens, use_template
from workbench.engines import BASE, Engine, Opening, Precision
from workbench.exporters import Made, Source, Trained
from workbench.models import load_tokenizer
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
        return Side("transformers", replace(opening, adapters={TRAINED: adapters[0].folder}), TRAINED, precision)
    if adapters:
        bare = opening.model
        opening = replace(opening, model=lambda precision: laid_in(bare(precision), adapters))
    return Side("transformers", opening, BASE, precision)


def exported_side(source: Source, made: Made, folder: Path, precision: Precision) -> Side:
    """The export, opened with nothing but what lies in its folder: its own tokenizer, chat template and ends of turn. Of an
    adapter alone the base is the one of the training."""
    opening = source.opening
    adapters = {} if made.adapter is None else {TRAINED: folder / made.adapter}
    name = TRAINED if made.adapter is not None else BASE
    place = folder if made.model is None else folder / made.model

    def tokenizer() -> Any:
        if made.model is None and not (folder / "tokenizer_config.json").is_file():
            return opening.tokenizer()  # a file for use over another file, which brings them
        found = load_tokenizer(place, opening.trust_remote_code)
        use_template(found, "auto")
        return found

    fresh = replace(opening, adapters=adapters, template="auto", lead="", tokenizer=tokenizer)
    if made.model is None:
        return Side(made.engine, replace(fresh, stop_ids=lambda told: stop_tokens(told, "auto")), name, precision)
    fresh = replace(
        fresh,
        folder=lambda: place,
        model=lambda precision: opening.whole(place, precision),
        stop_ids=lambda told: [],  # those of its generation_config, or of the file, must do
    )
    return Side(made.engine, fresh, name, precision)


def laid_in(base: Any, adapters: Sequence[Trained]) -> Any:
    """The base with all adapters inside it, each at its weight: plain LoRA all at once as it stood in training, other kinds
    merged by PEFT one after another."""
    from peft import PeftModel

    names = [f"adapter{at}" for at in range(len(adapters))]
    together = all(_adds(one) for one in adapters)
    model = base
    for at, (name, one) in enumerate(zip(names, adapters, strict=True)):
        if together and at:
            model.load_adapter(str(one.folder), adapter_name=name)
        else:
            model = PeftModel.from_pretrained(model, str(one.folder), adapter_name=name)
        _weigh(model, name, one.weight)
        if not together:
            model = model.merge_and_unload()
    if not together:
        return model
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
