"""The flags with which the window opens, read and checked all at once. Knows no page and no server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from workbench.fields import plain
from workbench.ports import LAST_PORT, check_login, read_login
from workbench.problems import Problem, UserError
from workbench.text import Locale, Text

FIRST_PORT = 7860
VALUED = ("port", "host", "lang", "auth")
PLAIN = ("no-browser",)


class Say:
    bad_port = Text(
        "Port is '{given}'. Accepted: a whole number from 0 to {last}; 0 means any. Enter, for example, 7860."
    )
    no_value = Text("--{flag} has no value. Accepted: --{flag} VALUE. Add it.")
    no_flag_value = Text("--{flag} was given the value '{given}'. Accepted: --{flag} alone. Take the value out.")
    unknown = Text("'{given}' is no flag of the window. Accepted: {known}. Did you mean {nearest}?")
    unknown_far = Text("'{given}' is no flag of the window. Accepted: {known}, or a command in the first place.")
    bad_lang = Text("Language is '{given}'. Accepted: {known}. Choose one of these.")
    empty_host = Text("Host is empty. Accepted: an address of this machine. Enter, for example, 127.0.0.1.")


@dataclass(frozen=True)
class WindowFlags:
    """How the window is to open. ``lang`` None: as each visitor's browser asks."""

    host: str = "127.0.0.1"
    port: int = FIRST_PORT
    lang: str | None = None
    browser: bool = True
    auth: tuple[str, str] | None = None


def read_window_flags(arguments: Sequence[str], locales: Mapping[str, Locale]) -> WindowFlags:
    """The flags; UserError with every problem, each beside its flag."""
    problems: list[Problem] = []
    given = _split(arguments, problems)
    port = given.get("port", str(FIRST_PORT)).strip()
    if not (port.isascii() and port.isdigit() and int(port) <= LAST_PORT):
        problems.append(Problem(Say.bad_port(given=plain(port), last=LAST_PORT), "port"))
    lang = given.get("lang")
    if lang is not None and lang not in locales:
        problems.append(Problem(Say.bad_lang(given=plain(lang), known=", ".join(locales)), "lang"))
    host, login = given.get("host", WindowFlags.host).strip(), None
    try:
        login = read_login(given["auth"]) if "auth" in given else None
        check_login(host, login)
    except UserError as error:
        problems += error.problems
    if not host:
        problems = [*(p for p in problems if p.key != "host"), Problem(Say.empty_host(), "host")]
    if problems:
        raise UserError(*problems)
    return WindowFlags(host, int(port), lang, "no-browser" not in given, login)


def _split(arguments: Sequence[str], problems: list[Problem]) -> dict[str, str]:
    """Flag to value, the last one winning; ``--flag value`` and ``--flag=value`` alike."""
    found: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.removeprefix("--").partition("=")
        flag = flag.replace("_", "-")
        if not word.startswith("--") or flag not in (*VALUED, *PLAIN):
            problems.append(_unknown(word))
        elif flag in PLAIN:
            if equals:
                problems.append(Problem(Say.no_flag_value(flag=flag, given=plain(value)), flag))
            found[flag] = ""
        elif equals:
            found[flag] = value
        elif rest and not rest[0].startswith("--"):
            found[flag] = rest.pop(0)
        else:
            problems.append(Problem(Say.no_value(flag=flag), flag))
    return found


def _unknown(word: str) -> Problem:
    known = [f"--{flag}" for flag in (*VALUED, *PLAIN)]
    near = get_close_matches(word, known, 1, 0.6)
    said = Say.unknown(given=plain(word), known=", ".join(known), nearest=near[0]) if near else None
    return Problem(said or Say.unknown_far(given=plain(word), known=", ".join(known)))
