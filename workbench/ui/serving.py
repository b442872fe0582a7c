"""The fold of Chat that opens the API for other programs: host, port, key, what to enter there, Stop, scripts."""

import html
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.ports import check_free, is_loopback
from workbench.problems import Problem, UserError
from workbench.runs import list_runs
from workbench.talk import lets_in
from workbench.text import Locale, Text, verbatim
from workbench.ui.chatdrawer import engine_values
from workbench.ui.chatroom import TICK_S, Room
from workbench.ui.chatting import KEY_VARIABLE, speakers
from workbench.ui.clients import Server, clients, copy_button
from workbench.ui.desk import Arrival, static
from workbench.ui.launchers import PORT, write_launchers
from workbench.ui.loading import (
    EXPORTED,
    Standing,
    begin,
    end,
    is_ours,
    is_run,
    serve_spec,
    standing,
    stands,
    told,
    wrong,
)
from workbench.ui.seating import SHARED, Seating, alone, growing

FIELDS = ("api_host", "api_port", "api_allowed_origins")


class Say:
    title = Text("API for other programs")
    start = Text("Start API")
    stop = Text("Stop API")
    script = Text("Write a launch script")
    key = Text("Key")
    key_help = Text(
        "What clients must send. It is held by the server's process alone and written nowhere. Empty: none, on this "
        "machine only."
    )
    needs_key = Text(
        "Host '{given}' lets other machines in. Accepted: 127.0.0.1, or a key. Enter a key, or choose 127.0.0.1."
    )
    none = Text("No API is open. Who answers above is what it will serve.")
    open = Text("open")
    asks = Text("It asks for the key that it was started with.")
    forgotten = Text(
        "Its key is not known here any more, since the window was opened anew: other programs reach it as before, Chat does "
        "not. Enter the key above and press Enter, or stop the API and start it again."
    )
    wrong_key = Text(
        "The open API does not take this key. Accepted: the one it was started with. Enter that one, or stop the API and "
        "start it again."
    )
    written = Text("Written: {files}. A double click opens the API.")


@dataclass
class Panel:
    """The components of the fold."""

    room: Room
    fold: Any = None
    key: Any = None
    start: Any = None
    stop: Any = None
    script: Any = None
    state: Any = None
    told: Any = None
    timer: Any = None

    @property
    def outputs(self) -> list[Any]:
        """What ``show`` may update."""
        return [self.state, self.start, self.stop, self.timer]

    def show(self, language: str) -> dict[Any, Any]:
        """How it stands with the API: of several servers the newest on a port that somebody chose."""
        locale, now = self.room.desk.locale(language), open_api(self.room)
        up = now.condition in ("loading", "ready")
        return {
            self.state: api_state(self.room, now, locale),
            self.start: gr.update(interactive=not up),
            self.stop: gr.update(interactive=up),
            self.timer: gr.update(active=now.condition == "loading"),
        }


def open_api(room: Room) -> Standing:
    """The newest server on a chosen port that runs or has just failed; none otherwise."""
    runs = list_runs(room.desk.workspace, "serve")
    found = [now for now in map(standing, runs) if now.condition != "none" and not is_ours(now)]
    up = [now for now in found if now.condition in ("loading", "ready")]
    return next(iter([*up, *found]), Standing())


def api_state(room: Room, now: Standing, locale: Locale) -> str:
    """The address and what to enter in other programs; or why there is none."""
    if now.condition == "none":
        return f'<p class="quiet">{html.escape(locale(Say.none))}</p>'
    if now.condition != "ready":
        return f'<div class="live" data-condition="{now.condition}">{told(now, locale)}</div>'
    asks = not lets_in(now.url)
    server = Server(now.url, speakers(now.models)[0], asks)
    note = f'<p class="quiet">{html.escape(locale(Say.asks))}</p>' if asks else ""
    if asks and is_forgotten(room, now):
        note = f'<p class="warning" role="status">{html.escape(locale(Say.forgotten))}</p>'
    address = f"{now.url}/v1"
    return (
        f'<div class="live" data-condition="ready"><div class="head"><span class="chip finished" role="status">'
        f'{html.escape(locale(Say.open))}</span><code class="name">{html.escape(address)}</code>'
        f"{copy_button(address, locale)}</div>{note}{clients(server, locale)}</div>"
    )


