"""VeRA: one pair of random matrices for all layers, and learned scales of each (arXiv 2310.11454). Knows no data and no run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from workbench.adapting import adapted, targets, task_of, transposed, whole_modules
from workbench.fields import Ui
from workbench.tuning import AdapterSpec


class Spec(AdapterSpec):
    """VeRA"""

    QUANTISED: ClassVar[bool] = True

    finetuning_type: Literal["vera"] = "vera"
    vera_rank: Annotated[int, Field(ge=1, le=8192), Ui("VeRA rank", simple=True)] = 256
    """Width of the shared random matrices, which are never trained. Usual: 64 to 1024."""
    vera_dropout: Annotated[float, Field(ge=0, lt=1), Ui("VeRA dropout")] = 0.0
    """Share of the adapter's inputs that is left out at random while training. Usual: 0 to 0.1."""
    vera_target: Annotated[list[str], Field(min_length=1), Ui("VeRA modules")] = ["all"]
    """Modules that get an adapter, by name, such as q_proj,v_proj; all means every linear layer. Usual: all."""


def apply(model: Any, spec: Spec, adapters: Sequence[Path]) -> Any:
    """A PeftModel of which the scales alone are trainable; the random matrices are saved too, so that any machine has them."""
    from peft import VeraConfig

    config = VeraConfig(
        task_type=task_of(model),
        modules_to_save=whole_modules(model, spec.additional_target),
        r=spec.vera_rank,
        vera_dropout=spec.vera_dropout,
        target_modules=targets(model, spec.vera_target, "vera_target"),
        save_projection=True,
        fan_in_fan_out=transposed(model),
    )
    return adapted(model, config, adapters, spec.create_new_adapter)
