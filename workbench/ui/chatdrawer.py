"""The drawer of Chat: how it is asked, tools, the engine's own fields. Knows no server and no conversation."""

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from workbench.conversations import read_tools
from workbench.problems import UserError
from workbench.sampling import PRESETS, preset
from workbench.specs import ServeSpec
from workbench.text import Text
from workbench.ui.chatroom import ENGINE, Room
from workbench.ui.desk import Desk
from workbench.ui.form import shown

FIRST = ("system", "temperature", "top_p", "max_new_tokens", "sampling_seed")
"""In plain sight; the other fields of an answer stand in a fold."""
EXAMPLE = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Say:
    exact = Text("Exact")
    balanced = Text("Balanced")
    lively = Text("Lively")
    more = Text("More about answers")
    tools = Text("Tools")
    tools_help = Text("Functions that the model may call, as JSON in OpenAI's shape. Empty: none.")
    tools_ready = Text("Offered: {names}")
    advanced = Text("Advanced")


NAMES: Mapping[str, Text] = {"exact": Say.exact, "balanced": Say.balanced, "lively": Say.lively}


def furnish_drawer(room: Room) -> None:
    """Presets and the usual fields, then the folds."""
    desk, knobs = room.desk, room.sampling.knobs
    with gr.Row(elem_id="presets"):
        for name in PRESETS:
            room.presets[name] = desk.button(NAMES[name], min_width=60, size="sm", elem_id=f"preset-{name}")
    for key in FIRST:
        room.sampling.field(key, **({"lines": 3, "max_lines": 6} if key == "system" else {}))
    with _fold(desk, Say.more, "chat-more"):
        for key in knobs:
            if key not in FIRST:
                room.sampling.field(key)
    with _fold(desk, Say.tools, "chat-tools"):
        room.tools = desk.words(
            gr.Textbox,
            lambda locale: {"label": locale(Say.tools), "info": locale(Say.tools_help)},
            lines=4,
            max_lines=14,
            placeholder=json.dumps(EXAMPLE, indent=1),
            elem_id="field-tools",
            elem_classes=["field", "code"],
        )
        room.tools_told = gr.HTML("", elem_id="tools-told", apply_default_css=False)
    with _fold(desk, Say.advanced, "chat-advanced"):
        for key, knob in room.engine.knobs.items():
            if knob.place == ENGINE:
                room.engine.field(key, visible=knob.plugin in (None, room.engine.knobs[engine_key()].default))


def _fold(desk: Desk, title: Text, name: str) -> Any:
    return desk.words(
        gr.Accordion, lambda locale: {"label": locale(title)}, open=False, elem_id=name, elem_classes=["section"]
    )


def engine_key() -> str:
    """The key that names the engine."""
    _, key = ServeSpec.CHOICES[ENGINE]
    return str(key)


def engine_fields(room: Room, chosen: str) -> list[Any]:
    """An update for every field of the advanced fold: those of the chosen engine are seen."""
    return [
        gr.update(visible=room.engine.knobs[key].plugin in (None, chosen)) if key != engine_key() else gr.skip()
        for key in room.engine.fields
    ]


def chooser(room: Room) -> Any:
    """The component that names the engine."""
    return room.engine.fields[engine_key()]


def engine_values(room: Room, values: Sequence[Any]) -> dict[str, Any]:
    """The advanced fold's values that the chosen engine has."""
    given = room.engine.flat(values)
    engine, knobs = given[engine_key()], room.engine.knobs
    return {
        key: value for key, value in given.items() if knobs[key].place == ENGINE and knobs[key].plugin in (None, engine)
    }


def bind_drawer(room: Room) -> None:
    """Presets fill their fields; tools are checked as they are typed; the engine's fields follow the engine."""
    desk, quiet = room.desk, {"show_progress": "hidden"}
    for name, button in room.presets.items():
        values = preset(name)
        button.click(
            lambda values=values: [shown(room.sampling.knobs[key], value) for key, value in values.items()],
            None,
            [room.sampling.fields[key] for key in values],
            **quiet,
        )
    checked = [room.tools_told]
    room.tools.change(
        lambda text, language: tools_line(room, text, language),
        [room.tools, desk.language],
        checked,
        trigger_mode="multiple",  # the change is deferred by another listener already
        **quiet,
    )
    desk.retellings.append((lambda text, language: tools_line(room, text, language), [room.tools, desk.language], checked))
    chooser(room).change(lambda chosen: engine_fields(room, chosen), chooser(room), room.engine.components, **quiet)


def tools_line(room: Room, text: str, language: str) -> str:
    """Which tools are offered, or what is wrong with them."""
    locale = room.desk.locale(language)
    try:
        names = [one["function"]["name"] for one in read_tools(text or "")]
    except UserError as error:
        return f'<p class="wrong" role="alert">{html.escape(locale(error.problems[0].message))}</p>'
    return f'<p class="quiet">{html.escape(locale(Say.tools_ready(names=", ".join(names))))}</p>' if names else ""
