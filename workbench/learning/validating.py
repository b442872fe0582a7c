"""The loss of the rows held out, the same whatever the batches and processes they are tried in. Knows no stage and no run."""

from typing import Any

from workbench.learning.batches import UNTRAINED


class ByToken:
    """Mixed in before a trainer whose rows have ``labels``: the validation loss is the mean over all trained tokens.

    The trainer itself takes the mean of each batch and then the mean of these, so that the figure would change with
    ``per_device_eval_batch_size`` where rows are of unlike length.
    """

    accelerator: Any
    args: Any
    _sum: Any = 0.0
    _tokens: Any = 0
    _rows: int = 0
    """Rows that the other processes and this one are still to try."""

    def prediction_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **named: Any) -> Any:
        """One batch, whose loss counts as often as it has tokens; rows that only fill it up count for nothing.

        Accelerate gives the processes whole batches in turns, and fills up the last ones with the first rows again.
        """
        labels = inputs["labels"].clone()
        labels[max(0, self._rows - self.accelerator.process_index * self.args.per_device_eval_batch_size) :] = UNTRAINED
        self._rows -= self.accelerator.num_processes * self.args.per_device_eval_batch_size
        tokens = (labels[:, 1:] != UNTRAINED).sum()
        loss, *others = super().prediction_step(model, {**inputs, "labels": labels}, *rest, **named)  # type: ignore[misc]
        self._sum, self._tokens = self._sum + loss * tokens, self._tokens + tokens
        return loss, *others

    def evaluation_loop(self, dataloader: Any, *rest: Any, metric_key_prefix: str = "eval", **named: Any) -> Any:
        """As the trainer does it, with the exact loss among its figures."""
        self._sum, self._tokens, self._rows = 0.0, 0, len(dataloader.dataset)
        named["metric_key_prefix"] = metric_key_prefix
        output = super().evaluation_loop(dataloader, *rest, **named)  # type: ignore[misc]
        tokens = self.accelerator.reduce(self._tokens)
        if f"{metric_key_prefix}_loss" in output.metrics and tokens:
            output.metrics[f"{metric_key_prefix}_loss"] = (self.accelerator.reduce(self._sum) / tokens).item()
        return output
