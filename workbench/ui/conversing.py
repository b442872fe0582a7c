"""What Send, Stop, Edit, Again and Clear do in Chat. Knows who answers only from the server's own words."""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.conversations import Turn, read_tools
from workbench.problems import Problem, UserError
from workbench.text import Text
from workbench.ui.chatroom import PANES, Room, head_line
from workbench.ui.chatshowing import answered, buttons, in_the_way, kept_back, marks_of, refused, section_of, writing
from workbench.ui.chatting import (
    Exchange,
    Lines,
    Side,
    messages_of,
    question,
    question_at,
    until_question,
    with_results,
)
from workbench.ui.comparing import LETTERS, Speaker, keep_vote, shuffled, speaker, tally_line, told_vote
from workbench.ui.desk import Arrival
from workbench.ui.loading import URLS, stands, wrong

MANY = 64
"""So many visitors may be answered at the same time."""
SEEDS = 1_000_000
"""A seed that nobody chose is below it, so that it is quickly typed again."""
Asked = Sequence[tuple[int, Sequence[Turn]]]
"""Panes, each with the chat that it is to answer."""


class Say:
    busy = Text("An answer is still being written. Accepted: one question at a time. Wait or press Stop, then send again.")


@dataclass(frozen=True)
class Conversing:
    """What the conversation does: a question is sent, its answers are heard, and then it is finished."""

    room: Room
    lines: Lines

    @property
    def inputs(self) -> list[Any]:
        """What a question needs of the page, in the order of ``Page``."""
        room = self.room
        ways = [room.seat, room.desk.language, room.compare, room.count, room.blind, room.round, room.tools, room.box]
        return [*ways, *room.whos, *room.panes, *room.sampling.components]

    @property
    def asking(self) -> list[Any]:
        """What a question changes on the page."""
        room = self.room
        under = [room.notice, room.box, room.send, room.stop, room.clear, room.vote, room.round]
        return [*room.standing_outputs, *room.panes, *room.sampling.components, room.marked, *under]

    def send(self, request: gr.Request, *given: Any) -> dict[Any, Any]:
        page, visitor = Page.of(self.room, given), str(request.session_hash)
        if not page.text.strip():
            return {self.room.notice: ""}
        if self.lines.get(visitor) is not None:
            return self._busy(page)
        chats = [[], [], [], []] if page.begins_a_round else page.chats
        asked = {"role": "user", "content": page.text.strip()}
        begun = self._begin(visitor, page, [(at, [*chats[at], asked]) for at in range(page.shown)])
        return {**begun, self.room.box: ""} if self.lines.get(visitor) else begun

    def act(self, at: int, request: gr.Request, event: gr.EventData, *given: Any) -> dict[Any, Any]:
        """What a press inside a pane asks for: a question put otherwise, an answer anew, a tool's result."""
        page, visitor = Page.of(self.room, given), str(request.session_hash)
        if self.lines.get(visitor) is not None:
            return self._busy(page)
        mine = page.chats[at]
        if event.action == "result":
            results = [str(one) for one in json.loads(event.value)]
            return self._begin(visitor, page, [(at, with_results(mine, results))])
        number = question_at(mine, int(event.at))
        words = str(event.value).strip() if event.action == "edit" else question(mine, number)
        if number < 0 or not words:
            return {self.room.notice: ""}
        asked = {"role": "user", "content": words}
        return self._begin(
            visitor, page, [(one, [*until_question(page.chats[one], number), asked]) for one in range(page.shown)]
        )

    def _busy(self, page: "Page") -> dict[Any, Any]:
        return {self.room.notice: wrong([Problem(Say.busy())], self.room.desk.locale(page.language))}

    def _begin(self, visitor: str, page: "Page", asked: Asked) -> dict[Any, Any]:
        """Ask, or say why not."""
        room, language = self.room, page.language
        section, updates = section_of(room, language, page.values)
        now = stands(room.desk.workspace, page.seat)
        problem = in_the_way(now) if not page.elsewhere(asked) else None
        if section is None or problem is not None:
            return updates if problem is None else {**updates, **refused(room, now, language, problem)}
        key = room.keys.get(now.name)
        try:
            tools = read_tools(page.tools)
            chosen = [speaker(now, page.whos[one], key) for one in range(page.shown)]
        except UserError as error:
            return {**updates, room.notice: wrong(error.problems, room.desk.locale(language))}
        round = page.next_round()
        order = round.get("order") or list(range(PANES))
        sides = [_side(chosen[order[at]], chat, at, key) for at, chat in asked]
        seed = secrets.randbelow(SEEDS) if section.sampling_seed is None else section.sampling_seed
        exchange = Exchange(now.url, sides, section, seed, tools)
        if not self.lines.open(visitor, exchange):
            return self._busy(page)
        panes = dict(zip(room.panes, writing(room, exchange, language), strict=True))
        if round:
            updates |= {room.heads[at]: head_line(LETTERS[at]) for at in range(page.shown)}
            updates |= {who: gr.update(visible=False) for who in room.whos}
        return {**updates, **panes, **buttons(room, answering=True), room.round: round, room.vote: ""}

    def hear(self, request: gr.Request, language: str) -> Iterator[list[Any]]:
        exchange = self.lines.get(str(request.session_hash))
        if exchange is None or not exchange.claim():
            yield [gr.skip()] * PANES
            return
        try:
            for _ in exchange.follow():
                yield writing(self.room, exchange, language)
        except GeneratorExit:  # the visitor has left
            self.lines.close(str(request.session_hash))
            raise

    def finish(
        self,
        request: gr.Request,
        seat: str,
        language: str,
        round: Mapping[str, Any],
        marking: bool,
        typed: str,
        *panes: Any,
    ) -> dict[Any, Any]:
        exchange = self.lines.get(str(request.session_hash))
        if exchange is None or not exchange.over:
            return {self.room.notice: gr.skip()}
        self.lines.close(str(request.session_hash))
        shown = {self.room.notice: "", **answered(self.room, exchange, seat, language, panes, marking, typed)}
        if round.get("order"):
            shown |= kept_back(self.room, exchange, language, round)
        return shown

    def vote(
        self, round: Mapping[str, Any], seat: str, language: str, event: gr.EventData, *whos: str
    ) -> dict[Any, Any]:
        """Keep the vote, and say who answered where."""
        room, models = self.room, list(round.get("models") or [])
        if not models or round.get("told"):
            return {room.notice: ""}
        locale, choice = room.desk.locale(language), str(event.at)
        keep_vote(room.desk.workspace, models, choice, str(round.get("question")), int(round.get("seed") or 0))
        told = zip(models, round.get("facts") or [], strict=False)
        order = round["order"]
        return {
            **{room.heads[at]: head_line(model, said) for at, (model, said) in enumerate(told)},
            **{room.whos[at]: gr.update(visible=True, value=whos[order[at]]) for at in range(len(models))},
            room.round: {**round, "told": True},
            room.vote: told_vote(locale, models, choice) + tally_line(room.desk.workspace, locale),
        }

    def clear(self, language: str) -> dict[Any, Any]:
        panes = {pane: self.room.pane(at, [], language) for at, pane in enumerate(self.room.panes)}
        return {**panes, self.room.notice: "", self.room.kept: {}, self.room.round: {}, self.room.vote: ""}

    def heed(self, language: str, marked: Sequence[str], tools: str, *values: Any) -> dict[Any, Any]:
        _, updates = section_of(self.room, language, values, marked)
        del updates[self.room.notice]  # it tells of the last question, not of what is typed for the next one
        return {**updates, self.room.kept_settings: {**self.room.sampling.flat(values), "tools": tools}}

    def fold(self, drawer: dict[str, Any]) -> list[Any]:
        opened = not drawer.get("open", True)
        return [gr.update(visible=opened), {"open": opened}]

    def retell(self, language: str, marking: bool, *panes: Any) -> list[Any]:
        """The panes in another language, or with and without their differences marked."""
        chats = [messages_of(pane) for pane in panes]
        marks = marks_of(chats) if marking else {}
        return [self.room.pane(at, chat, language, marked=marks.get(at, ())) for at, chat in enumerate(chats)]


