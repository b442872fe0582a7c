"""What an evaluation found, as tables: scores with their intervals, losses, benchmarks, and what changed in words.

Knows results.json, no run and no sample.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from workbench import metrics
from workbench.evaluating.intervals import LEAST_PAIRS, Change
from workbench.evaluating.records import BASE, TUNED
from workbench.metrics import public
from workbench.sockets import plugins
from workbench.text import Locale, Text
from workbench.ui.evaluating.progress import MODELS, fold, said
from workbench.wording import figure

Found = Mapping[str, Any]
UP, DOWN = "better", "worse"


class Say:
    title = Text("What was measured")
    scale = Text("Points of 100; below each, where its true value lies with 95 % certainty. {rows} rows.")
    measure = Text("Measure")
    change = Text("Change")
    verdict = Text("Verdict")
    losses = Text("Loss on the set's own answers")
    losses_told = Text("Less is better: how surprised the model is by each token of the set's answers. The change is the mean over rows.")
    loss = Text("Loss")
    perplexity = Text("Perplexity")
    benchmarks = Text("Benchmarks")
    categories = Text("By category")
    questions = Text("{count} questions")
    tally = Text("Of {all} measures: {better} better, {same} without a measurable difference, {worse} worse.")
    alone = Text("One model was measured alone. With a trained run and 'Beside the base model' the change is told too.")


def figures(locale: Locale, found: Found) -> str:
    """All tables of one evaluation."""
    models = [str(one) for one in found.get("models", [])]
    return (
        tally(locale, found)
        + metrics_table(locale, found.get("metrics") or {}, models, int(found.get("samples") or 0))
        + losses_table(locale, found.get("losses") or {}, models)
        + tasks_table(locale, found.get("tasks") or {}, models)
    )


def changes(found: Found) -> list[Change]:
    """What changed, of everything that was measured for both."""
    held = [*(found.get("metrics") or {}).values(), *(found.get("tasks") or {}).values()]
    if losses := found.get("losses"):
        held.append(losses)
    return [change for one in held if (change := change_of(one)) is not None]


def change_of(measured: Found) -> Change | None:
    """The change as it was written down."""
    held = measured.get("change")
    if not isinstance(held, Mapping) or held.get("verdict") not in ("better", "same", "worse"):
        return None
    count = int(held.get("count") or LEAST_PAIRS)
    return Change(held.get("mean"), held.get("low"), held.get("high"), count, held.get("p"), held["verdict"])


def tally(locale: Locale, found: Found) -> str:
    """How many measures became better and worse, in one line."""
    told = changes(found)
    if not told:
        return f'<p class="message quiet">{said(locale, Say.alone)}</p>' if len(found.get("models", [])) < 2 else ""
    counts = {verdict: sum(1 for one in told if one.verdict == verdict) for verdict in ("better", "same", "worse")}
    kind = "mixed" if counts[UP] and counts[DOWN] else UP if counts[UP] else DOWN if counts[DOWN] else "same"
    words = html.escape(locale(Say.tally(all=len(told), **counts)))
    return f'<p class="tally {kind}">{words}</p>'


def table(locale: Locale, models: Sequence[str], rows: Sequence[str], judged: bool = True) -> str:
    """Rows under the heads: what, each model, and where both were asked the change and, if ``judged``, the verdict."""
    heads = [said(locale, Say.measure), *(said(locale, MODELS[one]) if one in MODELS else html.escape(one) for one in models)]
    both = [said(locale, Say.change), *([said(locale, Say.verdict)] if judged else [])] if _both(models) else []
    head = "".join(f"<th{' class=number' if at else ''}>{word}</th>" for at, word in enumerate(heads))
    head += "".join(f"<th{' class=number' if not at else ''}>{word}</th>" for at, word in enumerate(both))
    kind = "both" if both else "one"
    return f'<table class="measured {kind}"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _both(models: Sequence[str]) -> bool:
    return BASE in models and TUNED in models


def metrics_table(locale: Locale, measured: Found, models: Sequence[str], samples: int) -> str:
    """Each metric with its mean for base and tuned."""
    if not measured:
        return ""
    rows = [
        row(locale, named(locale, name), one, models, "mean", meaning(locale, name)) for name, one in measured.items()
    ]
    told = html.escape(locale(Say.scale(rows=f"{samples:,}")))
    return f'<h3>{said(locale, Say.title)}</h3><p class="quiet">{told}</p>{table(locale, models, rows)}'


def named(locale: Locale, name: str) -> str:
    """What a metric is called; an own check is called as it was written."""
    known = _metric(name)
    return locale(known.TITLE) if known else name


def meaning(locale: Locale, name: str) -> str:
    """What a metric says, in a sentence; nothing of an own check."""
    known = _metric(name)
    return locale(known.MEANING) if known else ""


def _metric(name: str) -> Any:
    return next((module for file, module in plugins(metrics).items() if public(file) == name), None)


def row(locale: Locale, name: str, one: Found, models: Sequence[str], key: str, hint: str = "") -> str:
    """One measure: the models' means with their intervals, the change, the verdict."""
    cells = "".join(points(one.get(model) or {}, key) for model in models)
    both = _change_cells(locale, change_of(one)) if _both(models) else ""
    title = f' title="{html.escape(hint, quote=True)}"' if hint else ""
    return f"<tr><th{title}>{html.escape(name)}</th>{cells}{both}</tr>"


