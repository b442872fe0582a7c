"""What the model will see of one row, token by token: trained ones coloured, special ones as chips. Knows no model."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workbench.inspector import Inspector
from workbench.problems import Problem, UserError
from workbench.text import Locale, Message, Text
from workbench.ui.data.room import pager, problems, visible
from workbench.ui.data.working import Done, bar, inspect
from workbench.ui.desk import Desk
from workbench.ui.form import Form

MOST_TOKENS = 6_000
ASKED = (
    *("model_name_or_path", "template", "stage", "cutoff_len", "train_on_prompt", "mask_history", "enable_thinking"),
    *("default_system", "per_device_train_batch_size"),
)
"""Fields of a training that decide what the model sees; those that the page does not show are left out."""


class Say:
    no_model = Text("No model is chosen. Accepted: a model in the bar above. Choose one to see its tokens.")
    row = Text("row {row} of {rows}")
    about = Text("row {row} of about {rows}")
    counts = Text("{tokens} tokens, {trained} of them learned ({share} %)")
    over = Text("{count} left out")
    by_template = Text("template: {name}")
    learned = Text("learned")
    read = Text("read, not learned")
    special = Text("special token")
    cut = Text("Within the cutoff length this is what is kept. What follows is not seen.")
    shortened = Text("The first {count} tokens are shown.")
    go_to = Text("Go to row")


def fields_of(form: Form) -> list[str]:
    """Those of ASKED that the page shows."""
    return [key for key in ASKED if key in form.fields]


def asking(desk: Desk) -> list[Any]:
    """The components that ``asked_of`` takes: fields of Train, then its placeholders."""
    return [*(desk.form.fields[key] for key in fields_of(desk.form)), *desk.filled]


def asked_of(form: Form, values: Sequence[Any]) -> tuple[dict[str, Any], Sequence[Any]]:
    """The values of ``asking`` as the fields by key, and what stands for placeholders."""
    keys = fields_of(form)
    return dict(zip(keys, values, strict=False)), values[len(keys) :]


def request(chosen: Mapping[str, Any], row: int, values: Mapping[str, str], asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the process beside the page is asked."""
    rest = {key: value for key, value in asked.items() if key != "model_name_or_path"}
    return {
        "do": "tokens",
        "dataset": chosen["name"],
        "dataset_dir": chosen.get("dataset_dir") or "data",
        "values": dict(values),
        "row": row,
        "model": asked.get("model_name_or_path") or "",
        **rest,
        "cutoff_len": whole(asked.get("cutoff_len"), 2048),
    }


def whole(given: Any, usual: int) -> int:
    """A whole number that stands in a field as text; the usual one where it is none."""
    text = str(given or "").strip()
    return int(text) if text.isdecimal() and int(text) else usual


def seen(
    inspector: Inspector,
    locale: Locale,
    chosen: Mapping[str, Any],
    row: int,
    values: Mapping[str, str],
    asked: Mapping[str, Any],
) -> Iterator[str]:
    """The page of one row: first the bar, then the tokens or what is in the way."""
    if not asked.get("model_name_or_path"):
        yield problems(locale, [Problem(Say.no_model())])
        return
    try:
        for news in inspect(inspector, request(chosen, row, values, asked), locale):
            yield tokens_page(locale, news.result) if isinstance(news, Done) else bar(news)
    except UserError as error:
        yield turning(locale, row, None) + problems(locale, error)


def turning(locale: Locale, row: int, rows: int | None, exact: bool = True) -> str:
    """The pager, and a box for the number of a row. ``exact`` False: the rows are estimated, there may be a next one."""
    words = Say.row if exact else Say.about
    told = locale(words(row=f"{row:,}", rows=f"{rows:,}")) if rows else f"{row:,}"
    label = html.escape(locale(Say.go_to))
    return (
        f'<div class="turning">{pager(locale, row - 1, rows if exact else None, told)}<label class="jump">{label} '
        f'<input type="number" min="1" value="{row}" data-action="row" aria-label="{label}"></label></div>'
    )


def tokens_page(locale: Locale, result: Mapping[str, Any]) -> str:
    """One row with its pager, counts, warnings and tokens: a block for each text that it becomes."""
    turned = turning(locale, int(result["row"]), int(result["rows"]) or None, bool(result.get("exact", True)))
    warned = "".join(
        f'<p class="warning">{html.escape(locale(Message.from_json(one)))}</p>' for one in result.get("warnings", [])
    )
    blocks = "".join(block_html(locale, block) for block in result["blocks"])
    return f"{turned}{facts(locale, result)}{warned}{legend(locale)}{blocks}"


def block_html(locale: Locale, block: Mapping[str, Any]) -> str:
    """One text of the row under its title."""
    title = html.escape(locale(Message.from_json(block["title"]))) if block.get("title") else ""
    return f"{title and f'<h4>{title}</h4>'}{tokens_html(locale, block['tokens'], int(block['kept']))}"


def facts(locale: Locale, result: Mapping[str, Any]) -> str:
    """How many tokens, how many of them are learned, how many are not kept, by which template."""
    blocks = result["blocks"]
    count, kept = sum(len(block["tokens"]) for block in blocks), sum(block["kept"] for block in blocks)
    trained = sum(1 for block in blocks for token in block["tokens"][: block["kept"]] if token[2])
    share = f"{100 * trained / max(1, count):.0f}"
    told = [locale(Say.counts(tokens=f"{count:,}", trained=f"{trained:,}", share=share))]
    if kept < count:
        told.append(locale(Say.over(count=f"{count - kept:,}")))
    told.append(locale(Say.by_template(name=str(result.get("template_used", "")))))
    return f'<p class="facts">{" · ".join(html.escape(words) for words in told)}</p>'


def legend(locale: Locale) -> str:
    """What the colours mean."""
    kinds = (("learned", Say.learned), ("read", Say.read), ("special read", Say.special))
    items = "".join(f'<span class="tok {kind}">{html.escape(locale(word))}</span>' for kind, word in kinds)
    return f'<p class="legend">{items}</p>'


def tokens_html(locale: Locale, tokens: Sequence[Sequence[Any]], kept: int) -> str:
    """The tokens in a row; a line where what is kept ends, and new lines both seen and made."""
    parts = []
    for place, (number, text, trained, special) in enumerate(tokens[:MOST_TOKENS]):
        if place == kept:
            parts.append(f'<div class="cut">{html.escape(locale(Say.cut))}</div>')
        parts.append(token_html(int(number), str(text), bool(trained), bool(special), place >= kept))
    more = ""
    if len(tokens) > MOST_TOKENS:
        more = f'<p class="quiet">{html.escape(locale(Say.shortened(count=f"{MOST_TOKENS:,}")))}</p>'
    return f'<div class="tokens">{"".join(parts)}</div>{more}'


def token_html(number: int, text: str, trained: bool, special: bool, over: bool = False) -> str:
    """One token; its id comes on hover. One that is only a part of a character is a small mark."""
    kinds = ["tok", "learned" if trained else "read"]
    kinds += ["special"] * special + ["over"] * over + ["part"] * (not text)
    lines = visible(text or "·", len(text) or 1).replace("\t", "⇥\t").split("\n")
    shown = '<i class="line">↵</i>\n'.join(lines)
    return f'<span class="{" ".join(kinds)}" title="{number}">{shown}</span>'
