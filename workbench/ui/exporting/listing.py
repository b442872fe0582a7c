"""What lies in an export's folder and what to do with it, as HTML: buttons, lines to copy, the files. Knows no engine."""

import html

from workbench.exporting.guide import guide, uses
from workbench.text import Locale, Message, Text
from workbench.ui.clients import copy_button
from workbench.ui.evaluating.progress import said
from workbench.ui.exporting.taken import Taken
from workbench.wording import size

COMMANDS = ("create", "run", "command")
"""The words of a sentence that are to be typed in a terminal."""


class Say:
    lies = Text("It lies in")
    chat = Text("Chat with it")
    api = Text("Start API")
    next = Text("What to do with it")
    files = Text("The files")
    file = Text("File")
    size = Text("Size")
    what = Text("What it is")


def place_part(locale: Locale, found: Taken) -> str:
    """Where the export lies, and the buttons that use it at once."""
    buttons = "".join(
        f'<button type="button" data-action="{action}">{said(locale, words)}</button>'
        for action, words in (("chat", Say.chat), ("api", Say.api))
    )
    acts = f'<span class="acts">{buttons}</span>' if found.answers else ""
    path = f'<code class="place">{html.escape(found.shown)}</code>{copy_button(str(found.folder), locale)}'
    return f'<div class="made"><span>{said(locale, Say.lies)} {path}</span>{acts}</div>'


def uses_part(locale: Locale, found: Taken) -> str:
    """What to copy where, program by program, and the commands to type there, each with a button that copies it."""
    told = "".join(f"<li><p>{html.escape(locale(one))}</p>{_commands(locale, one)}</li>" for one in uses(found.folder))
    return f'<section><h3>{said(locale, Say.next)}</h3><ul class="uses">{told}</ul></section>' if told else ""


def _commands(locale: Locale, told: Message) -> str:
    lines = [str(told.args[key]) for key in COMMANDS if key in told.args]
    return "".join(f'<span class="typed"><code>{html.escape(one)}</code>{copy_button(one, locale)}</span>' for one in lines)


def files_part(locale: Locale, found: Taken) -> str:
    """Every file with its size and a sentence."""
    rows = "".join(
        f'<tr><th scope="row">{html.escape(one.path)}</th><td class="number">{html.escape(size(one.num_bytes))}</td>'
        f"<td>{html.escape(locale(one.said))}</td></tr>"
        for one in guide(found.folder)
    )
    heads = f'<th>{said(locale, Say.file)}</th><th class="number">{said(locale, Say.size)}</th><th>{said(locale, Say.what)}</th>'
    table = f'<table class="measured guide"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    return f"<section><h3>{said(locale, Say.files)}</h3>{table}</section>" if rows else ""
