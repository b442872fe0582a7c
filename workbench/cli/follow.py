"""Watches a run from a terminal until it ends, and says how it ended. Ends or starts no run by itself, but for Ctrl-C."""

import time
from collections.abc import Collection, Iterator, Sequence

from workbench.cli.display import Display, display
from workbench.cli.interrupts import Interrupts
from workbench.cli.screen import Screen
from workbench.evaluating.records import RESULTS
from workbench.evaluating.telling import lines
from workbench.events import Entry, Eval, Failed, Finished, Note, Phase, Sample, Saved, Started, State, Stopped, tail
from workbench.remedies import Remedy, beside, cause_of, remedies, told_killed
from workbench.runs import DELETED_LOCK_PATIENCE_S, Run, job_of
from workbench.specs import TrainSpec
from workbench.text import Locale, Message, Text
from workbench.view import View
from workbench.wording import SIZED, command_line, duration, figure, phase_words, size

TICK_S = 0.2


class Say:
    resumed = Text("goes on from step {step}")
    evaluated = Text("step {step}: validation loss {loss}")
    answered = Text("step {step}: {prompt} -> {answer}")
    saved = Text("step {step}: saved {folder}")
    saved_weights = Text("step {step}: saved the final weights")
    loss = Text("loss {loss}")
    validation = Text("validation {loss}")
    rate = Text("{rate} tokens/s")
    left = Text("{time} left")
    stopping = Text("Stopping: this step is finished and saved. Ctrl-C once more ends the run now.")
    stopping_asked = Text("Stopping. What was answered so far is kept.")
    stopped_asked = Text("Stopped: {name}. What was answered so far is kept.")
    ended_now = Text("Ended. Nothing since the last checkpoint is kept.")
    finished = Text("Finished: {name}")
    figures = Text("{steps} steps in {time}, {figures}")
    figures_plain = Text("{steps} steps in {time}")
    stopped = Text("Stopped at step {step}: {name}")
    failed = Text("Failed: {name}")
    lost = Text("Lost: the worker of {name} ended without a word. What it saved is kept.")
    weights = Text("Weights: {folder}")
    helps = Text("This would help: {changes}. {told} Start it so: {command}")
    longer = Text("Train it on: {command}")
    log = Text("What the process printed: {file}")
    chat = Text("Talk to it: {command}")
    resume = Text("Go on with it: {command}")


def follow(run: Run, screen: Screen, interrupts: Interrupts, seen: View, offset: int, said: Sequence[Message]) -> State:
    """Show everything that comes after ``offset`` until the run ends; its last state. ``said`` is not said again."""
    shown, told, quiet_s = display(screen), {screen.locale(message) for message in said}, 0.0
    begun, pressed = seen.started, 0
    try:
        while True:
            entries, offset = tail(run.events, offset)
            show_entries(entries, seen, shown, screen.locale, told)
            if seen.ended is not None and seen.started is not begun:
                return run.wait(DELETED_LOCK_PATIENCE_S)
            quiet_s = 0.0 if run.state() == "running" else quiet_s + TICK_S
            if quiet_s > DELETED_LOCK_PATIENCE_S and not tail(run.events, offset)[0]:
                return run.state()
            if interrupts.count > pressed:
                pressed = interrupts.count
                shown.line(screen.locale(_interrupt(run, pressed)))
            time.sleep(TICK_S)
    finally:
        shown.close()


def _interrupt(run: Run, pressed: int) -> Message:
    """The first Ctrl-C asks for a stop, the next one ends the process."""
    if pressed == 1:
        if not run.stop_file.exists():
            run.stop()
        return Say.stopping() if job_of(run.folder) == TrainSpec.JOB else Say.stopping_asked()
    run.kill()
    return Say.ended_now() if job_of(run.folder) == TrainSpec.JOB else Say.stopping_asked()


def show_entries(
    entries: Sequence[Entry], seen: View, shown: Display, locale: Locale, told: Collection[str] = ()
) -> None:
    """Lines and the count for new events, which are folded into ``seen``; lines in ``told`` are left out."""
    for entry in entries:
        if isinstance(entry.event, Phase) and entry.event.name != seen.phase.name:
            _count(seen, shown, locale)
            shown.close()
        for line in _lines(entry, seen, locale):
            if line not in told:
                shown.line(line)
        seen.fold([entry])
    if entries:
        _count(seen, shown, locale)


def _count(seen: View, shown: Display, locale: Locale) -> None:
    """How far the phase is, if it can be counted."""
    if seen.phase.name == "training" and seen.step.total:
        shown.count(locale(phase_words("training")), seen.step.step, seen.step.total, ", ".join(_facts(seen, locale)))
    elif seen.phase.total and seen.ended is None:
        shown.count(locale(phase_words(seen.phase.name)), seen.phase.done, seen.phase.total, "", seen.phase.name in SIZED)


