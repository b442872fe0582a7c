"""Statistics of a set: lengths with the cutoff, percentiles, turns, languages, what is learned, what padding costs."""

import html
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.data.statistics import Statistics
from workbench.problems import Problem, UserError
from workbench.text import Locale, Text
from workbench.ui.data.chart import histogram
from workbench.ui.data.room import QUIET, Room, filled, problems, quiet
from workbench.ui.data.tokens import Say as Tokens
from workbench.ui.data.tokens import asked_of, asking, whole
from workbench.ui.data.working import Done, bar, inspect

USUAL_CUTOFF, USUAL_BATCH = 2048, 1
MOST_TURNS = 12


class Say:
    title = Text("Statistics")
    count = Text("Count the tokens")
    nothing = Text("No row of this set can be learned at the chosen stage.")
    explain = Text("Counted with the model, the template and the cutoff length of the run on the Train tab.")
    rows = Text("{rows} rows, {tokens} tokens")
    learned = Text("{share} % of the tokens are learned")
    over = Text("{count} rows ({share} %) are longer than the cutoff of {cutoff}")
    none_over = Text("No row is longer than the cutoff of {cutoff}")
    padding = Text(
        "At batch size {batch}: {share} % padding in random order, {grouped} % with rows of like length together"
    )
    lengths = Text("Tokens in a row")
    cutoff = Text("cutoff {cutoff}")
    percentiles = Text("Percentiles")
    longest = Text("longest")
    percent = Text("{percent} %")
    turns = Text("Answers in a row")
    languages = Text("Languages by script")
    zh = Text("Chinese")
    ja = Text("Japanese")
    ko = Text("Korean")
    latin = Text("Latin")
    cyrillic = Text("Cyrillic")
    arabic = Text("Arabic")
    other = Text("other")


SCRIPTS: Mapping[str, Text] = {
    "zh": Say.zh,
    "ja": Say.ja,
    "ko": Say.ko,
    "latin": Say.latin,
    "cyrillic": Say.cyrillic,
    "arabic": Say.arabic,
}


@dataclass
class Figures:
    """The components of the view; ``state`` keeps the figures for another language."""

    room: Room
    state: Any = None
    count: Any = None
    page: Any = None

    @property
    def outputs(self) -> list[Any]:
        return [self.state, self.page]

    def clear(self) -> dict[Any, Any]:
        return {self.state: None, self.page: ""}

    def run(self, chosen: Mapping[str, Any], language: str, *values: Any) -> Iterator[dict[Any, Any]]:
        """Count, in a process beside the page."""
        locale = self.room.desk.locale(language)
        asked, fills = asked_of(self.room.desk.form, values)
        if not asked.get("model_name_or_path"):
            yield {self.page: problems(locale, [Problem(Tokens.no_model())])}
            return
        request = {
            **{key: value for key, value in asked.items() if key != "model_name_or_path"},
            "do": "statistics",
            "dataset": chosen["name"],
            "dataset_dir": "data",
            "values": filled(fills),
            "model": asked["model_name_or_path"],
            "cutoff_len": whole(asked.get("cutoff_len"), USUAL_CUTOFF),
            "batch_size": whole(asked.get("per_device_train_batch_size"), USUAL_BATCH),
        }
        try:
            for news in inspect(self.room.desk.inspector, request, locale):
                if isinstance(news, Done):
                    yield {self.state: news.result, self.page: self.draw(news.result, language)}
                else:
                    yield {self.page: bar(news)}
        except UserError as error:
            yield {self.page: problems(locale, error)}

    def draw(self, result: Mapping[str, Any] | None, language: str) -> str:
        locale = self.room.desk.locale(language)
        return figures_page(locale, Statistics.from_json(result)) if result else ""


def figures_page(locale: Locale, figures: Statistics) -> str:
    """All figures of a set."""
    if not figures.rows:
        return quiet(locale(Say.nothing))
    edges = [figures.lengths[0].start, *(one.end for one in figures.lengths)]
    counts = [one.rows for one in figures.lengths]
    cutoff = figures.cutoff_len or None
    word = locale(Say.cutoff(cutoff=f"{figures.cutoff_len:,}"))
    chart = histogram(edges, counts, locale(Say.lengths), cutoff, word)
    head = "".join(f"<li>{html.escape(line)}</li>" for line in lines(locale, figures))
    return (
        f'<ul class="facts">{head}</ul><h4>{html.escape(locale(Say.lengths))}</h4>{chart}<div class="tables">'
        f"{percentiles(locale, figures)}{turns(locale, figures)}{languages(locale, figures)}</div>"
    )


def lines(locale: Locale, figures: Statistics) -> Iterator[str]:
    """What the figures say, in words."""
    yield locale(Say.rows(rows=f"{figures.rows:,}", tokens=f"{figures.tokens:,}"))
    yield locale(Say.learned(share=f"{100 * figures.trained_share:.0f}"))
    cutoff = f"{figures.cutoff_len:,}"
    if figures.over:
        share = f"{100 * figures.over / figures.rows:.1f}"
        yield locale(Say.over(count=f"{figures.over:,}", share=share, cutoff=cutoff))
    elif figures.cutoff_len:
        yield locale(Say.none_over(cutoff=cutoff))
    random, grouped = (f"{100 * share:.0f}" for share in (figures.padding_random, figures.padding_grouped))
    yield locale(Say.padding(batch=figures.batch_size, share=random, grouped=grouped))


def percentiles(locale: Locale, figures: Statistics) -> str:
    """Tokens that so many percent of the rows do not exceed."""
    rows = [
        (locale(Say.longest) if percent == 100 else locale(Say.percent(percent=percent)), f"{tokens:,}")
        for percent, tokens in figures.percentiles.items()
    ]
    return small_table(locale(Say.percentiles), rows)


def turns(locale: Locale, figures: Statistics) -> str:
    """How many rows have so many answers; the many-turned ones together."""
    rows = [(f"{count}", f"{num:,}") for count, num in figures.turns.items() if count <= MOST_TURNS]
    rest = sum(num for count, num in figures.turns.items() if count > MOST_TURNS)
    return small_table(locale(Say.turns), [*rows, *([(f"> {MOST_TURNS}", f"{rest:,}")] if rest else [])])


def languages(locale: Locale, figures: Statistics) -> str:
    """Rows by the script of most letters."""
    rows = [(locale(SCRIPTS.get(name, Say.other)), f"{count:,}") for name, count in figures.scripts.items() if count]
    return small_table(locale(Say.languages), rows)


def small_table(title: str, rows: list[tuple[str, str]]) -> str:
    """Two columns under a title."""
    body = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(count)}</td></tr>" for name, count in rows)
    return f"<table><caption>{html.escape(title)}</caption><tbody>{body}</tbody></table>"


def build_figures(room: Room) -> Figures:
    """The button and the page."""
    view = Figures(room, gr.State(None))
    with gr.Row(elem_classes=["pressing"]):
        view.count = room.desk.button(Say.count, variant="primary", elem_id="count-tokens", scale=0, min_width=150)
        room.desk.words(gr.HTML, lambda locale: {"value": quiet(locale(Say.explain))}, apply_default_css=False)
    view.page = gr.HTML("", elem_id="figures", apply_default_css=False)
    return view


def bind_figures(view: Figures) -> None:
    """Counting."""
    desk = view.room.desk
    view.count.click(view.run, [view.room.chosen, desk.language, *asking(desk)], view.outputs, **QUIET)
    desk.retellings.append((view.draw, [view.state, desk.language], [view.page]))
