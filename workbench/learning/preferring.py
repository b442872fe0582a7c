"""TRL's trainers of pairs and of marked answers, on rows that are tokens already, with our losses and references."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from workbench.learning.figures import MeasuringTrainer
from workbench.learning.preference import (
    MEANS,
    WITHOUT_REFERENCE,
    PairSettings,
    answer_logps,
    halves,
    kto_losses,
    pair_losses,
)
from workbench.learning.reference import log_probs, reference_of, stand_in

UNTRAINED = -100


def pair_trainer(
    saving: type[Any], settings: PairSettings, ld_alpha: float | None, ftx: float, given: Mapping[str, Any]
) -> Any:
    """TRL's DPOTrainer with the loss of the settings; ``given`` are the arguments that all trainers share."""
    from trl import DPOConfig, DPOTrainer

    class PairTrainer(MeasuringTrainer, DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *rest: Any) -> Any:
            return dataset

        def _compute_loss(self, model: Any, batch: dict[str, Any], return_outputs: bool) -> Any:
            learned = (batch["labels"][:, 1:] != UNTRAINED).float()
            tokens = log_probs(model, batch)
            mean = settings.loss in MEANS
            logps = halves(answer_logps(tokens, learned, mean, ld_alpha))
            reference = None if settings.loss in WITHOUT_REFERENCE else halves(self._reference(batch, learned, mean))
            losses = pair_losses(settings, logps, reference)
            if ftx:
                losses = losses - ftx * halves(answer_logps(tokens, learned, mean=True)).chosen
            ratios = logps if reference is None else logps - reference
            self.measure(
                reward_margin=settings.beta * ratios.margin,
                reward_accuracy=ratios.chosen > ratios.rejected,
                reward_chosen=settings.beta * ratios.chosen,
                reward_rejected=settings.beta * ratios.rejected,
            )
            return losses.mean()

        def _reference(self, batch: dict[str, Any], learned: Any, mean: bool) -> Any:
            import torch

            with torch.no_grad(), self.accelerator.autocast():
                return answer_logps(log_probs(self.ref_model, batch), learned, mean, ld_alpha)

    trainer_class = type("SavingPairTrainer", (saving, PairTrainer), {})
    needs = settings.loss not in WITHOUT_REFERENCE
    return _built(trainer_class, DPOConfig, given, needs, beta=settings.beta)


def mark_trainer(
    saving: type[Any], beta: float, weights: tuple[float, float], ftx: float, given: Mapping[str, Any]
) -> Any:
    """TRL's KTOTrainer with our loss: ``weights`` are those of good and of bad answers."""
    from trl import KTOConfig, KTOTrainer

    class MarkTrainer(MeasuringTrainer, KTOTrainer):
        def _prepare_dataset(self, dataset: Any, *rest: Any) -> Any:
            return dataset

        def _compute_loss(self, model: Any, batch: dict[str, Any], return_outputs: bool) -> Any:
            import torch

            other = {name: batch[f"kl_{name}"] for name in ("input_ids", "attention_mask", "labels")}
            with torch.no_grad(), self.accelerator.autocast():
                far = _sums(model, other) - _sums(self.ref_model, other)
                reference = _sums(self.ref_model, batch)
            held = torch.stack([far.sum(), torch.full_like(far.sum(), len(far))])
            total, rows = self.accelerator.gather(held.unsqueeze(0)).sum(0)
            level = (total / rows).clamp(min=0)
            tokens, good = log_probs(model, batch), batch["good"]
            ratios = tokens.sum(1) - reference
            loss = kto_losses(beta, ratios, good, level, weights).mean()
            if ftx and good.any():
                learned = (batch["labels"][good, 1:] != UNTRAINED).float()
                loss = loss - ftx * answer_logps(tokens[good], learned, mean=True).mean()
            rewards = beta * ratios
            self.measure(reward_chosen=rewards[good], reward_rejected=rewards[~good], kl=level)
            return loss

        def log(self, logs: dict[str, float], *rest: Any, **named: Any) -> None:
            # The two kinds come in unlike numbers, so their distance is taken between the means of the whole span.
            figures = self._metrics["train" if self.model.training else "eval"]
            if "reward_chosen" in figures:
                figures["reward_margin"].append(_mean(figures["reward_chosen"]) - _mean(figures["reward_rejected"]))
            super().log(logs, *rest, **named)

    trainer_class = type("SavingMarkTrainer", (saving, MarkTrainer), {})
    # This loss is the one for which trl expects no mismatched answers of its own making; ours are in the batch.
    return _built(trainer_class, KTOConfig, given, True, beta=beta, loss_type="apo_zero_unpaired")


def _mean(values: list[Any]) -> Any:
    """The mean of tensors of one number, those that are none left out."""
    import torch

    return torch.stack(values).nanmean()


def _sums(model: Any, batch: dict[str, Any]) -> Any:
    return log_probs(model, batch).sum(1)


def _built(
    trainer_class: type[Any], config: Callable[..., Any], given: Mapping[str, Any], needs: bool, **more: Any
) -> Any:
    """The trainer with our reference. Trl would make one of its own kind if none were given, and changes what is given."""
    model = given["model"]
    arguments = config(**given["args"], **more, max_length=None, remove_unused_columns=False)
    made = trainer_class(**{**given, "args": arguments}, ref_model=stand_in(model, nullcontext))
    made.ref_model = reference_of(model) if needs else None
    return made
