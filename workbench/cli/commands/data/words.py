"""The words behind ``data ACTION``: names, flags with their values, and name=value. Knows no set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workbench.cli.flags import ASSIGNMENT
from workbench.fields import plain
from workbench.problems import Problem, UserError
from workbench.text import Text

SWITCHES = frozenset({"ranking", "no_ranking", "overwrite", "delete_file"})
"""Flags that have no value."""


class Say:
    bad_flag = Text("'{given}' is no flag of data {action}. Accepted: {known}. Take it out.")
    no_value = Text("'{given}' has no value. Accepted: {given} VALUE. Add the value.")
    number = Text("{given} is '{value}'. Accepted: a whole number of at least {least}. Mend it.")
    names = Text("{count} names are given to data {action}. Accepted: {wanted}. Name what is meant.")
    no_pairs = Text("'{given}' sets a value. Accepted: only with data check. Take it out.")
    pair = Text("{flag} is '{given}'. Accepted: OURS=THEIRS, such as {flag} response=answer. Mend it.")


@dataclass
class Words:
    """What was asked for."""

    action: str
    names: list[str] = field(default_factory=list)
    flags: dict[str, list[str]] = field(default_factory=dict)
    """The values of each flag in their order; a flag without a value has none."""
    values: dict[str, str] = field(default_factory=dict)
    """What name=value said."""

    def flag(self, name: str, default: str = "") -> str:
        """The last value of a flag."""
        return self.flags[name][-1] if self.flags.get(name) else default

    def number(self, name: str, default: int, least: int = 1) -> int:
        """A flag's value as a whole number; UserError when it is none."""
        given = self.flag(name)
        if not given:
            return default
        if not given.isascii() or not given.isdigit() or int(given) < least:
            raise UserError(Say.number(given=f"--{name}", value=plain(given), least=least), key=name)
        return int(given)

    def pairs(self, name: str) -> Mapping[str, str]:
        """The values of a flag that was given as OURS=THEIRS, however often; THEIRS may be nothing."""
        pairs = [value.partition("=") for value in self.flags.get(name, [])]
        wrong = [pair for pair in pairs if not (pair[0] and pair[1])]
        if wrong:
            raise UserError(*(Say.pair(flag=f"--{name}", given=plain("".join(pair))) for pair in wrong), key=name)
        return {ours: theirs for ours, _, theirs in pairs}

    def only(self, count: int) -> list[str]:
        """The names, just so many; UserError otherwise."""
        if len(self.names) != count:
            raise UserError(Say.names(count=len(self.names), action=self.action, wanted=count))
        return self.names


def read(action: str, words: Sequence[str], known: Sequence[str]) -> Words:
    """The words sorted; UserError with a problem for each flag that is unknown or lacks its value."""
    found, rest, problems = Words(action), list(words), list[Problem]()
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            _word(word, found, problems)
            continue
        flag, equals, value = word.partition("=")
        name = flag.lstrip("-").replace("-", "_")
        if name not in known or not flag.startswith("--"):
            listed = ", ".join(f"--{one}" for one in known)
            problems.append(Problem(Say.bad_flag(given=plain(flag), action=action, known=listed)))
        elif name in SWITCHES:
            found.flags[name] = []
        elif equals or rest:
            found.flags.setdefault(name, []).append(value if equals else rest.pop(0))
        else:
            problems.append(Problem(Say.no_value(given=flag), name))
    if problems:
        raise UserError(*problems)
    return found


def _word(word: str, found: Words, problems: list[Problem]) -> None:
    if not ASSIGNMENT.match(word):
        found.names.append(word)
    elif found.action == "check":
        name, _, value = word.partition("=")
        found.values[name] = value
    else:
        problems.append(Problem(Say.no_pairs(given=plain(word))))
