"""Check: a pass over the set in a process beside the page, its report, and the mends that a person accepts."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from workbench.data.reports import Report, titles
from workbench.problems import Problem, UserError
from workbench.text import Locale, Text
from workbench.ui.data.draft import free_name
from workbench.ui.data.report import ALL, Seen, of_group, report_page
from workbench.ui.data.room import QUIET, Room, filled, problems, said
from workbench.ui.data.tokens import Say as Tokens
from workbench.ui.data.tokens import asked_of, whole
from workbench.ui.data.working import Done, bar, inspect
from workbench.ui.desk import static

NONE: Mapping[str, Any] = {
    "report": None, "name": "", "group": "", "page": 0, "accepted": [], "refused": [], "validation": []
}  # fmt: skip
USUAL_CUTOFF = 2048


class Say:
    title = Text("Check")
    check = Text("Check the set")
    stop = Text("Stop")
    stopped = Text("Stopped before the end.")
    count_tokens = Text("Count tokens with the model above")
    validation = Text("Compare with validation sets")
    accept_all = Text("Accept all mends")
    name = Text("Name of the mended set")
    write = Text("Write mended set")
    written = Text("'{name}' has {rows} rows: {changed} mended, {removed} left out. The original is as it was.")
    left_out = Text("{count} places that can't be read have no accepted mend, so they are not in it.")
    unlearnable = Text(
        "{count} rows have no accepted mend that makes them whole: they are in it as they were, and training leaves them out."
    )
    none_accepted = Text("No mend is accepted yet. Accepted: at least one. Tick its box, or accept all.")


@dataclass
class Checking:
    """The components of the view."""

    room: Room
    state: Any = None
    check: Any = None
    stop: Any = None
    tick: Any = None
    validation: Any = None
    status: Any = None
    report: Any = None
    bar: Any = None
    accept_all: Any = None
    name: Any = None
    write: Any = None

    @property
    def outputs(self) -> list[Any]:
        return [self.state, self.status, self.report, self.bar, self.name, self.stop, self.check, self.validation]

    def clear(self, name: str, told: str = "") -> dict[Any, Any]:
        """Another set: its report is not made yet."""
        others = [other for other in self.room.catalogue().entries if other != name]
        return {
            self.validation: gr.update(choices=others, value=[]),
            self.state: dict(NONE),
            self.status: said(told) if told else "",
            self.report: "",
            self.bar: gr.update(visible=False),
            **self.idle(),
        }

    def idle(self) -> dict[Any, Any]:
        return {self.stop: gr.update(visible=False), self.check: gr.update(interactive=True)}

    def run(
        self, chosen: Mapping[str, Any], language: str, tick: bool, validation: list[str] | None, *values: Any
    ) -> Iterator[dict[Any, Any]]:
        """The whole pass."""
        locale, name = self.room.desk.locale(language), str(chosen.get("name") or "")
        asked, fills = asked_of(self.room.desk.form, values)
        model = asked.get("model_name_or_path") or ""
        if tick and not model:
            yield {self.status: problems(locale, [Problem(Tokens.no_model())])}
            return
        counting = {"cutoff_len": whole(asked.get("cutoff_len"), USUAL_CUTOFF), "model": model} if tick else {}
        request = {"do": "check", "dataset": name, "dataset_dir": "data", "values": filled(fills), **counting}
        request |= {"template": asked.get("template") or "auto", "validation": validation or []}
        yield {self.stop: gr.update(visible=True), self.check: gr.update(interactive=False)}
        try:
            for news in inspect(self.room.desk.inspector, request, locale):
                if isinstance(news, Done):
                    yield self.tell(news.result, request, language)
                else:
                    yield {self.status: bar(news)}
        except UserError as error:
            yield {self.status: problems(locale, error), **self.idle()}

    def tell(self, report: Mapping[str, Any], request: Mapping[str, Any], language: str) -> dict[Any, Any]:
        """The report is there."""
        name = request["dataset"]
        state = {**NONE, "report": report, "name": name, "validation": request["validation"]}
        return {
            self.state: state,
            self.status: "",
            self.report: self.draw(state, language),
            self.bar: gr.update(visible=any(report["mends"].values())),
            self.name: free_name(f"{name}_mended", self.room.catalogue().entries),
            **self.idle(),
        }

    def draw(self, state: Mapping[str, Any], language: str) -> str:
        """The report as it is seen now."""
        if not state.get("report"):
            return ""
        accepted = state["accepted"]
        chosen = accepted if accepted == ALL else {(row, check) for row, check in accepted}
        seen = Seen(state["group"], state["page"], chosen, {(row, check) for row, check in state["refused"]})
        return report_page(self.room.desk.locale(language), Report.from_json(state["report"]), seen)

    def act(self, state: dict[str, Any], language: str, event: gr.EventData) -> list[Any]:
        """A press inside the report."""
        if state.get("report"):
            state = acted(state, event.action, event.at, event.value)
        return [state, gr.skip() if event.action == "accept" else self.draw(state, language)]

    def all(self, state: dict[str, Any], language: str) -> list[Any]:
        whole = state.get("accepted") == ALL and not state["refused"]
        state = {**state, "accepted": [] if whole else ALL, "refused": []}
        return [state, self.draw(state, language)]

    def mend(
        self, chosen: Mapping[str, Any], state: Mapping[str, Any], given: str, language: str
    ) -> Iterator[dict[Any, Any]]:
        """Write the mended set and list it. Placeholders stay as they are in the file."""
        locale, name = self.room.desk.locale(language), (given or "").strip()
        if not state.get("accepted"):
            yield {self.status: problems(locale, [Problem(Say.none_accepted())])}
            return
        request = {"do": "mend", "dataset": chosen["name"], "dataset_dir": "data", "values": {}}
        request |= {key: state[key] for key in ("accepted", "refused", "validation")} | {"name": name}
        try:
            for news in inspect(self.room.desk.inspector, request, locale):
                if isinstance(news, Done):
                    words = mended(locale, news.result)
                    yield {**self.clear(name, words), **self.room.changed(news.result["name"], words)}
                else:
                    yield {self.status: bar(news)}
        except UserError as error:
            yield {self.status: problems(locale, error)}


def mended(locale: Locale, result: Mapping[str, Any]) -> str:
    """What became of the set."""
    told = {key: f"{result[key]:,}" for key in ("rows", "changed", "removed")}
    words = [locale(Say.written(name=result["name"], **told))]
    for key, more in (("unlearnable", Say.unlearnable), ("left_out", Say.left_out)):
        if result[key]:
            words.append(locale(more(count=f"{result[key]:,}")))
    return " ".join(words)


def acted(state: Mapping[str, Any], action: str, at: str, value: str) -> dict[str, Any]:
    """The state after a press: another check, another page, a mend accepted or not."""
    match action:
        case "group":
            return {**state, "group": at if at in state["report"]["counts"] else "", "page": 0}
        case "page":
            return {**state, "page": max(0, int(at))}
    these, more = _pressed(state, action, at, value)
    accepted, refused = state["accepted"], [one for one in state["refused"] if one not in these]
    if action == "refuse" and accepted == ALL:
        # Row 0 stands for every row of a check: of a check that is refused also those that the report does not show.
        accepted = [[0, check] for check in titles() if at and check != at]
    elif action == "refuse":
        accepted = [one for one in accepted if at and one[1] != at]
    elif more:
        accepted = accepted if accepted == ALL else [*(one for one in accepted if one not in these), *these]
    elif accepted == ALL or any([0, check] in accepted for _, check in these):
        refused = [*refused, *these]
    else:
        accepted = [one for one in accepted if one not in these]
    return {**state, "accepted": accepted, "refused": refused}


def _pressed(state: Mapping[str, Any], action: str, at: str, value: str) -> tuple[list[Any], bool]:
    """The mends that the press is about, and whether they are to be made."""
    found = of_group(Report.from_json(state["report"]), "")
    mendable = [[one.number, one.check] for one in found if one.can_mend]
    if action == "accept":
        return [one for one in mendable if one == json.loads(at)], value == "true"
    return [one for one in mendable if not at or one[1] == at], action == "accept-group"


def build_checking(room: Room) -> Checking:
    """The button, the report, and the line that writes a mended set."""
    desk, view = room.desk, Checking(room)
    view.state = gr.State(dict(NONE))
    with gr.Row(elem_classes=["pressing"]):
        view.check = desk.button(Say.check, variant="primary", elem_id="check", scale=0, min_width=130)
        view.stop = desk.button(Say.stop, elem_id="check-stop", scale=0, min_width=80, visible=False)
        view.tick = desk.words(
            gr.Checkbox, lambda locale: {"label": locale(Say.count_tokens)}, elem_id="check-tokens", min_width=200
        )
        view.validation = desk.words(
            gr.Dropdown,
            lambda locale: {"label": locale(Say.validation)},
            choices=[],
            multiselect=True,
            elem_id="check-validation",
            min_width=240,
        )
    view.status = gr.HTML("", elem_id="check-status", apply_default_css=False)
    with gr.Row(visible=False, elem_classes=["pressing"], elem_id="mending") as view.bar:
        view.name = desk.words(
            gr.Textbox, lambda locale: {"label": locale(Say.name)}, elem_id="mended-name", scale=3, min_width=180
        )
        view.accept_all = desk.button(Say.accept_all, elem_id="accept-all", scale=0, min_width=140)
        view.write = desk.button(Say.write, variant="primary", elem_id="write-mended", scale=0, min_width=170)
    view.report = gr.HTML("", js_on_load=static("data.js"), elem_id="report", apply_default_css=False)
    return view


def bind_checking(view: Checking, asked: list[Any]) -> None:
    """What each of them does; ``asked``: the fields of Train that count, and its placeholders."""
    room, language = view.room, view.room.desk.language
    asking = [room.chosen, language, view.tick, view.validation, *asked]
    pressed = view.check.click(view.run, asking, view.outputs, **QUIET)
    view.stop.click(
        lambda language: {**view.idle(), view.status: said(room.desk.locale(language)(Say.stopped), "later")},
        language,
        [view.stop, view.check, view.status],
        cancels=[pressed],
        **QUIET,
    )
    view.report.click(view.act, [view.state, language], [view.state, view.report], **QUIET)
    view.accept_all.click(view.all, [view.state, language], [view.state, view.report], **QUIET)
    view.write.click(
        view.mend, [room.chosen, view.state, view.name, language], [*view.outputs, *room.changing], **QUIET
    )
    room.desk.retellings.append((view.draw, [view.state, language], [view.report]))
