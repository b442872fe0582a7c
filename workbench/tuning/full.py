"""Full: every weight of the model moves. Knows nothing of data or runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from workbench.adapting import merge
from workbench.tuning import TuningSpec


class Spec(TuningSpec):
    """Full"""

    ADAPTER: ClassVar[bool] = False
    FROZEN: ClassVar[bool] = False

    finetuning_type: Literal["full"] = "full"


def apply(model: Any, spec: Spec, adapters: Sequence[Path]) -> Any:
    """The model with every weight trainable, adapters merged into it before."""
    model = merge(model, adapters)
    model.requires_grad_(True)
    return model
