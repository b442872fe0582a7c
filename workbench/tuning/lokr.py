"""LoKr: the Kronecker product of a small and a low-rank matrix (arXiv 2309.14859). Knows nothing of data or runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.adapting import adapted, targets, task_of, whole_modules
from workbench.fields import Ui
from workbench.tuning import AdapterSpec


class Spec(AdapterSpec):
    """LoKr"""

    finetuning_type: Literal["lokr"] = "lokr"
    lokr_rank: Annotated[int, Field(ge=1, le=1024), Ui("LoKr rank", simple=True)] = 8
    """Width of the larger factor. Usual: 4 to 64."""
    lokr_alpha: Annotated[int | None, Field(ge=1, le=4096), Ui("LoKr alpha")] = None
    """Strength of the adapter; what it adds is multiplied by alpha / rank. Empty: the rank."""
    lokr_factor: Annotated[int, Field(ge=-1, le=4096), Ui("LoKr factor")] = -1
    """Size of the small factor; it should divide each layer's width. -1: about the root of the width."""
    lokr_dropout: Annotated[float, Field(ge=0, lt=1), Ui("LoKr dropout")] = 0.0
    """Share of the adapter's rows that is left out at random while training. Usual: 0 to 0.1."""
    lokr_target: Annotated[list[str], Field(min_length=1), Ui("LoKr modules")] = ["all"]
    """Modules that get an adapter, by name, such as q_proj,v_proj; all means every linear layer. Usual: all."""


def apply(model: Any, spec: Spec, adapters: Sequence[Path]) -> Any:
    """A PeftModel whose adapter alone is trainable."""
    from peft import LoKrConfig

    config = LoKrConfig(
        task_type=task_of(model),
        modules_to_save=whole_modules(model, spec.additional_target),
        r=spec.lokr_rank,
        alpha=spec.lokr_alpha or spec.lokr_rank,
        decompose_factor=spec.lokr_factor,
        rank_dropout=spec.lokr_dropout,
        target_modules=targets(model, spec.lokr_target, "lokr_target"),
    )
    return adapted(model, config, adapters, spec.create_new_adapter)