def is_forgotten(room: Room, now: Standing) -> bool:
    """Whether the open API asks for a key that is not known here: no file has it, so a new window does not either."""
    known = room.keys.get(now.name) or os.environ.get(KEY_VARIABLE) or None
    return now.condition == "ready" and not lets_in(now.url, known)


def furnish_serving(room: Room) -> Panel:
    """The fold's components in their places."""
    desk, panel = room.desk, Panel(room)
    panel.fold = desk.words(
        gr.Accordion, lambda locale: {"label": locale(Say.title)}, open=False, elem_id="chat-api", elem_classes=["section"]
    )
    with panel.fold:
        for key in FIELDS:
            room.engine.field(key, **({"value": str(PORT)} if key == "api_port" else {}))
        panel.key = desk.words(
            gr.Textbox,
            lambda locale: {"label": locale(Say.key), "info": locale(Say.key_help)},
            type="password",
            elem_id="api-key",
            elem_classes=["field"],
        )
        with gr.Row(elem_classes=["presses"]):
            panel.start = desk.button(Say.start, variant="primary", size="sm", min_width=80, elem_id="api-start")
            panel.stop = desk.button(Say.stop, size="sm", min_width=80, elem_id="api-stop", interactive=False)
        panel.script = desk.button(Say.script, size="sm", elem_id="api-script")
        panel.told = gr.HTML("", elem_id="api-told", apply_default_css=False)
        panel.state = gr.HTML("", js_on_load=static("copy.js"), elem_id="api-state", apply_default_css=False)
        panel.timer = gr.Timer(TICK_S, active=False)
    return panel


def bind_serving(panel: Panel, loaders: Sequence[Any]) -> None:
    """What the fold's presses do. ``loaders``: the components of the bar above that say what is loaded, who first."""
    room, desk = panel.room, panel.room.desk
    quiet: dict[str, Any] = {"show_progress": "hidden"}
    fields = [room.engine.fields[key] for key in FIELDS]
    given = [room.seat, desk.language, panel.key, *loaders, *room.engine.components]
    opened = [*room.standing_outputs, *fields, panel.told, *panel.outputs]
    opening = Opening(panel, len(loaders), [one.elem_id.removeprefix("field-") for one in loaders[1:]])
    panel.start.click(opening.start, given, opened, trigger_mode="once", **quiet)
    seen = [panel.fold, room.drawer, room.who, *loaders[1:]]
    wanted = [room.seat, desk.language, panel.key, desk.chat_with, *room.engine.components]
    room.wanted.then(opening.wanted, wanted, [*opened, *seen], **quiet)
    panel.stop.click(opening.stop, [room.seat, desk.language], opened, trigger_mode="once", **quiet)
    gr.on(
        [panel.key.submit, panel.key.blur],
        opening.remember,
        [desk.language, panel.key],
        [panel.told, *panel.outputs],
        **quiet,
    )
    panel.script.click(opening.script, given, [panel.told, *fields], **quiet)
    panel.timer.tick(panel.show, desk.language, panel.outputs, **quiet)
    room.unload.click(panel.show, desk.language, panel.outputs, **quiet)
    room.load.click(panel.show, desk.language, panel.outputs, **quiet)
    desk.tabs.select(panel.show, desk.language, panel.outputs, **quiet)
    desk.retellings.append((panel.show, [desk.language], panel.outputs))

    def arrive(language: str, prefs: Mapping[str, Any]) -> list[Any]:
        shown = panel.show(language)
        return [shown[one] for one in panel.outputs]

    desk.arrivals.append(Arrival(arrive, panel.outputs))


