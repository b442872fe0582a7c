"""The rows of a set, a page at a time, as samples in words. Reads no more of a file than up to the page."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import gradio as gr

from workbench import formats
from workbench.data.datasets import Entry
from workbench.data.samples import Count, Read, count_set, raw_records, read_record, read_set, settled
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.text import Locale, Text
from workbench.ui.data.room import QUIET, Room, filled, pager, problems
from workbench.ui.data.shelf import SHAPES
from workbench.ui.data.turns import reads_html
from workbench.ui.desk import static

PAGE_ROWS = 20


class Say:
    title = Text("Rows")
    span = Text("rows {first} to {last} of {rows}")
    about = Text("rows {first} to {last} of about {rows}")
    go_to = Text("Go to row")


def page_of(entry: Entry, values: Mapping[str, str], start: int, count: int = PAGE_ROWS) -> list[Read]:
    """``count`` rows from row ``start`` (from 0) as they are read; the rows before it are passed over, not read."""
    if entry.num_samples:
        return list(islice(read_set(entry, values), start, start + count))
    entry, _ = settled(entry)
    module = plugins(formats)[entry.format]
    records = islice(raw_records(entry), start, start + count)
    return [read_record(module, entry, number, record, values) for number, record in records]


def num_rows(count: Count) -> int:
    """All rows, those that are left out among them."""
    return count.samples + count.excluded


def span(locale: Locale, start: int, shown: int, count: Count) -> str:
    """Which rows of how many are seen."""
    words = Say.span if count.exact else Say.about
    return locale(words(first=f"{start + 1:,}", last=f"{start + shown:,}", rows=f"{num_rows(count):,}"))


def pages(count: Count) -> int | None:
    """How many pages there are; None where the rows are only estimated."""
    return -(-num_rows(count) // PAGE_ROWS) if count.exact else None


@dataclass(frozen=True)
class Rows:
    """The page of rows."""

    room: Room
    page: Any
    table: Any

    def draw(self, chosen: Mapping[str, Any], page: int, language: str, *values: Any) -> str:
        """One page."""
        locale = self.room.desk.locale(language)
        try:
            return rows_page(locale, self.room.entry(chosen), page, filled(values))
        except UserError as error:
            return problems(locale, error)

    def fill(self, chosen: Mapping[str, Any], language: str, *values: Any) -> dict[Any, Any]:
        """The first page of another set."""
        return {self.page: 0, self.table: self.draw(chosen, 0, language, *values)}

    def act(self, chosen: dict[str, Any], page: int, language: str, *values: Any, **given: Any) -> list[Any]:
        """Previous, Next, or a row by its number."""
        event: gr.EventData = given["event"]
        wanted = page_wanted(event, page)
        return [wanted, self.draw(chosen, wanted, language, *values)]


def page_wanted(event: gr.EventData, page: int) -> int:
    """The page that a press in a pager asks for."""
    if event.action == "page":
        return max(0, int(event.at))
    digits = "".join(one for one in str(event.value) if one.isdecimal())
    return max(0, (int(digits) - 1) // PAGE_ROWS) if digits else page


def rows_page(locale: Locale, entry: Entry, page: int, values: Mapping[str, str]) -> str:
    """A page of rows with its pager above and below."""
    count = count_set(entry, dict(values), None, SHAPES)
    known = pages(count)
    page = min(page, max(0, (known or page + 1) - 1))
    reads = page_of(entry, values, page * PAGE_ROWS)
    told = span(locale, page * PAGE_ROWS, len(reads), count)
    turning = pager(locale, page, known if len(reads) == PAGE_ROWS else page + 1, told)
    label = html.escape(locale(Say.go_to))
    jump = f'<label class="jump">{label} <input type="number" min="1" data-action="row" aria-label="{label}"></label>'
    return f'<div class="turning">{turning}{jump}</div>{reads_html(locale, reads)}<div class="turning">{turning}</div>'


def build_rows_view(room: Room) -> Rows:
    """The page and its state."""
    table = gr.HTML("", js_on_load=static("data.js"), elem_id="data-rows", apply_default_css=False)
    return Rows(room, gr.State(0), table)


def bind_rows(rows: Rows, values: Sequence[Any]) -> None:
    """Turning pages."""
    room = rows.room

    def act(event: gr.EventData, chosen: dict[str, Any], page: int, language: str, *given: Any) -> list[Any]:
        return rows.act(chosen, page, language, *given, event=event)

    rows.table.click(act, [room.chosen, rows.page, room.desk.language, *values], [rows.page, rows.table], **QUIET)


def first_reads(entry: Entry, count: int) -> list[Read]:
    """The first rows of a set or of a file that is not yet one."""
    return page_of(replace(entry, num_samples=None), {}, 0, count)
