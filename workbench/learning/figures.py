"""What a trainer measures beside the loss: collected without waiting for the device, averaged when the trainer logs."""

import math
from typing import Any

LARGEST_LOSS = 700.0
"""e to more than that is no number of Python's any more."""


class MeasuringTrainer:
    """Mixed in before one of trl's trainers, whose ``_metrics`` hold the figures since the last log, by mode and name."""

    _metrics: dict[str, Any]
    accelerator: Any
    model: Any

    def measure(self, **figures: Any) -> None:
        """Add to figures that are shown as their mean: tensors of any shape; an empty one counts for nothing."""
        into = self._metrics["train" if self.model.training else "eval"]
        for name, values in figures.items():
            into[name].append(values.detach().float().mean())

    def log(self, logs: dict[str, float], *rest: Any, **named: Any) -> None:
        import torch

        figures = self._metrics["train" if self.model.training else "eval"]  # those that are logged now
        for name, values in list(figures.items()):
            if isinstance(values[0], torch.Tensor):
                mean = self.accelerator.gather(torch.stack(values).nanmean().reshape(1)).nanmean().item()
                figures[name] = [mean]
                if math.isnan(mean):
                    del figures[name]
        super().log(logs, *rest, **named)  # type: ignore[misc]


class PerplexityTrainer:
    """Mixed in before a trainer whose loss is the mean over tokens: says e to the loss, of training and of validation."""

    def log(self, logs: dict[str, float], *rest: Any, **named: Any) -> None:
        losses = {name: value for name, value in logs.items() if name in ("loss", "eval_loss")}
        for name, value in losses.items():
            logs[name.replace("loss", "perplexity")] = math.exp(min(value, LARGEST_LOSS))
        super().log(logs, *rest, **named)  # type: ignore[misc]
