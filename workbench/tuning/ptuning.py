"""P-tuning: a small network writes a learned prompt before the text (arXiv 2103.10385). Knows nothing of data or runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.adapting import adapted, keep_encoder, task_of
from workbench.fields import Ui
from workbench.tuning import PromptSpec


class Spec(PromptSpec):
    """P-tuning"""

    finetuning_type: Literal["ptuning"] = "ptuning"
    ptuning_kind: Annotated[Literal["MLP", "LSTM"], Ui("P-tuning network")] = "MLP"
    """The network that makes the prompt: MLP looks at each place alone, LSTM at its neighbours too. Usual: MLP."""
    ptuning_hidden: Annotated[int | None, Field(ge=1, le=16384), Ui("P-tuning width")] = None
    """Width of that network. Empty: as wide as the model."""


def apply(model: Any, spec: Spec, adapters: Sequence[Path]) -> Any:
    """A PeftModel of which the network alone is trainable."""
    from peft import PromptEncoderConfig

    config = PromptEncoderConfig(
        task_type=task_of(model),
        num_virtual_tokens=spec.num_virtual_tokens,
        encoder_reparameterization_type=spec.ptuning_kind,
        encoder_hidden_size=spec.ptuning_hidden,
    )
    return keep_encoder(adapted(model, config, adapters))
