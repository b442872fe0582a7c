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
PANES = 4
ENGINE = "engine"
"""The place in a ServeSpec whose fields stand in the advanced fold."""


class Say:
    who = Text("Who answers")
    load = Text("Load")
    unload = Text("Unload")
    compare = Text("Compare")
    compare_help = Text("Ask others too, side by side: the same words with the same seed.")
    count = Text("Panes")
    blind = Text("Blind")
    blind_help = Text("Nobody's name is shown, and the order is drawn, until you have said which answer is better.")
    differences = Text("Differences")
    differences_help = Text("Mark the words in which the last answers differ from the first pane's.")
    answers_here = Text("Answers here")
    settings = Text("Settings")
    send = Text("Send")
    stop = Text("Stop")
    clear = Text("Clear")
    message = Text("Message")
    write = Text("Write a message. Enter sends it, Shift+Enter begins a new line.")
    conversation = Text("Conversation")
    conversation_other = Text("Conversation in pane {number}")
    empty = Text("The conversation begins with your first message.")
    you = Text("You")
    model = Text("Model")
    copy = Text("Copy")
    copied = Text("Copied")
    nothing = Text("An empty answer.")
    edit = Text("Edit")
    again = Text("Again")
    resend = Text("Send again")
    cancel = Text("Cancel")
    thought = Text("Thought")
    thinking = Text("Thinking")
    calls = Text("Calls")
    result = Text("Result")
    give_result = Text("Enter the tool's result, then send it.")
    send_result = Text("Send the result")


@dataclass
class Room:
    """The components of Chat, and what two or more of their handlers show alike."""

    desk: Desk
    sampling: Form
    engine: Form
    keys: dict[str, str] = field(default_factory=dict)
    """Keys of servers that were started here, by run: held in memory alone, since no file may have them."""
    seat: Any = None
    """The name of the serve run that this page looks at."""
    who: Any = None
    wanted: Any = None
    """What follows when another tab wants something loaded or served."""
    load: Any = None
    unload: Any = None
    compare: Any = None
    settings: Any = None
    status: Any = None
    timer: Any = None
    bar: Any = None
    """The line of Compare: how many, blind, differences."""
    count: Any = None
    blind: Any = None
    differences: Any = None
    sides: list[Any] = field(default_factory=list)
    """The columns of the panes."""
    whos: list[Any] = field(default_factory=list)
    """Who answers in each pane, while several do."""
    heads: list[Any] = field(default_factory=list)
    panes: list[Any] = field(default_factory=list)
    round: Any = None
    """Of a blind comparison: the order, and what is to be revealed."""
    vote: Any = None
    notice: Any = None
    box: Any = None
    send: Any = None
    stop: Any = None
    clear: Any = None
    drawer: Any = None
    presets: dict[str, Any] = field(default_factory=dict)
    tools: Any = None
    tools_told: Any = None
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
        return [self.seat, self.status, self.timer, self.load, self.unload, *self.whos, *self.heads]

    def stand(self, now: Standing, language: str) -> dict[Any, Any]:
        """Everything that shows how it stands with the loaded model."""
        locale = self.desk.locale(language)
        names = speakers(now.models, PANES) or [""] * PANES
        return {
            self.seat: now.name,
            self.status: f'<div class="live" data-condition="{now.condition}">{told(now, locale)}</div>',
            self.timer: gr.update(active=now.condition == "loading"),
            self.load: gr.update(
                interactive=now.condition != "loading",
                variant="secondary" if now.condition == "ready" else "primary",
            ),
            self.unload: gr.update(interactive=now.condition in ("loading", "ready")),
            **{
                who: gr.update(choices=[(model, model) for model in now.models], value=name)
                for who, name in zip(self.whos, names, strict=True)
            },
            **{head: head_line(name) for head, name in zip(self.heads, names, strict=True)},
        }

    def pane(
        self,
        at: int,
        messages: Sequence[Mapping[str, Any]],
        language: str,
        busy: bool = False,
        marked: Sequence[Any] = (),
    ) -> dict[str, Any]:
        """The value of a pane; ``marked``: its last answer as pieces of text, each with whether it differs."""
        says = self.says(at, language)
        return {"messages": list(messages), "busy": busy, "says": says, "marked": list(marked)}

    def says(self, at: int, language: str) -> dict[str, str]:
        """The words inside a pane."""
        locale = self.desk.locale(language)
        return {"label": locale(Say.conversation_other(number=at + 1) if at else Say.conversation), **spoken(locale)}

    def shown(self, compare: bool, count: Any) -> int:
        """How many panes are seen."""
        return min(max(int(count or 2), 2), PANES) if compare else 1


