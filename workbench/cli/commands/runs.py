"""``runs``: list, show, stop, resume, extend, bundle and delete runs, by folder or by name. Starts only what goes on from one."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial

from workbench import locks
from workbench.cli import DONE, FAILED
from workbench.cli.bundling import OUT, bundle, taken_out
from workbench.cli.follow import follow, say_ending, say_remedies, shown_path
from workbench.cli.interrupts import counted
from workbench.cli.overview import command_help
from workbench.cli.report import rows_of_list, run_report
from workbench.cli.screen import Screen
from workbench.continuing import begin, extension, read_epochs
from workbench.events import tail
from workbench.fields import plain
from workbench.problems import Problem, UserError
from workbench.runs import Run, find_run, list_runs
from workbench.sparing import fewer, spare
from workbench.specs import TrainSpec
from workbench.text import Locale, Message, Text
from workbench.view import View
from workbench.wording import STATES
from workbench.workspace import Workspace

KILL_PATIENCE_S = 10.0
YES = ("y", "yes", "j", "ja", "是", "да", "はい", "예")


class Say:
    title = Text("List, show, stop, resume, extend, bundle and delete runs.")
    names = Text("NAME is a run's folder, its path inside saves/, or the end of that path.")
    do_list = Text("list: every run, the newest first, with its state.")
    do_show = Text("show: the state in the first word, then the figures; what went wrong when it failed.")
    do_stop = Text("stop: finish the step, save and stop; said again, end the process at once.")
    do_resume = Text("resume: go on from the newest whole checkpoint; with --follow watch it until it ends.")
    do_resume_fewer = Text(
        "resume NAME save_total_limit=1: likewise, and keep one checkpoint from then on, older ones being deleted first: for a "
        "disk that is full. save_strategy=no saves none before the end."
    )
    do_extend = Text(
        "extend: train a finished run for further epochs, as a new run that goes on from its last checkpoint with its "
        "optimiser; with --follow watch it until it ends."
    )
    do_bundle = Text(
        "bundle: one zip of a finished run: spec, hashes of its rows, versions, events, report, its adapter. --data puts the rows "
        "in, --weights a whole model's weights too, --out FILE.zip says where it goes. 'replay' trains it again."
    )
    do_delete = Text("delete: the folder with all that is in it; asks first, unless --yes is given.")
    states = Text(
        "States: waiting (not begun), running, finished, stopped, failed, lost (the process died; resume it)."
    )
    no_action = Text("Nothing was asked for. Accepted: {known}. Write, for example, runs list.")
    unknown = Text("'{given}' can't be done with runs. Accepted: {known}. Choose one of these.")
    unknown_near = Text("'{given}' can't be done with runs. Accepted: {known}. Did you mean {nearest}?")
    no_name = Text("No run is named. Accepted: {known}. Write runs {action} NAME.")
    one_name = Text("{count} runs are named. Accepted: one. Name one run.")
    bad_flag = Text("'{given}' is no flag of runs {action}. Accepted: {known}. Take it out.")
    none = Text("There are no runs yet. 'python app.py train --help' says how to begin one.")
    not_running = Text("The run '{given}' is {state}. Accepted: a running one. 'runs list' shows which are.")
    runs_still = Text("The run '{given}' is running. Accepted: one that has ended. Stop it first: runs stop {given}.")
    stopping = Text("{name} finishes its step, saves and stops. Said again, this ends it at once.")
    ended = Text("{name} was ended. Nothing since its last checkpoint is kept.")
    not_ended = Text("{name} still runs: this account may not end its process, or it is just ending. Look again.")
    resumed = Text("{name} goes on. 'runs show {name}' says how far it is.")
    ask = Text("Delete {folder} with all that is in it? [y/N] ")
    deleted = Text("Deleted: {folder}")
    no_epochs = Text("Nothing says for how many epochs. Accepted: --epochs and a number above 0. Write, for example, --epochs 1.")
    extended = Text("{name} goes on from {old}. 'runs show {name}' says how far it is.")
    kept = Text("Not deleted: {folder}. Answer y, or give --yes.")


FLAGS: Mapping[str, tuple[str, ...]] = {
    "list": (),
    "show": (),
    "stop": (),
    "resume": ("--follow",),
    "extend": ("--follow", "--epochs"),
    "bundle": ("--data", "--weights", "--out"),
    "delete": ("--yes",),
}


def title() -> Message:
    return Say.title()


def help(locale: Locale) -> Iterator[str]:
    sentences = (Say.title, Say.do_list, Say.do_show, Say.do_stop, Say.do_resume, Say.do_resume_fewer,
                 Say.do_extend, Say.do_bundle, Say.do_delete, Say.names, Say.states)
    yield from command_help(
        locale,
        "runs list | show NAME | stop NAME | resume NAME [key=value ...] [--follow] | extend NAME --epochs N [--follow] | "
        "bundle NAME [--data] [--weights] [--out FILE.zip] | delete NAME ... [--yes]",
        sentences,
    )


def run(words: Sequence[str], workspace: Workspace, screen: Screen) -> int:
    known = ", ".join(FLAGS)
    if not words:
        raise UserError(Say.no_action(known=known))
    action, rest = words[0], words[1:]
    if action not in FLAGS:
        near = get_close_matches(action, FLAGS, 1, 0.6)
        if near:
            raise UserError(Say.unknown_near(given=plain(action), known=known, nearest=near[0]))
        raise UserError(Say.unknown(given=plain(action), known=known))
    epochs, rest = _epochs(rest) if action == "extend" else (0.0, rest)
    out, rest = taken_out(rest, OUT) if action == "bundle" else (None, rest)
    settings = [word for word in rest if _is_setting(word)] if action == "resume" else []
    rest = [word for word in rest if word not in settings]
    flags = [word for word in rest if word.startswith("-")]
    accepted = ", ".join(FLAGS[action]) or "-"
    wrong = [flag for flag in flags if flag not in FLAGS[action]]
    if wrong:
        raise UserError(*(Say.bad_flag(given=plain(one), action=action, known=accepted) for one in wrong))
    if action == "list":
        return _list(workspace, screen)
    chosen = _named(workspace, action, [word for word in rest if not word.startswith("-")])
    actions: Mapping[str, Callable[[], int]] = {
        "show": lambda: _show(chosen[0], screen),
        "stop": lambda: max(_stop(one, screen) for one in chosen),
        "resume": lambda: _resume(chosen[0], dict(word.split("=", 1) for word in settings), screen, bool(flags)),
        "extend": lambda: _extend(chosen[0], epochs, screen, bool(flags)),
        "bundle": lambda: bundle(chosen[0], screen, flags, out),
        "delete": lambda: max(_delete(one, screen, bool(flags)) for one in chosen),
    }
    return actions[action]()


def _named(workspace: Workspace, action: str, names: Sequence[str]) -> list[Run]:
    """The runs by name, each once; UserError with a problem for each name that fits none or several."""
    if not names:
        known = ", ".join(run.name for run in list_runs(workspace)[:8]) or "-"
        raise UserError(Say.no_name(known=known, action=action))
    if len(names) > 1 and action in ("show", "resume", "extend", "bundle"):
        raise UserError(Say.one_name(count=len(names)))
    found: dict[str, Run] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            one = find_run(workspace, name)
            found[one.name] = one
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*problems)
    return list(found.values())


def _list(workspace: Workspace, screen: Screen) -> int:
    found = [run for job in ("serve", "export", "evaluate", "train") for run in list_runs(workspace, job)]
    if not found:
        screen.say(Say.none())
    screen.lines(rows_of_list(found, screen.locale))
    return DONE


def _show(run: Run, screen: Screen) -> int:
    screen.lines(run_report(run, screen.locale))
    say_remedies(run, screen, run.view(), run.state())
    return DONE


def _stop(run: Run, screen: Screen) -> int:
    state = run.state()
    if state != "running":
        raise UserError(Say.not_running(given=run.name, state=STATES[state]()))
    if not run.stop_file.exists():
        run.stop()
        screen.say(Say.stopping(name=run.name))
        return DONE
    run.stop()
    if run.wait(KILL_PATIENCE_S) == "running":
        screen.error(Say.not_ended(name=run.name))
        return FAILED
    screen.say(Say.ended(name=run.name))
    return DONE


def _is_setting(word: str) -> bool:
    key, equals, _ = word.partition("=")
    return bool(equals) and key in TrainSpec.knobs()


def _resume(run: Run, settings: Mapping[str, str], screen: Screen, watch: bool) -> int:
    go_on = partial(spare, run, fewer(run, settings)) if settings else run.resume
    entries, offset = tail(run.events, 0)
    seen = View().fold(entries)
    if not watch:
        go_on()
        screen.say(Say.resumed(name=run.name))
        return DONE
    with counted() as pressed:
        go_on()
        state = follow(run, screen, pressed, seen, offset, ())
    say_ending(run, screen, seen, state)
    return DONE if state in ("finished", "stopped") else FAILED


def _epochs(words: Sequence[str]) -> tuple[float, Sequence[str]]:
    """What ``--epochs`` says, as a word of its own or behind an equals sign, and the words without it."""
    joined = [part for word in words for part in (word.split("=", 1) if word.startswith("--epochs=") else [word])]
    at = joined.index("--epochs") if "--epochs" in joined else len(joined)
    if at + 1 >= len(joined):
        raise UserError(Say.no_epochs())
    return read_epochs(joined[at + 1]), [*joined[:at], *joined[at + 2 :]]


def _extend(run: Run, epochs: float, screen: Screen, watch: bool) -> int:
    longer = extension(run, epochs)
    screen.say(longer.told)
    if not watch:
        screen.say(Say.extended(name=begin(run, longer.spec).name, old=run.name))
        return DONE
    with counted() as pressed:
        begun, seen = begin(run, longer.spec), View()
        screen.say(Say.extended(name=begun.name, old=run.name))
        state = follow(begun, screen, pressed, seen, 0, ())
    say_ending(begun, screen, seen, state)
    return DONE if state in ("finished", "stopped") else FAILED


def _delete(run: Run, screen: Screen, sure: bool) -> int:
    folder = shown_path(run)
    if run.state() == "running":
        raise UserError(Say.runs_still(given=run.name))
    if not sure:
        screen.piece(screen.locale(Say.ask(folder=folder)))
        answer = sys.stdin.readline()
        if not answer.endswith("\n") or not os.isatty(0):
            screen.line("")
        if answer.strip().lower() not in YES:
            screen.error(Say.kept(folder=folder))
            return FAILED
    deadline = time.monotonic() + KILL_PATIENCE_S
    while locks.held(run.lock) and time.monotonic() < deadline:
        time.sleep(0.1)
    run.delete()
    screen.say(Say.deleted(folder=folder))
    return DONE
