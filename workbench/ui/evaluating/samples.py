"""The table of samples: question, reference, both answers with their differences marked, scores. Knows a sheet, no file."""

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.evaluating.records import BASE, TUNED
from workbench.text import Locale, Text
from workbench.ui.comparing import differences
from workbench.ui.data.room import pager, visible
from workbench.ui.evaluating.figures import named
from workbench.ui.evaluating.progress import MODELS, said
from workbench.ui.evaluating.sheet import PAGE_SAMPLES, Look, Only, Sample, Sheet, change, score

MOST_TEXT = 20_000
MARKED_TEXT = 1_500
"""So many characters of a pair of answers are compared; beyond that they are shown as they are."""


class Say:
    title = Text("Samples")
    none = Text("No sample is like that.")
    all = Text("All")
    worse = Text("Worse")
    better = Text("Better")
    length = Text("Ended by length")
    by = Text("Score by")
    order = Text("Order")
    in_order = Text("As in the set")
    low_first = Text("{what}: lowest first")
    high_first = Text("{what}: highest first")
    download = Text("Download")
    row = Text("Row")
    prompt = Text("Question")
    reference = Text("Reference")
    change = Text("Change")
    unanswered = Text("could not be asked: the notes say why")
    ended = Text("ended by length")
    nothing = Text("nothing")
    span = Text("{first} to {last} of {count}")
    open = Text("Open sample {row}")
    conversation = Text("The whole conversation")
    scores = Text("Scores")
    turns = Text("{count} earlier messages")
    marked = Text(" (differences are marked in the first {count} characters)")


FILTERS: Mapping[Only, Text] = {"all": Say.all, "worse": Say.worse, "better": Say.better, "length": Say.length}


