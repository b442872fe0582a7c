"""What Load, Unload and the choice of who answers do in Chat, and what a visitor finds on arrival. Knows no server."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.problems import UserError
from workbench.ui.chatdrawer import engine_values
from workbench.ui.chatroom import PANES, Room, head_line
from workbench.ui.desk import Arrival, Desk
from workbench.ui.form import Form
from workbench.ui.loading import (
    LATER,
    Standing,
    adapter_of,
    answerers,
    begin,
    end,
    ending,
    is_ours,
    is_run,
    loadable,
    serve_spec,
    speaking_name,
    standing,
    stands,
    trained_with,
    wrong,
)

SHARED = ("model_name_or_path", "hub", "template")
"""Fields of the top bar that say what is loaded; choosing a run sets them."""
OF_THE_FORM = ("model_revision", "trust_remote_code")
"""Fields of a training that a base model needs too; a run brings its own."""


@dataclass(frozen=True)
class Seating:
    """What the bar above the conversation does."""

    room: Room

    @property
    def desk(self) -> Desk:
        return self.room.desk

    @property
    def form(self) -> Form:
        """The training's form, which holds the top bar."""
        form: Form = self.desk.form
        return form

    @property
    def loaders(self) -> list[Any]:
        """The components that say what is loaded: the choice, then fields of the top bar and of the form."""
        return [self.room.who, *(self.form.fields[key] for key in (*SHARED, *self.beside))]

    @property
    def beside(self) -> list[str]:
        """The fields of a training that a base model needs too, as far as the page shows them."""
        return [key for key in OF_THE_FORM if key in self.form.fields]

    def load(self, seat: str, language: str, who: str, *values: Any) -> Iterator[dict[Any, Any]]:
        count = len(SHARED)
        chosen = dict(zip(SHARED, values[:count], strict=True))
        if not is_run(who):
            chosen |= dict(zip(self.beside, values[count : count + len(self.beside)], strict=True))
        chosen |= engine_values(self.room, values[count + len(self.beside) :])
        yield from growing(_loading(self.room, seat, language, who, chosen))

    def load_wanted(
        self, seat: str, language: str, wanted: Mapping[str, Any], *values: Any
    ) -> Iterator[dict[Any, Any]]:
        who, model = str(wanted.get("run") or ""), str(wanted.get("model") or "")
        if not (who or model) or wanted.get("api"):
            yield {self.room.status: gr.skip()}  # a turn without any would empty every component
            return
        chosen, engine = self.choose(who, language, model), engine_values(self.room, values)
        yield from growing(_loading(self.room, seat, language, who, {**engine, **alone(model)}), chosen)

    def choose(self, who: str, language: str, model: str = "") -> dict[Any, Any]:
        """The choice, with the model and the template that it was trained with in the top bar; ``model``: one without adapters."""
        locale = self.desk.locale(language)
        picked = gr.update(choices=answerers(self.desk.workspace, locale), value=who)
        try:
            values = trained_with(self.desk.workspace, who) if is_run(who) else alone(model)
        except UserError as error:
            return {self.room.who: picked, self.room.status: wrong(error.problems, locale)}
        return {self.room.who: picked, **{self.form.fields[key]: values[key] for key in SHARED if key in values}}

    def unload(self, seat: str, language: str) -> Iterator[dict[Any, Any]]:
        yield {self.room.status: ending(self.desk.locale(language)), self.room.unload: gr.update(interactive=False)}
        yield _ended(self.room, stands(self.desk.workspace, seat), language)

    def look(self, seat: str, language: str) -> dict[Any, Any]:
        """How it stands now."""
        return self.room.stand(stands(self.desk.workspace, seat), language)

    def glance(self, seat: str, language: str) -> dict[Any, Any]:
        """The same; what stands above the panes stays while the same server answers, since it told more than its name."""
        now = stands(self.desk.workspace, seat)
        kept = [*self.room.heads, *self.room.whos] if seat and now.name == seat else []
        return {one: update for one, update in self.room.stand(now, language).items() if one not in kept}

    def others(self, seat: str, language: str) -> Any:
        """Who may answer in a pane: the server's own models, then what can join them."""
        locale = self.desk.locale(language)
        now = stands(self.desk.workspace, seat)
        there = [(model, model) for model in now.models]
        more = [one for one in loadable(self.desk.workspace, now, locale) if speaking_name(one[1]) not in now.models]
        return gr.update(choices=[*there, *more] if there else [])

    def spread(self, compare: bool, count: str, round: Mapping[str, Any]) -> list[Any]:
        """The panes that are seen, and above each who answers there."""
        shown, hidden = self.room.shown(compare, count), bool(round.get("order")) and not round.get("told")
        sides = [gr.update(visible=at < shown) for at in range(PANES)]
        whos = [gr.update(visible=compare and at < shown and not hidden) for at in range(PANES)]
        return [gr.update(visible=compare), *sides, *whos]

    def part(self, compare: bool, seat: str, language: str) -> dict[Any, Any]:
        """When nobody is compared any more, the one who was learned answers again."""
        shown = {} if compare else self.look(seat, language)
        return {one: shown.get(one, gr.skip()) for one in (*self.room.whos, *self.room.heads)}

    def refresh(self, language: str) -> Any:
        return gr.update(choices=answerers(self.desk.workspace, self.desk.locale(language)))


