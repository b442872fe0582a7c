"""The other processes of a run that several share: started, watched and ended by its worker. Knows no model and no row.

The worker is the first process, which alone speaks, saves and holds the lock. The others are started as
``python -m workbench.jobs.train.beside ROOT RUN`` with the environment that torchrun would give them; each prints into a
file of its own, ends when the worker does, however that ends, and ends the run when it falls.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from workbench.desk import Desk, StopAsked
from workbench.events import Failed
from workbench.jobs.train import team
from workbench.jobs.train.troubles import NO_MEMORY
from workbench.plans import rows_a_step
from workbench.ports import free_port
from workbench.problems import UserError
from workbench.runs import Run
from workbench.sections import SharingSection
from workbench.specs import TrainSpec
from workbench.text import Text, verbatim
from workbench.workspace import source_folder

VISIBLE = "CUDA_VISIBLE_DEVICES"
READY = b"ready\n"
TICK_S = 0.2
FALL_PATIENCE_S = 3.0
"""So long a failure of the first process may be the echo of another's fall that is not known yet."""
END_PATIENCE_S = 60.0
LAST_CHARACTERS = 600


class Say:
    fell = Text(
        "Process {rank} of {processes} {how}, so the run has ended. Its last words: {words} All of them are in {log}. "
        "Mend what they say, then press Resume."
    )
    killed = Text("was killed (signal {number}), as a system does when memory ends")
    ended = Text("ended with code {code}")
    nothing = Text("none.")
    not_shown = Text(
        "Card {given} is chosen, and CUDA_VISIBLE_DEVICES shows {count}: '{shown}'. Accepted: 0 to {last}, counted among "
        "those that are shown. Choose another, or change that variable."
    )
    none_shown = Text(
        "Card {given} is chosen, and CUDA_VISIBLE_DEVICES is empty, which shows none. Accepted: no card. Leave 'Cards' "
        "empty, or take that variable away."
    )
    shares = Text("{processes} processes learn together: each step sees {batch} rows.")


def choose_cards(section: SharingSection) -> None:
    """Show the cards that the run is for to CUDA, which looks once: so before anything asks it."""
    given = os.environ.get(VISIBLE)
    shown = None if given is None else [one.strip() for one in given.split(",") if one.strip()]
    if section.devices:
        chosen = section.devices if shown is None else [_shown(one, shown) for one in section.devices]
        os.environ[VISIBLE] = ",".join(chosen[: section.processes])
    elif section.processes == 1:  # with several in sight transformers would split each batch among them
        os.environ[VISIBLE] = ",".join(["0"] if shown is None else shown[:1])


def _shown(card: str, shown: Sequence[str]) -> str:
    """The card of this number among those that are shown; UserError where there is none."""
    if card.isdecimal() and int(card) < len(shown):
        return shown[int(card)]
    if not shown:
        raise UserError(Say.none_shown(given=card), key="devices")
    said = Say.not_shown(given=card, count=len(shown), shown=",".join(shown), last=len(shown) - 1)
    raise UserError(said, key="devices")


@dataclass
class Seat(Desk):
    """The desk of a process that does not speak; the first one says the same, and hears for all."""

    place: int = 0
    port: int = 0

    def stop_asked(self) -> bool:
        return False


@contextmanager
def together(spec: TrainSpec, desk: Desk) -> Iterator[Callable[[], None]]:
    """Share the block with as many processes as the spec says. It is given what to call when rows and model lie ready:
    from then on all processes are in it."""
    section = spec.sharing
    if isinstance(desk, Seat):
        store = _found_store(desk.port)
        yield lambda: team.join(desk.place, section.processes, store, section.ddp_timeout)
        team.meet()
        team.leave()
        return
    choose_cards(section)
    if section.processes > 1:  # torch reads it once, when it is loaded
        os.environ.setdefault("OMP_NUM_THREADS", _threads(section.processes))
    if section.devices:
        team.check_cards(section.processes)
    if section.processes == 1:
        if section.way:  # DeepSpeed looks for a team of one, too
            os.environ.update(environment(0, 1, free_port(team.HOST, 0)[0]))
        yield lambda: None
    else:
        with Others(spec, desk) as others:
            yield others.gather
            team.meet()


