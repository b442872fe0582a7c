"""How a run's Trainer goes beyond what TrainingArguments can say: optimiser, order of rows, best weights, early end."""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.desk import Desk
from workbench.jobs.train import team
from workbench.jobs.train.arguments import less_is_better
from workbench.jobs.train.optimisers import own_optimizer
from workbench.problems import UserError
from workbench.specs import TrainSpec
from workbench.text import Text
from workbench.tuning import apply_rates, hold_trained

BATCHES_SORTED = 50
"""Rows are sorted among so many batches: enough for little padding, few enough that chance still mixes them."""

SETTINGS = ("initial_lr", "weight_decay", "betas", "eps")
"""What an optimiser holds of the spec, beside the rate of the moment."""


class Say:
    best = Text("The weights of step {step} are taken: there {metric} was best, {value}.")
    early = Text("Stopped early: {count} validations have brought no better {metric} than the {value} of step {step}.")
    own_order = Text("Rows are not ordered by length: the stage has an order of its own.")
    foreign_rates = Text(
        "Learning rate and optimiser settings are those of the checkpoint: DeepSpeed holds them in its own way here. To "
        "change them, begin a new run from the trained weights."
    )
    no_metric = Text("'Best by' is '{given}', which the validation does not tell. Accepted: one of {known}.")


def steered_trainer(spec: TrainSpec, desk: Desk, saving: type[Any]) -> type[Any]:
    """The class to mix in before a transformers Trainer, on top of the one that saves."""
    from torch.utils.data import RandomSampler

    class SteeredTrainer(saving):
        optimizer: Any
        asked: Sequence[Mapping[str, Any]] = ()

        def create_optimizer(self, model: Any = None) -> Any:
            if self.optimizer is None:
                target = self.model if model is None else model
                self.optimizer = own_optimizer(spec.optim, target, self.get_decay_parameter_names(target))
            super().create_optimizer(model)
            apply_rates(self.optimizer, self.model, spec.tuning.rates(self.model, self.args.learning_rate))
            self.asked = group_settings(self.optimizer)
            return self.optimizer

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            super()._load_optimizer_and_scheduler(checkpoint)
            if checkpoint is not None and not take_settings(self.optimizer, self.lr_scheduler, self.asked):
                desk.note(Say.foreign_rates(), "warning")

        def _load_from_checkpoint(self, *given: Any, **named: Any) -> None:
            super()._load_from_checkpoint(*given, **named)
            hold_trained(self.model, spec.memory.precision == "pure_bf16")

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            rows = self.train_dataset if train_dataset is None else train_dataset
            usual = super()._get_train_sampler(rows)
            if spec.optim.train_sampling_strategy != "group_by_length":
                return usual
            if type(usual) is not RandomSampler:  # the stage has an order of its own, which its loss relies on
                desk.note(Say.own_order(), "warning")
                return usual
            seed = spec.optim.seed if spec.optim.data_seed is None else spec.optim.data_seed
            return LengthOrder([row_length(row) for row in rows], self.args.train_batch_size * team.size(), seed)

        def _determine_best_metric(self, metrics: Mapping[str, float], trial: Any) -> Any:
            wanted = self.args.metric_for_best_model
            if wanted is not None and eval_name(wanted) not in metrics:
                known = ", ".join(name.removeprefix("eval_") for name in metrics if name.startswith("eval_"))
                raise UserError(Say.no_metric(given=wanted, known=known), key="metric_for_best_model")
            return super()._determine_best_metric(metrics, trial)

        def take_best(self) -> None:
            """Go back to the weights of the best validation, if that is asked for and it is not the last one."""
            step = self.state.best_global_step
            folder = desk.run.folder / f"checkpoint-{step}"
            if spec.saving.load_best_model_at_end and step and step != self.state.global_step and folder.is_dir():
                self._load_from_checkpoint(str(folder))
                value = f"{self.state.best_metric:.4f}"
                desk.note(Say.best(step=step, metric=spec.saving.metric_for_best_model, value=value))

    return SteeredTrainer


def group_settings(optimizer: Any) -> list[dict[str, Any]]:
    """What the spec says of each group of weights, to be asked before there is a schedule."""
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return [{name: group[name] for name in SETTINGS if name in group} for group in optimizer.param_groups]


