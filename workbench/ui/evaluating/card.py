"""The report card: four lights with their words, evidence in folds; alone, or beside another run's. Knows no job.

Everything that people and models wrote comes in as text and goes out escaped.
"""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.evaluating.records import BASE, TUNED
from workbench.reporting import LIGHTS, PARTS, TITLES, Part, Shown, learned
from workbench.runs import Run
from workbench.text import Locale, Text, verbatim
from workbench.ui.data.room import quiet
from workbench.ui.evaluating.progress import MODELS, fold, said
from workbench.ui.evaluating.reported import Card, having, read_card, state_of, trained_of
from workbench.ui.evaluating.samples import Say as Samples
from workbench.ui.evaluating.samples import answers, select, text
from workbench.ui.evaluating.sheet import Sheet

NUMBER = re.compile(r"((?<![A-Za-z0-9_.])[-+]?\d+(?:[.,]\d+)*(?:e-?\d+)?(?: ?%)?(?![A-Za-z0-9_]))")
SHEET = Sheet((), (BASE, TUNED), ())
FILES = ("md", "json")


class Say:
    title = Text("Report card")
    compare = Text("Compare with")
    alone = Text("no other run")
    made = Text("made on {when}")
    recipe = Text("{method}, learning rate {rate}, {epochs} epochs, {steps} steps, {rows} rows")
    rank = Text("{method} of rank {rank}")
    next = Text("What to change next")
    evidence = Text("Evidence: {count} answers")
    coming = Text("Four lights stand here once everything is asked and scored: learned, kept, memorised, form.")
    damaged = Text("The report of {run} can't be read. Accepted: a report.json as a report writes it. Press Make anew.")
    stale = Text("The run has learned since. Press Make anew to report on what it is now.")
    missing = Text("not in this report")
    held = Text("held out, never learned")
    identity = Text("who it is, asked in other ways than in the set")
    train = Text("a row that it learned")
    rephrased = Text("a learned row in other words")
    continued = Text("the first half of a learned answer, to be gone on with")
    everyday = Text("an everyday question, right before and wrong now")


KINDS: Mapping[str, Text] = {
    "held": Say.held,
    "identity": Say.identity,
    "train": Say.train,
    "rephrased": Say.rephrased,
    "continued": Say.continued,
    "everyday": Say.everyday,
}


def card_part(locale: Locale, made: Run, look: Mapping[str, Any]) -> str:
    """The card of a report, beside the one that is looked for; a sentence where there is none yet."""
    run = trained_of(made)
    others = [one for one in having(run.workspace) if one.name != run.name]
    other = next((one for one in others if one.name == look.get("compare")), None)
    cards, wrong = list[Card](), ""
    for one in (run, other):
        try:
            found = read_card(one) if one else None
        except ValueError:
            wrong += f'<p class="message">{html.escape(locale(Say.damaged(run=one.name if one else "")))}</p>'
        else:
            cards += [found] if found else []
    if not cards:
        coming = quiet(locale(Say.coming)) if state_of(made) != "finished" else ""
        return wrong or coming
    kind = "card two" if len(cards) > 1 else "card"
    return f'{wrong}<section class="{kind}">{_bar(locale, others, other)}{_rows(locale, cards)}</section>'


def _bar(locale: Locale, others: Sequence[Run], other: Run | None) -> str:
    """Title, the other run, the downloads."""
    options = [("", locale(Say.alone)), *((one.name, one.short_name) for one in others)]
    compare = select(locale, Say.compare, "compare", options, other.name if other else "") if others else ""
    files = "".join(f'<button type="button" data-action="file" data-at="{kind}">{kind.upper()}</button>' for kind in FILES)
    return (
        f'<div class="tools"><h3>{said(locale, Say.title)}</h3>{compare}'
        f'<span class="files">{said(locale, Samples.download)} {files}</span></div>'
    )


def _rows(locale: Locale, cards: Sequence[Card]) -> str:
    """Whose cards they are, then a row for each part, the same for both."""
    heads = "".join(_whose(locale, card, len(cards) > 1) for card in cards)
    names = [name for name in PARTS if any(name in card.parts for card in cards)]
    rows = "".join(
        f'<div class="row" data-part="{name}">'
        + "".join(_side(locale, name, card, at, len(cards) > 1) for at, card in enumerate(cards))
        + "</div>"
        for name in names
    )
    return f'<div class="row whose">{heads}</div>{rows}'


