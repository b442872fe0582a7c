"""Answers get their metrics' scores, here or in a process beside this one, whose libraries load while the model does.

``python -m workbench.evaluating.marking NAME...`` loads what these metrics need, then reads ``[answer, reference]`` pairs, all as one
line of JSON, and answers with their scores in a line. It ends with whoever began it. Knows no metric by name and no model.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from workbench import metrics
from workbench.metrics import public
from workbench.sockets import plugins
from workbench.workspace import source_folder

LEAST = 10
"""So many questions are worth a process of their own."""
Pair = tuple[str, str]
"""An answer and the set's own one."""
Marks = Mapping[str, float | None]
"""By the public names of metrics."""
Marking = Callable[[Sequence[str], Sequence[Pair]], Sequence[Marks]]
"""The scores of every pair, by these metrics (the names of their modules)."""


def mark(names: Sequence[str], pairs: Sequence[Pair]) -> Sequence[Marks]:
    """The scores of every pair, made here."""
    known = plugins(metrics)
    return [{public(name): known[name].score(*pair) for name in names} for pair in pairs]


@contextmanager
def beside(names: Sequence[str], questions: int) -> Iterator[Marking]:
    """What marks by these metrics: a process that begins to load now, or ``mark`` where there is too little to do."""
    if not names or questions < LEAST:
        yield mark
        return
    command = [sys.executable, "-m", "workbench.evaluating.marking", *names]
    pipe = subprocess.PIPE
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    process = subprocess.Popen(
        command, cwd=source_folder(), stdin=pipe, stdout=pipe, text=True, encoding="utf-8", creationflags=flags
    )
    assert process.stdin is not None and process.stdout is not None
    asked, told = process.stdin, process.stdout

    def ask(wanted: Sequence[str], pairs: Sequence[Pair]) -> Sequence[Marks]:
        with suppress(OSError):
            asked.write(json.dumps([list(wanted), [list(pair) for pair in pairs]]) + "\n")
            asked.flush()
        line = told.readline()
        if not line:  # what ended it is above in the log; what a metric itself says of it is said here
            print("The process that marks answers has ended: they are marked here.", flush=True)
            return mark(wanted, pairs)
        marks: Sequence[Marks] = json.loads(line)
        return marks

    try:
        yield ask
    finally:
        process.kill()
        process.wait()
        for end in (asked, told):
            with suppress(OSError):
                end.close()


def main(names: Sequence[str]) -> None:
    """Load, then serve until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    mark(names, [("a word", "a word"), ("一个词", "一个词")])
    for line in sys.stdin:
        answers.write(json.dumps(mark(*json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
