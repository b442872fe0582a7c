"""What takes its time, told while it goes on: a process that inspects a set, or a thread that fetches one."""

import html
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.inspector import Inspector
from workbench.text import Locale, Text

POLL_S = 0.5


class Say:
    rows = Text("{count} rows")
    beginning = Text("beginning")


@dataclass(frozen=True)
class Doing:
    """How far it is."""

    part: float | None = None
    """Of the whole, 0 to 1; None when that can't be told."""
    told: str = ""


@dataclass(frozen=True)
class Done:
    """What came of it."""

    result: Any


def inspect(inspector: Inspector, request: Mapping[str, Any], locale: Locale) -> Iterator[Doing | Done]:
    """What the process beside the page says to a request; UserError as it raises it."""
    yield Doing(None, locale(Say.beginning))
    for news in inspector.ask(request):
        if "result" in news:
            yield Done(news["result"])
        else:
            rows = locale(Say.rows(count=f"{news['rows']:,}")) if news.get("rows") else ""
            yield Doing(news.get("done"), rows)


def beside(work: Callable[[Callable[[Doing], None]], Any]) -> Iterator[Doing | Done]:
    """The same for a function that is given a way to tell how far it is; it runs in a thread, its error is raised here."""
    news: queue.Queue[Doing | Done | Exception] = queue.Queue()

    def run() -> None:
        try:
            news.put(Done(work(news.put)))
        except Exception as error:  # noqa: BLE001 - it is raised again where somebody waits for it
            news.put(error)

    threading.Thread(target=run, daemon=True).start()
    yield Doing()
    while True:
        try:
            latest = news.get(timeout=POLL_S)
        except queue.Empty:
            continue
        while isinstance(latest, Doing) and not news.empty():
            latest = news.get()
        if isinstance(latest, Exception):
            raise latest
        yield latest
        if isinstance(latest, Done):
            return


def bar(doing: Doing) -> str:
    """A progress bar with its words."""
    part = min(1.0, max(0.0, doing.part)) if doing.part is not None else None
    percent = f"{part:.0%}" if part is not None else ""
    words = " · ".join(html.escape(word) for word in (percent, doing.told) if word)
    return (
        f'<div class="live working" role="status"><div class="bar{"" if part is not None else " unknown"}">'
        f'<div class="fill" style="width: {100 * (part or 0):.1f}%"></div></div><p class="quiet">{words}</p></div>'
    )
