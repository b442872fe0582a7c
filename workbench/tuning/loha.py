"""LoHa: the elementwise product of two low-rank matrices (arXiv 2108.06098). Knows nothing of data or runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from workbench.adapting import adapted, targets, task_of, whole_modules
from workbench.fields import Ui
from workbench.tuning import AdapterSpec


class Spec(AdapterSpec):
    """LoHa"""

    finetuning_type: Literal["loha"] = "loha"
    loha_rank: Annotated[int, Field(ge=1, le=1024), Ui("LoHa rank", simple=True)] = 8
    """Width of the adapter; what it adds can have the square of it. Usual: 4 to 32."""
    loha_alpha: Annotated[int | None, Field(ge=1, le=4096), Ui("LoHa alpha")] = None
    """Strength of the adapter; what it adds is multiplied by alpha / rank. Empty: the rank."""
    loha_dropout: Annotated[float, Field(ge=0, lt=1), Ui("LoHa dropout")] = 0.0
    """Share of the adapter's rows that is left out at random while training. Usual: 0 to 0.1."""
    loha_target: Annotated[list[str], Field(min_length=1), Ui("LoHa modules")] = ["all"]
    """Modules that get an adapter, by name, such as q_proj,v_proj; all means every linear layer. Usual: all."""


def apply(model: Any, spec: Spec, adapters: Sequence[Path]) -> Any:
    """A PeftModel whose adapter alone is trainable."""
    from peft import LoHaConfig

    config = LoHaConfig(
        task_type=task_of(model),
        modules_to_save=whole_modules(model, spec.additional_target),
        r=spec.loha_rank,
        alpha=spec.loha_alpha or spec.loha_rank,
        rank_dropout=spec.loha_dropout,
        target_modules=targets(model, spec.loha_target, "loha_target"),
    )
    return adapted(model, config, adapters, spec.create_new_adapter)