def points(measured: Found, key: str) -> str:
    """A cell with a mean of 0 to 1 as points of 100, its interval below."""
    value, low, high = measured.get(key), measured.get("low"), measured.get("high")
    if value is None:
        return '<td class="number">–</td>'
    between = f"<small>{100 * low:.1f} – {100 * high:.1f}</small>" if low is not None and high is not None else ""
    return f'<td class="number">{100 * value:.1f}{between}</td>'


def _change_cells(locale: Locale, change: Change | None, scale: float = 100, digits: int = 1) -> str:
    if change is None or change.mean is None:
        return '<td class="number">–</td><td></td>'
    sure = change.low is not None and change.high is not None
    between = f"<small>{scale * (change.low or 0):+.{digits}f} – {scale * (change.high or 0):+.{digits}f}</small>" if sure else ""
    mean = f'<td class="number">{scale * change.mean:+.{digits}f}{between}</td>'
    return f'{mean}<td><span class="verdict {change.verdict}">{html.escape(locale(change.words()))}</span></td>'


def losses_table(locale: Locale, losses: Found, models: Sequence[str]) -> str:
    """Loss and perplexity on the set's own answers."""
    there = [model for model in models if isinstance(losses.get(model), Mapping)]
    if not there:
        return ""
    change = _change_cells(locale, change_of(losses), 1, 3) if _both(models) else ""
    rows = []
    for key, words, tail in (("loss", Say.loss, change), ("perplexity", Say.perplexity, "<td></td><td></td>" if change else "")):
        cells = "".join(_figure((losses.get(model) or {}).get(key)) for model in models)
        rows.append(f"<tr><th>{said(locale, words)}</th>{cells}{tail}</tr>")
    told = said(locale, Say.losses_told)
    return f'<h3>{said(locale, Say.losses)}</h3><p class="quiet">{told}</p>{table(locale, models, rows)}'


def _figure(value: Any) -> str:
    return f'<td class="number">{"–" if value is None else html.escape(figure(float(value)))}</td>'


def tasks_table(locale: Locale, tasks: Found, models: Sequence[str]) -> str:
    """Each benchmark's score, its categories in a fold."""
    if not tasks:
        return ""
    rows = [row(locale, name, one, models, "score", _questions(locale, one)) for name, one in tasks.items()]
    parts = [table(locale, models, rows), *(_categories(locale, name, one, models) for name, one in tasks.items())]
    return f"<h3>{said(locale, Say.benchmarks)}</h3>{''.join(parts)}"


def _questions(locale: Locale, one: Found) -> str:
    count = next((int(held["count"]) for held in one.values() if isinstance(held, Mapping) and held.get("count")), 0)
    return locale(Say.questions(count=f"{count:,}")) if count else ""


def _categories(locale: Locale, name: str, one: Found, models: Sequence[str]) -> str:
    held = {model: (one.get(model) or {}).get("categories") or {} for model in models}
    names = list(dict.fromkeys(category for parts in held.values() for category in parts))
    if not names:
        return ""
    rows = []
    for category in names:
        scores = {model: _score(held[model].get(category)) for model in models}
        cells = "".join(points({"score": scores[model]}, "score") for model in models)
        rows.append(f"<tr><th>{html.escape(category)}</th>{cells}{_moved(scores) if _both(models) else ''}</tr>")
    title = f"{html.escape(name)}: {said(locale, Say.categories)}"
    return fold(f"categories-{html.escape(name, quote=True)}", title, table(locale, models, rows, judged=False))


def _score(held: Any) -> float | None:
    """A category's score, alone or with its count."""
    value = held.get("score") if isinstance(held, Mapping) else held
    return float(value) if isinstance(value, int | float) else None


def _moved(scores: Mapping[str, float | None]) -> str:
    """How a category's score moved; of so few questions no verdict is given."""
    base, tuned = scores.get(BASE), scores.get(TUNED)
    told = "–" if base is None or tuned is None else f"{100 * (tuned - base):+.1f}"
    return f'<td class="number">{told}</td>'

