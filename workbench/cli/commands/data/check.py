"""``data check``: the report of a set in words, and a new file with its mends. Knows no check by name."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from workbench.checks import Context
from workbench.cli import DONE, FAILED
from workbench.cli.commands.data.counting import context_of
from workbench.cli.commands.data.finding import chosen
from workbench.cli.commands.data.words import Words
from workbench.cli.display import display
from workbench.cli.screen import Screen
from workbench.data.checkup import check_out, check_set, write_mended
from workbench.data.datasets import Entry
from workbench.data.reports import READING, Found, Report, titles
from workbench.data.samples import Say as Samples
from workbench.data.samples import read_set, value_problems
from workbench.problems import UserError
from workbench.tables import table_for
from workbench.text import Text
from workbench.workspace import Workspace

SHOWN_FINDINGS = 5


class Say:
    checking = Text("checking")
    rows = Text("{rows} rows")
    section = Text("{title}: {count}")
    section_mends = Text("{title}: {count}, {mends} with a proposal")
    finding = Text("row {row}: {reason}")
    whole_set = Text("the set: {reason}")
    remove = Text("proposal: leave it out")
    mend = Text("proposal: {row}")
    more = Text("... and {count} more. --findings {kept} shows the first {kept}.")
    nothing = Text("Nothing else was found.")
    how_to_fix = Text(
        "{count} of these come with a proposal. --fix OUT.jsonl writes a new file with all of them applied."
    )
    written = Text("Written: {file} with {rows} rows, {changed} changed, {removed} left out.")
    unlearnable = Text(
        "{count} rows have no proposal that makes them whole: they are in the new file as they were, and training leaves them out."
    )
    left_out = Text("{count} places could not be read and had no proposal, so they are not in the new file.")


def check(words: Words, workspace: Workspace, screen: Screen) -> int:
    """Check the set, say what was found, and write the mended one when that was asked for."""
    entry = chosen(workspace, words, words.only(1)[0], screen)
    limit = words.number("max_samples", 0) or None
    shown = words.number("findings", SHOWN_FINDINGS, least=0)
    unused = [one for one in value_problems([entry], words.values) if one.message.key == Samples.unused_values.key]
    if unused:
        raise UserError(*unused)
    if words.flag("fix"):
        check_out(entry, _out(words), "overwrite" in words.flags)
    context = context_of(workspace, words)
    for note in (note for file in entry.files() for note in table_for(file).notes(file)):
        screen.warn(note)
    held = [chosen(workspace, words, name, screen) for name in words.flags.get("eval_dataset", [])]
    report = _checked(entry, context, words, limit, held, screen)
    say_report(report, shown, screen)
    if words.flag("fix"):
        _write(entry, context, words, held, screen)
    elif report.mends:
        screen.say(Say.how_to_fix(count=f"{sum(report.mends.values()):,}"))
    return FAILED if report.weights.get("error") else DONE


def _checked(
    entry: Entry, context: Context, words: Words, limit: int | None, held: Sequence[Entry], screen: Screen
) -> Report:
    shown, label = display(screen), screen.locale(Say.checking())

    def told(rows: int, share: float) -> None:
        shown.count(label, round(100 * share), 100, screen.locale(Say.rows(rows=f"{rows:,}")))

    try:
        validation = (read for one in held for read in read_set(one, words.values))
        return check_set(entry, context, words.values, limit, validation, told if screen.is_terminal else None)
    finally:
        shown.close()


def say_report(report: Report, shown: int, screen: Screen) -> None:
    """The headline, then each check with its first findings."""
    screen.say(report.headline)
    known = titles()
    for name in sorted(report.counts, key=lambda one: (one != READING, -report.counts[one])):
        count, mends = report.counts[name], report.mends.get(name, 0)
        say = Say.section_mends if mends else Say.section
        screen.line("")
        screen.say(say(title=known[name](), count=f"{count:,}", mends=f"{mends:,}"))
        kept = [one for one in report.findings if one.check == name]
        found = kept[:shown]
        for one in found:
            screen.lines(f"  {line}" for line in _lines(one, screen))
        if count > len(found):
            screen.line(f"  {screen.locale(Say.more(count=f'{count - len(found):,}', kept=len(kept)))}")
    if not report.counts:
        screen.say(Say.nothing())


def _lines(found: Found, screen: Screen) -> list[str]:
    say = Say.finding if found.number else Say.whole_set
    lines = [visible(screen.locale(say(row=found.number, reason=found.reason)))]
    if found.remove:
        lines.append(f"  {screen.locale(Say.remove())}")
    elif found.mend is not None:
        row = found.mend if len(found.mend) <= 200 else f"{found.mend[:197]}..."
        lines.append(f"  {visible(screen.locale(Say.mend(row=row)))}")
    return lines


def visible(text: str) -> str:
    """The text in one line, with what a terminal would obey or hide as codes."""
    return "".join(f"\\u{ord(one):04x}" if _hidden(one) else one for one in text)


def _hidden(letter: str) -> bool:
    # Joiners are part of emoji and of some scripts.
    return unicodedata.category(letter) in ("Cc", "Cs", "Cf", "Zl", "Zp") and letter not in "\u200c\u200d"


def _write(entry: Entry, context: Context, words: Words, held: Sequence[Entry], screen: Screen) -> None:
    validation = (read for one in held for read in read_set(one))
    written = write_mended(entry, _out(words), "all", None, context, validation, "overwrite" in words.flags)
    screen.line("")
    numbers = {"rows": f"{written.rows:,}", "changed": f"{written.changed:,}", "removed": f"{written.removed:,}"}
    screen.say(Say.written(file=words.flag("fix"), **numbers))
    if written.unlearnable:
        screen.warn(Say.unlearnable(count=f"{written.unlearnable:,}"))
    if written.left_out:
        screen.warn(Say.left_out(count=f"{written.left_out:,}"))


def _out(words: Words) -> Path:
    return Path(os.path.abspath(words.flag("fix")))
