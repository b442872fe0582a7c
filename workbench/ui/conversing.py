"""What Send, Stop, Clear and the settings do in Chat. Knows who answers only from the server's own words."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.problems import Problem
from workbench.sampling import SamplingSection, SamplingSpec
from workbench.specs import read_flat
from workbench.text import Text
from workbench.ui.chatroom import Room, head_line
from workbench.ui.chatting import Exchange, Lines, facts, messages_of, sides_of
from workbench.ui.desk import Arrival
from workbench.ui.loading import Say as LoadingSay
from workbench.ui.loading import Standing, stands, wrong

MANY = 64
"""So many visitors may be answered at the same time."""
SEEDS = 1_000_000
"""A seed that nobody chose is below it, so that it is quickly typed again."""


class Say:
    not_loaded = Text(
        "No model is loaded that could answer. Accepted: a loaded one. Choose who answers, then press Load."
    )
    still_loading = Text("The model is still being loaded. Accepted: a loaded one. Send again as soon as it is.")


@dataclass(frozen=True)
class Conversing:
    """What the conversation does: a question is sent, its answers are heard, and then it is finished."""

    room: Room
    lines: Lines

    def send(
        self,
        request: gr.Request,
        seat: str,
        language: str,
        compare: bool,
        left: Any,
        right: Any,
        text: str,
        *values: Any,
    ) -> dict[Any, Any]:
        visitor = str(request.session_hash)
        if not text.strip() or self.lines.get(visitor) is not None:
            return {self.room.notice: ""}
        section, updates = _section(self.room, language, values)
        now = stands(self.room.desk.workspace, seat)
        problem = _in_the_way(now)
        if section is None or problem is not None:
            return updates if problem is None else {**updates, **_refused(self.room, now, language, problem)}
        chats = [messages_of(pane) for pane in ((left, right) if compare else (left,))]
        seed = secrets.randbelow(SEEDS) if section.sampling_seed is None else section.sampling_seed
        exchange = Exchange(now.url, sides_of(now.models, chats, text.strip()), section, seed)
        self.lines.open(visitor, exchange)
        panes = dict(zip(self.room.panes, _writing(self.room, exchange, language), strict=True))
        return {**updates, **panes, **_buttons(self.room, answering=True), self.room.box: ""}

    def hear(self, request: gr.Request, language: str) -> Iterator[list[Any]]:
        exchange = self.lines.get(str(request.session_hash))
        if exchange is None:
            yield [gr.skip(), gr.skip()]
            return
        try:
            for _ in exchange.follow():
                yield _writing(self.room, exchange, language)
        except GeneratorExit:  # the visitor has left
            self.lines.close(str(request.session_hash))
            raise

    def finish(self, request: gr.Request, seat: str, language: str, left: Any, right: Any) -> dict[Any, Any]:
        exchange = self.lines.close(str(request.session_hash))
        return (
            _answered(self.room, exchange, seat, language, (left, right)) if exchange else {self.room.notice: gr.skip()}
        )

    def clear(self, language: str) -> dict[Any, Any]:
        panes = {pane: self.room.pane(at, [], language) for at, pane in enumerate(self.room.panes)}
        return {**panes, self.room.notice: "", self.room.kept: {}}

    def heed(self, language: str, marked: Sequence[str], *values: Any) -> dict[Any, Any]:
        _, updates = _section(self.room, language, values, marked)
        del updates[self.room.notice]  # it tells of the last question, not of what is typed for the next one
        return {**updates, self.room.kept_settings: self.room.sampling.flat(values)}

    def fold(self, drawer: dict[str, Any]) -> list[Any]:
        opened = not drawer.get("open", True)
        return [gr.update(visible=opened), {"open": opened}]

    def retell(self, language: str, *panes: Any) -> list[Any]:
        return [self.room.pane(at, messages_of(pane), language) for at, pane in enumerate(panes)]


def bind_asking(room: Room) -> None:
    """Everything of the conversation."""
    desk, side = room.desk, Conversing(room, Lines())
    fields = room.sampling.components
    under = [room.notice, room.box, room.send, room.stop, room.clear]
    quiet: dict[str, Any] = {"show_progress": "hidden"}
    # Only the panes are outputs of what comes word by word: the page draws every output of every turn.
    gr.on(
        [room.box.submit, room.send.click],
        side.send,
        [room.seat, desk.language, room.compare, *room.panes, room.box, *fields],
        [*room.standing_outputs, *room.panes, *fields, room.marked, *under],
        trigger_mode="once",
        **quiet,
    ).then(side.hear, desk.language, room.panes, concurrency_limit=MANY, **quiet).then(
        side.finish,
        [room.seat, desk.language, *room.panes],
        [*room.standing_outputs, *room.panes, *under, room.kept],
        **quiet,
    )
    room.stop.click(_stopping(side.lines), None, None, queue=False, **quiet)
    room.clear.click(side.clear, desk.language, [*room.panes, room.notice, room.kept], **quiet)
    gr.on(
        [field.change for field in fields],
        side.heed,
        [desk.language, room.marked, *fields],
        [*fields, room.marked, room.kept_settings],
        trigger_mode="always_last",
        **quiet,
    )
    desk.retellings.append((side.retell, [desk.language, *room.panes], room.panes))
    room.settings.click(side.fold, room.kept_drawer, [room.drawer, room.kept_drawer], **quiet)
    kept = [room.kept, room.kept_settings, room.kept_drawer]
    desk.arrivals.append(Arrival(_welcome(room), [*room.panes, *fields, room.drawer], kept))


def _stopping(lines: Lines) -> Any:
    def stop(request: gr.Request) -> None:
        exchange = lines.get(str(request.session_hash))
        if exchange is not None:
            exchange.stop()

    return stop


def _section(
    room: Room, language: str, values: Sequence[Any], marked: Sequence[str] | None = None
) -> tuple[SamplingSection | None, dict[Any, Any]]:
    """The settings, None when some are not accepted, and the marks beside them. Without ``marked`` all are marked anew.

    What is wrong is also told above the line to write in when all are marked anew, since the settings may be folded away.
    """
    fields = room.sampling.fields
    reading = read_flat(SamplingSpec, room.sampling.flat(values))
    updates, wrongly = room.sampling.mark(reading.problems, list(fields) if marked is None else marked, language)
    tell = reading.problems and marked is None
    notice = wrong(reading.problems, room.desk.locale(language)) if tell else ""
    shown = {**dict(zip(fields.values(), updates, strict=True)), room.marked: wrongly, room.notice: notice}
    return (reading.spec.sampling if reading.spec else None), shown


def _in_the_way(now: Standing) -> Problem | None:
    """Why nobody can answer."""
    match now.condition:
        case "ready":
            return None
        case "loading":
            return Problem(Say.still_loading())
        case "lost":
            return Problem(LoadingSay.lost())
    return Problem(Say.not_loaded())


def _refused(room: Room, now: Standing, language: str, problem: Problem) -> dict[Any, Any]:
    """Why there is no answer; a model that is gone is no longer shown as loaded."""
    shown = room.stand(Standing() if now.condition == "lost" else now, language)
    return {**shown, room.notice: wrong([problem], room.desk.locale(language))}


def _buttons(room: Room, answering: bool) -> dict[Any, Any]:
    return {
        room.send: gr.update(visible=not answering),
        room.stop: gr.update(visible=answering),
        room.clear: gr.update(interactive=not answering),
    }


def _writing(room: Room, exchange: Exchange, language: str) -> list[Any]:
    """The panes while answers come; one that is not asked stays as it is."""
    shown = [gr.skip() for _ in room.panes]
    for at, side in enumerate(exchange.sides):
        said = [*side.chat, {"role": "assistant", "content": side.text}]
        shown[at] = room.pane(at, said, language, busy=not side.done)
    return shown


def _answered(room: Room, exchange: Exchange, seat: str, language: str, panes: Sequence[Any]) -> dict[Any, Any]:
    """The panes once all has been said, and what went wrong; a question without any answer stands in its box again."""
    locale = room.desk.locale(language)
    histories = [messages_of(pane) for pane in panes]
    shown = _buttons(room, answering=False)
    problems = [side.problem for side in exchange.sides if side.problem is not None]
    if problems:
        now = stands(room.desk.workspace, seat)
        gone = _in_the_way(now)
        shown |= _refused(room, now, language, gone) if gone else {room.notice: wrong(problems[:1], locale)}
    for at, side in enumerate(exchange.sides):
        histories[at] = side.history()
        shown[room.panes[at]] = room.pane(at, histories[at], language)
        told = facts(side, exchange.seed, locale) if side.answered else ""
        shown[room.heads[at]] = head_line(side.model, told)
    if not any(side.answered for side in exchange.sides):
        shown[room.box] = exchange.sides[0].chat[-1]["content"]
    return {**shown, room.kept: {"chats": histories}}


def _welcome(room: Room) -> Any:
    """A visitor finds conversation and settings as they were left."""

    def arrive(
        language: str,
        prefs: Mapping[str, Any],
        kept: Mapping[str, Any],
        settings: Mapping[str, Any],
        drawer: Mapping[str, Any],
    ) -> list[Any]:
        chats = [*(kept.get("chats") or []), [], []]
        panes = [room.pane(at, messages_of({"messages": chats[at]}), language) for at in range(len(room.panes))]
        return [
            *panes,
            *room.sampling.fill(settings),
            gr.update(visible=drawer.get("open", True)),
        ]

    return arrive
