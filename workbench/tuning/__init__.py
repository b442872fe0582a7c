"""Which weights move: one file is one tuning method. Knows models, no data, no page and no run.

To add one, write ``tuning/x.py`` with the members of ``Tuning``. What a job or a form must know of a method before a
model is there are class variables of its Spec; most methods leave them as they are.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import Field

from workbench.fields import Section, Ui
from workbench.problems import Problem
from workbench.quantising import is_quantised, keep_layout
from workbench.text import Text


class Say:
    merge_quantised = Text(
        "Weights of 4 or 8 bits can't take in {given} adapters. Accepted: one adapter to go on from. Merge them first, or "
        "set 'Quantisation' to none."
    )
    nothing_given = Text(
        "'New adapter' is on, and no adapter is given to merge before. Name one under Adapter, or turn it off."
    )
    one_prompt = Text("{given} adapters were given. Accepted: one to go on from. Keep one.")


class TuningSpec(Section):
    """What every tuning method's Spec is: a section with the method's own fields and its name."""

    ADAPTER: ClassVar[bool] = True
    """It leaves an adapter's folder beside the base; False: a whole model."""
    MERGES: ClassVar[bool] = True
    """What it has learned can become part of the base's own weights."""
    QUANTISED: ClassVar[bool] = False
    """It can learn over frozen weights of 4 or 8 bits."""
    FROZEN: ClassVar[bool] = True
    """Some of the model's own weights stand still, and are held in the run's precision."""
    CHECKPOINTING: ClassVar[bool] = True
    """It works with gradient checkpointing."""
    DIVISIBLE: ClassVar[bool] = True
    """Its weights can be divided among processes."""

    finetuning_type: str

    @property
    def needs_autocast(self) -> bool:
        """Whether in half precision numbers of two kinds meet: weights of the model itself are trained, and held in fp32."""
        return not self.ADAPTER

    def problems(self, quantised: bool, adapters: int) -> list[Problem]:
        """What does not fit together, as far as that is known without the model."""
        return []

    def rates(self, model: Any, learning_rate: float) -> Mapping[str, float]:
        """Learning rates of trained weights by name, where they are not the run's own."""
        return {}


class AdapterSpec(TuningSpec):
    """What the Specs of methods with an adapter inside the model have in common."""

    create_new_adapter: Annotated[bool, Ui("New adapter")] = False
    """Merge the adapters that are given into the model, and train a new one. Off: go on with the last one given."""
    additional_target: Annotated[list[str], Ui("Modules trained whole")] = []
    """Modules that are trained whole beside the adapter and saved with it, such as embed_tokens or lm_head."""

    @property
    def needs_autocast(self) -> bool:
        return bool(self.additional_target)

    def problems(self, quantised: bool, adapters: int) -> list[Problem]:
        if self.create_new_adapter and not adapters:
            return [Problem(Say.nothing_given(), "create_new_adapter")]
        if quantised and self.create_new_adapter:
            return [Problem(Say.merge_quantised(given=adapters), "create_new_adapter")]
        if quantised and adapters > 1:
            return [Problem(Say.merge_quantised(given=adapters), "adapter_name_or_path")]
        return []


class PromptSpec(TuningSpec):
    """What the Specs of methods that learn a prompt have in common: the model itself stays as it is."""

    MERGES: ClassVar[bool] = False
    QUANTISED: ClassVar[bool] = True
    DIVISIBLE: ClassVar[bool] = False

    num_virtual_tokens: Annotated[int, Field(ge=1, le=4096), Ui("Learned places", simple=True)] = 20
    """How many learned places stand before the text. They take room of the context. Usual: 10 to 100."""

    def problems(self, quantised: bool, adapters: int) -> list[Problem]:
        return [Problem(Say.one_prompt(given=adapters), "adapter_name_or_path")] if adapters > 1 else []


class Tuning(Protocol):
    """The members of a tuning method's module."""

    Spec: type[TuningSpec]
    """Its fields, with ``finetuning_type: Literal["x"] = "x"``."""

    def apply(self, model: Any, spec: Any, adapters: Sequence[Path]) -> Any:
        """The model with exactly the promised weights trainable, going on from the adapters if there are any."""


def tuned(method: ModuleType, base: Any, spec: TuningSpec, adapters: Sequence[Path], folder: Path) -> Any:
    """The base, which lies in ``folder``, made ready to be trained by the method."""
    if is_quantised(base):
        from peft import prepare_model_for_kbit_training

        keep_layout(base, training=True)
        # Norms, embeddings and head are held in fp32, as in QLoRA (arXiv 2305.14314): a few weights that matter much.
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)
    model = method.apply(base, spec, adapters)
    if spec.ADAPTER:
        for config in model.peft_config.values():
            # While saving, peft looks for the base under this name, and on the hub when there is no such folder.
            config.base_model_name_or_path = str(folder)
    return model


def hold_trained(model: Any, pure_bf16: bool) -> None:
    """Hold the trained weights in fp32, or in bf16 if asked: small updates get lost in bf16.

    To be called when the trainer is built and no optimiser is yet, since TRL puts the adapters of quantised models into
    bf16; and after a checkpoint is read, since peft then puts adapters into fp32.
    """
    import torch

    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(torch.bfloat16 if pure_bf16 else torch.float32)


def autocast_for(spec: TuningSpec, model: Any) -> Any:
    """A context to compute in outside the trainer, which brings its own: where numbers of two kinds meet, autocast."""
    import torch

    half = [kind for kind in (torch.bfloat16, torch.float16) if any(w.dtype == kind for w in model.parameters())]
    enabled = spec.needs_autocast and bool(half)
    return torch.autocast(model.device.type, dtype=half[0] if half else torch.bfloat16, enabled=enabled)


def apply_rates(optimizer: Any, model: Any, rates: Mapping[str, float]) -> None:
    """Let the optimiser move some weights at rates of their own. To be called before its scheduler is made."""
    if not rates:
        return
    names = {id(weight): name for name, weight in model.named_parameters()}
    groups = list(optimizer.param_groups)
    optimizer.param_groups.clear()
    for group in groups:
        by_rate: dict[float, list[Any]] = {}
        for weight in group["params"]:
            by_rate.setdefault(rates.get(names.get(id(weight), ""), group["lr"]), []).append(weight)
        for rate, weights in by_rate.items():
            optimizer.add_param_group({**group, "params": weights, "lr": rate})
