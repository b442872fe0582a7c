"""The drop-downs that say how a file is written: the format, its columns by our names, its roles. Knows no set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from workbench import formats
from workbench.data.guessing import Column, columns_for
from workbench.formats import TAG_NAMES, Layout
from workbench.sockets import plugins
from workbench.text import Locale, Text
from workbench.ui.desk import Desk

SLOTS = 10
"""Most columns that one format can read and a person can name."""
NOT_READ = {"images", "videos", "audios"}
PAIR = {"chosen", "rejected"}


class Say:
    format = Text("Format")
    ranking = Text("Each row holds a better and a worse answer")
    roles = Text("Keys and roles of the messages")
    nothing = Text("none")
    needed = Text("{label} (needed)")
    role_tag = Text("Key of the role")
    content_tag = Text("Key of the text")
    user_tag = Text("Role: question")
    assistant_tag = Text("Role: answer")
    observation_tag = Text("Role: tool result")
    function_tag = Text("Role: tool call")
    system_tag = Text("Role: system")
    alpaca = Text("Question and answer (alpaca)")
    sharegpt = Text("Conversations (sharegpt)")
    openai = Text("Messages (openai)")
    preference = Text("Pairs of answers (preference)")
    kto = Text("Answers marked good or bad (kto)")
    prompt_completion = Text("Prompt and completion")
    text = Text("Running text")


FORMATS: Mapping[str, Text] = {
    "alpaca": Say.alpaca,
    "sharegpt": Say.sharegpt,
    "openai": Say.openai,
    "preference": Say.preference,
    "kto": Say.kto,
    "prompt_completion": Say.prompt_completion,
    "text": Say.text,
}
"""Words for the formats that ship; another one is shown by its name."""
TAGS: Mapping[str, Text] = {
    "role_tag": Say.role_tag,
    "content_tag": Say.content_tag,
    "user_tag": Say.user_tag,
    "assistant_tag": Say.assistant_tag,
    "observation_tag": Say.observation_tag,
    "function_tag": Say.function_tag,
    "system_tag": Say.system_tag,
}


@dataclass(frozen=True)
class Mapped:
    """What a person says of a file."""

    format: str
    columns: Mapping[str, str]
    """Our name to the file's, of those that the file has; "" for one that is not to be read, whatever its usual name."""
    tags: Mapping[str, str]
    ranking: bool

    def layout(self) -> Layout:
        """As a reader takes it: usual names where nothing is said."""
        module = plugins(formats)[self.format]
        return Layout({**module.COLUMNS, **self.columns}, {**module.TAGS, **self.tags}, self.ranking)


def format_choices(locale: Locale) -> list[tuple[str, str]]:
    """Every format in words."""
    return [(locale(FORMATS[name]) if name in FORMATS else name, name) for name in plugins(formats)]