def alone(model: str) -> dict[str, Any]:
    """The values of a model that is asked for as it is, with the template that lies beside it."""
    return {"model_name_or_path": model, "template": "auto"} if model else {}


def bind_loading(room: Room) -> None:
    """Everything of the bar above the conversation."""
    side, desk = Seating(room), room.desk
    shared = [side.form.fields[key] for key in SHARED]
    at_seat, shown, engine = [room.seat, desk.language], room.standing_outputs, room.engine.components
    loading = [*shown, *engine, room.notice]
    quiet: dict[str, Any] = {"show_progress": "hidden"}
    room.load.click(side.load, [*at_seat, *side.loaders, *engine], loading, **quiet)
    wanted = [*at_seat, desk.chat_with, *engine]
    # A name that comes together with the list that it stands in is not shown: the list goes first.
    room.wanted = desk.chat_with.change(side.refresh, desk.language, room.who, **quiet)
    room.wanted.then(side.load_wanted, wanted, [*loading, room.who, *shared], **quiet)
    room.unload.click(side.unload, at_seat, shown, **quiet)
    room.who.input(side.choose, [room.who, desk.language], [room.who, room.status, *shared], **quiet)
    room.who.focus(side.refresh, desk.language, room.who, **quiet)
    spread = [room.bar, *room.sides, *room.whos]
    gr.on([room.compare.change, room.count.change], side.spread, [room.compare, room.count, room.round], spread, **quiet)
    room.compare.input(side.part, [room.compare, *at_seat], [*room.whos, *room.heads], **quiet)
    gr.on(
        [room.compare.input, room.count.input],
        lambda on, count: {"on": on, "count": count},
        [room.compare, room.count],
        room.kept_compare,
        **quiet,
    )
    for who, head in zip(room.whos, room.heads, strict=True):
        who.focus(side.others, at_seat, who, **quiet)
        who.input(lambda chosen: head_line(str(chosen or "").removeprefix(LATER)), who, head, **quiet)
    room.timer.tick(side.look, at_seat, shown, **quiet)
    desk.tabs.select(side.glance, at_seat, shown, **quiet)
    desk.retellings.append((side.glance, at_seat, shown))
    _welcome(room)


def growing(turns: Iterator[dict[Any, Any]], shown: Mapping[Any, Any] | None = None) -> Iterator[dict[Any, Any]]:
    """The turns, each with all that was shown before it: of turns in quick succession a page may draw only the last."""
    all_shown = dict(shown or {})
    for turn in turns:
        all_shown |= turn
        yield dict(all_shown)


def _loading(room: Room, seat: str, language: str, who: str, chosen: Mapping[str, Any]) -> Iterator[dict[Any, Any]]:
    """Check, end what was loaded, begin to load; the timer then tells how it goes on."""
    desk, locale = room.desk, room.desk.locale(language)
    fields = room.engine.fields
    try:
        spec = serve_spec(desk.workspace, who, chosen)
    except UserError as error:
        updates, _ = room.engine.mark(error.problems, list(fields), language)
        yield {room.status: wrong(error.problems, locale), **dict(zip(fields.values(), updates, strict=True))}
        return
    updates, _ = room.engine.mark([], list(fields), language)
    yield {
        room.status: ending(locale) if seat else "",
        room.load: gr.update(interactive=False),
        room.notice: "",
        **dict(zip(fields.values(), updates, strict=True)),
    }
    now = stands(desk.workspace, seat)
    try:
        if now.run is not None and is_ours(now):
            end(now.run)
        run = begin(desk.workspace, spec)
    except UserError as error:
        yield {**room.stand(stands(desk.workspace, ""), language), room.status: wrong(error.problems, locale)}
        return
    yield room.stand(standing(run), language)


def _ended(room: Room, now: Standing, language: str) -> dict[Any, Any]:
    """What is shown once the server has been ended, or why it could not be."""
    try:
        if now.run is not None:
            end(now.run)
    except UserError as error:
        locale = room.desk.locale(language)
        return {**room.stand(now, language), room.status: wrong(error.problems, locale)}
    return room.stand(Standing(), language)


def _welcome(room: Room) -> None:
    """A visitor finds the model that is loaded, whoever loaded it, or is told that there is none."""

    def arrive(language: str, prefs: Mapping[str, Any], compare: Mapping[str, Any]) -> list[Any]:
        now = stands(room.desk.workspace, "")
        known = answerers(room.desk.workspace, room.desk.locale(language))
        adapter, shown = adapter_of(now), room.stand(now, language)
        on, count = bool(compare.get("on")), str(compare.get("count") or "2")
        bar, *spread = Seating(room).spread(on, count, {})
        shown[room.compare], shown[room.count], shown[room.bar] = on, count, bar
        for one, update in zip([*room.sides, *room.whos], spread, strict=True):
            shown[one] = {**shown.get(one, {}), **update}
        shown[room.who] = gr.update(choices=known, value=adapter if adapter in {value for _, value in known} else "")
        return [shown[one] for one in outputs]

    outputs = [*room.standing_outputs, room.compare, room.count, room.bar, *room.sides, room.who]
    room.desk.arrivals.append(Arrival(arrive, outputs, [room.kept_compare]))
