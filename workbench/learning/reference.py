"""The model as it was before it learned, to hold the learning one near it. Knows peft and transformers, no stage."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from workbench.problems import UserError
from workbench.text import Text


class Say:
    divided = Text(
        "The reference is the model with its first weights, and these are divided among the processes. Accepted: ddp, or an "
        "adapter that begins as nothing. Choose one of these."
    )


PROBE = (1, 5, 2, 7, 3)
"""Some tokens that every vocabulary has."""


def reference_of(model: Any) -> Any:
    """A module that answers as the model did when this was called, though the model goes on learning.

    It is the same model: while it answers an adapter that began as nothing is left out, and where something was there
    (a trained adapter, one whose start changes the weights beneath, learned places, weights of the model itself) the
    trained weights of the beginning stand in the place of today's. So it costs at most a copy of the trained weights.
    """
    from peft import PeftModel

    if isinstance(model, PeftModel) and _begins_as_nothing(model):
        return stand_in(model, model.disable_adapter)
    first = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    return stand_in(model, lambda: _with_weights(model, first))


def stand_in(model: Any, state: Callable[[], AbstractContextManager[Any]]) -> Any:
    """A module that is the model in that state whenever it is called; the model is none of its parts."""
    import torch

    class StandIn(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = model.config

        def forward(self, *inputs: Any, **named: Any) -> Any:
            with state():
                return model(*inputs, **named)

    return StandIn()


def _begins_as_nothing(model: Any) -> bool:
    """Whether the model says the same with its adapter and without it, rounding apart."""
    import torch

    ids = torch.tensor([PROBE], device=model.device)
    learning = model.training
    model.eval()
    with torch.no_grad():
        adapted = model(input_ids=ids, use_cache=False).logits.float()[:, -len(PROBE) :]
        with model.disable_adapter():
            plain = model(input_ids=ids, use_cache=False).logits.float()
    model.train(learning)
    return bool((adapted - plain).abs().max() <= 1e-3 * plain.std())


@contextmanager
def _with_weights(model: Any, weights: dict[str, Any]) -> Iterator[None]:
    """Other values in the trained weights for a while. What autograd remembers of them is right again before it looks."""
    from torch.distributed.tensor import DTensor

    trained = {name: weight for name, weight in model.named_parameters() if name in weights}
    if any(isinstance(weight, DTensor) for weight in trained.values()):
        raise UserError(Say.divided(), key="distributed")
    now = {name: weight.data for name, weight in trained.items()}
    try:
        for name, weight in trained.items():
            weight.data = weights[name].to(weight.data)
        yield
    finally:
        for name, weight in trained.items():
            weight.data = now[name]


def log_probs(model: Any, batch: dict[str, Any]) -> Any:
    """log p of each learned token given what stands before it, 0 elsewhere: shape (rows, length - 1).

    The model has trl's fused head. Virtual tokens that prompt-learning methods put in front are left out.
    """
    named = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    return model(**named, use_cache=False, fused_lm_head=True).log_probs[:, 1 - batch["input_ids"].shape[1] :]
