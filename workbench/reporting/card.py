"""The four parts as one report: as JSON, and as a page that a person reads. Knows no run."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from workbench.reporting import LIGHTS, TITLES, Figures, Part, Shown, form, kept, learned, memorised
from workbench.text import Locale, Text

VERSION = 1
JUDGES = (learned, kept, memorised, form)
EVIDENCE = 4
LONGEST = 400


class Say:
    title = Text("Report on {run}")
    made = Text("Made on {when}. Base and tuned were asked the same, always with the likeliest word.")
    advice = Text("What to change next:")
    evidence = Text("Evidence")
    asked = Text("Asked")
    expected = Text("In the set")
    base = Text("Base")
    tuned = Text("Tuned")


def card(figures: Figures) -> dict[str, Any]:
    """The report as JSON: every part with its light and words, and the figures they rest on."""
    shown = {key: value for key, value in asdict(figures).items() if key != "shown"}
    return {"version": VERSION, "parts": [one.judge(figures).to_json() for one in JUDGES], "figures": shown}


def parts_of(held: Mapping[str, Any]) -> list[Part]:
    """The parts of a report.json."""
    return [Part.from_json(one) for one in held["parts"]]


def readable(held: Mapping[str, Any], locale: Locale) -> str:
    """The report as Markdown, in one language."""
    return "\n".join(_lines(held, locale)) + "\n"


def _lines(held: Mapping[str, Any], locale: Locale) -> Iterator[str]:
    when = datetime.fromtimestamp(held["made"]).astimezone().strftime("%Y-%m-%d %H:%M")
    yield f"# {locale(Say.title(run=held['run']))}"
    yield ""
    yield locale(Say.made(when=when))
    for part in parts_of(held):
        yield ""
        yield f"## {locale(TITLES[part.name]())}: {locale(LIGHTS[part.light]())}"
        yield ""
        yield f"**{locale(part.verdict)}**"
        yield ""
        yield from (f"- {locale(one)}" for one in part.facts)
        if part.advice:
            yield ""
            yield locale(Say.advice())
            yield ""
            yield from (f"{number}. {locale(one)}" for number, one in enumerate(part.advice, 1))
        if part.evidence:
            yield ""
            yield f"### {locale(Say.evidence())}"
            for one in part.evidence[:EVIDENCE]:
                yield from _evidence(one, locale)


def _evidence(shown: Shown, locale: Locale) -> Iterator[str]:
    """One answer; fenced, so that nothing in it becomes markup."""
    said = ((Say.asked, shown.prompt), (Say.expected, shown.reference), (Say.base, shown.base), (Say.tuned, shown.tuned))
    for title, text in said:
        if text:
            fence = "`" * max(3, longest_run(text) + 1)
            yield ""
            yield f"{locale(title())}:"
            yield ""
            yield fence
            yield text[:LONGEST] + ("..." if len(text) > LONGEST else "")
            yield fence


def longest_run(text: str) -> int:
    """How many back-ticks stand in a row at most."""
    best = now = 0
    for one in text:
        now = now + 1 if one == "`" else 0
        best = max(best, now)
    return best