def _lines(entry: Entry, seen: View, locale: Locale) -> Iterator[str]:
    """What an event is worth as lines that stay."""
    match entry.event:
        case Started(resumed_step=step) if step:
            yield locale(Say.resumed(step=step))
        case Phase(name=name) if name not in seen.phases:
            yield locale(phase_words(name))
        case Eval() as event:
            yield locale(Say.evaluated(step=event.step, loss=figure(event.loss)))
        case Sample() as event:
            yield locale(Say.answered(step=event.step, prompt=event.prompt, answer=" ".join(event.answer.split())))
        case Saved(folder="" | ".") as event:
            yield locale(Say.saved_weights(step=event.step))
        case Saved() as event:
            yield locale(Say.saved(step=event.step, folder=event.folder))
        case Note() as event:
            yield locale(event.message)


def _facts(seen: View, locale: Locale) -> Iterator[str]:
    """The figures beside the bar."""
    if seen.step.loss is not None:
        yield locale(Say.loss(loss=figure(seen.step.loss)))
    if seen.eval_loss is not None:
        yield locale(Say.validation(loss=figure(seen.eval_loss)))
    if rate := seen.tokens_per_second():
        yield locale(Say.rate(rate=f"{rate:,.0f}"))
    if seen.step.memory_bytes:
        yield size(seen.step.memory_bytes)
    left = seen.seconds_left()
    if left is not None and seen.step.step < seen.step.total:
        yield locale(Say.left(time=duration(left)))


def say_ending(run: Run, screen: Screen, seen: View, state: State) -> None:
    """How it ended, where the weights are, and what to do next."""
    match seen.ended if state in ("finished", "stopped", "failed") else None:
        case Finished() if (run.folder / RESULTS).is_file():
            screen.say(Say.finished(name=run.name))
            screen.lines(lines(run.folder, screen.locale))
        case Finished() as ended:
            screen.say(Say.finished(name=run.name))
            screen.say(_closing(ended, screen.locale, seen))
        case Stopped() if job_of(run.folder) != TrainSpec.JOB:
            screen.say(Say.stopped_asked(name=run.name))
        case Stopped(step=step):
            screen.say(Say.stopped(name=run.name, step=step))
        case Failed(problems=problems):
            screen.error(Say.failed(name=run.name))
            screen.problems(problems)
            screen.error(Say.log(file=shown_path(run, run.log.name)))
        case _:
            screen.error(Say.lost(name=run.name))
            screen.error(Say.log(file=shown_path(run, run.log.name)))
    say_remedies(run, screen, seen, state)
    _say_next(run, screen, state)


def say_remedies(run: Run, screen: Screen, seen: View, state: State) -> None:
    """What would help a run that memory or the disk has ended, each with its whole command."""
    cause = cause_of(run, seen, state)
    if cause not in ("memory", "disk"):
        return
    if state == "lost":
        screen.error(told_killed(run, seen))
    found = remedies(run, cause)
    for one in found:
        changes = ", ".join(f"{key} {before} -> {value}" for key, before, value in one.differs)
        told = " ".join(screen.locale(said) for said in one.told)
        screen.say(Say.helps(changes=changes, told=told, command=again_command(run, one)))
    for said in beside(run, cause, found):
        screen.say(said)


def again_command(run: Run, remedy: Remedy) -> str:
    """The command that begins the run anew, or goes on with it, with what would help."""
    if remedy.own:
        return _command("runs", "resume", run.name, *remedy.flags, "--follow")
    return _command("train", shown_path(run, "spec.yaml"), *remedy.flags)


def _command(*words: str) -> str:
    return command_line(["python", "app.py", *words])


def _say_next(run: Run, screen: Screen, state: State) -> None:
    whole, saved = run.has_weights(), run.checkpoint()
    if whole or saved:
        screen.say(Say.weights(folder=shown_path(run, "" if whole or saved is None else saved.name)))
        screen.say(Say.chat(command=_command("chat", run.name)))
    spec = run.read_spec().spec
    if state == "finished" and isinstance(spec, TrainSpec) and (whole or saved) and not spec.data.streaming:
        screen.say(Say.longer(command=_command("runs", "extend", run.name, "--epochs", "1")))
    if state != "finished":
        screen.say(Say.resume(command=_command("runs", "resume", run.name, "--follow")))


def _closing(ended: Finished, locale: Locale, seen: View) -> Message:
    numbers = ended.numbers
    took = seen.took_s()
    time_s = "?" if took is None else duration(took)
    parts = [
        locale(text(loss=figure(numbers[key])))
        for key, text in (("loss", Say.loss), ("eval_loss", Say.validation))
        if key in numbers
    ]
    steps = int(numbers.get("steps", seen.step.step))
    if parts:
        return Say.figures(steps=steps, time=time_s, figures=", ".join(parts))
    return Say.figures_plain(steps=steps, time=time_s)


def shown_path(run: Run, inside: str = "") -> str:
    """A path in the run's folder as seen from the workspace."""
    return (run.folder / inside).relative_to(run.workspace.root).as_posix()
