"""Rows as a person reads them: question and answer in words, roles told apart. Knows samples, no files and no form."""

import html
import json
from collections.abc import Iterable

from workbench.data.samples import Read, joined
from workbench.formats import Role, Sample, Turn
from workbench.text import Locale, Text
from workbench.ui.data.room import visible

RAW_TEXT = 4_000


class Say:
    system = Text("System")
    question = Text("Question")
    answer = Text("Answer")
    tool = Text("Tool result")
    thought = Text("Thought")
    call = Text("Tool call")
    tools = Text("Tools")
    chosen = Text("Better answer")
    rejected = Text("Worse answer")
    good = Text("marked good")
    bad = Text("marked bad")
    text = Text("Text")
    unlearned = Text("not learned")
    raw = Text("as it stands in the file")
    kept = Text("kept")
    mended = Text("put right")
    excluded = Text("left out")
    proposed = Text("Proposed")


ROLES: dict[Role, Text] = {"system": Say.system, "user": Say.question, "assistant": Say.answer, "tool": Say.tool}
STATES = {"kept": Say.kept, "mended": Say.mended, "excluded": Say.excluded}


def sample_html(locale: Locale, sample: Sample) -> str:
    """All that one row teaches."""
    if sample.text is not None:
        return _part(locale, "text", Say.text, sample.text)
    parts = []
    if sample.tools:
        names = ", ".join(str(tool.get("function", tool).get("name", "?")) for tool in sample.tools)
        parts.append(_part(locale, "system", Say.tools, names))
    parts += [_turn(locale, turn) for turn in sample.turns]
    parts += [_turn(locale, turn, Say.chosen, "chosen") for turn in sample.chosen]
    parts += [_turn(locale, turn, Say.rejected, "rejected") for turn in sample.rejected]
    if sample.label is not None:
        mark = Say.good if sample.label else Say.bad
        parts.append(f'<p class="mark {"good" if sample.label else "bad"}">{html.escape(locale(mark))}</p>')
    return "".join(parts)


def _turn(locale: Locale, turn: Turn, answer: Text = Say.answer, kind: str = "") -> str:
    role = ROLES[turn.role] if turn.role != "assistant" else answer
    parts = []
    if turn.reasoning:
        parts.append(_part(locale, "thought", Say.thought, turn.reasoning))
    if turn.content or not (turn.reasoning or turn.tool_calls):
        note = "" if turn.weight else locale(Say.unlearned)
        parts.append(_part(locale, kind or turn.role, role, turn.content, note))
    for call in turn.tool_calls:
        arguments = json.dumps(dict(call.arguments), ensure_ascii=False, default=str)
        parts.append(_part(locale, "call", Say.call, f"{call.name}({arguments})"))
    return "".join(parts)


def _part(locale: Locale, kind: str, word: Text, text: str, note: str = "") -> str:
    noted = f" <i>{html.escape(note)}</i>" if note else ""
    return (
        f'<div class="said {kind}"><span class="who">{html.escape(locale(word))}{noted}</span>'
        f'<div class="words">{visible(text, locale=locale)}</div></div>'
    )


def reads_html(locale: Locale, reads: Iterable[Read]) -> str:
    """Several rows, each with its number, what became of it, and how it stands in the file."""
    return "".join(read_html(locale, read) for read in reads)


def read_html(locale: Locale, read: Read) -> str:
    """One row of a set."""
    state = ""
    if read.state != "kept":
        reason = html.escape(locale(joined(read.reasons))) if read.reasons else ""
        state = (
            f'<span class="state">{html.escape(locale(STATES[read.state]))}</span> <span class="why">{reason}</span>'
        )
    if read.sample is not None:
        body = sample_html(locale, read.sample)
    else:
        body = f'<pre class="as-is">{visible(read.text or raw_text(read), RAW_TEXT, locale)}</pre>'
    raw = f'<details class="raw"><summary>{html.escape(locale(Say.raw))}</summary><pre>{_raw(locale, read)}</pre></details>'
    return (
        f'<article class="one {read.state}"><header><span class="number">{read.number:,}</span>{state}</header>'
        f"{body}{raw if read.sample is not None else _proposed(locale, read)}</article>"
    )


def _proposed(locale: Locale, read: Read) -> str:
    if read.mend is None:
        return ""
    word = html.escape(locale(Say.proposed))
    return f'<div class="said mend"><span class="who">{word}</span><pre>{visible(pretty(read.mend), RAW_TEXT, locale)}</pre></div>'


def raw_text(read: Read) -> str:
    """The row as JSON."""
    return pretty(read.row)


def _raw(locale: Locale, read: Read) -> str:
    return visible(read.text or raw_text(read), RAW_TEXT, locale)


def pretty(row: object) -> str:
    """A row as indented JSON; what JSON has no word for as text."""
    return json.dumps(row, ensure_ascii=False, indent=2, default=str)
