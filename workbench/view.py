"""A View: all that a reader has understood of a run so far, folded from its events. Knows no page and no file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from workbench.events import (
    TERMINAL,
    Entry,
    Eval,
    Event,
    Failed,
    Finished,
    Note,
    Phase,
    Ready,
    Sample,
    Saved,
    Started,
    Step,
    Stopped,
)

CURVE_POINTS = 2000
RATE_STEPS = 20
SMOOTHING = 0.9


@dataclass
class Curve:
    """Points (step, value); when they grow beyond CURVE_POINTS every second one is left out, evenly over the run."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    stride: int = 1

    def add(self, step: int, value: float) -> None:
        if step % self.stride and self.stride > 1:
            return
        self.steps.append(step)
        self.values.append(value)
        if len(self.steps) > CURVE_POINTS:
            self.steps, self.values = self.steps[::2], self.values[::2]
            self.stride *= 2

    def cut(self, step: int) -> None:
        """Forget what lies after ``step``: a resumed run says it again."""
        keep = sum(1 for at in self.steps if at <= step)
        del self.steps[keep:], self.values[keep:]

    def last(self) -> float | None:
        """The newest value that is kept."""
        return self.values[-1] if self.values else None

    def smoothed(self) -> list[float]:
        """Exponential mean with weight 0.9, its start corrected as Adam corrects its moments (arXiv 1412.6980)."""
        mean, result = 0.0, []
        for count, value in enumerate(self.values, 1):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * value
            result.append(mean / (1 - SMOOTHING**count))
        return result


@dataclass
class View:
    """What is known of a run. ``ended`` is its last word, None while it goes on or when it was lost."""

    started: Started | None = None
    started_at: float = 0.0
    last_at: float = 0.0
    spent_s: float = 0.0
    """Seconds at work of the processes before the last one."""
    whole: bool = True
    """Whether the events were read from the first one on."""
    phase: Phase = field(default_factory=Phase)
    phases: list[str] = field(default_factory=list)
    step: Step = field(default_factory=Step)
    eval_loss: float | None = None
    loss: Curve = field(default_factory=Curve)
    eval: Curve = field(default_factory=Curve)
    learning_rate: Curve = field(default_factory=Curve)
    grad_norm: Curve = field(default_factory=Curve)
    metrics: dict[str, Curve] = field(default_factory=dict)
    """What the stage measures beside the loss, by name: while training, and on the rows held out."""
    eval_metrics: dict[str, Curve] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    ready: Ready | None = None
    ended: Event | None = None
    recent: list[Step] = field(default_factory=list)

    def fold(self, entries: Iterable[Entry]) -> "View":
        """Take in further events; returns itself."""
        for entry in entries:
            self._take(entry)
        return self

    def _take(self, entry: Entry) -> None:
        if entry.time:  # a damaged line has none
            if not self.last_at:
                self.whole = entry.seq == 0
            elif isinstance(entry.event, Started) and self.started_at:
                self.spent_s += self.last_at - self.started_at
            self.last_at = entry.time
        match entry.event:
            case Started() as event:
                self._restart(event, entry.time)
            case Phase() as event:
                self.phase = event
                if event.name not in self.phases:
                    self.phases.append(event.name)
            case Step() as event:
                self._step(event)
            case Eval() as event:
                self.eval_loss = event.loss
                self.eval.add(event.step, event.loss)
                _add(self.eval_metrics, event.step, event.metrics)
            case Sample() as event:
                self.samples.append(event)
            case Note() as event:
                self.notes.append(event)
            case Saved() as event:
                self.saved.append(event)
            case Ready() as event:
                self.ready = event
            case event if isinstance(event, TERMINAL):
                self.ended = event

    def _restart(self, event: Started, at: float) -> None:
        self.started, self.started_at = event, at
        self.ended = self.ready = None
        self.phase, self.phases, self.recent, self.notes = Phase(), [], [], []
        measured = [*self.metrics.values(), *self.eval_metrics.values()]
        for curve in (self.loss, self.eval, self.learning_rate, self.grad_norm, *measured):
            curve.cut(event.resumed_step)
        self.step = replace(self.step, step=event.resumed_step, loss=self.loss.last())
        self.eval_loss = self.eval.last()
        self.samples = [sample for sample in self.samples if sample.step <= event.resumed_step and event.resumed_step]
        self.saved = [saved for saved in self.saved if saved.step <= event.resumed_step]

    def _step(self, event: Step) -> None:
        self.step = event
        self.recent = [*self.recent[-RATE_STEPS + 1 :], event]
        for curve, value in (
            (self.loss, event.loss),
            (self.learning_rate, event.learning_rate),
            (self.grad_norm, event.grad_norm),
        ):
            if value is not None:
                curve.add(event.step, value)
        _add(self.metrics, event.step, event.metrics)

    def took_s(self, until: float | None = None) -> float | None:
        """Seconds at work up to the last event, or ``until`` (seconds since 1970, UTC); what lies between two processes of a
        resumed run is not counted. None where nothing has begun, or its beginning was not read."""
        known = self.whole and self.started_at
        return self.spent_s + (self.last_at if until is None else until) - self.started_at if known else None

    def smoothed_loss(self) -> float | None:
        """The last training loss, smoothed as the curve is."""
        return self.loss.smoothed()[-1] if self.loss.values else None

    def tokens_per_second(self) -> float | None:
        """Real tokens a second, padding not counted, over the last steps."""
        seconds = sum(step.seconds for step in self.recent)
        return sum(step.tokens for step in self.recent) / seconds if seconds else None

    def padding_share(self) -> float | None:
        """The share of padding among the positions computed in the last steps."""
        tokens, padding = sum(s.tokens for s in self.recent), sum(s.padding for s in self.recent)
        return padding / (tokens + padding) if tokens else None

    def seconds_left(self) -> float | None:
        """Time to the last step at the pace of the last steps, evaluations and saving not counted."""
        if len(self.recent) < 2:
            return None
        done = self.recent[-1].step - self.recent[0].step
        seconds = sum(step.seconds for step in self.recent[1:])
        return seconds / done * (self.step.total - self.step.step) if done > 0 else None


def _add(curves: dict[str, Curve], step: int, values: Mapping[str, float | None]) -> None:
    """A point on the curve of each name; a value that is no number was written as None."""
    for name, value in values.items():
        if value is not None:
            curves.setdefault(name, Curve()).add(step, value)


__all__ = ["Curve", "Failed", "Finished", "Stopped", "View"]
