"""The components of Chat and how they are laid out: who answers, the panes, the line to write in, the settings."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from workbench.sampling import SamplingSpec
from workbench.specs import ServeSpec
from workbench.text import Locale, Text
from workbench.ui.chatting import speakers
from workbench.ui.desk import Desk, static
from workbench.ui.form import Form
from workbench.ui.loading import Standing, answerers, told

TICK_S = 0.7
ENGINE = "engine"
"""The place in a ServeSpec whose fields stand in the advanced fold."""


class Say:
    who = Text("Who answers")
    load = Text("Load")
    unload = Text("Unload")
    compare = Text("Compare with base")
    compare_help = Text("Ask the base model too, beside the tuned one: the same words with the same seed.")
    compare_alone = Text("Only the base model is loaded. Load a run to compare the two.")
    settings = Text("Settings")
    advanced = Text("Advanced")
    send = Text("Send")
    stop = Text("Stop")
    clear = Text("Clear")
    message = Text("Message")
    write = Text("Write a message. Enter sends it, Shift+Enter begins a new line.")
    conversation = Text("Conversation")
    conversation_base = Text("Conversation with the base model")
    empty = Text("The conversation begins with your first message.")
    you = Text("You")
    model = Text("Model")
    copy = Text("Copy")
    copied = Text("Copied")
    nothing = Text("An empty answer.")


@dataclass
class Room:
    """The components of Chat, and what two or more of their handlers show alike."""

    desk: Desk
    sampling: Form
    engine: Form
    seat: Any = None
    """The name of the serve run that this page looks at."""
    who: Any = None
    load: Any = None
    unload: Any = None
    compare: Any = None
    settings: Any = None
    status: Any = None
    timer: Any = None
    sides: list[Any] = field(default_factory=list)
    """The columns of the panes: what was learned, then the base."""
    heads: list[Any] = field(default_factory=list)
    panes: list[Any] = field(default_factory=list)
    notice: Any = None
    box: Any = None
    send: Any = None
    stop: Any = None
    clear: Any = None
    drawer: Any = None
    marked: Any = None
    kept: Any = None
    """What this browser keeps of the conversation."""
    kept_settings: Any = None
    kept_drawer: Any = None
    kept_compare: Any = None
    """Each has one writer: of two that write one state at the same time one is forgotten."""

    @property
    def standing_outputs(self) -> list[Any]:
        """What ``stand`` may update."""
        return [
            self.seat,
            self.status,
            self.timer,
            self.load,
            self.unload,
            self.compare,
            *self.heads,
        ]

    def stand(self, now: Standing, language: str) -> dict[Any, Any]:
        """Everything that shows how it stands with the loaded model."""
        locale = self.desk.locale(language)
        alone = now.condition == "ready" and len(now.models) < 2
        names = speakers(now.models) or ["", ""]
        return {
            self.seat: now.name,
            self.status: f'<div class="live" data-condition="{now.condition}">{told(now, locale)}</div>',
            self.timer: gr.update(active=now.condition == "loading"),
            self.load: gr.update(
                interactive=now.condition != "loading",
                variant="secondary" if now.condition == "ready" else "primary",
            ),
            self.unload: gr.update(interactive=now.condition in ("loading", "ready")),
            self.compare: gr.update(
                interactive=not alone,
                info=locale(Say.compare_alone if alone else Say.compare_help),
                **({"value": False} if alone else {}),
            ),
            **{head: head_line(name) for head, name in zip(self.heads, names, strict=True)},
        }

    def pane(self, at: int, messages: Sequence[Mapping[str, str]], language: str, busy: bool = False) -> dict[str, Any]:
        """The value of a pane."""
        return {"messages": list(messages), "busy": busy, "says": says(self.desk.locale(language), at)}


def head_line(name: str, told: str = "") -> str:
    """What stands above a pane: who answers, and what is told of the last answer."""
    facts = f'<span class="facts">{html.escape(told)}</span>' if told else ""
    return f'<div class="speaking"><h3>{html.escape(name)}</h3>{facts}</div>' if name else ""


def says(locale: Locale, at: int) -> dict[str, str]:
    """The words inside a pane."""
    return {
        "label": locale(Say.conversation_base if at else Say.conversation),
        "empty": locale(Say.empty),
        "you": locale(Say.you),
        "model": locale(Say.model),
        "copy": locale(Say.copy),
        "copied": locale(Say.copied),
        "nothing": locale(Say.nothing),
    }


def furnish(desk: Desk) -> Room:
    """All of it in its place, nothing bound yet."""
    room = Room(desk, Form(desk, SamplingSpec), Form(desk, ServeSpec))
    room.seat, room.marked = gr.State(""), gr.State([])
    room.kept, room.kept_settings = desk.remember("chat"), desk.remember("chat-settings")
    room.kept_drawer, room.kept_compare = desk.remember("chat-drawer"), desk.remember("chat-compare")
    room.timer = gr.Timer(TICK_S, active=False)
    with gr.Row(elem_id="chat", equal_height=False):
        with gr.Column(scale=1, min_width=300, elem_id="chat-main"):
            _head(desk, room)
            with gr.Row(elem_id="panes"):
                for at in range(2):
                    _side(desk, room, at)
            room.notice = gr.HTML("", elem_id="chat-notice", apply_default_css=False)
            _composer(desk, room)
        with gr.Column(scale=0, min_width=270, elem_id="chat-settings") as room.drawer:
            _settings(desk, room)
    return room


def _head(desk: Desk, room: Room) -> None:
    with gr.Row(elem_id="chat-head"):
        room.who = desk.words(
            gr.Dropdown,
            lambda locale: {"label": locale(Say.who), "choices": answerers(desk.workspace, locale)},
            value="",
            elem_id="who",
            elem_classes=["field"],
            scale=6,
            min_width=180,
        )
        room.load = desk.button(Say.load, variant="primary", elem_id="chat-load", scale=0, min_width=84)
        room.unload = desk.button(Say.unload, elem_id="chat-unload", scale=0, min_width=84, interactive=False)
        room.compare = desk.words(
            gr.Checkbox,
            lambda locale: {"label": locale(Say.compare), "info": locale(Say.compare_help)},
            elem_id="compare",
            elem_classes=["field"],
            scale=0,
            min_width=150,
        )
        room.settings = desk.button(Say.settings, elem_id="chat-drawer", scale=0, min_width=84)
    room.status = gr.HTML("", elem_id="chat-status", apply_default_css=False)


def _side(desk: Desk, room: Room, at: int) -> None:
    with gr.Column(elem_classes=["side"], min_width=240, visible=at == 0) as side:
        room.heads.append(gr.HTML("", elem_id=f"speaker-{at}", apply_default_css=False))
        room.panes.append(
            gr.HTML(
                {"messages": [], "busy": False, "says": says(desk.locale(desk.first), at)},
                html_template='<div class="talk" role="log" tabindex="0"></div>',
                js_on_load=static("pane.js"),
                elem_id=f"pane-{at}",
                apply_default_css=False,
            )
        )
    room.sides.append(side)


def _composer(desk: Desk, room: Room) -> None:
    with gr.Row(elem_id="composer"):
        room.box = desk.words(
            gr.Textbox,
            lambda locale: {"label": locale(Say.message), "placeholder": locale(Say.write)},
            show_label=False,
            container=False,
            lines=1,
            max_lines=8,
            elem_id="chat-box",
            scale=1,
            min_width=160,
        )
        room.send = desk.button(Say.send, variant="primary", elem_id="chat-send", scale=0, min_width=84)
        room.stop = desk.button(Say.stop, elem_id="chat-stop", scale=0, min_width=84, visible=False)
        room.clear = desk.button(Say.clear, elem_id="chat-clear", scale=0, min_width=84)


def _settings(desk: Desk, room: Room) -> None:
    """How it is asked, and with which engine it is loaded."""
    for key, knob in room.sampling.knobs.items():
        room.sampling.field(key, **({} if knob.ui.simple or knob.kind != "str" else {"lines": 3, "max_lines": 6}))
    with desk.words(gr.Accordion, lambda locale: {"label": locale(Say.advanced)}, open=False, elem_classes=["section"]):
        for key, knob in room.engine.knobs.items():
            if knob.place == ENGINE:
                shown = knob.plugin in (None, room.engine.knobs[_chooser()].default)
                room.engine.field(key, visible=shown)


def _chooser() -> str:
    """The key that names the engine."""
    _, key = ServeSpec.CHOICES[ENGINE]
    return str(key)


def engine_fields(room: Room, chosen: str) -> list[Any]:
    """An update for every field of the advanced fold: those of the chosen engine are seen."""
    return [
        gr.update(visible=room.engine.knobs[key].plugin in (None, chosen)) if key != _chooser() else gr.skip()
        for key in room.engine.fields
    ]


def chooser(room: Room) -> Any:
    """The component that names the engine."""
    return room.engine.fields[_chooser()]
