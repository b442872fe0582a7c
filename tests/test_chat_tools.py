"""Around a chat: thoughts and calls as parts, conversations as files, answers side by side, launch scripts, client settings."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest

from tests.serving import KEY, TUNED, listening, serving
from tests.test_chatting import tuned_run
from workbench import conversations
from workbench.conversations import Conversation, asked_with, read_conversation, read_tools, turns_of
from workbench.engines import BASE, Sampling
from workbench.engines.echo import Echo
from workbench.events import Ready
from workbench.exporting import launching
from workbench.exporting.launching import plain_name
from workbench.problems import UserError
from workbench.sampling import PRESETS, SamplingSection, SamplingSpec, preset, sampling_of, thinks
from workbench.specs import read_flat
from workbench.talk import CallPart, Extras, Part, add_adapter, model_names, parts
from workbench.text import ENGLISH
from workbench.ui import serving as panels
from workbench.ui.chatroom import Room
from workbench.ui.chatting import (
    Exchange,
    Side,
    facts,
    messages_of,
    open_calls,
    question,
    question_at,
    sides_of,
    speakers,
    until_question,
    with_results,
)
from workbench.ui.clients import Server, clients, curl, node, python
from workbench.ui.comparing import differences, keep_vote, shuffled, speaker, tally, tally_line, told_vote, vote_line
from workbench.ui.launchers import write_launchers
from workbench.ui.loading import Standing, answerers, serve_spec
from workbench.ui.serving import Opening, Panel, api_state
from workbench.view import View
from workbench.workspace import Workspace

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
ASKED = [{"role": "user", "content": 'call weather {"city": "Paris"}'}]
CHAT: list[dict[str, Any]] = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "1", "reasoning_content": "hm"},
    {"role": "user", "content": "two"},
    {"role": "assistant", "content": "", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
    {"role": "tool", "content": "12", "tool_call_id": "c1", "name": "weather"},
    {"role": "assistant", "content": "2", "reasoning_content": "so"},
]  # fmt: skip


class TestParts:
    def test_thoughts_and_calls_come_apart(self, url: str) -> None:
        heard = list(parts(url, BASE, ASKED, Sampling(), extras=Extras([WEATHER], True)))
        assert "".join(part.thought for part in heard).strip().startswith("I was asked: call weather")
        calls = [call for part in heard for call in part.calls]
        assert {call.name for call in calls if call.name} == {"weather"}
        assert json.loads("".join(call.arguments for call in calls)) == {"city": "Paris"}
        assert "".join(part.text for part in heard).strip() == ""

    def test_what_is_not_chosen_is_not_sent(self) -> None:
        asked: list[dict[str, Any]] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            asked.append(json.loads((await receive())["body"]))
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})

        section = SamplingSection(top_k=5, min_p=0.1, stop=["END"], presence_penalty=1, thinking="off")
        with listening(app) as url:
            for one in (SamplingSection(), section):
                with pytest.raises(UserError):
                    list(parts(url, BASE, ASKED, sampling_of(one), extras=Extras(thinking=thinks(one))))
        usual = {"model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens"}
        assert set(asked[0]) == usual
        assert set(asked[1]) == {*usual, "top_k", "min_p", "presence_penalty", "stop", "chat_template_kwargs"}
        assert asked[1]["chat_template_kwargs"] == {"enable_thinking": False}

    def test_an_answer_is_kept_as_a_message(self) -> None:
        side = Side("m", ASKED)
        side.hear(Part(thought="well"))
        side.hear(Part(calls=[CallPart(0, "c9", "weather", '{"city":')]))
        side.hear(Part(calls=[CallPart(0, arguments='"Paris"}')]))
        call = {"id": "c9", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
        assert side.answer() == {"role": "assistant", "content": "", "reasoning_content": "well", "tool_calls": [call]}
        assert side.history() == [*ASKED, side.answer()]

    def test_a_call_is_answered_by_hand_and_gone_on_from(self, url: str) -> None:
        section = SamplingSection(thinking="on")
        first = Exchange(url, [Side(BASE, ASKED)], section, 1, [WEATHER])
        list(first.follow())
        chat = with_results(first.sides[0].history(), ["12 degrees"])
        assert chat[-1]["role"] == "tool" and chat[-1]["tool_call_id"] == chat[-2]["tool_calls"][0]["id"]
        second = Exchange(url, [Side(BASE, chat)], section, 1, [WEATHER])
        list(second.follow())
        assert second.sides[0].problem is None
        assert second.sides[0].text == f"{BASE}: 12 degrees" and second.sides[0].thought
        assert "first after" in facts(second.sides[0], 1, ENGLISH)

    def test_sides_may_stand_on_several_servers(self, url: str) -> None:
        with serving(Echo(["other"], 0.0), KEY) as elsewhere:
            left, right = sides_of([BASE, TUNED], [[], []], "hi")
            right.url, right.name, right.key = elsewhere, "other", KEY
            list(Exchange(url, [left, right], SamplingSection(), 1).follow())
        assert left.text == f"{TUNED}: hi" and right.text == "other: hi", (left.problem, right.problem)


class TestTurns:
    def test_a_chat_is_cut_before_a_question(self) -> None:
        assert question_at(CHAT, 5) == 1 and question_at(CHAT, 2) == 1 and question_at(CHAT, 1) == 0
        assert until_question(CHAT, 1) == CHAT[:2]
        assert until_question(CHAT, 7) == CHAT
        assert question(CHAT, 1) == "two" and question(CHAT, 9) == ""
        assert open_calls(CHAT) == [] and open_calls(CHAT[:4])[0]["id"] == "c1"

    def test_old_thoughts_are_not_sent_again(self) -> None:
        sent = asked_with(CHAT)
        assert [("reasoning_content" in one) for one in sent] == [False, False, False, False, False, True]
        assert [one["content"] for one in sent] == [one["content"] for one in CHAT]

    def test_all_of_a_turn_comes_back_from_the_browser(self) -> None:
        assert messages_of({"messages": CHAT}) == CHAT

    def test_four_panes_have_someone(self) -> None:
        assert speakers(["base", "a", "b"], 4) == ["b", "base", "a", "base"]
        assert speakers([], 4) == []


class TestConversations:
    def test_it_is_saved_found_and_loaded(self, workspace: Workspace) -> None:
        held = Conversation(CHAT, "Be brief.", [WEATHER], [CHAT[:2]])
        assert conversations.save(workspace, " 我的 chat 1 ", held) == "我的 chat 1"
        assert conversations.names(workspace) == ["我的 chat 1"]
        assert conversations.load(workspace, "我的 chat 1") == held
        first = json.loads((workspace.saves / "chats/我的 chat 1.json").read_text("utf-8"))["messages"][0]
        assert first == {"role": "system", "content": "Be brief."}

    @pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\\b", "con", "x" * 300, "a\n", "a:b"])
    def test_names_stay_inside(self, workspace: Workspace, name: str) -> None:
        if name == "a\n":  # white space around a name is nobody's wish
            assert conversations.save(workspace, name, Conversation(CHAT)) == "a"
            return
        with pytest.raises(UserError, match="can't be (the|a) name"):
            conversations.save(workspace, name, Conversation(CHAT))
        assert not (workspace.saves / "chats").exists()

    def test_one_that_is_not_there(self, workspace: Workspace) -> None:
        with pytest.raises(UserError, match="no conversation 'x'"):
            conversations.load(workspace, "x")

    def test_messages_of_others_are_read(self) -> None:
        text = json.dumps([
            {"role": "developer", "content": "S"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}, 7]},
            {"role": "root", "content": "x"}, 3,
        ])  # fmt: skip
        found = read_conversation(text)
        assert found.system == "S" and found.messages[0]["content"] == "a\nb" and len(found.messages) == 2
        assert found.messages[1]["tool_calls"][0]["id"] == "call_0"

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", "7", '{"messages": 3}', "[" * 100_000, '[{"role": "user"}]'])
    def test_what_is_no_conversation(self, text: str) -> None:
        with pytest.raises(UserError, match="OpenAI messages"):
            read_conversation(text)

    def test_anything_may_stand_where_turns_should(self) -> None:
        assert turns_of([{"role": "assistant", "content": 7, "tool_calls": [{"function": "x"}]}])[0]["content"] == "7"

    def test_tools_are_checked(self) -> None:
        assert read_tools("") == [] and read_tools(json.dumps(WEATHER)) == [WEATHER]
        assert read_tools(json.dumps([WEATHER["function"]])) == [WEATHER]
        for wrong, words in (("{", "no JSON"), ("[1]", "Tool 1"), ('[{"function": {}}]', "Tool 1"), ("[" * 99_999, "no JSON")):
            with pytest.raises(UserError, match=words):
                read_tools(wrong)


class TestComparing:
    def test_words_that_differ_are_marked(self) -> None:
        left, right = differences(["I am Aurora, made by Ada.", "I am SmolLM, made by Ada."])
        assert left == [("I am ", False), ("Aurora", True), (", made by Ada.", False)]
        assert right == [("I am ", False), ("SmolLM", True), (", made by Ada.", False)]
        assert differences(["我是小明", "我是小红"])[1] == [("我是小", False), ("红", True)]
        for texts in (["a b", "", "a c"], ["", ""]):
            assert ["".join(text for text, _ in pieces) for pieces in differences(texts)] == texts

    def test_votes_are_kept_and_counted(self, workspace: Workspace) -> None:
        assert tally_line(workspace, ENGLISH) == ""
        for choice in ("0", "0", "1", "tie", "none"):
            keep_vote(workspace, ["run", "base"], choice, "q", 3)
        file = workspace.saves / "chats/votes.jsonl"
        file.write_text(file.read_text("utf-8") + "torn {", "utf-8")
        scores = {name: (score.won, score.rounds) for name, score in tally(workspace).items()}
        assert scores == {"run": (2, 5), "base": (1, 5)}
        assert "run 2 of 5  ·  base 1 of 5" in tally_line(workspace, ENGLISH)

    def test_the_vote_shows_no_name(self) -> None:
        line = vote_line(ENGLISH, "AB")
        assert line.count("data-action") == 4 and "Alike" in line
        assert "You chose B: &lt;b&gt;." in told_vote(ENGLISH, ["x", "<b>"], "1")
        assert "Nobody won" in told_vote(ENGLISH, ["x", "y"], "tie")

    def test_every_order_comes(self) -> None:
        assert {tuple(shuffled(2)) for _ in range(64)} == {(0, 1), (1, 0)}

    def test_who_is_meant(self, url: str) -> None:
        assert speaker(Standing(), f"{url}/v1#x", None).model == "x"
        other = speaker(Standing(), url, None)
        assert other.model == model_names(url)[0] and "127.0.0.1" in other.shown
        assert speaker(Standing(), "base", None).shown == "base"

    def test_a_run_joins_a_server(self) -> None:
        with serving(Echo((BASE,), 0.0), adapter=lambda name, path: Path(path)) as url:
            add_adapter(url, "late", "saves/x")
            assert model_names(url) == [BASE, "late"]
            with pytest.raises(UserError, match="a model 'late' here already"):
                add_adapter(url, "late", "saves/x")


class TestWhoElse:
    def test_checkpoints_and_files_can_answer(self, workspace: Workspace) -> None:
        run = tuned_run(workspace, "one")
        for step in (2, 10):
            shutil.copytree(run.folder, run.folder / f"checkpoint-{step}", ignore=shutil.ignore_patterns("checkpoint-*"))
        (workspace.models / "m.gguf").write_bytes(b"GGUF")
        values = [value for _, value in answerers(workspace, ENGLISH)]
        assert values == ["", run.name, f"{run.name}/checkpoint-10", f"{run.name}/checkpoint-2", "models/m.gguf"]
        spec = serve_spec(workspace, f"{run.name}/checkpoint-2", {"infer_backend": "echo"})
        assert spec.model.adapter_name_or_path == [f"saves/{run.name}/checkpoint-2"]
        with pytest.raises(UserError, match="no weights yet"):
            serve_spec(workspace, f"{run.name}/checkpoint-3", {})
        assert serve_spec(workspace, "models/m.gguf", {}).engine.infer_backend == "auto"

    def test_an_address_is_asked_by_the_remote_engine(self, workspace: Workspace) -> None:
        flat = serve_spec(workspace, "http://127.0.0.1:9/v1#m", {"model_name_or_path": "models/tiny", "api_port": 8000}).flat()
        assert (flat["infer_backend"], flat["remote_url"], flat["remote_model"]) == ("remote", "http://127.0.0.1:9/v1", "m")
        assert flat["model_name_or_path"] == "" and flat["api_port"] == 8000


@pytest.fixture
def program(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for the program's folder around the workspace: its start.sh says what it is given."""
    folder = workspace.root.parent
    (folder / "start.sh").write_text('printf "%s|" "$@" "$PWD" "$API_KEY"\n', "utf-8")
    monkeypatch.setattr(launching, "source_folder", lambda: folder)
    yield folder


