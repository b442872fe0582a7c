"""What stands below the components of Chat: the serve run it looks at, and questions on their way. Echo: nothing is loaded."""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.serving import BASE, TUNED, listening, wait_until_idle
from workbench import runs
from workbench.problems import UserError
from workbench.runs import Run, list_runs
from workbench.sampling import SamplingSection
from workbench.specs import TrainSpec, read_flat
from workbench.text import ENGLISH
from workbench.ui.chatroom import head_line
from workbench.ui.chatting import Exchange, Lines, Side, facts, messages_of, sides_of, speakers
from workbench.ui.loading import (
    Standing,
    adapter_of,
    answerers,
    begin,
    end,
    is_ours,
    serve_spec,
    standing,
    stands,
    told,
    trained_with,
)
from workbench.workspace import Workspace

ECHO = {"infer_backend": "echo"}


def tuned_run(workspace: Workspace, name: str, adapter: bool = True, **values: Any) -> Run:
    """A run that has ended with an adapter, as far as Chat and the echo engine look at it."""
    given = {"model_name_or_path": "models/tiny", "dataset": ["plain"], "output_dir": name, **values}
    run = runs.create(workspace, read_flat(TrainSpec, given).unwrap())
    if adapter:
        config = {"base_model_name_or_path": str(workspace.models / "tiny")}
        (run.folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    return run


def wait_for(run: Run, condition: str, patience_s: float = 20) -> Standing:
    deadline = time.monotonic() + patience_s
    while (now := standing(run)).condition != condition and time.monotonic() < deadline:
        time.sleep(0.05)
    assert now.condition == condition, f"{run.view()} {run.log_tail()}"
    return now


@pytest.fixture
def ready(workspace: Workspace) -> Iterator[Standing]:
    """An echoing server with the adapter of a run."""
    run = tuned_run(workspace, "one")
    server = begin(workspace, serve_spec(workspace, run.name, ECHO))
    yield wait_for(server, "ready")
    server.kill()


class TestWho:
    def test_runs_with_weights_are_offered_the_newest_first(self, workspace: Workspace) -> None:
        for age, (name, adapter) in enumerate({"old": True, "new": True, "empty": False}.items()):
            run = tuned_run(workspace, name, adapter)
            os.utime(run.folder / "spec.yaml", (1000 + age, 1000 + age))
        assert answerers(workspace, ENGLISH) == [
            ("Base model only", ""),
            ("new  ·  tiny", "tiny/lora/new"),
            ("old  ·  tiny", "tiny/lora/old"),
        ]

    def test_a_run_brings_what_it_was_trained_with(self, workspace: Workspace) -> None:
        run = tuned_run(workspace, "one", template="chatml", model_revision="v2")
        spec = serve_spec(workspace, run.name, ECHO)
        assert spec.model.model_name_or_path == "models/tiny"
        assert spec.model.template == "chatml"
        assert spec.model.model_revision == "v2"
        assert spec.model.adapter_name_or_path == ["saves/tiny/lora/one"]
        assert spec.engine.infer_backend == "echo"

    def test_what_is_chosen_goes_before_it(self, workspace: Workspace) -> None:
        run = tuned_run(workspace, "one", template="chatml")
        assert serve_spec(workspace, run.name, {"template": "auto"}).model.template == "auto"

    @pytest.mark.parametrize(
        ("name", "chosen", "key", "words"),
        [
            ("", {}, "model_name_or_path", "No model is chosen"),
            ("", {"model_name_or_path": "models/none"}, "model_name_or_path", "There is no model at 'models/none'"),
            ("", {"model_name_or_path": "models/tiny", "template": "x"}, "template", "No chat template named 'x'"),
            ("", {**ECHO, "echo_delay": "-1"}, "echo_delay", "Pause between words is '-1'"),
            ("tiny/lora/gone", {}, None, "No run named 'tiny/lora/gone'"),
            ("tiny/lora/empty", {}, None, "has saved no weights yet"),
        ],
    )
    def test_what_is_in_the_way(
        self, workspace: Workspace, name: str, chosen: dict[str, str], key: str | None, words: str
    ) -> None:
        tuned_run(workspace, "empty", adapter=False)
        with pytest.raises(UserError) as caught:
            serve_spec(workspace, name, chosen)
        assert [(problem.key, words in str(problem.message)) for problem in caught.value.problems] == [(key, True)]

    def test_a_run_of_another_kind_has_learned_nothing(self, workspace: Workspace) -> None:
        served = runs.create(workspace, serve_spec(workspace, "", {**ECHO, "model_name_or_path": "models/tiny"}))
        with pytest.raises(UserError, match="has saved no weights yet"):
            trained_with(workspace, served.name)


@pytest.mark.slow
class TestStanding:
    def test_it_is_loaded_found_and_unloaded(self, workspace: Workspace, ready: Standing) -> None:
        assert ready.models == ["base", "one"]
        assert adapter_of(ready) == "tiny/lora/one"
        assert is_ours(ready)
        shown = told(ready, ENGLISH)
        assert "tiny with one" in shown and "MB of memory" in shown and ready.url in shown
        assert stands(workspace, "").name == ready.name
        assert stands(workspace, ".serve/of-a-page-that-slept").name == ready.name
        started = ready.view.started
        assert started is not None and ready.run is not None
        end(ready.run)
        assert not psutil.pid_exists(started.pid) or psutil.Process(started.pid).status() == psutil.STATUS_ZOMBIE
        assert stands(workspace, ready.name).condition == "none"
        assert list_runs(workspace, "serve") == []

    def test_a_killed_one_is_told(self, workspace: Workspace, ready: Standing) -> None:
        assert ready.view.started is not None
        os.kill(ready.view.started.pid, signal.SIGKILL)
        assert ready.run is not None
        lost = wait_for(ready.run, "lost", 5)
        assert lost.models == []
        assert "The model is no longer loaded" in told(lost, ENGLISH)
        assert stands(workspace, ready.name).condition == "lost"
        assert stands(workspace, "").condition == "none"

    def test_one_that_can_not_begin_says_why(self, workspace: Workspace) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            spec = serve_spec(workspace, "", {**ECHO, "model_name_or_path": "models/tiny", "api_port": port})
            failed = wait_for(begin(workspace, spec), "failed")
        assert not is_ours(failed)
        assert f"Port {port} is taken by another program" in told(failed, ENGLISH)

    def test_names_are_written_as_text(self) -> None:
        assert head_line("<b>x</b>", "<i>") == (
            '<div class="speaking"><h3>&lt;b&gt;x&lt;/b&gt;</h3><span class="facts">&lt;i&gt;</span></div>'
        )
        assert head_line("") == ""


class TestExchange:
    def test_two_sides_answer_in_their_own_name(self, url: str) -> None:
        earlier = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        exchange = Exchange(url, sides_of([BASE, TUNED], [earlier, []], "who are you"), SamplingSection(), 7)
        told = [[side.text for side in exchange.sides] for _ in exchange.follow()]
        left, right = exchange.sides
        assert told[-1] == [left.text, right.text], "the last turn shows all"
        assert (left.model, right.model) == (TUNED, BASE)
        assert (left.text, right.text) == (f"{TUNED}: who are you", f"{BASE}: who are you")
        assert left.history() == [
            *earlier,
            {"role": "user", "content": "who are you"},
            {"role": "assistant", "content": f"{TUNED}: who are you"},
        ]
        assert len(right.history()) == 2
        assert facts(right, 7, ENGLISH).startswith("4 tokens")
        assert facts(right, 7, ENGLISH).endswith("seed 7")

    def test_who_answers_is_the_servers_word(self, url: str) -> None:
        side = Side("gpt-4", [{"role": "user", "content": "hi"}])
        assert side.model == "gpt-4"
        list(Exchange(url, [side], SamplingSection(), 0).follow())
        assert side.model == TUNED

    def test_both_are_asked_alike_one_after_the_other(self) -> None:
        asked: list[dict[str, Any]] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            asked.append(json.loads((await receive())["body"]))
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"no"})

        section = SamplingSection(system="Be brief.", temperature=0.5, top_p=0.4, max_new_tokens=9)
        with listening(app) as url:
            exchange = Exchange(url, sides_of([BASE, TUNED], [[], []], "hi"), section, 123)
            list(exchange.follow())
        assert [one.pop("model") for one in asked] == [TUNED, BASE]
        assert asked[0] == asked[1]
        assert asked[0]["seed"] == 123 and asked[0]["temperature"] == 0.5 and asked[0]["top_p"] == 0.4
        assert asked[0]["max_tokens"] == 9
        assert asked[0]["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
        assert all("status 500" in str(side.problem) for side in exchange.sides)
        assert exchange.sides[0].history() == []

    def test_it_is_stopped_midway(self, slow_url: str) -> None:
        question = " ".join(f"w{at}" for at in range(500))
        exchange = Exchange(slow_url, sides_of([BASE, TUNED], [[], []], question), SamplingSection(), 1)
        for _ in exchange.follow():
            if len(exchange.sides[0].text) > 40:
                exchange.stop()
        side = exchange.sides[0]
        assert 40 < len(side.text) < 500 and side.problem is None
        assert side.history()[-1] == {"role": "assistant", "content": side.text}
        assert facts(side, 1, ENGLISH) == "stopped  ·  seed 1"
        assert wait_until_idle(slow_url, 2)

    def test_whoever_leaves_hangs_up(self, slow_url: str) -> None:
        question = " ".join(f"w{at}" for at in range(500))
        turns = Exchange(slow_url, sides_of([BASE], [[]], question), SamplingSection(), 1).follow()
        next(turns)
        assert not wait_until_idle(slow_url, 0.3)
        turns.close()  # type: ignore[attr-defined]
        assert wait_until_idle(slow_url, 2)

    def test_a_silent_server_is_hung_up_on(self) -> None:
        left: list[bool] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
            )
            await send({"type": "http.response.body", "body": b": wait\n\n", "more_body": True})
            left.append((await asyncio.wait_for(receive(), 10))["type"] == "http.disconnect")

        with listening(app) as url:
            exchange = Exchange(url, sides_of([BASE], [[]], "hi"), SamplingSection(), 1)
            turns = exchange.follow()
            threading.Timer(0.4, exchange.stop).start()
            started = time.monotonic()
            list(turns)
            assert time.monotonic() - started < 3
            deadline = time.monotonic() + 3
            while not left and time.monotonic() < deadline:
                time.sleep(0.02)
        assert left == [True]
        assert exchange.sides[0].history() == []

    def test_a_server_that_is_gone_is_told(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
            exchange = Exchange(url, sides_of([BASE], [[]], "hi"), SamplingSection(), 1)
            list(exchange.follow())
        assert "No server answers" in str(exchange.sides[0].problem)

    def test_every_visitor_has_a_line_of_his_own(self, url: str) -> None:
        lines = Lines()
        mine, other = (Exchange(url, [], SamplingSection(), seed) for seed in (1, 2))
        assert lines.open("me", mine) and lines.open("you", other)
        assert not lines.open("me", other)
        assert lines.get("me") is mine
        assert lines.close("me") is mine
        assert lines.get("me") is None and lines.get("you") is other


def test_the_tuned_one_stands_left() -> None:
    assert speakers([BASE]) == [BASE, BASE]
    assert speakers([BASE, "run"]) == ["run", BASE]
    assert speakers([]) == []


@pytest.mark.parametrize("value", [None, "x", {"messages": "x"}, {"messages": [1, {"role": "root", "content": "x"}]}])
def test_what_a_browser_brings_may_be_anything(value: Any) -> None:
    assert messages_of(value) == []


def test_messages_come_back_as_they_went() -> None:
    said = [{"role": "user", "content": "<b>"}, {"role": "assistant", "content": "ok"}]
    assert messages_of({"messages": said, "busy": True}) == said
