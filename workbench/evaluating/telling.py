"""What came out of an evaluation, as lines of text for a terminal. Reads the run's results.json; knows no page."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.evaluating.intervals import Say as Words
from workbench.evaluating.records import BASE, RESULTS, TUNED
from workbench.text import Locale, Text

VERDICTS = {"better": Words.better, "same": Words.same, "worse": Words.worse}


class Say:
    metric = Text("metric")
    base = Text("base")
    tuned = Text("tuned")
    change = Text("change")
    loss = Text("loss")
    loss_by_row = Text("loss, mean over rows")
    perplexity = Text("perplexity")
    asked = Text("{count} questions were asked. In brackets: the interval for 95 %.")
    unanswered = Text("{count} of them have no answer of {model} and are not scored: 'runs show' names the first ones.")


def lines(folder: Path, locale: Locale) -> Iterator[str]:
    """A table of every figure, with intervals and the verdict in words."""
    held = json.loads((folder / RESULTS).read_text("utf-8"))
    models = held["models"]
    heads = {BASE: Say.base, TUNED: Say.tuned}
    rows = [[locale(Say.metric()), *(locale(heads[one]()) for one in models), locale(Say.change()) if len(models) > 1 else ""]]
    rows += [[name, *_cells(one, models, locale)] for name, one in held["metrics"].items()]
    if losses := held["losses"]:
        rows += _losses(losses, models, locale)
    rows += [[name, *_cells(one, models, locale, "score")] for name, one in held["tasks"].items()]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    if held["samples"]:
        yield locale(Say.asked(count=held["samples"]))
    for model, count in held.get("unanswered", {}).items():  # an older file does not say
        if count:
            yield locale(Say.unanswered(count=count, model=heads[model]()))


def _losses(losses: Mapping[str, Any], models: list[str], locale: Locale) -> Iterator[list[str]]:
    """Loss and perplexity over all tokens; and by row, which is what the change is of."""
    for name, key in ((Say.loss, "loss"), (Say.perplexity, "perplexity")):
        yield [locale(name()), *(f"{losses[model][key]:.4g}" if model in losses else "-" for model in models), ""]
    by_row = {model: losses[model]["by_row"] for model in models if "by_row" in losses.get(model, {})}
    cells = [figure(by_row[model]["mean"], by_row[model]) if model in by_row else "-" for model in models]
    yield [locale(Say.loss_by_row()), *cells, _verdict(losses, locale)]


def _cells(one: Mapping[str, Any], models: list[str], locale: Locale, key: str = "mean") -> list[str]:
    cells = [figure(one[model][key], one[model]) if one.get(model) else "-" for model in models]
    return [*cells, _verdict(one, locale)]


def figure(value: float | None, held: Mapping[str, Any]) -> str:
    """A share with its interval: 0.41 [0.35, 0.47]."""
    if value is None:
        return "-"
    low, high = held.get("low"), held.get("high")
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _verdict(one: Mapping[str, Any], locale: Locale) -> str:
    change = one.get("change")
    return f"{change['mean']:+.3f}  {locale(VERDICTS[change['verdict']]())}" if change and change["mean"] is not None else ""
