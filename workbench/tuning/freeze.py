"""Freeze: some layers of the model move, the rest stands still. Knows nothing of data or runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from workbench.adapting import check_names, merge, task_of
from workbench.fields import Ui
from workbench.problems import Problem, UserError
from workbench.text import Text
from workbench.tuning import TuningSpec


class Say:
    no_layers = Text(
        "Trained layers is 0, and no extra modules are named, so that nothing would move. Accepted: a number other than "
        "0. Enter, for example, 2."
    )
    few_layers = Text(
        "Trained layers is {given}, and the model has {layers} layers. Accepted: {least} to {layers}. Enter fewer."
    )


class Spec(TuningSpec):
    """Freeze"""

    ADAPTER: ClassVar[bool] = False

    finetuning_type: Literal["freeze"] = "freeze"
    freeze_trainable_layers: Annotated[int, Field(ge=-1000, le=1000), Ui("Trained layers", simple=True)] = 2
    """How many layers move: above 0 the last ones, below 0 the first ones. Usual: 1 to 8."""
    freeze_trainable_modules: Annotated[list[str], Field(min_length=1), Ui("Trained modules")] = ["all"]
    """Modules that move in these layers, by name, such as mlp or self_attn; all means the whole layers. Usual: all."""
    freeze_extra_modules: Annotated[list[str], Ui("Extra modules")] = []
    """Modules outside the layers that move too, by name, such as embed_tokens, norm or lm_head."""

    def problems(self, quantised: bool, adapters: int) -> list[Problem]:
        if self.freeze_trainable_layers or self.freeze_extra_modules:
            return []
        return [Problem(Say.no_layers(), "freeze_trainable_layers")]


def apply(model: Any, spec: Spec, adapters: Sequence[Path]) -> Any:
    """The model with the chosen layers trainable, adapters merged into it before."""
    model = merge(model, adapters)
    place, layers = blocks(model)
    if abs(spec.freeze_trainable_layers) > len(layers):
        said = Say.few_layers(given=spec.freeze_trainable_layers, layers=len(layers), least=-len(layers))
        raise UserError(said, key="freeze_trainable_layers")
    model.requires_grad_(False)
    for layer in _chosen(layers, spec.freeze_trainable_layers):
        _free(layer, spec.freeze_trainable_modules, "freeze_trainable_modules")
    if task_of(model) == "SEQ_CLS":
        model.score.requires_grad_(True)  # it was made by lot, and says nothing until it has learned
    if spec.freeze_extra_modules:
        _free(model, spec.freeze_extra_modules, "freeze_extra_modules", without=f"{place}.")
    return model


def blocks(model: Any) -> tuple[str, Any]:
    """The model's layers, one after another, and the name under which they stand."""
    import torch

    lists = [(name, part) for name, part in model.named_modules() if isinstance(part, torch.nn.ModuleList)]
    return max(lists, key=lambda found: len(found[1]))


def _chosen(layers: Any, count: int) -> list[Any]:
    if not count:
        return []
    return list(layers[-count:] if count > 0 else layers[:-count])


def _free(part: Any, names: Sequence[str], key: str, without: str = "\0") -> None:
    """Let the modules of these names move, but none that holds or lies in the part called ``without``."""
    inside = {
        name: one
        for name, one in part.named_modules()
        if name and not f"{name}.".startswith(without) and not without.startswith(f"{name}.")
    }
    if "all" in names:
        for one in inside.values():
            one.requires_grad_(True)
        return
    check_names(names, set(inside), key, sorted({name.rpartition(".")[2] for name in inside}))
    for name, one in inside.items():
        if any(name == wanted or name.endswith(f".{wanted}") for wanted in names):
            one.requires_grad_(True)
