"""Prompt tuning: learned words before the text, and nothing else (arXiv 2104.08691). Knows nothing of data or runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from workbench.adapting import adapted, keep_encoder, task_of
from workbench.fields import Ui
from workbench.tuning import PromptSpec


class Spec(PromptSpec):
    """Prompt tuning"""

    finetuning_type: Literal["prompt"] = "prompt"
    prompt_init_text: Annotated[str, Ui("First words")] = ""
    """Words at which the learned places begin, such as what the model is to do. Empty: drawn by lot."""


def apply(model: Any, spec: Spec, adapters: Sequence[Path]) -> Any:
    """A PeftModel of which the prompt alone is trainable."""
    from peft import PromptTuningConfig, PromptTuningInit

    words: dict[str, Any] = {}
    if spec.prompt_init_text and not adapters:
        words = {
            "prompt_tuning_init": PromptTuningInit.TEXT,
            "prompt_tuning_init_text": spec.prompt_init_text,
            "tokenizer_name_or_path": model.config.name_or_path,
        }
    config = PromptTuningConfig(task_type=task_of(model), num_virtual_tokens=spec.num_virtual_tokens, **words)
    return keep_encoder(adapted(model, config, adapters))
