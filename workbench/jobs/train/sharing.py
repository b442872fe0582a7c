"""How several processes share a model, in the keywords of transformers and accelerate. Knows no stage and starts nobody."""

from typing import Any

from workbench.deepspeed_file import own_file
from workbench.desk import Desk
from workbench.dividing import dividing
from workbench.jobs.train import team
from workbench.models import device
from workbench.problems import UserError
from workbench.specs import TrainSpec
from workbench.text import Text


class Say:
    needs_cards = Text(
        "'Shared as' is {given}, which needs cards of NVIDIA or AMD. This machine has none. Choose ddp or fsdp2."
    )
    divided = Text("This process holds {held} of the model's {all} weights, the others the rest.")


def waits(spec: TrainSpec) -> bool:
    """Whether a card may have no room for the whole model, so that it gets its part of it only."""
    return "weights" in dividing(spec.sharing.way).divides


def sharing_arguments(spec: TrainSpec, desk: Desk) -> dict[str, Any]:
    """Keywords of TrainingArguments for as many processes as there are; none for one alone."""
    way = spec.sharing.way
    if not way:
        return {}
    given: dict[str, Any] = {
        "ddp_timeout": spec.sharing.ddp_timeout,
        "ddp_find_unused_parameters": spec.sharing.ddp_find_unused_parameters,
        # Each process reads a stream by itself and takes its own rows: batches of unlike length can't be handed round.
        "accelerator_config": {"dispatch_batches": False},
    }
    if device() == "cpu":
        given["ddp_backend"] = "gloo"
    if way == "fsdp2":
        given |= {"fsdp": True, "fsdp_config": fsdp_settings(spec)}
    elif dividing(way).zero_stage:
        if device() != "cuda":
            raise UserError(Say.needs_cards(given=way), key="distributed")
        given["deepspeed"] = deepspeed_settings(spec, desk)
    return given


def fsdp_settings(spec: TrainSpec) -> dict[str, Any]:
    """The ``fsdp_config`` of TrainingArguments. Checkpoints are whole, so that any number of processes may go on.

    FSDP's own gradient checkpointing renames layers, so that peft would save an empty adapter: the model's own is used.
    """
    return {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "state_dict_type": "FULL_STATE_DICT",
        "reshard_after_forward": True,
        "cpu_offload": spec.sharing.offload,
    }


def deepspeed_settings(spec: TrainSpec, desk: Desk) -> dict[str, Any]:
    """The person's own file, else ZeRO of the chosen stage (arXiv 1910.02054) with what transformers fills in by itself."""
    section = spec.sharing
    if own := own_file(desk.run.workspace, spec):
        return dict(own.settings)
    rest = {"device": "cpu", "pin_memory": True}
    zero: dict[str, Any] = {"stage": dividing(section.distributed).zero_stage, "overlap_comm": not section.offload}
    if section.offload:
        zero["offload_optimizer"] = rest
    if section.distributed == "zero3":
        zero["stage3_gather_16bit_weights_on_model_save"] = True
        zero |= {"offload_param": rest} if section.offload else {}
    return {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
        "zero_optimization": zero,
    }


def sharing_trainer(spec: TrainSpec, saving: type[Any]) -> type[Any]:
    """The class to mix in before a transformers Trainer where weights are divided."""
    if spec.sharing.way != "fsdp2":
        return saving

    class DividingTrainer(saving):
        accelerator: Any

        def create_accelerator_and_postprocess(self) -> None:
            super().create_accelerator_and_postprocess()
            if device() == "cpu":
                _divide_without_cards(self.accelerator.state, self.args.fsdp_plugin_args)
                self.is_fsdp_enabled = True
            _sum_exactly(self.accelerator.state)

        def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
            if state_dict is not None:  # one that is gathered has words and head twice where they are the same
                for name in self.accelerator.unwrap_model(self.model).all_tied_weights_keys:
                    state_dict.pop(name, None)
            super()._save(output_dir, state_dict)

    return DividingTrainer


def _divide_without_cards(state: Any, plugin: dict[str, Any]) -> None:
    """Let accelerate divide on processors, too. Asked to, it says so and does not: for it FSDP is a matter of cards."""
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    state.fsdp_plugin = FullyShardedDataParallelPlugin(**plugin)
    state.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP


def _sum_exactly(state: Any) -> None:
    """In half precision add gradients up in fp32, and leave losses as they are: accelerate would round both to half."""
    import torch
    from torch.distributed.fsdp import MixedPrecisionPolicy

    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(state.mixed_precision)
    if kind is not None:
        state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy(param_dtype=kind, reduce_dtype=torch.float32)


def division_callbacks(spec: TrainSpec, desk: Desk) -> list[Any]:
    """A transformers callback that says how much of the model a process holds; none where each holds all of it."""
    if spec.sharing.way != "fsdp2":
        return []
    from transformers import TrainerCallback

    class Division(TrainerCallback):  # type: ignore[misc,unused-ignore]
        def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            held, everything = divided(named["model"])
            desk.note(Say.divided(held=f"{held:,}", all=f"{everything:,}"))

    return [Division()]


def divided(model: Any) -> tuple[int, int]:
    """How many of the model's numbers this process holds, and how many there are."""
    from torch.distributed.tensor import DTensor

    weights = list(model.parameters())
    held = sum((weight.to_local() if isinstance(weight, DTensor) else weight).numel() for weight in weights)
    return held, sum(weight.numel() for weight in weights)


def own_chance(seed: int) -> None:
    """Let what is drawn while learning, such as dropout, differ between the processes."""
    import torch

    if team.rank():
        torch.manual_seed(seed + team.rank())
