"""Prefix tuning: learned keys and values before each layer's own (arXiv 2101.00190). Knows nothing of data or runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from workbench.adapting import adapted, keep_encoder, task_of
from workbench.fields import Ui
from workbench.tuning import PromptSpec


class Spec(PromptSpec):
    """Prefix tuning"""

    CHECKPOINTING: ClassVar[bool] = False

    finetuning_type: Literal["prefix"] = "prefix"
    prefix_projection: Annotated[bool, Ui("Prefix network")] = False
    """Let a small network make the prefix while training, which is steadier and takes more memory."""


def apply(model: Any, spec: Spec, adapters: Sequence[Path]) -> Any:
    """A PeftModel of which the prefix alone is trainable."""
    from peft import PrefixTuningConfig

    config = PrefixTuningConfig(
        task_type=task_of(model),
        num_virtual_tokens=spec.num_virtual_tokens,
        prefix_projection=spec.prefix_projection,
        init_weights="zero",  # a random prefix makes a trained model forget what it knew before the first step
    )
    return keep_encoder(adapted(model, config, adapters))