def take_settings(optimizer: Any, scheduler: Any, asked: Sequence[Mapping[str, Any]]) -> bool:
    """After a checkpoint was read, give the optimiser the run's own settings again, and the rates of its own schedule at
    its place: what was saved may be of a run with others, or with fewer steps. False where that can't be."""
    from accelerate.scheduler import AcceleratedScheduler
    from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

    inner = scheduler.scheduler if isinstance(scheduler, AcceleratedScheduler) else scheduler
    groups = optimizer.param_groups
    if not isinstance(inner, LambdaLR | ReduceLROnPlateau) or len(groups) != len(asked):
        return False
    saved = [group.get("initial_lr", own["initial_lr"]) for group, own in zip(groups, asked, strict=True)]
    for group, own in zip(groups, asked, strict=True):
        group.update(own)
    rates = [own["initial_lr"] for own in asked]
    if isinstance(inner, LambdaLR):
        inner.base_lrs = rates
        now = [base * share(inner.last_epoch) for base, share in zip(rates, inner.lr_lambdas, strict=True)]
    else:  # as much lower as it has become by then
        now = [group["lr"] * (new / old) for group, new, old in zip(groups, rates, saved, strict=True)]
    inner._last_lr = now
    for group, rate in zip(groups, now, strict=True):
        group["lr"] = rate
    return True


def own_history(desk: Desk, checkpoint: Path | None) -> list[Any]:
    """The transformers callback that forgets another run's validations, whose weights are not this run's to go back to."""
    if checkpoint is None or checkpoint.parent == desk.run.folder:
        return []
    from transformers import TrainerCallback

    class OwnHistory(TrainerCallback):  # type: ignore[misc,unused-ignore]
        def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            state.log_history = []
            state.best_metric = state.best_global_step = state.best_model_checkpoint = None

    return [OwnHistory()]


def eval_name(metric: str) -> str:
    """A figure of the validation, as transformers calls it."""
    return metric if metric.startswith("eval_") else f"eval_{metric}"


def row_length(row: Mapping[str, Any]) -> int:
    """Tokens of the longest of a row's texts."""
    return max(len(value) for value in row.values() if isinstance(value, list))


class LengthOrder:
    """An order of rows, another one each epoch, in which batches hold rows of like length; the longest batch first, so
    that memory ends at once or never."""

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self._lengths, self._batch, self._seed, self._epoch = lengths, batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        drawn = random.Random(f"{self._seed}/{self._epoch}")  # noqa: S311 - no secret
        rows = drawn.sample(range(len(self)), len(self))
        many, batches = self._batch * BATCHES_SORTED, list[list[int]]()
        for start in range(0, len(rows), many):
            near = sorted(rows[start : start + many], key=lambda row: -self._lengths[row])
            batches += [near[at : at + self._batch] for at in range(0, len(near), self._batch)]
        drawn.shuffle(batches)
        full = [batch for batch in batches if len(batch) == self._batch]
        short = [batch for batch in batches if len(batch) < self._batch]
        longest = max(full, key=lambda batch: self._lengths[batch[0]], default=None)
        ordered = [longest, *(batch for batch in full if batch is not longest)] if longest else []
        return (row for batch in [*ordered, *short] for row in batch)


def validations_since_best(history: Sequence[Mapping[str, float]], metric: str) -> tuple[int, int, float] | None:
    """How many validations have brought nothing better, and step and value of the best; None before the first one.

    Read from what the Trainer has logged, which every checkpoint holds: so a resumed run counts on.
    """
    name, sign = eval_name(metric), 1 if less_is_better(metric) else -1
    told = [(log["step"], log[name]) for log in history if name in log]
    if not told:
        return None
    best = min(range(len(told)), key=lambda at: sign * told[at][1])
    return len(told) - 1 - best, int(told[best][0]), told[best][1]


def early_stopping(spec: TrainSpec, desk: Desk) -> list[Any]:
    """The transformers callback that ends a run which gets no better; none where it was not asked for."""
    patience, metric = spec.saving.early_stopping_steps or 0, spec.saving.metric_for_best_model
    if not patience:
        return []
    from transformers import TrainerCallback

    class EarlyStopping(TrainerCallback):  # type: ignore[misc,unused-ignore]
        def on_evaluate(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            found = validations_since_best(state.log_history, metric)
            if found and found[0] >= patience and state.global_step < state.max_steps:
                control.should_training_stop = True
                count, step, value = found
                desk.note(Say.early(count=count, metric=metric, value=f"{value:.4f}", step=step))

    return [EarlyStopping()]
