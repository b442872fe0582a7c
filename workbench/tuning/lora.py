"""LoRA: small low-rank matrices beside frozen weights (arXiv 2106.09685). Knows nothing of data or runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.fields import Ui
from workbench.problems import UserError
from workbench.text import Text
from workbench.tuning import TuningSpec


class Say:
    no_target = Text(
        "No module of the model is named '{given}'. Accepted: all, or names such as {names}. Mend 'LoRA modules'."
    )
    one_adapter = Text("{given} adapters were given. Accepted: one to go on from. Keep one, or merge them first.")


class Spec(TuningSpec):
    """LoRA"""

    finetuning_type: Literal["lora"] = "lora"
    lora_rank: Annotated[int, Field(ge=1, le=1024), Ui("LoRA rank", simple=True)] = 8
    """Width of the adapter: more can hold more and takes more memory. Usual: 8 to 64."""
    lora_alpha: Annotated[int | None, Field(ge=1, le=4096), Ui("LoRA alpha")] = None
    """Strength of the adapter; what it adds is multiplied by alpha / rank. Empty: twice the rank."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1), Ui("LoRA dropout")] = 0.0
    """Share of the adapter's inputs that is left out at random while training. Usual: 0 to 0.1."""
    lora_target: Annotated[list[str], Field(min_length=1), Ui("LoRA modules")] = ["all"]
    """Modules that get an adapter, by name, such as q_proj,v_proj; all means every linear layer. Usual: all."""


def apply(model: Any, spec: Spec, adapters: Sequence[Path]) -> Any:
    """A PeftModel whose adapter alone is trainable, its weights in fp32."""
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model

    if len(adapters) > 1:
        raise UserError(Say.one_adapter(given=len(adapters)), key="adapter_name_or_path")
    if adapters:
        return PeftModel.from_pretrained(model, str(adapters[0]), is_trainable=True)
    linear = sorted({name.split(".")[-1] for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)})
    missing = [name for name in spec.lora_target if name != "all" and name not in linear]
    if missing:
        raise UserError(Say.no_target(given=", ".join(missing), names=", ".join(linear[:8])), key="lora_target")
    return get_peft_model(
        model,
        LoraConfig(
            task_type="CAUSAL_LM",
            r=spec.lora_rank,
            lora_alpha=spec.lora_alpha or 2 * spec.lora_rank,
            lora_dropout=spec.lora_dropout,
            target_modules="all-linear" if "all" in spec.lora_target else list(spec.lora_target),
        ),
    )