@dataclass(frozen=True)
class Opening:
    """What Start, Stop and the script do."""

    panel: Panel
    loaders: int
    keys: Sequence[str]

    def _values(self, given: Sequence[Any]) -> tuple[str, dict[str, Any]]:
        """Who answers, and the values of what is served."""
        who, *shared = given[: self.loaders]
        engine, room = given[self.loaders :], self.panel.room
        chosen = dict(zip(self.keys, shared, strict=True))
        if is_run(who or ""):
            chosen = {key: value for key, value in chosen.items() if key in SHARED}
        flat = dict(zip(room.engine.fields, engine, strict=True))
        return who or "", {**chosen, **engine_values(room, engine), **_served(flat)}

    def _mark(self, problems: Sequence[Problem], language: str) -> dict[Any, Any]:
        room = self.panel.room
        updates, _ = room.engine.mark(problems, list(FIELDS), language)
        return {
            room.engine.fields[key]: update
            for key, update in zip(room.engine.fields, updates, strict=True)
            if key in FIELDS
        }

    def wanted(
        self, seat: str, language: str, key: str, wanted: Mapping[str, Any], *engine: Any
    ) -> Iterator[dict[Any, Any]]:
        """What another tab wants to be served: a run, a file, or a model as it is."""
        room, panel = self.panel.room, self.panel
        if not wanted.get("api"):
            yield {panel.told: gr.skip()}  # a turn without any would empty every component
            return
        who, model = str(wanted.get("run") or ""), str(wanted.get("model") or "")
        chosen = {**Seating(room).choose(who, language, model), panel.fold: gr.update(open=True), room.drawer: gr.update(visible=True)}
        # What was never seen has no value in the browser yet.
        given = [room.engine.default(key) if one is None else one for key, one in zip(room.engine.fields, engine, strict=True)]
        flat = dict(zip(room.engine.fields, given, strict=True))
        values = {**alone(model), **engine_values(room, given), **_served(flat)}
        yield from growing(self._start(seat, language, key or "", who, values), chosen)

    def start(self, seat: str, language: str, key: str, *given: Any) -> Iterator[dict[Any, Any]]:
        yield from self._start(seat, language, key, *self._values(given))

    def _start(self, seat: str, language: str, key: str, who: str, values: Mapping[str, Any]) -> Iterator[dict[Any, Any]]:
        room, panel = self.panel.room, self.panel
        locale = room.desk.locale(language)
        try:
            spec = serve_spec(room.desk.workspace, who, values)
            serving = spec.serving
            if not is_loopback(serving.api_host) and not key.strip() and not serving.api_key_file:
                raise UserError(Say.needs_key(given=serving.api_host), key="api_host")
            check_free(serving.api_host, serving.api_port, "api_host", "api_port")
            yield {panel.start: gr.update(interactive=False), panel.told: "", **self._mark([], language)}
            loaded = stands(room.desk.workspace, seat)
            if loaded.run is not None and is_ours(loaded):  # one model in memory is enough: Chat talks to the API's
                end(loaded.run)
            run = begin(room.desk.workspace, spec, key.strip())
        except UserError as error:
            yield {**self._mark(error.problems, language), panel.told: wrong(error.problems, locale), **panel.show(language)}
            return
        if key.strip():
            room.keys[run.name] = key.strip()
        yield {**room.stand(standing(run), language), **self._mark([], language), panel.told: "", **panel.show(language)}

    def stop(self, seat: str, language: str) -> dict[Any, Any]:
        room, panel = self.panel.room, self.panel
        now = open_api(room)
        try:
            if now.run is not None:
                end(now.run)
                room.keys.pop(now.name, None)
        except UserError as error:
            return {panel.told: wrong(error.problems, room.desk.locale(language))}
        return {**room.stand(stands(room.desk.workspace, seat), language), panel.told: "", **panel.show(language)}

    def remember(self, language: str, key: str) -> dict[Any, Any]:
        """Take the key of an API that was started before this window was; any other waits for the next start."""
        room, panel, given = self.panel.room, self.panel, (key or "").strip()
        now = open_api(room)
        if not given or not is_forgotten(room, now):
            return {panel.told: gr.skip()}
        if not lets_in(now.url, given):
            return {panel.told: wrong([Problem(Say.wrong_key())], room.desk.locale(language))}
        room.keys[now.name] = given
        return {panel.told: "", **panel.show(language)}

    def script(self, seat: str, language: str, key: str, *given: Any) -> dict[Any, Any]:
        room, panel = self.panel.room, self.panel
        workspace, locale = room.desk.workspace, room.desk.locale(language)
        who, values = self._values(given)
        try:
            spec = serve_spec(workspace, who, values)
            of_run = is_run(who) and not who.startswith(EXPORTED)
            files = write_launchers(workspace, spec, who.partition("/checkpoint-")[0] if of_run else "")
        except UserError as error:
            return {panel.told: wrong(error.problems, locale), **self._mark(error.problems, language)}
        names = ", ".join(file.relative_to(workspace.root).as_posix() for file in files[1:])
        words = html.escape(locale(Say.written(files=verbatim(names))))
        return {panel.told: f'<p class="quiet" role="status">{words}</p>', **self._mark([], language)}


def _served(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Where the API is opened."""
    served = {key: flat[key] for key in FIELDS}
    if str(served["api_port"]).strip() in ("", "0"):  # a free one would be another after every start
        served["api_port"] = str(PORT)
    return served
