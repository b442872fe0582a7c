"""What a training run says while it learns: steps, validations, watched answers, and its ear for Stop."""

import math
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from workbench.chats import render, stop_tokens, to_tokens
from workbench.chats.encoding import chat_options
from workbench.desk import Desk
from workbench.events import Eval, Sample, Step
from workbench.jobs.train import team
from workbench.models import device
from workbench.specs import TrainSpec
from workbench.text import Text
from workbench.tuning import autocast_for
from workbench.view import View

PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
"""The most memory that a process has held, in /proc/self/status."""


class Say:
    no_number = Text(
        "At step {step} the loss is no number any more: the weights have run away. Stop the run and begin a new one "
        "with a lower learning rate or more warm-up."
    )


class Teller:
    """Counts what passes between two points of the curve and says it."""

    def __init__(self, desk: Desk, spec: TrainSpec, tokenizer: Any, total_steps: int, eval_steps: int) -> None:
        self.stopped = False
        self.begun = False
        self.watches_first = False
        self.unpadded = False
        """Whether padding is taken out before anything is computed."""
        self._desk, self._spec, self._tokenizer = desk, spec, tokenizer
        self._total, self._every = total_steps, eval_steps
        self._tokens: Any = 0
        self._positions: Any = 0
        self._seconds = self._began = 0.0
        self._all_tokens, self._all_seconds = 0, 0.0
        self._warned = False

    def count(self, tokens: Any, positions: int) -> None:
        """``tokens`` (a tensor of one number) of ``positions`` computed are no padding."""
        self._tokens = self._tokens + tokens
        self._positions = self._positions + (tokens if self.unpadded else positions)

    def step_begins(self) -> None:
        self.begun = True
        self._began = time.monotonic()

    def step_ends(self) -> None:
        self._seconds += time.monotonic() - self._began

    def point(self, step: int, epoch: float, logs: dict[str, float]) -> None:
        """One point of the curve: the mean loss since the last one, and what was computed for it."""
        tokens, positions = team.summed([int(self._tokens), int(self._positions)])
        self._check(step, logs["loss"])
        self._desk.say(
            Step(
                step=step,
                total=self._total,
                epoch=round(epoch, 4),
                loss=logs["loss"],
                learning_rate=logs.get("learning_rate"),
                grad_norm=logs.get("grad_norm"),
                tokens=tokens,
                padding=positions - tokens,
                seconds=round(self._seconds, 4),
                memory_bytes=memory_bytes(),
                metrics=self._measured(logs),
            )
        )
        self._all_tokens += tokens
        self._all_seconds += self._seconds
        self._tokens, self._positions, self._seconds = 0, 0, 0.0

    def _check(self, step: int, loss: float) -> bool:
        """Whether the loss is a number; the first one that is none is told."""
        if not math.isfinite(loss) and not self._warned:
            self._warned = True
            self._desk.note(Say.no_number(step=step), "warning")
        return math.isfinite(loss)

    def _measured(self, logs: Mapping[str, float], prefix: str = "") -> dict[str, float]:
        """What the stage says it measures, as far as the trainer has logged it."""
        named = ((name, logs.get(f"{prefix}{name}")) for name in self._spec.stage.METRICS)
        return {name: round(value, 6) for name, value in named if value is not None}

    def evaluated(self, step: int, logs: Mapping[str, float]) -> None:
        if self._check(step, logs["eval_loss"]):
            self._desk.say(Eval(step, logs["eval_loss"], self._measured(logs, "eval_")))

    def look_is_due(self, step: int) -> bool:
        """Whether the watched questions are to be asked, and the rows held out to be tried, after this step."""
        return step % self._every == 0 or step == self._total

    def stops(self, step: int) -> bool:
        """Whether to end after this step; after the last one there is nothing left to stop."""
        self.stopped = step < self._total and team.agreed(self._desk.stop_asked())
        return self.stopped

    def watch(self, model: Any, step: int) -> None:
        """Ask the watched questions, greedily, and say the answers; no random number is drawn."""
        if not self._spec.saving.watch_prompts or self._spec.stage.HEAD != "words":
            return
        learning = model.training
        model.eval()
        for prompt in self._spec.saving.watch_prompts:
            self._desk.say(Sample(step, prompt, self._answer(model, prompt)))
        model.train(learning)

    def _answer(self, model: Any, prompt: str) -> str:
        import torch

        asked, options = [{"role": "user", "content": prompt}], chat_options(self._spec.model)
        (tokens,) = to_tokens(self._tokenizer, [render(self._tokenizer, asked, True, options=options)])
        inputs = torch.tensor([tokens.ids], device=model.device)
        with torch.no_grad(), autocast_for(self._spec.tuning, model):
            output = model.generate(
                inputs,
                attention_mask=torch.ones_like(inputs),
                max_new_tokens=self._spec.saving.watch_max_tokens,
                do_sample=False,
                use_cache=True,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=stop_tokens(self._tokenizer, self._spec.model.template),
                pad_token_id=self._tokenizer.pad_token_id,
            )
        answer: str = self._tokenizer.decode(output[0, inputs.shape[1] :], skip_special_tokens=True)
        return answer.strip()

    def figures(self, view: View) -> dict[str, float]:
        """The closing figures of the run; tokens and seconds as far as this process computed it."""
        known = {"loss": view.step.loss, "eval_loss": view.eval_loss}
        return {
            "steps": view.step.step,
            **{name: value for name, value in known.items() if value is not None},
            "tokens": self._all_tokens,
            "seconds": round(self._all_seconds, 2),
        }


def memory_bytes() -> int:
    """Peak memory of the card, or of this process; on Windows what the process holds now."""
    if device() == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    return _peak_bytes()


def _peak_bytes() -> int:
    """Linux counts into ru_maxrss what the process held that started this one, so there the kernel's own mark is read."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().rss)
    status = Path("/proc/self/status")
    if status.is_file() and (mark := PEAK.search(status.read_text("utf-8"))):
        return int(mark[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def telling_callback(teller: Teller) -> Any:
    """A transformers callback that passes everything on to the teller."""
    from transformers import TrainerCallback

    class Telling(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            if teller.watches_first:  # by now the held-out rows have been tried, whose loss is seen first
                teller.watches_first = False
                teller.watch(named["model"], state.global_step)
            teller.step_begins()

        def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            teller.step_ends()
            if teller.stops(state.global_step):
                control.should_save = control.should_training_stop = True
                control.should_evaluate = False
            elif teller.look_is_due(state.global_step):
                teller.watch(named["model"], state.global_step)
            # A resumed run begins to average at its checkpoint: so must the one that was never stopped.
            control.should_log = control.should_log or control.should_save

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **named: Any) -> None:
            if "loss" in logs:
                teller.point(state.global_step, state.epoch or 0.0, logs)

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **named: Any) -> None:
            teller.evaluated(state.global_step, metrics)

    return Telling()
