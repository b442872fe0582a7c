"""What a training run says while it learns: steps, validations, watched answers, and its ear for Stop."""

import time
from typing import Any

import psutil

from workbench.chats import render, stop_tokens
from workbench.events import Eval, Sample, Step
from workbench.jobs import Desk
from workbench.models import device
from workbench.specs import TrainSpec


class Teller:
    """Counts what passes between two points of the curve and says it."""

    def __init__(self, desk: Desk, spec: TrainSpec, tokenizer: Any, total_steps: int, eval_steps: int) -> None:
        self.stopped_at: int | None = None
        self.silent = True
        self._desk, self._spec, self._tokenizer = desk, spec, tokenizer
        self._total, self._every = total_steps, eval_steps
        self._tokens: Any = 0
        self._positions = 0
        self._seconds = self._began = 0.0
        self._all_tokens, self._all_seconds = 0, 0.0
        self._loss: float | None = None
        self._eval_loss: float | None = None
        self._watched = -1

    def count(self, tokens: Any, positions: int) -> None:
        """``tokens`` (a tensor of one number) of ``positions`` computed are no padding."""
        self._tokens = self._tokens + tokens
        self._positions += positions

    def step_begins(self) -> None:
        self._began = time.monotonic()

    def step_ends(self) -> None:
        self._seconds += time.monotonic() - self._began

    def point(self, step: int, epoch: float, logs: dict[str, float]) -> None:
        """One point of the curve: the mean loss since the last one, and what was computed for it."""
        tokens = int(self._tokens)
        self._loss = logs["loss"]
        self.silent = False
        self._desk.say(
            Step(
                step=step,
                total=self._total,
                epoch=round(epoch, 4),
                loss=logs["loss"],
                learning_rate=logs.get("learning_rate"),
                grad_norm=logs.get("grad_norm"),
                tokens=tokens,
                padding=self._positions - tokens,
                seconds=round(self._seconds, 4),
                memory_bytes=memory_bytes(),
            )
        )
        self._all_tokens += tokens
        self._all_seconds += self._seconds
        self._tokens, self._positions, self._seconds = 0, 0, 0.0

    def evaluated(self, step: int, loss: float) -> None:
        self._eval_loss = loss
        self._desk.say(Eval(step, loss))

    def watch_is_due(self, step: int) -> bool:
        """Whether the watched questions are to be asked after this step."""
        return step % self._every == 0 or step == self._total

    def watch(self, model: Any, step: int) -> None:
        """Ask the watched questions, greedily, and say the answers; no random number is drawn."""
        if not self._spec.saving.watch_prompts or self._watched == step:
            return
        self._watched = step
        learning = model.training
        model.eval()
        for prompt in self._spec.saving.watch_prompts:
            self._desk.say(Sample(step, prompt, self._answer(model, prompt)))
        model.train(learning)

    def _answer(self, model: Any, prompt: str) -> str:
        import torch

        text = render(self._tokenizer, [{"role": "user", "content": prompt}], ask=True)
        inputs = self._tokenizer(text, add_special_tokens=False, return_tensors="pt").to(model.device)
        with torch.no_grad():
            output = model.generate(
                **inputs,
                max_new_tokens=self._spec.saving.watch_max_tokens,
                do_sample=False,
                use_cache=True,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=stop_tokens(self._tokenizer, self._spec.model.template),
                pad_token_id=self._tokenizer.pad_token_id,
            )
        answer: str = self._tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return answer.strip()

    def stop_asked(self) -> bool:
        return self._desk.stop_asked()

    def figures(self) -> dict[str, float]:
        """The closing figures of the run, as far as this process computed it."""
        known = {"loss": self._loss, "eval_loss": self._eval_loss}
        return {
            "steps": self._total,
            **{name: value for name, value in known.items() if value is not None},
            "tokens": self._all_tokens,
            "seconds": round(self._all_seconds, 2),
        }


def memory_bytes() -> int:
    """Peak memory of the card, or the memory that this process holds now."""
    if device() == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)


def telling_callback(teller: Teller) -> Any:
    """A transformers callback that passes everything on to the teller."""
    from transformers import TrainerCallback

    class Telling(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            teller.step_begins()

        def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            teller.step_ends()
            if teller.stop_asked():
                teller.stopped_at = state.global_step
                control.should_save = control.should_training_stop = control.should_log = True
                control.should_evaluate = False
            elif teller.watch_is_due(state.global_step):
                teller.watch(named["model"], state.global_step)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **named: Any) -> None:
            if "loss" in logs:
                teller.point(state.global_step, state.epoch or 0.0, logs)

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **named: Any) -> None:
            teller.evaluated(state.global_step, metrics["eval_loss"])

    return Telling()
