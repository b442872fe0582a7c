"""Norm tuning: only the weights of the normalisation layers move (arXiv 2312.11420). Knows nothing of data or runs."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from workbench.adapting import adapted, task_of
from workbench.tuning import TuningSpec


class Spec(TuningSpec):
    """Norm tuning"""

    QUANTISED: ClassVar[bool] = True

    finetuning_type: Literal["ln_tuning"] = "ln_tuning"

    @property
    def needs_autocast(self) -> bool:
        return True


def apply(model: Any, spec: Spec, adapters: Sequence[Path]) -> Any:
    """A PeftModel of which copies of the norms alone are trainable."""
    from peft import LNTuningConfig

    norms = sorted(
        {name for name, part in model.named_modules() if type(part).__name__.endswith(("Norm", "LayerNorm"))}
    )
    with warnings.catch_warnings():
        # peft knows torch's own norms by name only; the models' own are the same to it.
        warnings.filterwarnings("ignore", message="Unsupported layer type", category=UserWarning)
        return adapted(model, LNTuningConfig(task_type=task_of(model), target_modules=norms), adapters)
