"""The list of the sets: what each teaches, its rows, its size, where it is from, and what is wrong with broken ones."""

import html
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, get_args

import gradio as gr

from workbench.data.datasets import Entry
from workbench.data.samples import SHAPE_WORDS, Count, count_set, read_set, signature
from workbench.formats import Shape
from workbench.problems import Problem, UserError
from workbench.text import Locale, Text
from workbench.ui.data.room import QUIET, SHARED, Room, choice, problems
from workbench.ui.desk import static
from workbench.wording import size

PATIENCE_S = 0.3
"""How long sets are counted before the list is drawn; the browser then asks for the rest."""
LOOKED_ROWS = 50
HUBS = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}
SHAPES: tuple[Shape, ...] = get_args(Shape)


class Say:
    title = Text("Datasets")
    empty = Text("No set is here yet. Drop a file above: it is copied, read and listed.")
    rows = Text("{count} rows")
    about = Text("about {count} rows")
    left_out = Text("{count} left out")
    about_left_out = Text("about {count} left out")
    broken = Text("can't be read")
    files = Text("{count} files")
    counting = Text("counting")


@dataclass(frozen=True)
class Facts:
    """What the list tells of one set."""

    shape: Shape | None = None
    num_bytes: int = 0
    num_files: int = 0
    count: Count | None = None
    """None: not counted yet."""
    problems: Sequence[Problem] = ()


@dataclass
class Shelf:
    """The list's component and what was found out; what was counted is forgotten when a file changes."""

    room: Room
    known: dict[tuple[Any, ...], Facts] = field(default_factory=dict)

    def facts(self, entry: Entry, until: float) -> Facts:
        """What can be told of the set; nothing is counted any more once it is ``until``."""
        try:
            signed = signature(entry)
        except UserError as error:
            return Facts(problems=error.problems)
        key = (entry.name, entry.format, str(entry.layout), entry.num_samples, signed)
        if key in self.known:
            return self.known[key]
        quick = Facts(num_bytes=sum(size_bytes for _, size_bytes, _ in signed), num_files=len(signed))
        if time.monotonic() > until:
            return quick
        self.known[key] = found = look(entry, quick)
        return found

    def draw(self, chosen: Mapping[str, Any], language: str) -> str:
        """The whole list."""
        room, locale, until = self.room, self.room.desk.locale(language), time.monotonic() + PATIENCE_S
        catalogue = room.catalogue()
        odd = [*catalogue.file_problems, *catalogue.notes]
        broken = [problem for problem in catalogue.problems if problem not in odd]
        items = [
            item(locale, entry, self.facts(entry, until), chosen.get("name") == name)
            for name, entry in catalogue.entries.items()
        ]
        items += [broken_item(locale, problem, chosen.get("name")) for problem in broken]
        listed = f"<ul>{''.join(items)}</ul>" if items else f'<p class="empty">{html.escape(locale(Say.empty))}</p>'
        return f"<h3>{html.escape(locale(Say.title))}</h3>{problems(locale, odd)}{listed}"

    def act(self, chosen: dict[str, Any], language: str, event: gr.EventData) -> list[Any]:
        """A set was picked, or the browser asks for what was not counted yet."""
        if event.action == "pick":
            chosen = choice(str(event.at))
            return [chosen, self.draw(chosen, language)]
        return [gr.skip(), self.draw(chosen, language)]


def look(entry: Entry, quick: Facts) -> Facts:
    """Count the set and see what it teaches, by its first rows; a large one is not read whole."""
    try:
        return replace(quick, shape=shape_of(entry), count=count_set(entry, {}, None, SHAPES))
    except UserError as error:
        return replace(quick, problems=error.problems)


def shape_of(entry: Entry) -> Shape | None:
    """What the first rows teach; None when none of them can be read."""
    reads = islice(read_set(replace(entry, num_samples=None)), LOOKED_ROWS)
    return next((read.sample.shape for read in reads if read.sample is not None), None)


def details(locale: Locale, entry: Entry, facts: Facts) -> Iterator[str]:
    """What it teaches, rows, size, where from."""
    if facts.shape:
        yield locale(SHAPE_WORDS[facts.shape])
    if facts.count:
        rows = facts.count.samples + facts.count.excluded
        yield locale((Say.rows if facts.count.exact else Say.about)(count=f"{rows:,}"))
    elif not facts.problems:
        yield locale(Say.counting)
    if facts.num_bytes:
        yield size(facts.num_bytes)
    if facts.num_files > 1:
        yield locale(Say.files(count=facts.num_files))
    yield f"{HUBS[entry.source.hub]} {entry.source.id}" if entry.source else where(entry)


def where(entry: Entry) -> str:
    """The file or folder; of one that is called as the set only its kind."""
    return entry.place.suffix.lstrip(".") if entry.place.stem == entry.name else entry.place.name


def item(locale: Locale, entry: Entry, facts: Facts, chosen: bool) -> str:
    """One set as a button."""
    told = " · ".join(html.escape(words) for words in details(locale, entry, facts))
    lost = ""
    if facts.count and facts.count.excluded:
        say = Say.left_out if facts.count.exact else Say.about_left_out
        lost = locale(say(count=f"{facts.count.excluded:,}"))
    reasons = " ".join(locale(_reason(problem)) for problem in facts.problems)
    pending = "" if facts.count or facts.problems else " data-pending"
    return _button(entry.name, chosen, f"<small{pending}>{told}</small>", lost, reasons)


def broken_item(locale: Locale, problem: Problem, chosen: Any) -> str:
    """An entry that can't be read, with its reason."""
    name = str(problem.message.args["name"])
    words = f"<small>{html.escape(locale(Say.broken))}</small>"
    return _button(name, chosen == name, words, "", locale(_reason(problem)))


def _reason(problem: Problem) -> Any:
    """Only why: the name of the set stands above it."""
    return problem.message.args.get("reason", problem.message)


def _button(name: str, chosen: bool, told: str, warned: str, wrong: str) -> str:
    safe = html.escape(name, quote=True)
    warning = f'<small class="warned">{html.escape(warned)}</small>' if warned else ""
    reason = f'<small class="wrong">{html.escape(wrong)}</small>' if wrong else ""
    pressed = "true" if chosen else "false"
    return (
        f'<li><button type="button" data-action="pick" data-at="{safe}" aria-pressed="{pressed}">'
        f"<b>{safe}</b>{told}{warning}{reason}</button></li>"
    )


def build_shelf(room: Room) -> Shelf:
    """The list, which is drawn anew when the tab is opened, when another set is chosen and when sets change."""
    shelf, desk = Shelf(room), room.desk
    room.shelf = gr.HTML("", js_on_load=static("data.js"), elem_id="shelf", apply_default_css=False)
    inputs = [room.chosen, desk.language]
    room.shelf.click(shelf.act, inputs, [room.chosen, room.shelf], **QUIET)
    room.chosen.change(shelf.draw, inputs, room.shelf, **SHARED)
    desk.tabs.select(shelf.draw, inputs, room.shelf, **QUIET)
    desk.retellings.append((shelf.draw, inputs, [room.shelf]))
    return shelf
