"""Parts of a model computed in fewer passes over memory, with the same result up to rounding. Knows modules, no stage and no run.

Written in torch alone, and measured on processors, where most of a step is not products but the passes between them. Each part
has its plain twin, that of transformers, PEFT or TRL, to which it turns back by itself where it does not fit.
"""

from typing import Any


def hasten(model: Any, likelihoods: bool) -> bool:
    """Let the parts of a model that is about to learn be computed faster; whether rows are kept apart without padding.

    ``likelihoods``: of its head, given by trl, the loss needs nothing but how likely the right tokens are, and which of them
    was the likeliest.
    """
    from workbench.kernels.apart import keep_apart
    from workbench.kernels.gated import fuse_gates
    from workbench.kernels.head import give_head
    from workbench.kernels.lora import quicken_adapters
    from workbench.kernels.memory import keep_freed
    from workbench.kernels.norms import fuse_norms

    keep_freed()
    quicken_adapters(model)
    fuse_gates(model)
    fuse_norms(model)
    if not likelihoods:
        return False
    apart = keep_apart(model)
    give_head(model, apart)
    return apart