def _whose(locale: Locale, card: Card, beside: bool) -> str:
    """When it was made and what the run was told; its name where there are two, since it stands above a single one."""
    name = f"<b>{html.escape(card.run.short_name)}</b>" if beside else ""
    told = [locale(Say.made(when=card.made.strftime("%Y-%m-%d %H:%M"))), *([recipe_words(locale, card)] if card.recipe else [])]
    lines = "".join(f"<small>{html.escape(line)}</small>" for line in told)
    stale = f'<p class="message">{said(locale, Say.stale)}</p>' if card.stale else ""
    return f'<div class="side">{name}{lines}{stale}</div>'


def recipe_words(locale: Locale, card: Card) -> str:
    """What the run was told, in a line."""
    recipe = card.recipe
    assert recipe
    method = verbatim(str(recipe.finetuning_type))
    told = Say.rank(method=method, rank=recipe.lora_rank) if recipe.lora_rank else method
    rate = learned.rate(recipe.learning_rate)
    return locale(
        Say.recipe(method=told, rate=rate, epochs=f"{recipe.epochs:g}", steps=f"{recipe.steps:,}", rows=f"{recipe.rows:,}")
    )


def _side(locale: Locale, name: str, card: Card, at: int, beside: bool) -> str:
    """One part of one report: light, sentence, figures, advice, evidence."""
    part = card.parts.get(name)
    of = f'<small class="of">{html.escape(card.run.short_name)}</small>' if beside else ""
    title = f"<h4>{said(locale, TITLES[name])}</h4>"
    if part is None:
        return f'<div class="side"><div class="lit">{of}{title}</div><div>{quiet(locale(Say.missing))}</div></div>'
    light = f'<span class="light {part.light}">{said(locale, LIGHTS[part.light])}</span>'
    facts = "".join(f"<li>{figured(locale(one))}</li>" for one in part.facts)
    advice = "".join(f"<li>{html.escape(locale(one))}</li>" for one in part.advice)
    return (
        f'<div class="side"><div class="lit">{of}{title}{light}</div><div class="told">'
        f'<p class="verdict-words">{html.escape(locale(part.verdict))}</p>'
        + (f'<ul class="facts">{facts}</ul>' if facts else "")
        + (f'<h5>{said(locale, Say.next)}</h5><ol class="advice">{advice}</ol>' if advice else "")
        + _evidence(locale, part, at)
        + "</div></div>"
    )


def figured(words: str) -> str:
    """A sentence for HTML with its numbers marked."""
    pieces = NUMBER.split(words)
    return "".join(f"<b>{html.escape(one)}</b>" if at % 2 else html.escape(one) for at, one in enumerate(pieces))


def _evidence(locale: Locale, part: Part, at: int) -> str:
    """The answers that the verdict rests on, in a fold."""
    if not part.evidence:
        return ""
    items = "".join(f"<li>{_shown(locale, one)}</li>" for one in part.evidence)
    title = html.escape(locale(Say.evidence(count=len(part.evidence))))
    return fold(f"evidence-{part.name}-{at}", title, f'<ol class="shown">{items}</ol>')


def _shown(locale: Locale, shown: Shown) -> str:
    """One question with the set's own answer and both models'."""
    row = {BASE: {"answer": shown.base}, TUNED: {"answer": shown.tuned, "finish": shown.finish}}
    marked = answers(locale, SHEET, row)
    why = f"<i>{said(locale, KINDS[shown.kind])}</i>" if shown.kind in KINDS else ""
    cut = f'<span class="cut">{said(locale, Samples.ended)}</span>' if shown.finish == "length" else ""
    question = f'<div class="question"><dt>{said(locale, Samples.prompt)}{why}</dt><dd>{text(locale, shown.prompt)}</dd></div>'
    told = list[tuple[Text, str, str]]()
    told += [(Samples.reference, "reference", text(locale, shown.reference))] if shown.reference else []
    told += [(MODELS[BASE], BASE, marked[BASE]), (MODELS[TUNED], TUNED, marked[TUNED] + cut)]
    cells = "".join(f'<div class="{kind}"><dt>{said(locale, head)}</dt><dd>{words}</dd></div>' for head, kind, words in told)
    return f"<dl>{question}{cells}</dl>"