class Others:
    """The processes beside the first one. Leaving the block ends them; a fall of theirs ends the run."""

    def __init__(self, spec: TrainSpec, desk: Desk) -> None:
        self._section, self._desk, self._batch = spec.sharing, desk, rows_a_step(spec)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._store: Any = None
        self._over = threading.Event()

    def __enter__(self) -> "Others":
        count = self._section.processes
        self._store = team.open_store(count)
        os.environ.update(environment(0, count, self._store.port))
        for place in range(1, count):
            self._processes[place] = self._spawn(place)
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        patience = END_PATIENCE_S if error is None else 0.0
        fallen = None
        if error is not None and not isinstance(error, UserError | StopAsked):
            fallen = self._fallen(FALL_PATIENCE_S)
        self._over.set()
        deadline = time.monotonic() + patience
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.wait()
        if error is None:
            team.leave()
        if fallen is not None:
            raise fallen from error

    def gather(self) -> None:
        """Let the others in, and wait until all are there."""
        for process in self._processes.values():
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # it fell: the watch tells
                process.stdin.write(READY)
                process.stdin.flush()
        self._desk.note(Say.shares(processes=self._section.processes, batch=self._batch))
        team.join(0, self._section.processes, self._store, self._section.ddp_timeout)

    def _spawn(self, place: int) -> subprocess.Popen[bytes]:
        run = self._desk.run
        with log_of(run, place).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "workbench.jobs.train.beside", os.path.abspath(run.workspace.root), run.name],
                cwd=source_folder(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                creationflags=0x08000000 if sys.platform == "win32" else 0,  # CREATE_NO_WINDOW
                env={**os.environ, **environment(place, self._section.processes, self._store.port)},
            )

    def _watch(self) -> None:
        """Beside the work: when a process falls, the first one may wait for it for ever."""
        while not self._over.wait(TICK_S):
            if self._fallen() is None:
                continue
            if not self._over.wait(FALL_PATIENCE_S + 2 * TICK_S):  # unless it has noticed by itself
                fallen = self._fallen()
                assert fallen is not None
                self._desk.say(Failed(list(fallen.problems), cause=fallen.cause))
                for process in self._processes.values():
                    process.kill()
                os._exit(1)

    def _fallen(self, patience_s: float = 0.0) -> UserError | None:
        """What the first process that has ended said last, since none may end before the first one; None when all live."""
        deadline = time.monotonic() + patience_s
        while True:
            for place, process in self._processes.items():
                if process.poll() is not None:
                    return self._told(place, process.returncode)
            if time.monotonic() >= deadline:
                return None
            time.sleep(TICK_S / 4)

    def _told(self, place: int, code: int) -> UserError:
        how = Say.killed(number=-code) if code < 0 else Say.ended(code=code)
        log = log_of(self._desk.run, place)
        words = log.read_text("utf-8", errors="replace").strip()[-LAST_CHARACTERS:]
        said = verbatim(words) if words else Say.nothing()
        fell = Say.fell(rank=place + 1, processes=self._section.processes, how=how, words=said, log=log.name)
        return UserError(fell, cause="memory" if NO_MEMORY.search(words) else "")


def log_of(run: Run, place: int) -> Path:
    """What a process beside the first one prints."""
    return run.folder / f"worker-{place + 1}.log"


def environment(place: int, count: int, port: int) -> dict[str, str]:
    """What torchrun would set; libraries read it. The processors are shared evenly unless the person says otherwise."""
    given = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "GLOO_SOCKET_IFNAME") if name in os.environ}
    return {
        "OMP_NUM_THREADS": _threads(count),
        **({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}),
        **given,
        "RANK": str(place),
        "LOCAL_RANK": str(place),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": team.HOST,
        "MASTER_PORT": str(port),
    }


def _threads(count: int) -> str:
    """How many of the machine's processors each of the processes gets."""
    return str(max(1, (os.cpu_count() or 1) // count))


def _found_store(port: int) -> Any:
    from torch.distributed import TCPStore

    return TCPStore(team.HOST, port, is_master=False)
