"""The same specs from a terminal: finds the command, the language, and says what was wrong. Knows no command by name."""

import os
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from workbench.cli import commands
from workbench.cli.interrupts import Leaving
from workbench.cli.screen import Screen
from workbench.fields import plain
from workbench.problems import UserError
from workbench.setup.terminal import system_language
from workbench.sockets import plugin_names
from workbench.text import Locale, Text, choose_locale, load_locales
from workbench.workspace import Workspace, source_folder

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
HELP = ("-h", "--help", "help")


class Say:
    unknown = Text("'{given}' is no command. Accepted: {known}. Did you mean {nearest}? --help says what each does.")
    unknown_far = Text("'{given}' is no command. Accepted: {known}. --help says what each does.")
    bad_lang = Text("Language is '{given}'. Accepted: {known}. Choose one of these.")
    no_lang = Text("--lang has no value. Accepted: {known}. Add one of these.")
    system = Text("The system refused: {reason}. Free some space or mend the permissions, then try again.")
    interrupted = Text("Interrupted.")


def main(arguments: Sequence[str], workspace: Workspace) -> int:
    """Run one command; 0 when it did its work, 1 when it failed, 2 for what the person can mend."""
    locales = load_locales(source_folder() / "locales")
    screen = Screen(locales[choose_locale(locales, system_language(os.environ, sys.platform))])
    try:
        words, screen = _language(arguments, locales, screen)
        return _command(words, workspace, screen)
    except UserError as error:
        screen.problems(error.problems)
        return BAD_INPUT
    except KeyboardInterrupt:
        screen.error(Say.interrupted())
        return INTERRUPTED
    except Leaving as leaving:
        return 128 + leaving.number
    except BrokenPipeError:
        # The reader of a pipe, such as head, has seen enough; what is still buffered must not be flushed into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        screen.error(Say.system(reason=str(error)))
        return FAILED


def _command(words: Sequence[str], workspace: Workspace, screen: Screen) -> int:
    known = plugin_names(commands)
    name = words[0] if words else "--help"
    if name in HELP:
        from workbench.cli.overview import overview

        screen.lines(overview(screen.locale))
        return DONE
    if name not in known:
        near = get_close_matches(name, known, 1, 0.6)
        listed = ", ".join(known)
        if near:
            raise UserError(Say.unknown(given=plain(name), known=listed, nearest=near[0]))
        raise UserError(Say.unknown_far(given=plain(name), known=listed))
    command = commands.command(name)
    if set(words[1:]) & {"-h", "--help"}:
        screen.lines(command.help(screen.locale))
        return DONE
    return command.run(words[1:], workspace, screen)


def _language(arguments: Sequence[str], locales: Mapping[str, Locale], screen: Screen) -> tuple[list[str], Screen]:
    """The arguments without ``--lang`` and its value, and a screen that speaks it."""
    words, known = list(arguments), ", ".join(locales)
    for at, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag != "--lang":
            continue
        if not equals and at + 1 == len(words):
            raise UserError(Say.no_lang(known=known), key="lang")
        lang = value if equals else words[at + 1]
        if lang not in locales:
            raise UserError(Say.bad_lang(given=plain(lang), known=known), key="lang")
        return words[:at] + words[at + (1 if equals else 2) :], Screen(locales[lang])
    return words, screen
