"""What a run says, in words that every reader uses: phases, states, times, sizes. Knows no page and no terminal."""

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence

from workbench.events import PhaseName, State
from workbench.text import Message, Text, verbatim


class Say:
    reading = Text("reading the spec")
    fetching = Text("fetching the model")
    model = Text("loading the model")
    data = Text("preparing the data")
    training = Text("training")
    saving = Text("saving")
    serving = Text("answering")
    asking = Text("asking the model")
    losses = Text("measuring the loss")
    judging = Text("asking the judge")
    benchmarks = Text("benchmarks")
    scoring = Text("scoring the answers")
    rewording = Text("putting questions in other words")
    exporting = Text("writing the export")
    proving = Text("proving that it answers alike")
    sending = Text("sending the export")
    waiting = Text("waiting")
    running = Text("running")
    finished = Text("finished")
    stopped = Text("stopped")
    failed = Text("failed")
    lost = Text("lost")
    seconds = Text("{seconds} s")
    minutes = Text("{minutes} min {seconds} s")
    hours = Text("{hours} h {minutes} min")
    days = Text("{days} d {hours} h")


PHASES: Mapping[PhaseName, Text] = {
    "reading": Say.reading,
    "fetching": Say.fetching,
    "model": Say.model,
    "data": Say.data,
    "training": Say.training,
    "saving": Say.saving,
    "serving": Say.serving,
    "asking": Say.asking,
    "losses": Say.losses,
    "judging": Say.judging,
    "benchmarks": Say.benchmarks,
    "scoring": Say.scoring,
    "rewording": Say.rewording,
    "exporting": Say.exporting,
    "proving": Say.proving,
    "sending": Say.sending,
}
SIZED: Sequence[PhaseName] = ("fetching", "exporting", "sending")
"""Those that count bytes."""
STATES: Mapping[State, Text] = {
    "waiting": Say.waiting,
    "running": Say.running,
    "finished": Say.finished,
    "stopped": Say.stopped,
    "failed": Say.failed,
    "lost": Say.lost,
}


def phase_words(name: str) -> Message:
    """A phase in words; one of a later version under its own name."""
    known = {str(phase): text for phase, text in PHASES.items()}
    return known[name]() if name in known else verbatim(name)


def duration(seconds: float) -> Message:
    """A time in the two units that matter: 8 s, 2 min 10 s, 3 h 5 min, 2 d 4 h."""
    whole = max(0, round(seconds))
    if whole < 60:
        return Say.seconds(seconds=whole)
    if whole < 3600:
        return Say.minutes(minutes=whole // 60, seconds=whole % 60)
    if whole < 86_400:
        return Say.hours(hours=whole // 3600, minutes=whole % 3600 // 60)
    return Say.days(days=whole // 86_400, hours=whole % 86_400 // 3600)


def size(size_bytes: float) -> str:
    """A size with its unit: 940 MB, 1.4 GB, 23 GB; powers of a thousand, as disks and hubs count."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= scale:
            value = size_bytes / scale
            return f"{value:.1f} {unit}" if value < 10 and unit == "GB" else f"{value:,.0f} {unit}"
    return f"{size_bytes:.0f} B"


def counted(done: int, total: int, sized: bool) -> str:
    """How far something is: sizes where it is bytes, else a count."""
    told = size if sized else "{:,}".format
    return f"{told(done)} / {told(total)}"


def command_line(words: Sequence[str], windows: bool = sys.platform == "win32") -> str:
    """A command as this system's terminals take it, what needs quotes in quotes."""
    return subprocess.list2cmdline(words) if windows else shlex.join(words)


def figure(value: float) -> str:
    """A loss or a rate with as many digits as are read: 0.8423, 12.31, 2e-4."""
    if value and abs(value) < 0.001:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.2f}"