@dataclass(frozen=True)
class Page:
    """What stands on the page when something is asked."""

    seat: str
    language: str
    compare: bool
    count: Any
    blind: bool
    round: Mapping[str, Any]
    tools: str
    text: str
    whos: Sequence[str]
    chats: Sequence[Sequence[Turn]]
    values: Sequence[Any]
    shown: int

    @classmethod
    def of(cls, room: Room, given: Sequence[Any]) -> "Page":
        """From the values of ``Conversing.inputs``."""
        seat, language, compare, count, blind, round, tools, text, *rest = given
        whos = [str(one or "") for one in rest[:PANES]]
        chats = [messages_of(pane) for pane in rest[PANES : 2 * PANES]]
        shown = room.shown(compare, count)
        return cls(
            seat, language, compare, count, blind, round or {}, tools or "", text or "", whos, chats, rest[2 * PANES :], shown
        )

    @property
    def is_blind(self) -> bool:
        return self.compare and self.blind

    @property
    def begins_a_round(self) -> bool:
        """Whether panes are cleared, since a vote was given or no round goes on."""
        return self.is_blind and (not self.round.get("order") or bool(self.round.get("told")))

    def next_round(self) -> dict[str, Any]:
        """The state of the blind comparison for this question; empty where none is wanted."""
        if not self.is_blind:
            return {}
        return {"order": shuffled(self.shown)} if self.begins_a_round else dict(self.round)

    def elsewhere(self, asked: Asked) -> bool:
        """Whether only servers elsewhere are asked, so that none needs to be loaded here."""
        return all(self.whos[at].startswith(URLS) for at, _ in asked)


