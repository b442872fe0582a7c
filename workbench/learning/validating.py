"""The loss of the rows held out, the same whatever the batches they are tried in. Knows no stage and no run."""

from typing import Any

from workbench.learning.batches import UNTRAINED


class ByToken:
    """Mixed in before a trainer whose rows have ``labels``: the validation loss is the mean over all trained tokens.

    The trainer itself takes the mean of each batch and then the mean of these, so that the figure would change with
    ``per_device_eval_batch_size`` where rows are of unlike length.
    """

    accelerator: Any
    _sum: Any = 0.0
    _tokens: Any = 0

    def prediction_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **named: Any) -> Any:
        """One batch, whose loss counts as often as it has tokens in all processes together."""
        tokens = self.accelerator.reduce((inputs["labels"][:, 1:] != UNTRAINED).sum())
        loss, *others = super().prediction_step(model, inputs, *rest, **named)  # type: ignore[misc]
        self._sum, self._tokens = self._sum + loss * tokens, self._tokens + tokens
        return loss, *others

    def evaluation_loop(self, *rest: Any, metric_key_prefix: str = "eval", **named: Any) -> Any:
        """As the trainer does it, with the exact loss among its figures."""
        self._sum, self._tokens = 0.0, 0
        output = super().evaluation_loop(*rest, metric_key_prefix=metric_key_prefix, **named)  # type: ignore[misc]
        if f"{metric_key_prefix}_loss" in output.metrics and self._tokens:
            mean = self.accelerator.reduce(self._sum, "mean") / self._tokens
            output.metrics[f"{metric_key_prefix}_loss"] = mean.item()
        return output
