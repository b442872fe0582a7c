"""A server for as long as a command needs it: started, waited for, ended and cleared away. Knows no command."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from workbench import runs
from workbench.cli.display import display
from workbench.cli.follow import show_entries, shown_path
from workbench.cli.interrupts import leaving_cleanly, undisturbed
from workbench.cli.screen import Screen
from workbench.events import Failed, Ready, tail
from workbench.problems import Problem, UserError
from workbench.runs import Run
from workbench.specs import ServeSpec
from workbench.text import Text
from workbench.view import View
from workbench.wording import STATES
from workbench.workspace import Workspace

TICK_S = 0.1
END_PATIENCE_S = 8.0
GONE_PATIENCE_S = 2.5


class Say:
    ended = Text("The server ended before it was ready ({state}).")
    log = Text("What the process printed: {file}")


class ServerFailed(Exception):
    """The server could not begin or go on; the problems are those of the worker, not all of them a field's."""

    def __init__(self, run: Run, problems: Sequence[Problem]) -> None:
        super().__init__(run.name)
        self.run = run
        self.problems = problems

    def tell(self, screen: Screen) -> None:
        """What went wrong, and where more of it stands."""
        screen.problems(self.problems)
        screen.error(Say.log(file=shown_path(self.run, self.run.log.name)))


@contextmanager
def served(workspace: Workspace, spec: ServeSpec, screen: Screen) -> Iterator[tuple[Run, Ready]]:
    """A server that answers, until the block ends, however it ends; its folder is deleted then.

    UserError when a value was not accepted by the worker, ServerFailed, which keeps the folder, for all else.
    """
    with leaving_cleanly():
        run = runs.create(workspace, spec)
        try:
            run.start()
            yield run, _await_ready(run, screen)
        except ServerFailed:
            raise
        except BaseException:
            _clear_away(run)
            raise
        _clear_away(run)


def _await_ready(run: Run, screen: Screen) -> Ready:
    """Show the phases of loading until the server answers."""
    shown, seen, offset, quiet_s = display(screen), View(), 0, 0.0
    try:
        while seen.ready is None:
            entries, offset = tail(run.events, offset)
            loading = next((at for at, entry in enumerate(entries) if isinstance(entry.event, Ready)), len(entries))
            show_entries(entries[: loading + 1], seen, shown, screen.locale)
            quiet_s = 0.0 if run.state() == "running" else quiet_s + TICK_S
            if isinstance(seen.ended, Failed):
                raise _failure(run, list(seen.ended.problems))
            if seen.ready is None and (seen.ended is not None or quiet_s > GONE_PATIENCE_S):
                raise ServerFailed(run, [Problem(Say.ended(state=STATES[run.state()]()))])
            time.sleep(TICK_S)
    finally:
        shown.close()
    return seen.ready


def _failure(run: Run, problems: list[Problem]) -> Exception:
    return UserError(*problems) if all(problem.key for problem in problems) else ServerFailed(run, problems)


def _clear_away(run: Run) -> None:
    """End the worker, at once if it does not heed, and delete the folder."""
    with undisturbed():
        if run.state() == "running" and not run.stop_file.exists():
            run.stop()
        if run.wait(END_PATIENCE_S) == "running":
            run.kill()
            run.wait(END_PATIENCE_S)
        if run.state() != "running":
            run.delete()
