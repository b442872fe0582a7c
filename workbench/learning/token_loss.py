"""The loss over single tokens, each with a weight of its own where rows have some. Knows trl's fused head, no stage."""

from typing import Any


class TokenLoss:
    """Mixed in before trl's SFTTrainer: minus log p of each learned token, times its weight, over the tokens' number.

    Trl's own also takes entropies of whole distributions for a figure that nobody is shown. ``loss_weights`` in a batch has the
    shape of the labels, (batch, length).
    """

    aux_loss_enabled: bool
    args: Any
    accelerator: Any
    model: Any
    _metrics: Any

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        import torch

        weights = inputs.pop("loss_weights", None)
        if self.aux_loss_enabled and weights is None:
            named = {"return_outputs": return_outputs, "num_items_in_batch": num_items_in_batch}
            return super().compute_loss(model, inputs, **named)  # type: ignore[misc]
        outputs = model(**inputs, use_cache=False, fused_lm_head=True)
        log_probs = outputs.log_probs
        if weights is not None:
            log_probs = log_probs[:, 1 - weights.shape[1] :]  # learned prompts stand before the text
            log_probs = log_probs * weights[:, 1:].to(log_probs)
        count = outputs.label_mask.sum()
        loss = -log_probs.sum() / torch.as_tensor(count if num_items_in_batch is None else num_items_in_batch).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        right, learned = (self.accelerator.gather_for_metrics(one).sum() for one in (outputs.is_top1.sum(), count))
        figures = self._metrics["train" if self.model.training else "eval"]
        figures["mean_token_accuracy"].append((right / learned.clamp(min=1)).item())
        return (loss, outputs) if return_outputs else loss


def with_weights(collate: Any) -> Any:
    """A collator whose batches have ``loss_weights`` beside the labels; a row without any counts as 1 everywhere."""
    import torch

    def collated(rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = collate(rows)
        weights = torch.ones(batch["labels"].shape)
        for place, row in enumerate(rows):
            if row.get("loss_weights") is not None:
                weights[place, : len(row["loss_weights"])] = torch.tensor(row["loss_weights"])
        return {**batch, "loss_weights": weights}

    return collated