def samples_part(locale: Locale, sheet: Sheet, look: Look) -> str:
    """The bar, a page of samples, and the pager."""
    held = sheet.only(look)
    pages = max(1, -(-len(held) // PAGE_SAMPLES))
    page = min(look.page, pages - 1)
    shown = held[page * PAGE_SAMPLES : (page + 1) * PAGE_SAMPLES]
    first = page * PAGE_SAMPLES
    told = Say.span(first=f"{first + 1:,}", last=f"{first + len(shown):,}", count=f"{len(held):,}")
    turning = pager(locale, page, pages, locale(told)) if shown else ""
    rows = "".join(sample(locale, sheet, look, row) for row in shown)
    kind = "sheet sets" if sheet.sets > 1 else "sheet"
    table = f'<table class="{kind}">{heads(locale, sheet, look)}{rows}</table>{turning if pages > 1 else ""}'
    empty = f'<p class="empty">{said(locale, Say.none)}</p>'
    return f'<section class="samples">{tools(locale, sheet, look)}{turning}{table if shown else empty}</section>'


def tools(locale: Locale, sheet: Sheet, look: Look) -> str:
    """Title, filters, the measure, the order, the downloads."""
    kinds: Sequence[Only] = list(FILTERS) if sheet.both else ["all", "length"]
    filters = "".join(
        f'<button type="button" data-action="only" data-at="{only}" class="{"pressed" if only == look.only else ""}" '
        f'aria-pressed="{"true" if only == look.only else "false"}">{said(locale, FILTERS[only])} '
        f"<b>{sheet.count(look, only):,}</b></button>"
        for only in kinds
    )
    measures = [(name, named(locale, name)) for name in sheet.measures]
    chosen = select(locale, Say.by, "measure", measures, look.measure) if measures else ""
    order = select(locale, Say.order, "order", orders(locale, sheet), f"{look.sort}{'-down' if look.down else ''}")
    files = "".join(
        f'<button type="button" data-action="file" data-at="{kind}">{kind.upper()}</button>' for kind in ("csv", "jsonl")
    )
    return (
        f'<div class="tools"><h3>{said(locale, Say.title)}</h3><div class="choices" role="group">{filters}</div>'
        f'{chosen}{order}<span class="files">{said(locale, Say.download)} {files}</span></div>'
    )


def select(locale: Locale, label: Text, action: str, options: Sequence[tuple[str, str]], chosen: str) -> str:
    """A choice of the bar."""
    items = "".join(
        f'<option value="{html.escape(value, quote=True)}"{" selected" if value == chosen else ""}>{html.escape(words)}</option>'
        for value, words in options
    )
    return f'<label>{said(locale, label)} <select data-action="{action}">{items}</select></label>'


def orders(locale: Locale, sheet: Sheet) -> list[tuple[str, str]]:
    """The orders that can be chosen, each with its words."""
    keys = [(model, MODELS[model]) for model in sheet.models if sheet.measures]
    keys += [("change", Say.change)] if sheet.both and sheet.measures else []
    found = [("row", locale(Say.in_order))]
    for key, what in keys:
        found += [(key, locale(Say.low_first(what=what()))), (f"{key}-down", locale(Say.high_first(what=what())))]
    return found


def heads(locale: Locale, sheet: Sheet, look: Look) -> str:
    """The heads; those of scores sort, and turn the order round when pressed again."""
    cells = [_sorter(locale, "row", Say.row, look), f"<th>{said(locale, Say.prompt)}</th><th>{said(locale, Say.reference)}</th>"]
    cells += [_sorter(locale, model, MODELS[model], look) for model in sheet.models]
    cells += [_sorter(locale, "change", Say.change, look, "number")] if sheet.both else []
    return f"<thead><tr>{''.join(cells)}</tr></thead>"


def _sorter(locale: Locale, key: str, words: Text, look: Look, kind: str = "") -> str:
    mine = look.sort == key
    state = ("descending" if look.down else "ascending") if mine else "none"
    arrow = ("↓" if look.down else "↑") if mine else ""
    return (
        f'<th class="{kind} {key}" aria-sort="{state}"><button type="button" data-action="sort" data-at="{key}">'
        f"{said(locale, words)} <i>{arrow}</i></button></th>"
    )


def sample(locale: Locale, sheet: Sheet, look: Look, row: Sample) -> str:
    """One sample: what is seen at once, and a line below it that opens."""
    number = html.escape(str(row.get("row", "")))
    of_set = f"<small>{html.escape(str(row.get('set') or ''))}</small>" if sheet.sets > 1 else ""
    words = html.escape(locale(Say.open(row=str(row.get("row", "")))), quote=True)
    cells = [
        '<td class="row"><button type="button" data-action="open" aria-expanded="false" '
        f'aria-label="{words}">{number}</button>{of_set}</td>',
        cell(locale, Say.prompt, "question", question(locale, row)),
        cell(locale, Say.reference, "reference", text(locale, row.get("reference"))),
    ]
    marked = answers(locale, sheet, row)
    for model in sheet.models:
        told = under(locale, row, model, look.measure)
        cells.append(cell(locale, MODELS[model], f"answer {model}", marked[model], told))
    if sheet.both:
        cells.append(moved(locale, change(row, look.measure)))
    more = f'<td colspan="{len(cells)}">{details(locale, sheet, row)}</td>'
    return f'<tbody class="sample"><tr class="main">{"".join(cells)}</tr><tr class="beneath">{more}</tr></tbody>'


def cell(locale: Locale, words: Text, kind: str, content: str, under: str = "") -> str:
    """A text of a sample under its head; content is HTML."""
    return f'<td class="{kind}" data-head="{html.escape(locale(words), quote=True)}"><div class="text">{content}</div>{under}</td>'


def text(locale: Locale, given: Any) -> str:
    """A text, escaped; nothing is said to be nothing."""
    words = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False) if given is not None else ""
    return visible(words, MOST_TEXT, locale) if words.strip() else f"<i>{said(locale, Say.nothing)}</i>"


def question(locale: Locale, row: Sample) -> str:
    """The last thing that was said to the model, and how much stands before it."""
    messages = [one for one in row.get("prompt") or [] if isinstance(one, Mapping)]
    last = messages[-1].get("content") if messages else ""
    earlier = len(messages) - 1
    before = f"<small>{html.escape(locale(Say.turns(count=earlier)))}</small> " if earlier > 0 else ""
    return before + text(locale, last)


def answers(locale: Locale, sheet: Sheet, row: Sample) -> dict[str, str]:
    """The models' answers; where both were asked, what differs is marked."""
    said_by = {model: str((row.get(model) or {}).get("answer") or "") for model in sheet.models}
    if not sheet.both:
        return {model: text(locale, words) for model, words in said_by.items()}
    drawn = dict(zip((BASE, TUNED), marked(said_by[BASE], said_by[TUNED], locale), strict=True))
    cut = f'<span class="more">{html.escape(locale(Say.marked(count=f"{MARKED_TEXT:,}")))}</span>'
    return {
        model: (drawn[model] + (cut if len(words) > MARKED_TEXT else "")) if words.strip() else text(locale, "")
        for model, words in said_by.items()
    }


def marked(base: str, tuned: str, locale: Locale | None = None) -> tuple[str, str]:
    """Both answers escaped, what only one of them says marked: word by word, sign by sign where words aren't parted."""
    if not base.strip() or not tuned.strip():
        return visible(base, MOST_TEXT, locale), visible(tuned, MOST_TEXT, locale)
    pieces = differences([base[:MARKED_TEXT], tuned[:MARKED_TEXT]])
    both = []
    for tag, words, whole in (("del", pieces[0], base), ("ins", pieces[1], tuned)):
        lines = (f"<{tag}>{visible(one, MOST_TEXT)}</{tag}>" if differs and one.strip() else visible(one, MOST_TEXT)
                 for one, differs in words)  # fmt: skip
        both.append("".join(lines) + visible(whole[MARKED_TEXT:], MOST_TEXT - MARKED_TEXT, locale))
    return both[0], both[1]


def under(locale: Locale, row: Sample, model: str, measure: str) -> str:
    """What stands below an answer: its score, and whether it was cut."""
    value = score(row, model, measure)
    told = [] if value is None else [f"<b>{100 * value:.1f}</b>"]
    if (row.get(model) or {}).get("finish") == "unanswered":
        told.append(f'<span class="cut">{said(locale, Say.unanswered)}</span>')
    if (row.get(model) or {}).get("finish") == "length":
        told.append(f'<span class="cut">{said(locale, Say.ended)}</span>')
    return f'<div class="under">{" ".join(told)}</div>' if told else ""


def moved(locale: Locale, value: float | None) -> str:
    """The change of the chosen score."""
    head = html.escape(locale(Say.change), quote=True)
    if value is None:
        return f'<td class="number change" data-head="{head}">–</td>'
    kind = "better" if value > 0 else "worse" if value < 0 else "same"
    return f'<td class="number change {kind}" data-head="{head}">{100 * value:+.1f}</td>'


def details(locale: Locale, sheet: Sheet, row: Sample) -> str:
    """What an opened sample shows beside its texts: every score, and the conversation where it is long."""
    lines = []
    for name in sheet.measures:
        scores = [score(row, model, name) for model in sheet.models]
        told = "".join(f'<td class="number">{"–" if one is None else f"{100 * one:.1f}"}</td>' for one in scores)
        by = change(row, name) if sheet.both else None
        told += f'<td class="number">{"–" if by is None else f"{100 * by:+.1f}"}</td>' if sheet.both else ""
        lines.append(f"<tr><th>{html.escape(named(locale, name))}</th>{told}</tr>")
    titles = [*(MODELS[model] for model in sheet.models), *([Say.change] if sheet.both else [])]
    head = "".join(f'<th class="number">{html.escape(locale(one))}</th>' for one in titles)
    first = f"<th>{said(locale, Say.scores)}</th>"
    table = f'<table class="measured"><thead><tr>{first}{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    return (table if lines else "") + conversation(locale, row)


def conversation(locale: Locale, row: Sample) -> str:
    """All messages up to the answer, where there are several."""
    messages = [one for one in row.get("prompt") or [] if isinstance(one, Mapping)]
    if len(messages) < 2:
        return ""
    turns = "".join(
        f'<div class="said {_role(one)}"><span class="who">{html.escape(str(one.get("role", "")))}</span>'
        f'<span class="words">{text(locale, one.get("content"))}</span></div>'
        for one in messages
    )
    return f"<h4>{said(locale, Say.conversation)}</h4>{turns}"


def _role(message: Mapping[str, Any]) -> str:
    """A role as a name of the style sheet; an unknown one as none."""
    role = str(message.get("role", ""))
    return role if role in ("system", "user", "assistant", "tool") else ""