@dataclass
class MapForm:
    """The components. ``prefix`` tells two such forms on one page apart."""

    desk: Desk
    prefix: str
    format: Any = None
    ranking: Any = None
    slots: list[Any] = field(default_factory=list)
    fold: Any = None
    tags: list[Any] = field(default_factory=list)

    @property
    def components(self) -> list[Any]:
        """What ``read`` takes, in its order."""
        return [self.format, self.ranking, *self.slots, *self.tags]

    @property
    def shown(self) -> list[Any]:
        """What ``show`` updates."""
        return [*self.components, self.fold]

    def build(self) -> "MapForm":
        """Make them, here on the page."""
        desk, prefix = self.desk, self.prefix
        with gr.Row(elem_classes=["fields"]):
            self.format = desk.words(
                gr.Dropdown,
                lambda locale: {"label": locale(Say.format), "choices": format_choices(locale)},
                elem_id=f"{prefix}-format",
                min_width=200,
                scale=2,
            )
            self.ranking = desk.words(
                gr.Checkbox, lambda locale: {"label": locale(Say.ranking)}, elem_id=f"{prefix}-ranking", min_width=200
            )
        with gr.Row(elem_classes=["fields", "mapping"]):
            for number in range(SLOTS):
                slot = gr.Dropdown([], label="", visible=False, elem_id=f"{prefix}-column-{number}", min_width=150)
                self.slots.append(slot)
        with (
            desk.words(
                gr.Accordion,
                lambda locale: {"label": locale(Say.roles)},
                open=False,
                visible=False,
                elem_classes=["section"],
            ) as self.fold,
            gr.Row(elem_classes=["fields"]),
        ):
            for name in TAG_NAMES:
                self.tags.append(self._tag(name))
        return self

    def _tag(self, name: str) -> Any:
        return self.desk.words(
            gr.Textbox, lambda locale: {"label": locale(TAGS[name])}, elem_id=f"{self.prefix}-{name}", min_width=120
        )

    def show(self, locale: Locale, mapped: Mapped, file_columns: Sequence[str]) -> dict[Any, Any]:
        """The form for a mapping, with the file's columns to choose from."""
        choices = [(locale(Say.nothing), ""), *((name, name) for name in file_columns)]
        updates: dict[Any, Any] = {
            self.format: gr.update(value=mapped.format),
            self.ranking: gr.update(value=mapped.ranking, visible=_can_rank(mapped.format)),
        }
        mappable = columns_of(mapped.format, mapped.ranking)
        for number, slot in enumerate(self.slots):
            if number >= len(mappable):
                updates[slot] = gr.update(visible=False, value=None, choices=[])
                continue
            column = mappable[number]
            value = mapped.columns.get(column.name, "")
            label = Say.needed(label=column.label()) if column.needed else column.label
            updates[slot] = gr.update(visible=True, label=locale(label), choices=choices, value=value)
        usual = plugins(formats)[mapped.format].TAGS
        updates[self.fold] = gr.update(visible=bool(usual))
        for name, tag in zip(TAG_NAMES, self.tags, strict=True):
            updates[tag] = gr.update(value=mapped.tags.get(name, usual.get(name, "")), visible=name in usual)
        return updates

    def read(self, values: Sequence[Any]) -> Mapped:
        """What the components say. A slot that is empty says that no column is read there."""
        kind, ranking = str(values[0]), bool(values[1])
        slots, tags = values[2 : 2 + SLOTS], values[2 + SLOTS :]
        columns = {
            column.name: str(theirs or "") for column, theirs in zip(columns_of(kind, ranking), slots, strict=False)
        }
        usual = plugins(formats)[kind].TAGS
        named = {name: str(theirs).strip() for name, theirs in zip(TAG_NAMES, tags, strict=True) if theirs}
        return Mapped(kind, columns, {name: theirs for name, theirs in named.items() if name in usual}, ranking)


def columns_of(kind: str, ranking: bool) -> list[Column]:
    """The columns that a person can map: texts only, the two answers only where rows hold two."""
    hidden = NOT_READ if ranking or not _can_rank(kind) else NOT_READ | PAIR
    return [column for column in columns_for(kind, ranking) if column.name not in hidden]


def otherwise(kind: str, ranking: bool, before: Mapped, file_columns: Sequence[str]) -> Mapped:
    """A first mapping for another format: what was said before, then columns of the usual names."""
    usual = {ours: theirs for ours, theirs in plugins(formats)[kind].COLUMNS.items() if theirs in file_columns}
    kept = {
        ours: theirs
        for ours, theirs in before.columns.items()
        if ours in plugins(formats)[kind].COLUMNS and (theirs or kind == before.format)
    }
    return Mapped(kind, {**usual, **kept}, before.tags, ranking and _can_rank(kind))


def _can_rank(kind: str) -> bool:
    """Whether the entry says that its rows hold two answers; formats that are made for pairs need not be told."""
    columns = plugins(formats)[kind].COLUMNS
    return columns.keys() >= PAIR and not columns.keys().isdisjoint({"messages", "response"})
