"""IA3: learned scales on keys, values and the inner layer (arXiv 2205.05638). Knows nothing of data or runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from workbench.adapting import adapted, linear_names, targets, task_of, transposed, whole_modules
from workbench.fields import Ui
from workbench.tuning import AdapterSpec

USUAL = ("k_proj", "v_proj", "c_attn", "qkv_proj", "query_key_value", "W_pack")
INNER = ("down_proj", "fc2", "dense_4h_to_h", "w2", "mlp.c_proj")
"""Layers that read the inner layer: there the input is scaled, elsewhere the output."""


class Spec(AdapterSpec):
    """IA3"""

    QUANTISED: ClassVar[bool] = True

    finetuning_type: Literal["ia3"] = "ia3"
    ia3_target: Annotated[list[str], Field(min_length=1), Ui("IA3 modules")] = ["auto"]
    """Modules that are scaled, by name; all: every linear layer. auto: keys, values and the inner layer, as in the paper."""


def apply(model: Any, spec: Spec, adapters: Sequence[Path]) -> Any:
    """A PeftModel of which the scales alone are trainable."""
    from peft import IA3Config

    asked = spec.ia3_target
    if asked == ["auto"]:
        known = linear_names(model)
        asked = [name for name in (*USUAL, *INNER) if name.rpartition(".")[2] in known] or ["all"]
    chosen = targets(model, asked, "ia3_target")
    config = IA3Config(
        task_type=task_of(model),
        modules_to_save=whole_modules(model, spec.additional_target),
        target_modules=chosen,
        feedforward_modules=[name for name in chosen if name in INNER],
        fan_in_fan_out=transposed(model),
    )
    return adapted(model, config, adapters, spec.create_new_adapter)
