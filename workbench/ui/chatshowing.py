"""What Chat shows of a question on its way: panes, buttons, what is in the way, a blind round. Binds nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from workbench.conversations import Turn
from workbench.problems import Problem
from workbench.sampling import SamplingSection, SamplingSpec
from workbench.specs import read_flat
from workbench.text import Text
from workbench.ui.chatroom import Room, head_line
from workbench.ui.chatting import Exchange, Side, facts, messages_of
from workbench.ui.comparing import LETTERS, Speaker, differences, vote_line
from workbench.ui.loading import Say as LoadingSay
from workbench.ui.loading import Standing, stands, wrong

LONGEST_MARKED = 20_000
"""Characters of an answer in which differences are still looked for."""


class Say:
    not_loaded = Text(
        "No model is loaded that could answer. Accepted: a loaded one. Choose who answers, then press Load."
    )
    still_loading = Text("The model is still being loaded. Accepted: a loaded one. Send again as soon as it is.")


def section_of(
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


def in_the_way(now: Standing) -> Problem | None:
    """Why nobody can answer."""
    match now.condition:
        case "ready":
            return None
        case "loading":
            return Problem(Say.still_loading())
        case "lost":
            return Problem(LoadingSay.lost())
    return Problem(Say.not_loaded())


def refused(room: Room, now: Standing, language: str, problem: Problem) -> dict[Any, Any]:
    """Why there is no answer; a model that is gone is no longer shown as loaded."""
    shown = room.stand(Standing() if now.condition == "lost" else now, language)
    return {**shown, room.notice: wrong([problem], room.desk.locale(language))}


def buttons(room: Room, answering: bool) -> dict[Any, Any]:
    return {
        room.send: gr.update(visible=not answering),
        room.stop: gr.update(visible=answering),
        room.clear: gr.update(interactive=not answering),
    }


def writing(room: Room, exchange: Exchange, language: str) -> list[Any]:
    """The panes while answers come; one that is not asked stays as it is."""
    shown = [gr.skip() for _ in room.panes]
    for side in exchange.sides:
        shown[side.pane] = room.pane(side.pane, [*side.chat, side.answer()], language, busy=not side.done)
    return shown


def answered(
    room: Room, exchange: Exchange, seat: str, language: str, panes: Sequence[Any], marking: bool, typed: str
) -> dict[Any, Any]:
    """The panes once all has been said, and what went wrong; a question without any answer stands in its box again, before what
    was ``typed`` there meanwhile."""
    locale = room.desk.locale(language)
    histories = [messages_of(pane) for pane in panes]
    shown = buttons(room, answering=False)
    problems = [side.problem for side in exchange.sides if side.problem is not None]
    if problems:
        now = stands(room.desk.workspace, seat)
        gone = None if all(side.url for side in exchange.sides) else in_the_way(now)
        shown |= refused(room, now, language, gone) if gone else {room.notice: wrong(problems[:1], locale)}
    for side in exchange.sides:
        histories[side.pane] = side.history()
        told = facts(side, exchange.seed, locale) if side.answered else ""
        shown[room.heads[side.pane]] = head_line(shown_model(side), told)
    marks = marks_of([histories[side.pane] for side in exchange.sides]) if marking and len(exchange.sides) > 1 else {}
    for side in exchange.sides:
        at = side.pane
        shown[room.panes[at]] = room.pane(at, histories[at], language, marked=marks.get(at, ()))
    if not any(side.answered for side in exchange.sides):
        last = exchange.sides[0].chat[-1]
        shown[room.box] = "\n\n".join(filter(None, [last["content"], typed])) if last["role"] == "user" else gr.skip()
    return {**shown, room.kept: {"chats": histories}}


def shown_model(side: Side) -> str:
    return Speaker(side.model, side.url).shown


def kept_back(room: Room, exchange: Exchange, language: str, round: Mapping[str, Any]) -> dict[Any, Any]:
    """In a blind round names stay hidden, and the vote is asked for."""
    locale = room.desk.locale(language)
    letters = "".join(LETTERS[side.pane] for side in exchange.sides)
    last = exchange.sides[0].chat[-1]["content"]
    if len(exchange.sides) < 2:
        return {room.heads[side.pane]: head_line(LETTERS[side.pane]) for side in exchange.sides}
    revealed = {
        **round,
        "models": [shown_model(side) for side in exchange.sides],
        "facts": [facts(side, exchange.seed, locale) for side in exchange.sides],
        "question": last,
        "seed": exchange.seed,
    }
    heads = {room.heads[side.pane]: head_line(LETTERS[side.pane]) for side in exchange.sides}
    return {**heads, room.round: revealed, room.vote: vote_line(locale, letters)}


def marks_of(chats: Sequence[Sequence[Turn]]) -> dict[int, Any]:
    """For each pane whose last turn is an answer, that answer with its differences from the others' marked."""
    last = {at: str(chat[-1]["content"]) for at, chat in enumerate(chats) if chat and chat[-1]["role"] == "assistant"}
    if len(last) < 2 or any(len(text) > LONGEST_MARKED for text in last.values()):
        return {}
    return dict(zip(last, differences(list(last.values())), strict=True))
