"""Optimisers that transformers has not, or has without their settings, as torch optimisers. Knows fields, no run."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from workbench.learning.blocks import Turns, block_adamw
from workbench.learning.muon import muon_with_adamw
from workbench.problems import UserError
from workbench.sections import OptimSection
from workbench.text import Text

HEADS = ("lm_head", "score")
"""What a model's last layer is called: its gradient is that of words, not of features."""


class Say:
    no_blocks = Text(
        "optim is 'badam', and none of the model's layers is trained. Choose full fine-tuning, or adamw_torch."
    )
    no_layer = Text("{key} is '{given}', and the model has no such linear layer. Accepted: all, or some of {known}.")


def own_optimizer(spec: OptimSection, model: Any, decayed: Iterable[str]) -> Any | None:
    """The optimiser of the spec over the model's trained weights; None where transformers makes it.

    ``decayed`` are the names of the weights that weight decay is for.
    """
    return OWN[spec.optim](spec, model, set(decayed)) if spec.optim in OWN else None


def transformers_name(spec: OptimSection) -> str:
    """What TrainingArguments is told: the name itself, or one that is never used since the optimiser is our own."""
    return "adamw_torch" if spec.optim in OWN else spec.optim


def _adam(spec: OptimSection) -> dict[str, Any]:
    return {"lr": spec.learning_rate, "betas": (spec.adam_beta1, spec.adam_beta2), "eps": spec.adam_epsilon}


def layers(model: Any, wanted: Sequence[str], key: str) -> list[str]:
    """Names of the trained weights of linear layers, without the head: all, or those whose names end so."""
    import torch

    names = {
        f"{name}.weight": name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and module.weight.requires_grad
        and not name.split(".")[-1].startswith(HEADS)
    }
    if list(wanted) == ["all"]:
        return list(names)
    found = [weight for weight, name in names.items() if any(f".{name}".endswith(f".{end}") for end in wanted)]
    if not found:
        known = sorted({name.split(".")[-1] for name in names.values()})
        raise UserError(Say.no_layer(key=key, given=", ".join(wanted), known=", ".join(known) or "-"), key=key)
    return found


def _groups(
    model: Any, decayed: set[str], weight_decay: float, chosen: Sequence[str], settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The trained weights in up to four groups: chosen ones with their settings or not, decayed or not."""
    groups: dict[tuple[bool, bool], list[Any]] = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            groups.setdefault((name in chosen, name in decayed), []).append(weight)
    return [
        {"params": weights, "weight_decay": weight_decay if decay else 0.0, **(settings if special else {})}
        for (special, decay), weights in groups.items()
    ]


def _galore(spec: OptimSection, model: Any, decayed: set[str]) -> Any:
    """GaLore (arXiv 2403.03507): Adam in a small space that the gradients of the chosen layers are projected into."""
    import torch
    from galore_torch import GaLoreAdamW  # type: ignore[import-not-found,unused-ignore]
    from galore_torch.galore_projector import GaLoreProjector  # type: ignore[import-not-found,unused-ignore]

    torch.serialization.add_safe_globals([GaLoreProjector])  # it is part of the state that a resumed run reads
    settings = {
        "rank": spec.galore_rank,
        "update_proj_gap": spec.galore_update_interval,
        "scale": spec.galore_scale,
        "proj_type": spec.galore_proj_type,
    }
    chosen = layers(model, spec.galore_target, "galore_target")
    groups = _groups(model, decayed, spec.weight_decay, chosen, settings)
    return GaLoreAdamW(groups, **_adam(spec), no_deprecation_warning=True)


def _apollo(spec: OptimSection, model: Any, decayed: set[str]) -> Any:
    """APOLLO (arXiv 2412.05270): learning rates by channel or tensor, measured in a small space of random projections."""
    import torch
    from apollo_torch import APOLLOAdamW  # type: ignore[import-not-found,unused-ignore]
    from apollo_torch.random_projector import GradientProjector  # type: ignore[import-not-found,unused-ignore]
    from apollo_torch.svd_projector import GaLoreProjector  # type: ignore[import-not-found,unused-ignore]

    torch.serialization.add_safe_globals([GradientProjector, GaLoreProjector])
    settings = {
        "rank": spec.apollo_rank,
        "update_proj_gap": spec.apollo_update_interval,
        "scale": spec.apollo_scale,
        "proj": spec.apollo_proj,
        "proj_type": spec.apollo_proj_type,
        "scale_type": spec.apollo_scale_type,
    }
    chosen = layers(model, spec.apollo_target, "apollo_target")
    groups = _groups(model, decayed, spec.weight_decay, chosen, settings)
    return APOLLOAdamW(groups, **_adam(spec), scale_front=spec.apollo_scale_front)


def _adam_mini(spec: OptimSection, model: Any, decayed: set[str]) -> Any:
    """Adam-mini (arXiv 2406.16793): one learning rate for each head, neuron or tensor instead of each weight."""
    from adam_mini import Adam_mini  # type: ignore[import-not-found,unused-ignore]

    config = model.config
    heads = config.num_attention_heads
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    optimizer = Adam_mini(
        named_parameters=trained,
        **_adam(spec),
        weight_decay=spec.weight_decay,
        dim=config.hidden_size,
        n_heads=heads,
        n_kv_heads=config.to_dict().get("num_key_value_heads", heads),
        verbose=False,
    )
    names = {id(weight): name for name, weight in trained}
    for group in optimizer.param_groups:
        decay = all(names[id(weight)] in decayed for weight in group["params"])
        group["weight_decay"] = spec.weight_decay if decay else 0.0
    return optimizer


def _muon(spec: OptimSection, model: Any, decayed: set[str]) -> Any:
    """Muon for the matrices of hidden layers, AdamW for all else."""
    groups = _groups(model, decayed, spec.weight_decay, layers(model, ["all"], "optim"), {"matrices": True})
    return muon_with_adamw()(groups, {"matrices": False, **_adam(spec)})


def _badam(spec: OptimSection, model: Any, decayed: set[str]) -> Any:
    """BAdam (arXiv 2404.02827): AdamW on one layer at a time; embeddings and head stay as they are."""
    blocks: dict[str, list[int]] = {}
    weights = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    for place, (name, _) in enumerate(weights):
        if layer := re.match(r"(?:.*?\.)?(?:layers|h|blocks)\.\d+\.", name):
            blocks.setdefault(layer.group(), []).append(place)
    if not blocks:
        raise UserError(Say.no_blocks(), key="optim")
    turns = Turns(spec.badam_switch_mode, spec.badam_switch_interval, spec.badam_start_block, spec.seed)
    rows = [
        {"params": [weight], "weight_decay": spec.weight_decay if name in decayed else 0.0} for name, weight in weights
    ]
    return block_adamw()(rows, list(blocks.values()), turns, **_adam(spec))


OWN: Mapping[str, Callable[[OptimSection, Any, set[str]], Any]] = {
    "muon": _muon,
    "adam_mini": _adam_mini,
    "galore_adamw": _galore,
    "apollo_adamw": _apollo,
    "badam": _badam,
}
"""The optimisers made here, by the value of ``optim``."""
