"""The fold of Chat in which a conversation is saved, loaded, exported and imported. Knows no server."""

import html
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from workbench import conversations
from workbench.conversations import Conversation, read_conversation, read_tools
from workbench.problems import UserError
from workbench.text import Text
from workbench.ui.chatroom import PANES, Room
from workbench.ui.chatting import messages_of
from workbench.ui.loading import wrong

LARGEST_BYTES = 16 * 2**20
DOWNLOAD = """text => {
  if (!text) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "conversation.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""


class Say:
    title = Text("Conversation")
    name = Text("Name")
    save = Text("Save")
    saved = Text("Saved as saves/chats/{name}.json.")
    kept = Text("Saved conversations")
    export = Text("Export")
    bring = Text("Import")
    loaded = Text("{turns} messages are back.")
    too_large = Text("The file is larger than {most} MiB. Accepted: a smaller one. Choose another.")
    empty = Text("Nothing was said yet. Accepted: a conversation with a message. Send one first.")


def furnish_keeping(room: Room) -> dict[str, Any]:
    """The components of the fold, by name."""
    desk, made = room.desk, dict[str, Any]()
    with desk.words(
        gr.Accordion, lambda locale: {"label": locale(Say.title)}, open=False, elem_id="chat-keep", elem_classes=["section"]
    ):
        made["name"] = desk.words(
            gr.Textbox, lambda locale: {"label": locale(Say.name)}, elem_id="keep-name", elem_classes=["field"], max_lines=1
        )
        with gr.Row(elem_classes=["presses"]):
            made["save"] = desk.button(Say.save, size="sm", min_width=60, elem_id="keep-save")
            made["export"] = desk.button(Say.export, size="sm", min_width=60, elem_id="keep-export")
            made["import"] = desk.words(
                gr.UploadButton,
                lambda locale: {"label": locale(Say.bring)},
                file_types=[".json"],
                size="sm",
                min_width=60,
                elem_id="keep-import",
            )
        made["kept"] = desk.words(
            gr.Dropdown,
            lambda locale: {"label": locale(Say.kept)},
            choices=[],
            value=None,
            elem_id="keep-list",
            elem_classes=["field"],
        )
        made["told"] = gr.HTML("", elem_id="keep-told", apply_default_css=False)
        made["text"] = gr.Textbox("", visible=False)
    return made


@dataclass(frozen=True)
class Keeping:
    """What the fold's presses do."""

    room: Room
    outputs: int
    """So many components show a conversation that was laid out."""

    def _held(self, system: str, tools: str, panes: Sequence[Any]) -> Conversation:
        """What stands on the page; tools that are wrong are left out, which is told beside them."""
        chats = [messages_of(pane) for pane in panes]
        if not any(chats):
            raise UserError(Say.empty())
        offered: list[Any] = []
        with suppress(UserError):
            offered += read_tools(tools or "")
        return Conversation(chats[0], system or "", offered, chats[1:])

    def save(self, name: str, language: str, system: str, tools: str, *panes: Any) -> list[Any]:
        desk = self.room.desk
        try:
            name = conversations.save(desk.workspace, name or "", self._held(system, tools, panes))
        except UserError as error:
            return [gr.skip(), wrong(error.problems, desk.locale(language))]
        return [name, _quiet(desk.locale(language)(Say.saved(name=name)))]

    def export(self, language: str, system: str, tools: str, *panes: Any) -> list[Any]:
        try:
            return [self._held(system, tools, panes).to_json(), ""]
        except UserError as error:
            return ["", wrong(error.problems, self.room.desk.locale(language))]

    def load(self, name: str | None, language: str) -> list[Any]:
        return self._laid(lambda: conversations.load(self.room.desk.workspace, name or ""), language, bool(name))

    def bring(self, file: str | None, language: str) -> list[Any]:
        def read() -> Conversation:
            path = Path(file or "")
            if path.stat().st_size > LARGEST_BYTES:
                raise UserError(Say.too_large(most=LARGEST_BYTES // 2**20))
            return read_conversation(path.read_text("utf-8-sig", errors="replace"))

        return self._laid(read, language, bool(file))

    def _laid(self, read: Callable[[], Conversation], language: str, given: bool) -> list[Any]:
        """The page with that conversation, or why there is none."""
        if not given:
            return [gr.skip()] * self.outputs
        locale = self.room.desk.locale(language)
        try:
            found = read()
        except UserError as error:
            return [*([gr.skip()] * (self.outputs - 1)), wrong(error.problems, locale)]
        chats = [list(found.messages), *(list(one) for one in found.panes), *([[]] * PANES)][:PANES]
        panes = [self.room.pane(at, chat, language) for at, chat in enumerate(chats)]
        tools = json.dumps(list(found.tools), ensure_ascii=False, indent=1) if found.tools else ""
        told = _quiet(locale(Say.loaded(turns=len(found.messages))))
        return [found.system, tools, *panes, {"chats": chats}, {}, "", told]


def _quiet(words: str) -> str:
    return f'<p class="quiet" role="status">{html.escape(words)}</p>'


def bind_keeping(room: Room, made: dict[str, Any]) -> None:
    """Every press of the fold."""
    desk, quiet = room.desk, {"show_progress": "hidden"}
    system = room.sampling.fields["system"]
    said = [desk.language, system, room.tools, *room.panes]
    laid = [system, room.tools, *room.panes, room.kept, room.round, room.vote, made["told"]]
    keeping = Keeping(room, len(laid))

    def names() -> Any:
        return gr.update(choices=conversations.names(desk.workspace))

    made["save"].click(keeping.save, [made["name"], *said], [made["name"], made["told"]], **quiet)
    exported = made["export"].click(keeping.export, said, [made["text"], made["told"]], **quiet)
    exported.then(None, made["text"], None, js=DOWNLOAD)
    made["import"].upload(keeping.bring, [made["import"], desk.language], laid, **quiet)
    made["kept"].focus(names, None, made["kept"], **quiet)
    made["kept"].input(keeping.load, [made["kept"], desk.language], laid, **quiet)