def _side(who: Speaker, chat: Sequence[Turn], at: int, key: str | None) -> Side:
    return Side(who.model, chat, at, who.url, who.key if who.url else key)


def bind_asking(room: Room) -> None:
    """Everything of the conversation."""
    desk, side = room.desk, Conversing(room, Lines())
    fields = room.sampling.components
    under = [room.notice, room.box, room.send, room.stop, room.clear, room.vote, room.round]
    quiet: dict[str, Any] = {"show_progress": "hidden"}
    heard = [*room.standing_outputs, *room.panes, *under, room.kept]

    def follow(begun: Any) -> None:
        # Only the panes are outputs of what comes word by word: the page draws every output of every turn.
        begun.then(side.hear, desk.language, room.panes, concurrency_limit=MANY, **quiet).then(
            side.finish, [room.seat, desk.language, room.round, room.differences, room.box, *room.panes], heard, **quiet
        )

    follow(gr.on([room.box.submit, room.send.click], side.send, side.inputs, side.asking, trigger_mode="once", **quiet))
    for at, pane in enumerate(room.panes):  # "multiple": the page itself would drop the second of two presses unsaid
        follow(pane.click(_acting(side, at), side.inputs, side.asking, trigger_mode="multiple", **quiet))
    room.stop.click(_stopping(side.lines), None, None, queue=False, **quiet)
    room.clear.click(side.clear, desk.language, [*room.panes, room.notice, room.kept, room.round, room.vote], **quiet)
    voted = [*room.heads, *room.whos, room.round, room.vote, room.notice]
    room.vote.click(side.vote, [room.round, room.seat, desk.language, *room.whos], voted, trigger_mode="once", **quiet)
    gr.on(
        [*(field.change for field in fields), room.tools.change],
        side.heed,
        [desk.language, room.marked, room.tools, *fields],
        [*fields, room.marked, room.kept_settings],
        trigger_mode="always_last",
        **quiet,
    )
    told = [desk.language, room.differences, *room.panes]
    room.differences.input(side.retell, told, room.panes, **quiet)
    desk.retellings.append((side.retell, told, room.panes))
    room.settings.click(side.fold, room.kept_drawer, [room.drawer, room.kept_drawer], **quiet)
    kept = [room.kept, room.kept_settings, room.kept_drawer]
    desk.arrivals.append(Arrival(_welcome(room), [*room.panes, *fields, room.tools, room.drawer], kept))


def _acting(side: Conversing, at: int) -> Any:
    def act(request: gr.Request, event: gr.EventData, *given: Any) -> dict[Any, Any]:
        return side.act(at, request, event, *given)

    return act


def _stopping(lines: Lines) -> Any:
    def stop(request: gr.Request) -> None:
        exchange = lines.get(str(request.session_hash))
        if exchange is not None:
            exchange.stop()

    return stop


def _welcome(room: Room) -> Any:
    """A visitor finds conversation and settings as they were left."""

    def arrive(
        language: str,
        prefs: Mapping[str, Any],
        kept: Mapping[str, Any],
        settings: Mapping[str, Any],
        drawer: Mapping[str, Any],
    ) -> list[Any]:
        chats = [*(kept.get("chats") or []), *([[]] * PANES)]
        panes = [room.pane(at, messages_of({"messages": chats[at]}), language) for at in range(len(room.panes))]
        return [
            *panes,
            *room.sampling.fill(settings),
            settings.get("tools") or "",
            gr.update(visible=drawer.get("open", True)),
        ]

    return arrive