def head_line(name: str, told: str = "") -> str:
    """What stands above a pane: who answers, and what is told of the last answer."""
    facts = f'<span class="facts">{html.escape(told)}</span>' if told else ""
    return f'<div class="speaking"><h3>{html.escape(name)}</h3>{facts}</div>' if name else ""


def spoken(locale: Locale) -> dict[str, str]:
    """The words that every pane has."""
    return {
        "empty": locale(Say.empty),
        "you": locale(Say.you),
        "model": locale(Say.model),
        "copy": locale(Say.copy),
        "copied": locale(Say.copied),
        "nothing": locale(Say.nothing),
        "edit": locale(Say.edit),
        "again": locale(Say.again),
        "resend": locale(Say.resend),
        "cancel": locale(Say.cancel),
        "thought": locale(Say.thought),
        "thinking": locale(Say.thinking),
        "calls": locale(Say.calls),
        "result": locale(Say.result),
        "give": locale(Say.give_result),
        "send": locale(Say.send_result),
    }


def furnish(desk: Desk) -> Room:
    """The left side in its place, and the column of the settings, still empty; nothing bound yet."""
    room = Room(desk, Form(desk, SamplingSpec), Form(desk, ServeSpec))
    room.seat, room.marked, room.round = gr.State(""), gr.State([]), gr.State({})
    room.kept, room.kept_settings = desk.remember("chat"), desk.remember("chat-settings")
    room.kept_drawer, room.kept_compare = desk.remember("chat-drawer"), desk.remember("chat-compare")
    room.timer = gr.Timer(TICK_S, active=False)
    with gr.Row(elem_id="chat", equal_height=False):
        with gr.Column(scale=1, min_width=300, elem_id="chat-main"):
            _head(desk, room)
            with gr.Row(elem_id="chat-line"):
                room.status = gr.HTML("", elem_id="chat-status", apply_default_css=False)
                _bar(desk, room)
            with gr.Row(elem_id="panes"):
                for at in range(PANES):
                    _side(desk, room, at)
            room.vote = gr.HTML("", js_on_load=static("data.js"), elem_id="chat-vote", apply_default_css=False)
            room.notice = gr.HTML("", elem_id="chat-notice", apply_default_css=False)
            _composer(desk, room)
        room.drawer = gr.Column(scale=0, min_width=270, elem_id="chat-settings")
    return room


def _head(desk: Desk, room: Room) -> None:
    with gr.Row(elem_id="chat-head"):
        room.who = desk.words(
            gr.Dropdown,
            lambda locale: {"label": locale(Say.who), "choices": answerers(desk.workspace, locale)},
            value="",
            allow_custom_value=True,
            elem_id="who",
            elem_classes=["field"],
            scale=6,
            min_width=180,
        )
        room.load = desk.button(Say.load, variant="primary", elem_id="chat-load", scale=0, min_width=84)
        room.unload = desk.button(Say.unload, elem_id="chat-unload", scale=0, min_width=84, interactive=False)
        room.compare = _box(desk, Say.compare, Say.compare_help, "compare")
        room.settings = desk.button(Say.settings, elem_id="chat-drawer", scale=0, min_width=84)


def _box(desk: Desk, label: Text, sentence: Text, name: str) -> Any:
    return desk.words(
        gr.Checkbox,
        lambda locale: {"label": locale(label), "info": locale(sentence)},
        elem_id=name,
        elem_classes=["field", "compare-box"],
        scale=0,
        min_width=90,
    )


def _bar(desk: Desk, room: Room) -> None:
    with gr.Row(elem_id="compare-bar", visible=False) as room.bar:
        room.count = desk.words(
            gr.Radio,
            lambda locale: {"label": locale(Say.count)},
            choices=[str(count) for count in range(2, PANES + 1)],
            value="2",
            elem_id="compare-count",
            container=False,
            show_label=False,
            scale=0,
            min_width=130,
        )
        room.blind = _box(desk, Say.blind, Say.blind_help, "compare-blind")
        room.differences = _box(desk, Say.differences, Say.differences_help, "compare-differences")


def _side(desk: Desk, room: Room, at: int) -> None:
    with gr.Column(elem_classes=["side"], min_width=200, visible=at == 0) as side:
        room.whos.append(
            desk.words(
                gr.Dropdown,
                lambda locale: {"label": locale(Say.answers_here)},
                choices=[],
                allow_custom_value=True,
                show_label=False,
                container=False,
                visible=False,
                elem_id=f"pane-who-{at}",
                elem_classes=["pane-who"],
            )
        )
        room.heads.append(gr.HTML("", elem_id=f"speaker-{at}", apply_default_css=False))
        room.panes.append(
            gr.HTML(
                room.pane(at, [], desk.first),
                html_template='<div class="talk" role="log" tabindex="0"></div>',
                js_on_load=static("markdown.js") + static("pane.js"),
                elem_id=f"pane-{at}",
                elem_classes=["pane"],
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