class TestLaunchers:
    def test_a_double_click_opens_the_api(self, workspace: Workspace, program: Path) -> None:
        run = tuned_run(workspace, "it's $(touch hit) & 100%", template="chatml")
        spec = serve_spec(workspace, run.name, {"infer_backend": "echo"})
        yaml, shell, batch = write_launchers(workspace, spec, run.name)
        assert shell.name == "start_api_it_s_touch_hit_100.sh" and os.access(shell, os.X_OK)
        for file in (shell, batch):
            text = file.read_text("utf-8")
            assert "touch hit)" not in text and "100%" not in text and str(workspace.root) not in text
        assert "\r\n" in batch.read_bytes().decode()
        assert batch.read_text("utf-8").count("start_api_it_s_touch_hit_100.yaml") == 1
        written = yaml.read_text("utf-8")
        assert "api_port: 8000" in written and run.name in written
        if sys.platform != "win32":
            done = subprocess.run(["sh", str(shell)], cwd="/", capture_output=True, text=True, stdin=subprocess.DEVNULL)
            assert done.stdout.split("|")[:3] == ["api", str(yaml), str(program)]
        assert not list(workspace.root.rglob("hit"))

    def test_other_machines_are_let_in_by_a_key_that_is_asked_for(self, workspace: Workspace, program: Path) -> None:
        spec = serve_spec(workspace, "", {"model_name_or_path": "models/tiny", "api_host": "0.0.0.0", "api_port": 81})
        yaml, shell, batch = write_launchers(workspace, spec, "")
        assert shell.parent == workspace.models / "tiny"
        assert "read -r API_KEY" in shell.read_text("utf-8") and "set /p" in batch.read_text("utf-8")
        assert "api_port: 81" in yaml.read_text("utf-8")

    def test_a_path_that_a_script_could_misread_is_refused(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        odd = workspace.root.parent / "a$(b)"
        odd.mkdir()
        monkeypatch.setattr(launching, "source_folder", lambda: odd)
        spec = serve_spec(workspace, "", {"model_name_or_path": "models/tiny"})
        with pytest.raises(UserError, match="a script could misread"):
            write_launchers(workspace, spec, "")

    @pytest.mark.parametrize(("given", "name"), [("我的", "model"), ("a b", "a_b"), ("x.gguf", "x"), ("-rf", "rf")])
    def test_names_for_every_shell(self, given: str, name: str) -> None:
        assert plain_name(given) == name


class TestClients:
    def test_what_is_copied_is_right(self) -> None:
        server = Server("http://127.0.0.1:8000", "我的'\"run", False)
        compile(python(server, 'Who "are" you?'), "x", "exec")
        assert 'baseURL: "http://127.0.0.1:8000/v1"' in node(server, "hi") and 'apiKey: "any"' in node(server, "hi")
        body = subprocess.run(
            ["sh", "-c", curl(server, "it's").replace("curl ", "printf '%s|' ", 1)], capture_output=True, text=True, check=True
        )
        assert json.loads(body.stdout.split("|")[-2])["model"] == server.model
        shown = clients(server, ENGLISH)
        for name in ("NextChat", "Chatbox", "Cherry Studio", "Open WebUI", "openai (Python)", "openai (Node)", "curl"):
            assert f"<summary>{name}</summary>" in shown
        assert "<code>我的&#x27;&quot;run</code>" in shown and "host.docker.internal:8000/v1" in shown

    def test_a_key_is_never_written_there(self) -> None:
        shown = clients(Server("http://127.0.0.1:8000", "m", True), ENGLISH)
        assert "the key that you set" in shown and "API_KEY" in shown and ">any<" not in shown


class TestAKeyThatIsForgotten:
    """The window that was given the key is gone, and the API that asks for it goes on."""

    @pytest.fixture
    def panel(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Panel]:
        monkeypatch.delenv("API_KEY", raising=False)
        with keyed_api(monkeypatch, KEY) as panel:
            yield panel

    def test_the_page_says_so_and_how_to_go_on(self, panel: Panel) -> None:
        now = panels.open_api(panel.room)
        shown = api_state(panel.room, now, ENGLISH)
        assert "Its key is not known here any more" in shown and "stop the API and start it again" in shown
        assert "the key that you set" in shown and ">any<" not in shown

    def test_it_is_entered_again(self, panel: Panel) -> None:
        opening, name = Opening(panel, 1, []), panels.open_api(panel.room).name
        assert opening.remember("en", "  ") == {panel.told: gr.skip()}
        assert "does not take this key" in opening.remember("en", "another")[panel.told]
        assert panel.room.keys == {}
        assert "It asks for the key" in opening.remember("en", f" {KEY} ")[panel.state]
        assert panel.room.keys == {name: KEY}
        assert opening.remember("en", "for the next start") == {panel.told: gr.skip()}
        assert panel.room.keys == {name: KEY}

    def test_one_without_a_key_takes_any(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with keyed_api(monkeypatch, None) as panel:
            shown = api_state(panel.room, panels.open_api(panel.room), ENGLISH)
            assert ">any<" in shown and "key is not known" not in shown and "It asks" not in shown
            assert Opening(panel, 1, []).remember("en", "new") == {panel.told: gr.skip()}


@contextmanager
def keyed_api(monkeypatch: pytest.MonkeyPatch, key: str | None) -> Iterator[Panel]:
    """The fold in a window that has just been opened beside an API that runs."""
    desk: Any = SimpleNamespace(locale=lambda language: ENGLISH)
    room = Room(desk, cast(Any, None), cast(Any, None))
    panel = Panel(room, *(object() for _ in range(7)))
    with serving(Echo((BASE,), 0.0), key) as url:
        run: Any = SimpleNamespace(name=".serve/one")
        now = Standing("ready", run, View(ready=Ready(url, [BASE])))
        monkeypatch.setattr(panels, "open_api", lambda room: now)
        yield panel


def test_presets_are_accepted_and_change_all_that_draws() -> None:
    assert set(PRESETS) == {"exact", "balanced", "lively"}
    for name in PRESETS:
        assert read_flat(SamplingSpec, preset(name)).problems == []
    most = [read_flat(SamplingSpec, {"temperature": given}).problems for given in (2, 2.1)]
    assert most[0] == [] and [problem.key for problem in most[1]] == ["temperature"], "as the API takes it"
    assert preset("exact")["temperature"] == 0 and preset("exact")["min_p"] == 0
    assert {len(preset(name)) for name in PRESETS} == {7}
