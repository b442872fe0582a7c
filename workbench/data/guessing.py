"""Which format a table's rows are of, and what its columns and roles are called. Knows no file and no page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType

from workbench import formats
from workbench.data.columns import Found, columns_of, tags_of, words_match
from workbench.formats import Fault, Layout, Row, Sample
from workbench.sockets import plugins
from workbench.text import Message, Text

ROWS = 200
"""As many rows are looked at at most."""
ENOUGH = 0.8
"""A guess is certain when at least this share of the rows can be read with it."""

EXTRA = ("system", "tools", "images", "videos", "audios")
"""Columns that may stand beside any conversation."""


class Say:
    question = Text("Question")
    query = Text("Input to the question")
    response = Text("Answer")
    reasoning = Text("Thought before the answer")
    system = Text("System text")
    history = Text("Earlier turns")
    messages = Text("Messages")
    tools = Text("Tools on offer")
    chosen = Text("Better answer")
    rejected = Text("Worse answer")
    label = Text("Good or bad")
    text = Text("Text")
    images = Text("Images")
    videos = Text("Videos")
    audios = Text("Sound")
    by_name = Text("'{column}' is read as: {meaning}. Its name says so.")
    by_values = Text("'{column}' is read as: {meaning}. What it holds looks like that.")
    by_columns = Text("The columns are those of the format {format}.")
    unknown_roles = Text("The roles {roles} are read by their places: the first asks, the next answers.")
    fits = Text("{read} of the first {total} rows can be read this way.")
    nothing = Text("No column looks like a question, an answer, messages or text. Choose the columns.")


LABELS: Mapping[str, Text] = {
    "messages": Say.messages,
    "prompt": Say.question,
    "query": Say.query,
    "response": Say.response,
    "completion": Say.response,
    "chosen": Say.chosen,
    "rejected": Say.rejected,
    "kto_tag": Say.label,
    "text": Say.text,
    "reasoning": Say.reasoning,
    "system": Say.system,
    "history": Say.history,
    "tools": Say.tools,
    "images": Say.images,
    "videos": Say.videos,
    "audios": Say.audios,
}
"""What a person reads for our name of a column, in the order of a form."""


@dataclass(frozen=True)
class Guess:
    """How rows are probably written."""

    format: str
    layout: Layout
    certain: bool
    """Names and values agree and most rows can be read; otherwise a person should look."""
    reasons: Sequence[Message] = ()


@dataclass(frozen=True)
class Column:
    """One of our columns that a person can give a column of the file."""

    name: str
    label: Text
    needed: bool


@dataclass(frozen=True)
class Plan:
    """A format with its columns on the way to a guess."""

    format: str
    columns: Mapping[str, Found] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    ranking: bool = False
    reasons: Sequence[Message] = ()
    sure: bool = True


def columns_for(name: str, ranking: bool = False) -> list[Column]:
    """The columns of a format that can be mapped, in the order of a form. Needed: the example can't be read without."""
    module = plugins(formats)[name]
    layout = Layout(module.COLUMNS, module.TAGS)
    needed = {
        ours
        for ours, theirs in module.COLUMNS.items()
        if isinstance(module.sample({**module.EXAMPLE, theirs: None}, layout), Fault)
    }
    if ranking and "chosen" in module.COLUMNS:
        needed = needed - {"response"} | {"chosen", "rejected"}
    return [Column(ours, LABELS[ours], ours in needed) for ours in LABELS if ours in module.COLUMNS]


def guess(rows: Sequence[Row]) -> Guess:
    """The format, columns and roles of rows, from the first of them. There is always a guess."""
    rows = rows[:ROWS]
    names = list(dict.fromkeys(name for row in rows for name in row))
    known = plugins(formats)
    plans = [*_plans(rows, names), *_by_columns(known, names)]
    guesses = [_tried(plan, known[plan.format], rows) for plan in plans if plan.format in known]
    if not guesses:
        return _tried(Plan("alpaca", reasons=[Say.nothing()], sure=False), known["alpaca"], rows)[1]
    return max(guesses, key=lambda one: one[0])[1]


def _by_columns(known: Mapping[str, ModuleType], names: Sequence[str]) -> list[Plan]:
    """The formats whose own rule takes these columns, with their usual names."""
    return [
        Plan(name, reasons=[Say.by_columns(format=name)]) for name, module in known.items() if module.matches(names)
    ]


def _tried(plan: Plan, module: ModuleType, rows: Sequence[Row]) -> tuple[float, Guess]:
    """The share of rows that the plan reads, and the guess that it is."""
    given = {ours: found.name for ours, found in plan.columns.items()}
    columns = {
        ours: given.get(ours, "" if theirs in given.values() else theirs) for ours, theirs in module.COLUMNS.items()
    }
    layout = Layout({**columns, **given}, {**module.TAGS, **plan.tags}, plan.ranking)
    read = sum(_reads(module.sample(row, layout)) for row in rows)
    share = read / len(rows) if rows else 0.0
    reasons = [
        (Say.by_name if found.by_name else Say.by_values)(column=found.name, meaning=LABELS[ours]())
        for ours, found in plan.columns.items()
    ]
    certain = plan.sure and share >= ENOUGH and all(found.by_name for found in plan.columns.values())
    fits = Say.fits(read=read, total=len(rows))
    return share, Guess(plan.format, layout, certain, [*plan.reasons, *reasons, fits])


def _reads(result: Sample | Fault) -> bool:
    return isinstance(result, Sample) or result.safe


def _plans(rows: Sequence[Row], names: Sequence[str]) -> list[Plan]:
    """What the names and the values of the columns say, the likeliest first."""
    found = columns_of(rows, names)
    extra = {name: one for name, one in found.items() if name in EXTRA}
    if "chosen" in found and "rejected" in found:
        return _ranked(rows, names, found, extra)
    if "messages" in found:
        label = {"kto_tag": found["kto_tag"]} if "kto_tag" in found else {}
        return [_talk(rows, {"messages": found["messages"], **label, **extra})]
    if "prompt" in found and "response" in found:
        return [_asked(names, found, extra)]
    if "text" in found:
        return [Plan("text", {"text": found["text"]})]
    return []


def _talk(rows: Sequence[Row], columns: Mapping[str, Found], ranking: bool = False) -> Plan:
    tags, strange = tags_of(rows, columns["messages"].name)
    reasons = [Say.unknown_roles(roles=", ".join(strange))] if strange else []
    name = "sharegpt" if tags.get("role_tag") == "from" else "openai"
    return Plan(name, columns, tags, ranking, reasons, not strange)


def _ranked(
    rows: Sequence[Row], names: Sequence[str], found: Mapping[str, Found], extra: Mapping[str, Found]
) -> list[Plan]:
    pair = {"chosen": found["chosen"], "rejected": found["rejected"]}
    if "messages" in found:
        return [_talk(rows, {"messages": found["messages"], **pair, **extra}, ranking=True)]
    asked = {"prompt": found["prompt"]} if "prompt" in found else {}
    more = {name: found[name] for name in ("query", "history") if name in found}
    if asked and (more or words_match("instruction", names)):
        return [Plan("alpaca", {**asked, **more, **pair, **extra}, ranking=True)]
    return [Plan("preference", {**asked, **pair, **extra})]


def _asked(names: Sequence[str], found: Mapping[str, Found], extra: Mapping[str, Found]) -> Plan:
    """A question and an answer in columns of their own."""
    thought = {"reasoning": found["reasoning"]} if "reasoning" in found else {}
    answered = {"prompt": found["prompt"], "response": found["response"]}
    more = {name: found[name] for name in ("query", "history") if name in found}
    label = {"kto_tag": found["kto_tag"]} if "kto_tag" in found else {}
    if more or not (label or {"prompt", "completion"} <= set(names)):
        return Plan("alpaca", {**answered, **more, **thought, **label, **extra})
    columns = {"prompt": found["prompt"], "completion": found["response"]}
    return Plan("kto" if label else "prompt_completion", {**columns, **label, **({} if label else thought), **extra})
